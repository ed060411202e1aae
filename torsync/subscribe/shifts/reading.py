"""Read ranges of a hints file: near ones together, none twice, and within a budget."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torsync.model.hints.format import HintsError, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torsync.subscribe.shifts.source import HintsSource

_NEAR = 1024  # bytes between two ranges that are cheaper to read than to leave out


class Reading:
    """Reads, and keeps what it has read; see ``forgetting``."""

    def __init__(self, source: HintsSource, budget: int) -> None:
        """Prepare.

        Args:
            source: of the hints; its errors go to the caller.
            budget: bytes that may be reserved in all.
        """
        self._source = source
        self._left = budget
        self._kept: list[Range] = []
        self._data: list[bytes] = []

    def reserve(self, count: int) -> bool:
        """Take bytes out of the budget, if it has them."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def has(self, wanted: Range) -> bool:
        """Whether some bytes have been read."""
        return bool(self._kept) and self._find(wanted) is not None

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Give the bytes of each range, in one request if any are missing.

        Raises:
            HintsError: other bytes came than were asked for.
            HintsUnavailableError: they cannot be had.
        """
        joined = _join(wanted for wanted in ranges if wanted.length and not self.has(wanted))
        if joined:
            for asked, data in zip(joined, self._source.read(joined), strict=True):
                if len(data) != asked.length:
                    raise HintsError(f"{len(data)} bytes of the hints came, not {asked.length}")
                self._keep(asked, data)
        return [self._find(wanted) or b"" for wanted in ranges]

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """What is read inside is not kept."""
        before = self._kept.copy(), self._data.copy()
        yield
        self._kept, self._data = before

    def _keep(self, asked: Range, data: bytes) -> None:
        first = bisect_right(self._kept, asked)
        stop = first
        while stop < len(self._kept) and self._kept[stop].end <= asked.end:
            stop += 1
        self._kept[first:stop] = [asked]
        self._data[first:stop] = [data]

    def _find(self, wanted: Range) -> bytes | None:
        at = bisect_right(self._kept, (wanted.offset, float("inf"))) - 1
        if at < 0 or self._kept[at].end < wanted.end:
            return None
        first = wanted.offset - self._kept[at].offset
        return self._data[at][first : first + wanted.length]


def _join(ranges: Iterable[Range]) -> list[Range]:
    """Sort ranges, and merge those that are near one another."""
    found: list[Range] = []
    for wanted in sorted(ranges):
        if found and wanted.offset <= found[-1].end + _NEAR:
            end = max(found[-1].end, wanted.end)
            found[-1] = Range(found[-1].offset, end - found[-1].offset)
        else:
            found.append(wanted)
    return found
