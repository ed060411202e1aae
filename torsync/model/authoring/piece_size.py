"""Which piece size a publication has if none is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.config import TorrentFormat
from torsync.model.merkle import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_PIECE_SIZE = BLOCK_SIZE
MAX_PIECE_SIZE = 16 * 1024**2
OFF_BY = 4
"""The size of the release before is kept until the ideal one is this many times off."""

_MESSAGES_PER_PIECE = 16  # bytes: each subscriber tells its peers of each piece (BEP 3 "have")
_HASH_BYTES = {
    TorrentFormat.V1: 20,  # SHA-1 (BEP 3)
    TorrentFormat.V2: 32,  # SHA-256, for files of more than a piece (BEP 52)
    TorrentFormat.HYBRID: 52,
}
_RELEASES_PER_FIRST_FETCH = 100


def choose_piece_size(
    sizes: Iterable[int],
    format: TorrentFormat,  # noqa: A002 - the configuration's word
    previous: int = 0,
) -> int:
    """Choose the piece size that costs a subscriber least, as a power of two.

    Each release costs a subscriber two things that depend on it:

    * the ``.torrent``, which it fetches and parses as a whole however little has changed: per
      piece 20 bytes of hash in v1, 32 in v2 and 52 in a hybrid, and 16 for telling peers of it;
    * the piece around a change: for one changed byte a whole one is fetched.

    The sum for one change per release is least where both weigh the same, about at the square
    root of the content's size times the bytes per piece. Besides, the first fetch costs padding:
    a file of a piece or more ends in the midst of a 16 KiB block, which v1 sends as a whole (in a
    hybrid every file does, in v2 none). A subscriber lives through many releases, so a hundredth
    of it counts. It decides where there are very many files of about the size of a piece.

    ==========================================  =========  =========  =========
    content                                     v1         v2         hybrid
    ==========================================  =========  =========  =========
    100 files of 10 kB (1 MB)                   16 KiB     16 KiB     16 KiB
    3,600 files of 5.5 kB (20 MB)               32 KiB     16 KiB     16 KiB
    100,000 files of 3 kB (300 MB)              128 KiB    16 KiB     16 KiB
    20,000 files of 300 kB (6 GB)               512 KiB    512 KiB    512 KiB
    300 files of 7 MiB (2 GiB)                  256 KiB    256 KiB    512 KiB
    40 files of 1 GiB (40 GiB)                  1 MiB      1 MiB      2 MiB
    4,000 files of 100 MB (400 GB)              4 MiB      4 MiB      4 MiB
    20 files of 250 GB (5 TB)                   16 MiB     16 MiB     16 MiB
    ==========================================  =========  =========  =========

    Another piece size makes all piece hashes new: the publisher reads everything again, and a
    subscriber can no longer tell by them which pieces of a changed file it has. So the size of
    the release before is kept until the ideal one is four times as large or as small.

    Args:
        sizes: of all files, in bytes.
        format: of the torrent.
        previous: the piece size of the release before; 0 if there is none.

    Returns:
        Bytes: a power of two from 16 KiB to 16 MiB.
    """
    ideal = _Sizes(sizes).best(format)
    is_allowed = not previous & (previous - 1) and MIN_PIECE_SIZE <= previous <= MAX_PIECE_SIZE
    if is_allowed and previous < OFF_BY * ideal and ideal < OFF_BY * previous:
        return previous
    return ideal


class _Sizes:
    """How many bytes the files of each order of magnitude have: 2**(n-1) up to 2**n."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._count = [0] * 64
        self._bytes = [0] * 64
        self._padding = [0] * 64
        for size in sizes:
            bits = size.bit_length()
            self._count[bits] += 1
            self._bytes[bits] += size
            self._padding[bits] += -size % BLOCK_SIZE
        self._count[0] = 0

    def best(self, format: TorrentFormat) -> int:  # noqa: A002 - the configuration's word
        size, candidates = MIN_PIECE_SIZE, []
        while size <= MAX_PIECE_SIZE:
            candidates.append(size)
            size *= 2
        return min(candidates, key=lambda size: self._cost(size, format))

    def _cost(self, piece_size: int, format: TorrentFormat) -> float:  # noqa: A002
        """Bytes that a release costs a subscriber, as far as they depend on the piece size."""
        bits = piece_size.bit_length()
        small, large = slice(bits), slice(bits, None)
        pieces = sum(self._bytes[large]) / piece_size + sum(self._count[large]) / 2
        hashes = pieces * _HASH_BYTES[format]
        padding = sum(self._padding[large])
        if format is TorrentFormat.V1:
            packed = sum(self._bytes[small]) / piece_size
            pieces += packed
            hashes += packed * _HASH_BYTES[format]
        else:
            pieces += sum(self._count[small])  # one each, and its hash is needed in any case
            padding = 0  # in v2 none, in a hybrid the same for every piece size
        metadata = hashes + pieces * _MESSAGES_PER_PIECE
        return metadata + piece_size + padding / _RELEASES_PER_FIRST_FETCH
