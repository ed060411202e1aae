"""Where each file lies in a torrent's pieces, decided from paths and sizes alone.

All formats have one order: that of a BEP 52 file tree, names compared byte by byte in UTF-8,
so that ``a/b`` comes before ``a.txt``. Empty files and symbolic links are in it too, without
bytes.

In ``v2`` each file starts at a piece boundary (BEP 52). ``hybrid`` has the same in its v1 half,
by a pad file (BEP 47) after each file that does not end on a boundary, the last one included as
in libtorrent: so the SHA-1 hashes of a file's pieces do not depend on where it lies.

``v1`` is packed. Files of a piece or more are aligned in the same way; smaller ones lie side by
side. So that a small file that grows, appears or goes does not shift all small ones behind it,
and change all of their pieces, the row is cut into *packs* that start at a piece boundary. A
pack starts at a file if the hash of its path is below a limit in proportion to its size: at
16 pieces a pack in the mean, whatever the sizes. As it is a matter of that file alone, a change
moves files up to the end of its pack and no further. Padding is half a piece per pack, about 3 %,
which clients that know BEP 47 do not transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from struct import pack as packed_numbers
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.config import TorrentFormat
from torsync.model.merkle import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torsync.model.authoring.content import FileHashes, PublishedFile

MEAN_PACK_PIECES = 16
MAX_PIECE_LENGTH = 1 << 28  # libtorrent takes no longer ones


class Part(NamedTuple):
    """A run of bytes of a file, which is never padding; ``file_index`` counts in the layout."""

    file_index: int
    offset: int
    length: int


class PackedPiece(NamedTuple):
    """A v1 piece of small files side by side: its bytes are those of ``parts``, then zeros.

    Attributes:
        piece: index of the piece in the torrent.
        parts: in order.
        zeros: bytes of padding behind them.
    """

    piece: int
    parts: tuple[Part, ...]
    zeros: int

    def key(self, roots: Sequence[bytes]) -> bytes:
        """Give what identifies the content, and so its SHA-1: 32 bytes.

        It says nothing of paths and places, so it stays when the piece moves in the torrent.

        Args:
            roots: the BEP 52 pieces root of each file of the layout.
        """
        numbers = [number for part in self.parts for number in part[1:]]
        found = sha256(packed_numbers(f"<{len(numbers) + 1}Q", *numbers, self.zeros))
        found.update(b"".join([roots[part[0]] for part in self.parts]))
        return found.digest()


@dataclass(frozen=True)
class Layout:
    """Where the files of a torrent lie.

    Attributes:
        format: of the torrent.
        piece_length: bytes.
        files: in the torrent's order; what is indexed by file elsewhere counts in this.
        offsets: of each file's first byte in the piece space. In v1 and hybrid, what holds no
            bytes is where the next byte may be.
        pads: index of a file → bytes of padding before it (BEP 47), for v1 and hybrid;
            ``len(files)`` stands for the end.
        size: end of the last file or padding in the piece space, in bytes.
    """

    format: TorrentFormat
    piece_length: int
    files: tuple[PublishedFile, ...]
    offsets: tuple[int, ...]
    pads: Mapping[int, int]
    size: int

    @property
    def num_pieces(self) -> int:
        """How many pieces there are."""
        return -(-self.size // self.piece_length)

    def is_aligned(self, file_index: int) -> bool:
        """Whether a file has v1 pieces to itself, so that ``FileHashes.v1`` is needed."""
        return is_aligned(self.files[file_index].size, self.piece_length, self.format)

    @cached_property
    def packed_pieces(self) -> tuple[PackedPiece, ...]:
        """The pieces whose hashes are no file's own; in v1 only, in order."""
        if self.format is not TorrentFormat.V1:
            return ()
        return tuple(self._find_packed())

    def _find_packed(self) -> Iterator[PackedPiece]:
        piece_length = self.piece_length
        make = tuple.__new__  # a hundred thousand of them: ``Part`` itself takes twice as long
        current = -1
        parts: list[Part] = []
        for index, (file, begin) in enumerate(zip(self.files, self.offsets, strict=True)):
            size = file.size
            if not 0 < size < piece_length:
                continue
            first = begin // piece_length
            if first != current:
                if parts:
                    yield self._packed(current, parts)
                current, parts = first, []
            room = (first + 1) * piece_length - begin
            if size <= room:
                parts.append(make(Part, (index, 0, size)))
            else:
                parts.append(Part(index, 0, room))
                yield self._packed(current, parts)
                current, parts = first + 1, [Part(index, room, size - room)]
        if parts:
            yield self._packed(current, parts)

    def _packed(self, piece: int, parts: list[Part]) -> PackedPiece:
        begin = piece * self.piece_length
        whole = min(self.piece_length, self.size - begin)
        return PackedPiece(piece, tuple(parts), whole - sum([part.length for part in parts]))

    def v1_hashes(self, hashes: Sequence[FileHashes], packed: Sequence[bytes]) -> bytes:
        """Put together the value of ``pieces`` (BEP 3).

        Args:
            hashes: of each file.
            packed: the SHA-1 of each of ``packed_pieces``.
        """
        if self.format is TorrentFormat.V2:
            return b""
        at = {piece.piece: sha1 for piece, sha1 in zip(self.packed_pieces, packed, strict=True)}
        piece_length = self.piece_length
        for index, file in enumerate(self.files):
            if file.size and self.is_aligned(index):
                at[self.offsets[index] // piece_length] = hashes[index].v1
        return b"".join([at[piece] for piece in sorted(at)])


def is_aligned(size: int, piece_length: int, format: TorrentFormat) -> bool:  # noqa: A002
    """Whether a file of ``size`` bytes has v1 pieces to itself; never in v2, which has none."""
    if format is TorrentFormat.HYBRID:
        return size > 0
    return format is TorrentFormat.V1 and size >= piece_length


def tree_order(file: PublishedFile) -> str:
    """Give what files are sorted by, in the order of a BEP 52 file tree.

    No name holds a NUL, which sorts before all else; and UTF-8 sorts as code points do.
    """
    return file.path.replace("/", "\0")


def lay_out(
    files: Iterable[PublishedFile],
    piece_length: int,
    format: TorrentFormat,  # noqa: A002 - the configuration's word
) -> Layout:
    """Decide where files lie; see the module.

    Args:
        files: in any order, with different paths.
        piece_length: bytes, a power of two of at least 16 KiB.
        format: of the torrent.

    Raises:
        ValueError: ``piece_length`` is none that every client takes.
    """
    is_power = not piece_length & (piece_length - 1)
    if not is_power or not BLOCK_SIZE <= piece_length <= MAX_PIECE_LENGTH:
        raise ValueError(f"a piece length must be a power of two from 16 KiB, not {piece_length}")
    ordered = tuple(sorted(files, key=tree_order))
    if format is TorrentFormat.V2:
        return _lay_out_v2(ordered, piece_length)
    # All files of a hybrid with bytes are aligned, of v1 those of a piece or more.
    least = 1 if format is TorrentFormat.HYBRID else piece_length
    position = 0
    offsets: list[int] = []
    pads: dict[int, int] = {}
    for index, file in enumerate(ordered):
        size = file.size
        beyond = position % piece_length
        if beyond and (size >= least or (size and _starts_pack(file.path, size, piece_length))):
            pads[index] = piece_length - beyond
            position += piece_length - beyond
        offsets.append(position)
        position += size
        if size >= least and (beyond := position % piece_length):
            pads[index + 1] = piece_length - beyond
            position += piece_length - beyond
    return Layout(format, piece_length, ordered, tuple(offsets), pads, position)


def _lay_out_v2(ordered: tuple[PublishedFile, ...], piece_length: int) -> Layout:
    offsets: list[int] = []
    end = 0
    for file in ordered:
        offset = -(-end // piece_length) * piece_length
        offsets.append(offset)
        if file.size:
            end = offset + file.size
    return Layout(TorrentFormat.V2, piece_length, ordered, tuple(offsets), {}, end)


def _starts_pack(path: str, size: int, piece_length: int) -> bool:
    drawn = int.from_bytes(blake2b(path.encode(), digest_size=4).digest(), "big")
    return drawn * MEAN_PACK_PIECES * piece_length < size << 32
