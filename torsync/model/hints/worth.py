"""For which files hints are worth asking, and which files may have their content; pure."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.chunks import CELL_BYTES, is_cut
from torsync.model.hints.format import key_of
from torsync.model.hints.relatives import Relatives, has_sources
from torsync.model.plan import FILLED
from torsync.model.shifts import lacking_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torsync.model.plan import Plan

LEAST_PER_FILE = CELL_BYTES
"""Bytes that a file has to lack."""
LEAST_IN_ALL = 4 * CELL_BYTES
"""Bytes that have to be lacking: for less, asking takes longer than fetching."""

_READ_TIMES = 4  # of a file's size: what is read at most to find its content
_READ_BESIDES = 64 * 1024**2


class Span(NamedTuple):
    """Bytes of a file, from ``start`` to before ``end``."""

    start: int
    end: int


class Sought(NamedTuple):
    """A file of which content is looked for.

    Attributes:
        file_index: of the file in the wanted manifest.
        size: of it, in bytes.
        key: in the hints.
        lacking: what would have to be fetched: whole cells, ascending, apart from one another.
        sources: paths of the files to look into, the likeliest first.
    """

    file_index: int
    size: int
    key: bytes
    lacking: tuple[Span, ...]
    sources: tuple[str, ...]

    @property
    def lacking_bytes(self) -> int:
        """How much would have to be fetched."""
        return sum(end - start for start, end in self.lacking)


def worth_asking(plan: Plan) -> bool:
    """Whether hints could save anything worth the asking."""
    return is_enough(files_to_search(plan))


def is_enough(sought: Iterable[Sought]) -> bool:
    """Whether files lack so much that it is worth asking; takes no more of them than it must."""
    lacking = accumulate(file.lacking_bytes for file in sought)
    return any(so_far >= LEAST_IN_ALL for so_far in lacking)


def files_to_search(plan: Plan) -> Iterator[Sought]:
    """Give the files that have hints, and relatives in the tree, one by one: it takes a while."""
    wanted = plan.wanted
    if not has_sources(plan.index):
        return  # a first sync
    ranges = {
        index: found
        for index, found in lacking_ranges(plan).items()
        if is_cut(wanted.files[index].size)
        and plan.files[index].action in FILLED
        and sum(length for _offset, length in found) >= LEAST_PER_FILE
    }
    if sum(length for found in ranges.values() for _offset, length in found) < LEAST_IN_ALL:
        return
    relatives = Relatives(plan)
    for index, lacking in ranges.items():
        file = wanted.files[index]
        if file.pieces_root is None:
            continue
        sources = tuple(_affordable(relatives, file.size, relatives.of(index)))
        if sources:
            key = key_of(file.pieces_root)
            yield Sought(index, file.size, key, _cells(lacking, file.size), sources)


def _affordable(relatives: Relatives, size: int, paths: Iterable[str]) -> Iterable[str]:
    """Those of ``paths`` that may be read for a file of ``size`` bytes."""
    left = _READ_TIMES * size + _READ_BESIDES
    for path in paths:
        if relatives.size(path) <= left:
            left -= relatives.size(path)
            yield path


def _cells(ranges: Iterable[tuple[int, int]], size: int) -> tuple[Span, ...]:
    """Widen ascending ranges to whole cells, and merge those that then meet."""
    found: list[Span] = []
    for offset, length in ranges:
        start = offset // CELL_BYTES * CELL_BYTES
        end = min(-(-(offset + length) // CELL_BYTES) * CELL_BYTES, size)
        if found and start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(end, found[-1].end))
        else:
            found.append(Span(start, end))
    return tuple(found)
