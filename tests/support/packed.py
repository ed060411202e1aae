"""A v1 torrent that is packed: large files on piece boundaries, small ones side by side."""

from __future__ import annotations

import os
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import bencode2

from tests.support.torrents import block_hashes, root_of, with_trackers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def make_packed(
    folder: Path,
    *,
    piece_size: int = 64 * 1024,
    trackers: Sequence[str] = (),
) -> bytes:
    """A v1 torrent whose files of a piece or more have their pieces to themselves.

    Pad files (BEP 47) are before and after those; smaller files lie side by side in path order.
    Each file entry has its ``pieces root`` (BEP 52) and its executable bit (BEP 47). Files are
    read in parts, once.

    Args:
        folder: of regular files and folders; its name is the root name.
        piece_size: bytes, a power of two of at least 16 KiB.
        trackers: one tier each.
    """
    found = (path for path in folder.rglob("*") if not path.is_dir())
    pieces = _PieceHasher(piece_size)
    entries: list[dict[bytes, Any]] = []

    def pad() -> None:
        if gap := -pieces.position % piece_size:
            pieces.feed(bytes(gap))
            entries.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})

    was_alone = False
    for raw, path in sorted((os.fsencode(path.relative_to(folder)), path) for path in found):
        status = path.stat()
        size = status.st_size
        is_alone = size >= piece_size
        if size and (is_alone or was_alone):
            pad()
        entry: dict[bytes, Any] = {b"length": size, b"path": raw.split(b"/")}
        if size:
            entry[b"pieces root"] = _feed_file(pieces, path, size)
            was_alone = is_alone
        if status.st_mode & 0o100:
            entry[b"attr"] = b"x"
        entries.append(entry)
    info = {
        b"files": entries,
        b"name": folder.name.encode(),
        b"piece length": piece_size,
        b"pieces": pieces.finish(),
    }
    torrent = bencode2.bencode({b"info": info})
    return with_trackers(torrent, trackers) if trackers else torrent


class _PieceHasher:
    """SHA-1 of each piece of what is fed to it, part by part."""

    def __init__(self, piece_size: int) -> None:
        self.position = 0
        self.piece_size = piece_size
        self._hashes: list[bytes] = []
        self._piece = sha1()

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            part = view[: self.piece_size - self.position % self.piece_size]
            self._piece.update(part)
            self.position += len(part)
            view = view[len(part) :]
            if self.position % self.piece_size == 0:
                self._end_piece()

    def finish(self) -> bytes:
        if self.position % self.piece_size:
            self._end_piece()
        return b"".join(self._hashes)

    def _end_piece(self) -> None:
        self._hashes.append(self._piece.digest())
        self._piece = sha1()


def _feed_file(pieces: _PieceHasher, path: Path, size: int) -> bytes:
    """Feed a file to the pieces, and give its ``pieces root``."""
    layer: list[bytes] = []
    with path.open("rb", buffering=0) as file:
        while part := file.read(pieces.piece_size):
            pieces.feed(part)
            layer += block_hashes(part)
            size -= len(part)
    assert size == 0, f"{path} was changed"
    return root_of(layer)
