"""The parsed content of one ``.torrent``: files, sizes, digests and the piece layout.

Bytes and pieces are counted as libtorrent counts them: all files one after the other, pad
files included (BEP 47), so that a piece index here is a piece index on the wire. In a v2
layout (BEP 52) every file starts at a multiple of the piece length.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.merkle import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class FileEntry(NamedTuple):
    """One file or symbolic link of a release; pad files are not entries.

    Attributes:
        path: where it is on disk, relative to the tree, ``/`` between names.
        size: bytes; 0 for a link.
        offset: of the first byte in the torrent's piece space.
        executable: BEP 47 attribute ``x``.
        hidden: BEP 47 attribute ``h``.
        link_target: for a symbolic link, the target's path relative to the tree (BEP 47
            ``symlink path``); None for a file.
        mtime_s: modification time in Unix seconds, where the publisher recorded one.
        sha1: BEP 47 digest of the whole file.
        pieces_root: BEP 52 root of the file's SHA-256 hash tree.
    """

    path: str
    size: int
    offset: int
    executable: bool = False
    hidden: bool = False
    link_target: str | None = None
    mtime_s: int | None = None
    sha1: bytes | None = None
    pieces_root: bytes | None = None


class Segment(NamedTuple):
    """A run of a piece's bytes: in the file of that index, or padding zeros (``None``)."""

    file_index: int | None
    file_offset: int
    length: int


def folders_above(paths: Iterable[str]) -> frozenset[str]:
    """Every folder that one of ``paths`` lies in, however deep; the tree itself is none."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return frozenset(found)


def content_digest(kind: str, value: bytes, size: int) -> str:
    """What identifies content, as ``Manifest.digest`` does.

    Args:
        kind: ``root`` (BEP 52 pieces root) or ``sha1`` (BEP 47).
        value: the hash.
        size: of the content, in bytes.
    """
    return f"{kind}:{value.hex()}:{size}"


@dataclass(frozen=True)
class Manifest:
    """One release. Lists are in the torrent's own order; ``files`` leaves pad files out.

    Attributes:
        name: the torrent's root name; it is not part of any path.
        info_hash_v1: 20 bytes of SHA-1 of the info dictionary, for v1 and hybrid (BEP 3).
        info_hash_v2: 32 bytes of SHA-256 of it, for v2 and hybrid (BEP 52).
        piece_length: bytes.
        layout_size: end of the last file or pad file in the piece space, in bytes.
        v1_hashes: 20 bytes a piece, one after the other; empty for v2-only.
        piece_layers: pieces root → 32 bytes a piece, for files of more than one piece (BEP 52).
        trackers: tiers of announce URLs (BEP 12).
        web_seeds: BEP 19 URLs.
        nodes: DHT nodes (BEP 5), host and port.
        hints: where the hints file is (``torsync.model.hints``), as a reference relative to the
            URL of the ``.torrent`` (RFC 3986); empty: there is none.
    """

    name: str
    info_hash_v1: bytes | None
    info_hash_v2: bytes | None
    piece_length: int
    layout_size: int
    files: tuple[FileEntry, ...]
    v1_hashes: bytes = field(repr=False, default=b"")
    piece_layers: dict[bytes, bytes] = field(repr=False, default_factory=dict)
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()
    private: bool = False
    comment: str = ""
    created_by: str = ""
    creation_date_s: int | None = None
    hints: str = ""

    @property
    def info_hash(self) -> str:
        """The hex info-hash that people know it by: v1 where there is one, else v2."""
        digest = self.info_hash_v1 or self.info_hash_v2
        assert digest is not None
        return digest.hex()

    @property
    def is_v2(self) -> bool:
        """Whether BEP 52 hashes describe the content (v2 and hybrid)."""
        return self.info_hash_v2 is not None

    @cached_property
    def num_pieces(self) -> int:
        """How many pieces the layout has."""
        return -(-self.layout_size // self.piece_length)

    @cached_property
    def total_size(self) -> int:
        """Bytes of all files, padding not counted."""
        return sum(entry.size for entry in self.files)

    @cached_property
    def by_path(self) -> dict[str, int]:
        """Path → index into ``files``."""
        return {entry.path: index for index, entry in enumerate(self.files)}

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that a file or link of the release lies in, relative to the tree."""
        return folders_above(entry.path for entry in self.files)

    @cached_property
    def sized(self) -> tuple[array[int], array[int], array[int]]:
        """Offset, end and index of the files that hold bytes, in the order of their offsets."""
        sized = [(index, entry) for index, entry in enumerate(self.files) if entry.size]
        return (
            array("q", [entry.offset for _, entry in sized]),
            array("q", [entry.offset + entry.size for _, entry in sized]),
            array("q", [index for index, _ in sized]),
        )

    def piece_size(self, piece: int) -> int:
        """Bytes of a piece in the piece space; only the last one may be shorter."""
        return min(self.piece_length, self.layout_size - piece * self.piece_length)

    def pieces_of(self, file_index: int) -> range:
        """The pieces that hold at least one byte of a file; empty for an empty file or link."""
        entry = self.files[file_index]
        if not entry.size:
            return range(0)
        last = (entry.offset + entry.size - 1) // self.piece_length
        return range(entry.offset // self.piece_length, last + 1)

    def segments(self, piece: int) -> Iterator[Segment]:
        """The runs of bytes that make up a piece, in order, padding included."""
        offsets, ends, indexes = self.sized
        position = piece * self.piece_length
        end = position + self.piece_size(piece)
        at = bisect_right(ends, position)
        while position < end:
            start = offsets[at] if at < len(offsets) else end
            if start > position:
                padding = min(start, end) - position
                yield Segment(None, 0, padding)
                position += padding
                continue
            length = min(ends[at], end) - position
            yield Segment(indexes[at], position - start, length)
            position += length
            at += 1

    def sent_bytes(self, piece: int) -> int:
        """How much of a piece peers send: whole blocks in v1, a file's own bytes in v2.

        Blocks (BEP 3) that are nothing but padding are not asked for.
        """
        runs = []
        start = 0
        for segment in self.segments(piece):
            if segment.file_index is not None:
                runs.append(range(start, start + segment.length))
            start += segment.length
        if not self.v1_hashes:
            return sum(map(len, runs))
        blocks = {at // BLOCK_SIZE for run in runs for at in (*run[::BLOCK_SIZE], run[-1])}
        return sum(min(BLOCK_SIZE, start - block * BLOCK_SIZE) for block in blocks)

    def files_in(self, piece: int) -> Iterator[int]:
        """Indexes of the files that have bytes in a piece."""
        for segment in self.segments(piece):
            if segment.file_index is not None:
                yield segment.file_index

    def v1_hash(self, piece: int) -> bytes:
        """The SHA-1 of a piece (BEP 3); only where ``v1_hashes`` is there."""
        return self.v1_hashes[20 * piece : 20 * piece + 20]

    def v2_hash(self, file_index: int, piece_in_file: int) -> bytes:
        """The root over one piece of a file (BEP 52).

        For a file of at most one piece that is its ``pieces_root``, over as many 16 KiB
        blocks as the file has rounded up to a power of two; otherwise an entry of its layer.
        """
        entry = self.files[file_index]
        assert entry.pieces_root is not None
        if entry.size <= self.piece_length:
            return entry.pieces_root
        layer = self.piece_layers[entry.pieces_root]
        return layer[32 * piece_in_file : 32 * piece_in_file + 32]

    def digest(self, file_index: int) -> str:
        """What identifies a file's content: equal digests mean equal content.

        The strongest that the publisher gave: the BEP 52 root, else the BEP 47 ``sha1``,
        else the file's own v1 pieces with their place in it, which only match a file that
        lies among the same neighbours.
        """
        entry = self.files[file_index]
        if entry.pieces_root is not None:
            return content_digest("root", entry.pieces_root, entry.size)
        return next(self.digests(file_index))

    def digests(self, file_index: int) -> Iterator[str]:
        """Everything that identifies a file's content, the strongest first.

        Releases in different formats may have another one than the strongest in common.
        """
        entry = self.files[file_index]
        if entry.link_target is not None:
            yield f"link:{entry.link_target}"
            return
        if not entry.size:
            yield "empty"
            return
        if entry.pieces_root is not None:
            yield content_digest("root", entry.pieces_root, entry.size)
        if entry.sha1 is not None:
            yield content_digest("sha1", entry.sha1, entry.size)
        if self.v1_hashes:
            yield self._v1_pieces_digest(file_index)

    def _v1_pieces_digest(self, file_index: int) -> str:
        entry = self.files[file_index]
        pieces = self.pieces_of(file_index)
        hashes = self.v1_hashes[20 * pieces.start : 20 * pieces.stop]
        place = f"{entry.size}:{entry.offset % self.piece_length}:{self.piece_length}"
        return f"v1:{place}:{sha256(hashes).hexdigest()}"
