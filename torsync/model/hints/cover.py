"""What has been found of one wanted file, and what is still unknown; pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.worth import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_NEAR = 6


class Found(NamedTuple):
    """Bytes of a wanted file from ``start`` to before ``end``, and where they are.

    Attributes:
        start: in the wanted file.
        end: in the wanted file.
        source: number of the file that has them.
        shift: what is added to an offset in the wanted file to get the one in that file.
    """

    start: int
    end: int
    source: int
    shift: int


class Cover:
    """Runs that were found, in order and without overlaps; those of one shift that meet are one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._runs: list[Found] = []

    def __iter__(self) -> Iterator[Found]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, start: int, end: int, source: int, shift: int) -> None:
        """Note where bytes are; what is known already stays as it is."""
        for gap in self.gaps(start, end):
            self._insert(Found(gap.start, gap.end, source, shift))

    def _insert(self, run: Found) -> None:
        at = bisect_left(self._starts, run.start)
        first = stop = at
        if at and self._joins(self._runs[at - 1], run):
            first, run = at - 1, run._replace(start=self._runs[at - 1].start)
        if at < len(self._runs) and self._joins(run, self._runs[at]):
            stop, run = at + 1, run._replace(end=self._runs[at].end)
        self._runs[first:stop] = [run]
        self._starts[first:stop] = [run.start]

    @staticmethod
    def _joins(one: Found, following: Found) -> bool:
        return one.end == following.start and one[2:] == following[2:]

    def gaps(self, start: int, end: int) -> list[Span]:
        """What is unknown between two offsets."""
        found = []
        at = max(bisect_right(self._starts, start) - 1, 0)
        while start < end and at < len(self._runs):
            run = self._runs[at]
            if run.start >= end:
                break
            if run.start > start:
                found.append(Span(start, run.start))
            start = max(start, run.end)
            at += 1
        if start < end:
            found.append(Span(start, end))
        return found

    def gaps_in(self, spans: Iterable[Span]) -> list[Span]:
        """What is unknown of several spans."""
        return [gap for span in spans for gap in self.gaps(*span)]

    def is_known(self, start: int, end: int) -> bool:
        """Whether nothing is unknown between two offsets."""
        return not self.gaps(start, end)

    def before(self, start: int) -> Found | None:
        """The last run that begins before an offset."""
        at = bisect_left(self._starts, start)
        return self._runs[at - 1] if at else None

    def after(self, end: int) -> Found | None:
        """The first run that ends behind an offset."""
        at = max(bisect_right(self._starts, end) - 1, 0)
        return next((run for run in self._runs[at : at + 2] if run.end > end), None)

    def near(self, start: int, end: int) -> list[Found]:
        """Some runs in and around a stretch: the ones inside, the one before, the one after."""
        first = max(bisect_left(self._starts, start) - 1, 0)
        stop = bisect_left(self._starts, end)
        last = self.after(end)
        inside = self._runs[first : min(stop, first + _MOST_NEAR)]
        return [*inside, last] if last is not None and last not in inside else inside

    def within(self, spans: Iterable[Span]) -> Iterator[Found]:
        """The runs cut down to ascending spans."""
        for start, end in spans:
            at = max(bisect_right(self._starts, start) - 1, 0)
            while at < len(self._runs) and self._runs[at].start < end:
                run = self._runs[at]
                if run.end > start:
                    yield run._replace(start=max(run.start, start), end=min(run.end, end))
                at += 1
