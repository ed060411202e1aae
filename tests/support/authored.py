"""Torrents by torsync's own author, of contents in memory; hashed independently of torsync."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import TYPE_CHECKING

from tests.support.torrents import block_hashes, root_of
from torsync.model.authoring.content import NO_HASHES, FileHashes, PublishedFile
from torsync.model.authoring.layout import Layout, PackedPiece, is_aligned, lay_out
from torsync.model.authoring.writer import (
    NO_NOTES,
    Info,
    Notes,
    manifest_of,
    write_info,
    write_metainfo,
)
from torsync.model.config import TorrentFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torsync.model.manifest import Manifest

BLOCK = 16 * 1024


@dataclass(frozen=True)
class Authored:
    """A torrent, and what it was made of."""

    layout: Layout
    hashes: tuple[FileHashes, ...]
    info: Info
    notes: Notes
    contents: Mapping[str, bytes]

    @property
    def metainfo(self) -> bytes:
        """The whole ``.torrent``."""
        return write_metainfo(self.info, self.layout, self.hashes, self.notes)

    @property
    def manifest(self) -> Manifest:
        """Made without parsing."""
        return manifest_of(self.info, self.layout, self.hashes, self.notes)

    def keys(self) -> list[bytes]:
        """Those of the packed pieces, in order."""
        roots = [found.root for found in self.hashes]
        return [piece.key(roots) for piece in self.layout.packed_pieces]


def file_hashes(content: bytes, piece_length: int, format: TorrentFormat) -> FileHashes:  # noqa: A002
    """All hashes of a file, as BEP 3 and BEP 52 define them."""
    if not content:
        return NO_HASHES
    blocks = block_hashes(content)
    per_piece = piece_length // BLOCK
    layer = b""
    if len(content) > piece_length:
        rows = [blocks[at : at + per_piece] for at in range(0, len(blocks), per_piece)]
        layer = b"".join(root_of(row + [bytes(32)] * (per_piece - len(row))) for row in rows)
    v1 = b""
    if is_aligned(len(content), piece_length, format):
        starts = range(0, len(content), piece_length)
        v1 = b"".join(
            sha1(content[at : at + piece_length].ljust(piece_length, b"\0")).digest()
            for at in starts
        )
    return FileHashes(root_of(blocks), layer, v1)


def packed_hash(piece: PackedPiece, contents: Sequence[bytes]) -> bytes:
    """The SHA-1 of a packed piece."""
    parts = [contents[index][offset : offset + length] for index, offset, length in piece.parts]
    return sha1(b"".join(parts) + bytes(piece.zeros)).digest()


def author(
    files: Iterable[PublishedFile],
    contents: Mapping[str, bytes],
    *,
    piece_length: int = BLOCK,
    format: TorrentFormat = TorrentFormat.V1,  # noqa: A002
    name: str = "root",
    private: bool = False,
    notes: Notes = NO_NOTES,
) -> Authored:
    """Make a torrent of files whose contents are given by path; links have none."""
    layout = lay_out(files, piece_length, format)
    in_order = [contents.get(file.path, b"") for file in layout.files]
    hashes = tuple(file_hashes(content, piece_length, format) for content in in_order)
    packed = [packed_hash(piece, in_order) for piece in layout.packed_pieces]
    info = write_info(layout, hashes, packed, name=name, private=private)
    return Authored(layout, hashes, info, notes, contents)


def of_contents(contents: Mapping[str, bytes]) -> list[PublishedFile]:
    """Plain files."""
    return [PublishedFile(path, len(content)) for path, content in contents.items()]


def make_authored(
    folder: Path,
    *,
    piece_size: int = 64 * 1024,
    format: str = "v1",  # noqa: A002
    mtimes: bool = True,
    notes: Notes = NO_NOTES,
) -> bytes:
    """A torrent of a folder on disk, of regular files; its name is the root name."""
    files, contents = [], {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        relative, status = path.relative_to(folder).as_posix(), path.stat()
        contents[relative] = path.read_bytes()
        mtime_s = int(status.st_mtime) if mtimes else 0
        executable = os.access(path, os.X_OK)
        files.append(PublishedFile(relative, status.st_size, mtime_s, executable))
    made = author(
        files,
        contents,
        piece_length=piece_size,
        format=TorrentFormat(format),
        name=folder.name,
    )
    return replace(made, notes=notes).metainfo
