"""Content-defined chunks of a file, the groups that they form, and its cells.

Chunks are cut by FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data
Deduplication Based Storage Systems", 2020), so that a boundary depends on the bytes before it and
not on where they are. Groups of chunks end where a chunk's hash says so, so that a long stretch
can be recognised by one hash. Cells lie at fixed offsets: blocks that BitTorrent can transfer.
"""

from __future__ import annotations

from array import array
from hashlib import sha256
from itertools import accumulate
from typing import Literal, NamedTuple

HASH_BYTES = 16
"""Of a chunk, and of a group: the first bytes of its SHA-256."""
CELL_HASH_BYTES = 8
CELL_BYTES = 16 * 1024
"""A block of BitTorrent (BEP 3)."""
SEGMENT_BYTES = 16 * 1024**2
"""Cutting begins anew at each multiple of this, so that large files are cut by several cores."""
LARGEST_GROUP = 32
"""Chunks in a group, at most."""
SMALLEST_FILE = CELL_BYTES + 1
"""Bytes of a file that is worth cutting: one of a single block is fetched whole or not at all."""
LARGEST_FILE = 64 * 1024**3
"""Bytes of a file that is cut: the entry of a larger one would take too much memory."""

NORMALIZATION: Literal[2] = 2
"""FastCDC's level: how strongly lengths keep to the average."""

_SHA256_BYTES = 32
_GROUP_MASK = 0x07  # of a hash's last byte: one chunk in eight ends a group
# Small files share blocks with others, so that parts of a block count.
_AVERAGES = ((64 * 1024, 1024), (1024**3, 8192))
_LARGEST_AVERAGE = 16384


def average_for(size: int) -> int:
    """The average size of the chunks of a file of ``size`` bytes, FastCDC's parameter."""
    return next((average for limit, average in _AVERAGES if size <= limit), _LARGEST_AVERAGE)


class Chunks(NamedTuple):
    """Consecutive chunks of one file.

    Attributes:
        lengths: in bytes (type code ``I``).
        hashes: ``HASH_BYTES`` each, one after the other.
    """

    lengths: array[int]
    hashes: bytes

    def hash_of(self, number: int) -> bytes:
        """The hash of one chunk."""
        return self.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]

    def offsets(self) -> list[int]:
        """Where each chunk begins, from the first one's begin; and where the last one ends."""
        return [0, *accumulate(self.lengths)]


class Group(NamedTuple):
    """Consecutive chunks that one hash stands for.

    Attributes:
        chunks: how many.
        length: of all of them, in bytes.
        digest: of the chunks' hashes, one after the other.
    """

    chunks: int
    length: int
    digest: bytes


def no_chunks() -> Chunks:
    """Chunks of nothing."""
    return Chunks(array("I"), b"")


def digest_of(hashes: bytes | memoryview) -> bytes:
    """The digest of a group whose chunks have these hashes, one after the other."""
    return sha256(hashes).digest()[:HASH_BYTES]


def group_chunks(chunks: Chunks) -> list[Group]:
    """Form the groups of consecutive chunks; they depend on their hashes alone."""
    groups = []
    hashes = memoryview(chunks.hashes)
    first = length = 0
    total = len(chunks.lengths)
    for number, size in enumerate(chunks.lengths, 1):
        length += size
        end = number * HASH_BYTES
        is_last = number - first == LARGEST_GROUP or number == total
        if is_last or not hashes[end - 1] & _GROUP_MASK:
            digest = digest_of(hashes[first * HASH_BYTES : end])
            groups.append(Group(number - first, length, digest))
            first, length = number, 0
    return groups


def is_cut(size: int) -> bool:
    """Whether a file of ``size`` bytes has an entry."""
    return SMALLEST_FILE <= size <= LARGEST_FILE


def usual_entry_bytes(size: int) -> int:
    """Bytes that the entry of a file of ``size`` bytes takes, rather too many than too few."""
    return size // 32 if size <= _AVERAGES[0][0] else size // 256


def cells_of(blocks: bytes) -> bytes:
    """The cells' hashes, one after the other, from the SHA-256 of each of them."""
    return b"".join(
        [blocks[at : at + CELL_HASH_BYTES] for at in range(0, len(blocks), _SHA256_BYTES)]
    )


def cell_count(size: int) -> int:
    """How many cells a file of ``size`` bytes has."""
    return -(-size // CELL_BYTES)
