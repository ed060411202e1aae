"""The hints file, version 1: how it is laid out, and how parts of it are read.

All numbers are little-endian and unsigned. Offsets count from the file's first byte.

=========  ====================================================================================
bytes      header
=========  ====================================================================================
16         ``MAGIC``
2          version: 1
1          ``b``, the bits of the fan-out: 0 to 24
1          0
4          ``n``, the number of records
8          the size of the whole file in bytes
=========  ====================================================================================

The **fan-out** follows: ``2**b + 1`` numbers of 4 bytes; the one at ``i`` is how many records
have a key whose first ``b`` bits are less than ``i``. Then ``n`` **records**, ordered by key:

=========  ====================================================================================
bytes      record
=========  ====================================================================================
16         key: the first bytes of the file's ``pieces root`` (BEP 52)
8          offset of its entry
4          number of groups
4          number of chunks
1          binary logarithm of the average chunk size: 8 to 14
3          0
=========  ====================================================================================

An **entry** describes one file: its groups, its chunks, its cells, each in the file's order.

=========  ====================================================================================
bytes      of each
=========  ====================================================================================
21         group: number of chunks (1 byte, 1 to 32), length in bytes (4), and the first 16
           bytes of the SHA-256 of its chunks' hashes, one after the other
18         chunk: length in bytes, less one (2), and the first 16 bytes of its SHA-256
8          cell: the first bytes of the SHA-256 of 16 KiB of the file, the last one as short as
           it is
=========  ====================================================================================

Chunks are those of FastCDC 2020 with normalization level 2, a smallest chunk of a quarter and a
largest of four times the average, and the gear table of the paper's authors; cutting begins anew
at each multiple of 16 MiB. A group ends after a chunk whose hash ends with three zero bits, after
32 chunks, and at the end of the file. A reader need not know any of that: groups and chunks can be
of any length.
"""

from __future__ import annotations

import struct
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import TorsyncError
from torsync.model.hints.chunks import (
    CELL_HASH_BYTES,
    HASH_BYTES,
    LARGEST_GROUP,
    Chunks,
    Group,
    cell_count,
    digest_of,
    group_chunks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUFFIX = ".hints"
"""What the name of a hints file has after that of its ``.torrent``."""
MAGIC = b"torsync hints\r\n\x1a"
VERSION = 1
KEY_BYTES = 16

_HEADER = struct.Struct("<16sHBxIQ")
_RECORD = struct.Struct("<16sQIIB3x")
_TWO = struct.Struct("<II")
_GROUP = struct.Struct("<BI16s")
_CHUNK = struct.Struct("<H16s")
_MOST_BITS = 24
_AVERAGE_BITS = range(8, 15)
_SMALLEST_ON_AVERAGE = 256  # bytes of a chunk: more chunks are not worth their bytes
HEADER_BYTES = _HEADER.size


class HintsError(TorsyncError):
    """What was taken for a hints file is none, or contradicts itself."""

    code = "hints"


class Range(NamedTuple):
    """Bytes of a hints file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.length


def key_of(pieces_root: bytes) -> bytes:
    """The key of a file in the index."""
    return pieces_root[:KEY_BYTES]


# --- reading ---------------------------------------------------------------------------------


class Header(NamedTuple):
    """What the first bytes say.

    Attributes:
        bits: of the fan-out.
        records: how many there are.
        size: bytes of the whole file.
    """

    bits: int
    records: int
    size: int

    @property
    def fanout_range(self) -> Range:
        """Where the fan-out is."""
        return Range(HEADER_BYTES, 4 * (2**self.bits + 1))

    @property
    def index_range(self) -> Range:
        """Where the records are."""
        return Range(self.fanout_range.end, self.records * _RECORD.size)

    def fanout_of(self, key: bytes) -> Range:
        """Where the two numbers are that tell where a key's record would be."""
        return Range(HEADER_BYTES + 4 * _slot(key, self.bits), 8)

    def bucket_of(self, two: bytes) -> Range:
        """Where the records are that may have a key; ``two`` is what ``fanout_of`` locates.

        Raises:
            HintsError: the numbers make no sense.
        """
        _check_length(two, _TWO.size, "fan-out's numbers")
        first, stop = _TWO.unpack(two)
        if not first <= stop <= self.records:
            raise HintsError(
                f"the fan-out of the hints goes from {first} to {stop} of {self.records} records"
            )
        return Range(self.index_range.offset + first * _RECORD.size, (stop - first) * _RECORD.size)


class Record(NamedTuple):
    """Where the entry of a file is, and what is in it."""

    key: bytes
    offset: int
    groups: int
    chunks: int
    average_bits: int

    @property
    def average(self) -> int:
        """The average size of chunks that it was cut with, in bytes."""
        return 1 << self.average_bits

    @property
    def groups_range(self) -> Range:
        """Where its groups are."""
        return Range(self.offset, self.groups * _GROUP.size)

    def chunks_range(self, first: int, count: int) -> Range:
        """Where some of its chunks are."""
        return Range(self.groups_range.end + first * _CHUNK.size, count * _CHUNK.size)

    def cells_range(self, first: int, count: int) -> Range:
        """Where some of its cells are."""
        begin = self.chunks_range(self.chunks, 0).offset
        return Range(begin + first * CELL_HASH_BYTES, count * CELL_HASH_BYTES)

    def entry_range(self, file_size: int) -> Range:
        """Where all of it is."""
        return Range(self.offset, self.cells_range(cell_count(file_size), 0).end - self.offset)


def parse_header(data: bytes) -> Header:
    """Read the first ``HEADER_BYTES``.

    Raises:
        HintsError: it is no hints file of this version.
    """
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise HintsError("it is no hints file")
    _magic, version, bits, records, size = _HEADER.unpack_from(data)
    if version != VERSION:
        raise HintsError(
            f"its version is {version}, and {VERSION} is what is known here",
            hint="a newer torsync may know it",
        )
    header = Header(bits, records, size)
    if bits > _MOST_BITS or header.index_range.end > size:
        raise HintsError("the header of the hints contradicts itself")
    return header


def find_record(bucket: bytes, key: bytes, header: Header, file_size: int) -> Record | None:
    """Find a file's record among those of its bucket.

    Args:
        bucket: what is where ``Header.bucket_of`` says.
        key: of the file.
        header: of the hints file.
        file_size: of the file, in bytes, as its manifest has it.

    Raises:
        HintsError: the record is not possible for such a file.
    """
    for found in _RECORD.iter_unpack(bucket[: len(bucket) // _RECORD.size * _RECORD.size]):
        if found[0] != key:
            continue
        record = Record(*found)
        is_sane = (
            0 < record.groups <= record.chunks <= record.groups * LARGEST_GROUP
            and record.average_bits in _AVERAGE_BITS
            and record.chunks <= 64 + file_size // _SMALLEST_ON_AVERAGE
            and record.offset >= header.index_range.end
            and record.entry_range(file_size).end <= header.size
        )
        if not is_sane:
            raise HintsError("the hints have a record that is not possible")
        return record
    return None


def parse_groups(data: bytes, record: Record, file_size: int) -> list[Group]:
    """Read all groups of an entry.

    Raises:
        HintsError: they do not make up the file.
    """
    _check_length(data, record.groups_range.length, "groups")
    groups = [Group(*found) for found in _GROUP.iter_unpack(data)]
    chunks = sum(group.chunks for group in groups)
    length = sum(group.length for group in groups)
    if len(groups) != record.groups or chunks != record.chunks or length != file_size:
        raise HintsError(
            f"the hints have {len(groups)} groups with {chunks} chunks of {length} bytes for a "
            f"file of {file_size} bytes with {record.groups} groups and {record.chunks} chunks"
        )
    if any(not group.chunks or not group.length for group in groups):
        raise HintsError("the hints have an empty group")
    return groups


def parse_chunks(data: bytes, groups: Sequence[Group]) -> Chunks:
    """Read the chunks of consecutive groups.

    Raises:
        HintsError: they are not those of the groups.
    """
    _check_length(data, sum(group.chunks for group in groups) * _CHUNK.size, "chunks")
    found = list(_CHUNK.iter_unpack(data))
    lengths = array("I", [length + 1 for length, _digest in found])
    hashes = b"".join([digest for _length, digest in found])
    first = 0
    for group in groups:
        stop = first + group.chunks
        told = digest_of(hashes[first * HASH_BYTES : stop * HASH_BYTES])
        if sum(lengths[first:stop]) != group.length or told != group.digest:
            raise HintsError("the chunks of the hints are not those of their groups")
        first = stop
    return Chunks(lengths, hashes)


def _check_length(data: bytes, expected: int, what: str) -> None:
    if len(data) != expected:
        raise HintsError(f"the {what} of the hints should be {expected} bytes, and are {len(data)}")


# --- writing ---------------------------------------------------------------------------------


class Entry(NamedTuple):
    """An entry as it is written, and what its record says of it.

    Attributes:
        key: of the file.
        data: the entry's bytes.
        groups: how many.
        chunks: how many.
        average: size of chunks, in bytes: a power of two.
    """

    key: bytes
    data: bytes
    groups: int
    chunks: int
    average: int


def write_entry(key: bytes, average: int, chunks: Chunks, cells: bytes) -> Entry:
    """Turn what is known of a file into its entry.

    Args:
        key: of the file.
        average: what its chunks were cut with.
        chunks: all of the file.
        cells: all of its cells' hashes, one after the other.
    """
    groups = group_chunks(chunks)
    hashes = chunks.hashes
    data = bytearray()  # one by one: those of a large file are millions
    for group in groups:
        data += _GROUP.pack(*group)
    for number, length in enumerate(chunks.lengths):
        data += _CHUNK.pack(length - 1, hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES])
    data += cells
    return Entry(key, bytes(data), len(groups), len(chunks.lengths), average)


class Filed(NamedTuple):
    """What the index says of an entry; ``length`` is that of its bytes."""

    key: bytes
    length: int
    groups: int
    chunks: int
    average: int


def write_front(entries: Iterable[Filed]) -> bytes:
    """Write header, fan-out and records; the entries' bytes follow, in the order given.

    Args:
        entries: in the order of their keys, each key once.
    """
    listed = list(entries)
    bits = _fanout_bits(len(listed))
    header = Header(bits, len(listed), 0)
    offset = header.index_range.end
    records = []
    for entry in listed:
        average_bits = entry.average.bit_length() - 1
        records.append(_RECORD.pack(entry.key, offset, entry.groups, entry.chunks, average_bits))
        offset += entry.length
    begin = _HEADER.pack(MAGIC, VERSION, bits, len(listed), offset)
    return b"".join((begin, _fanout([entry.key for entry in listed], bits), *records))


def _fanout_bits(records: int) -> int:
    """As many as make two numbers of the fan-out and a bucket cheap to ask for."""
    return max(0, min(16, (records // 16).bit_length()))


def _fanout(keys: Sequence[bytes], bits: int) -> bytes:
    counts = [0] * (2**bits + 1)
    for key in keys:
        counts[1 + _slot(key, bits)] += 1
    return struct.pack(f"<{len(counts)}I", *accumulate(counts))


def _slot(key: bytes, bits: int) -> int:
    """The first ``bits`` of a key."""
    return int.from_bytes(key[:4], "big") >> (32 - bits)
