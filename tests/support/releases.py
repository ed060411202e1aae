"""Releases with their content, for tests that need neither a torrent nor a disk.

The hashes are real, but for the block size: BEP 52 trees have
blocks of one piece here, so that files of a few bytes can have several pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, NamedTuple, Union

from torsync.model.manifest import FileEntry, Manifest
from torsync.model.merkle import merkle_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAYOUTS = ("v1", "padded", "packed", "v2", "hybrid")
PIECE_LENGTH = 8
_ALIGNED = {"padded", "v2", "hybrid"}
_V2 = {"v2", "hybrid"}


class Link(NamedTuple):
    """A symbolic link of a release; the target counts from the tree (BEP 47)."""

    target: str


Content = Union[bytes, Link]


@dataclass(frozen=True)
class Release:
    """A manifest, and the content of each of its files."""

    manifest: Manifest
    contents: tuple[bytes, ...]

    def piece(self, piece: int) -> bytes:
        """The right bytes of a piece, padding included."""
        found = read_piece(self.manifest, piece, lambda index: self.contents[index])
        assert found is not None
        return found


def make_release(
    contents: Mapping[str, Content],
    *,
    layout: str = "v1",
    digests: str = "",
    piece_length: int = PIECE_LENGTH,
    name: str = "release",
) -> Release:
    """A release of known content.

    Args:
        contents: path → content, in the torrent's order.
        layout: ``v1`` (files side by side), ``padded`` (v1, each file on a piece boundary),
            ``packed`` (v1, files of a piece or more on boundaries, smaller ones side by side),
            ``v2`` or ``hybrid``.
        digests: for the v1 layouts: ``root`` or ``sha1`` per file, or none.
        piece_length: bytes.
        name: root name.
    """
    space = bytearray()
    files = []
    layers = {}

    def pad() -> None:
        space.extend(bytes(-len(space) % piece_length))

    for path, content in contents.items():
        data = b"" if isinstance(content, Link) else content
        on_boundaries = layout == "packed" and len(data) >= piece_length
        if data and (on_boundaries or layout in _ALIGNED):
            pad()
        root = None
        if data and (layout in _V2 or digests == "root"):
            layer = _layer(data, piece_length)
            root = merkle_root(layer)
            if len(layer) > 32:
                layers[root] = layer
        files.append(
            FileEntry(
                path,
                len(data),
                len(space),
                link_target=content.target if isinstance(content, Link) else None,
                sha1=sha1(data).digest() if data and digests == "sha1" else None,
                pieces_root=root,
            )
        )
        space += data
        if on_boundaries:
            pad()
    identity = repr((name, files)).encode() + space
    manifest = Manifest(
        name,
        info_hash_v1=None if layout == "v2" else sha1(identity).digest(),
        info_hash_v2=sha256(identity).digest() if layout in _V2 else None,
        piece_length=piece_length,
        layout_size=len(space),
        files=tuple(files),
        v1_hashes=b"" if layout == "v2" else _v1_hashes(bytes(space), piece_length),
        piece_layers=layers if layout in _V2 else {},
    )
    plain = (b"" if isinstance(content, Link) else content for content in contents.values())
    return Release(manifest, tuple(plain))


def _layer(data: bytes, piece_length: int) -> bytes:
    starts = range(0, len(data), piece_length)
    return b"".join(sha256(data[at : at + piece_length]).digest() for at in starts)


def _v1_hashes(space: bytes, piece_length: int) -> bytes:
    starts = range(0, len(space), piece_length)
    return b"".join(sha1(space[at : at + piece_length]).digest() for at in starts)


def read_piece(
    manifest: Manifest, piece: int, content: Callable[[int], bytes | None]
) -> bytes | None:
    """The bytes of a piece where ``content`` has each file's; None where they are not all there."""
    parts = []
    for index, offset, length in manifest.segments(piece):
        data = bytes(length) if index is None else content(index)
        part = data if index is None or data is None else data[offset : offset + length]
        if part is None or len(part) < length:
            return None
        parts.append(part)
    return b"".join(parts)
