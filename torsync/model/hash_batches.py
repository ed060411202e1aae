"""Which pieces are hashed together, and when a file is done; pure.

Files and pieces are walked side by side, in the order in which they lie: with many small files
that costs less than a search for each piece.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torsync.model.manifest import Manifest


_ONE_GO = 1 << 30


class Batch(NamedTuple):
    """Pieces that one thread hashes in one go.

    Attributes:
        pieces: their indexes, ascending.
        content_bytes: of files; padding is not counted.
        files: how many files have bytes in them.
        first, last: places of the first and the last of these files; 0 and -1 if there is none.
    """

    pieces: Sequence[int]
    content_bytes: int
    files: int
    first: int
    last: int


class Walk:
    """The files of a manifest that hold bytes, in the order in which they lie.

    A *place* counts these files: what is not a file, or empty, has none.

    Attributes:
        starts, ends: offsets in the piece space, by place.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.starts, self.ends, self._indexes = manifest.sized

    def file_index(self, place: int) -> int:
        """Index into the manifest's files of the file at a place."""
        return self._indexes[place]

    def pieces(self, pieces: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        """Give each of ``pieces`` (ascending) with the places ``first`` to ``stop`` - 1 in it."""
        starts, ends = self.starts, self.ends
        length, layout_size, count = (
            self._manifest.piece_length,
            self._manifest.layout_size,
            len(self.starts),
        )
        first = -1
        for piece in pieces:
            start = piece * length
            end = min(start + length, layout_size)
            if first < 0:
                first = bisect_right(ends, start)
            while first < count and ends[first] <= start:
                first += 1
            stop = first
            while stop < count and starts[stop] < end:
                stop += 1
            yield piece, first, stop

    def batches(self, pieces: Iterable[int], batch_bytes: int) -> list[Batch]:
        """Divide ``pieces`` (ascending) into batches of at least ``batch_bytes`` but the last."""
        starts, ends, length = self.starts, self.ends, self._manifest.piece_length
        found: list[Batch] = []
        batch: list[int] = []
        content = files = beyond = 0
        first, last = 0, -1
        for piece, at, stop in self.pieces(pieces):
            if at < stop:
                start = piece * length
                inside = stop - at
                if inside == 1:
                    content += min(ends[at], start + length) - max(starts[at], start)
                else:
                    whole = sum(ends[at + 1 : stop - 1]) - sum(starts[at + 1 : stop - 1])
                    content += ends[at] - max(starts[at], start) + whole
                    content += min(ends[stop - 1], start + length) - starts[stop - 1]
                if last < 0:
                    first = beyond = at
                files += stop - max(at, beyond)
                beyond, last = stop, stop - 1
            batch.append(piece)
            if content >= batch_bytes:
                found.append(Batch(batch, content, files, first, last))
                batch, content, files, first, last = [], 0, 0, 0, -1
        if batch:
            found.append(Batch(batch, content, files, first, last))
        return found

    def content_bytes(self, pieces: Iterable[int]) -> int:
        """How many bytes of files ``pieces`` (ascending) have."""
        return sum(batch.content_bytes for batch in self.batches(pieces, _ONE_GO))


class FilesDone:
    """Counts the files of which all batches are done, in whatever order these are.

    Only the first and the last file of a batch can have pieces in another one.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._pending: Counter[int] = Counter()
        self.done = 0
        self.total = 0
        for batch in batches:
            ends = _ends(batch)
            self._pending.update(ends)
            self.total += batch.files - len(ends)
        self.total += len(self._pending)

    def add(self, batch: Batch) -> None:
        """Note that a batch is done."""
        ends = _ends(batch)
        self.done += batch.files - len(ends)
        self._pending.subtract(ends)
        self.done += sum(not self._pending[place] for place in ends)


def _ends(batch: Batch) -> set[int]:
    return {batch.first, batch.last} if batch.files else set()
