"""A v1 torrent that is packed: large files on piece boundaries, small ones side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.torrents import RawFile, make_raw, pad_file, pieces_root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.torrents import RawPath


def make_packed(folder: Path, *, piece_size: int = 64 * 1024) -> bytes:
    """A v1 torrent of regular files; executable bits are recorded (BEP 47).

    Files of a piece or more start and end on piece boundaries, by pad files; smaller ones lie
    side by side in path order. Each file that is not empty has its BEP 52 ``pieces root``.

    Args:
        folder: what is published; its name is the root name.
        piece_size: bytes.
    """
    listed: list[tuple[RawPath, RawFile]] = []
    position = 0

    def add(path: RawPath, file: RawFile) -> None:
        nonlocal position
        listed.append((path, file))
        position += len(file.content)

    def pad() -> None:
        gap = -position % piece_size
        if gap:
            add((".pad", str(gap)), pad_file(gap))

    for file in sorted(found for found in folder.rglob("*") if found.is_file()):
        content = file.read_bytes()
        keys = {b"pieces root": pieces_root(content)} if content else {}
        if file.stat().st_mode & 0o100:
            keys[b"attr"] = b"x"
        if len(content) >= piece_size:
            pad()
        add(file.relative_to(folder).parts, RawFile(content, keys))
        if len(content) >= piece_size:
            pad()
    return make_raw(listed, name=folder.name, piece_size=piece_size)
