"""Where to look in large old files, so that not all of them has to be cut; pure.

A few windows are cut to learn by how much content has moved. Whole pieces prove it, from there
to both sides; what is left between two shifts is looked into more closely.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torsync.model.hints.cover import Cover
    from torsync.model.hints.matching import Unit
    from torsync.model.hints.worth import Span

WINDOW_BYTES = 1024**2
"""Cut to find groups in: several, and those that it takes until the cuts are in step."""
SMALL_REGION = 4 * 1024**2
"""Bytes that are rather cut as a whole."""

_WINDOWS_APART = 64 * 1024**2
_NEAREST_WINDOWS = 4 * 1024**2
_WINDOWS = 16  # of a file that is not very large
_MARGIN = 256 * 1024  # for cuts to be in step: the chunks of a group
_SEEDS_APART = 8 * 1024**2  # of one shift: closer ones tell nothing more


class Part(NamedTuple):
    """Bytes of an old file, which is told by its number."""

    source: int
    start: int
    length: int


class Shift(NamedTuple):
    """Where content went: the file that has it, and what to add to a wanted offset."""

    source: int
    shift: int


class Seed(NamedTuple):
    """An offset in a wanted file of which it is known where its content is."""

    start: int
    shift: Shift


class Region(NamedTuple):
    """Consecutive pieces of a wanted file, and the shifts to try from either end."""

    first: int
    stop: int
    left: Shift | None = None
    right: Shift | None = None


def windows_over(source: int, size: int) -> Iterator[Part]:
    """Windows all over an old file of ``size`` bytes."""
    step = min(max(size // _WINDOWS, _NEAREST_WINDOWS), _WINDOWS_APART)
    for middle in range(min(step, size) // 2, size, step):
        yield _window(source, middle, size)


def window_in(start: int, end: int, cover: Cover, sizes: Sequence[int]) -> Iterator[Part]:
    """Windows where the middle of unknown bytes would be, going by what is known beside them.

    Args:
        start: of the unknown bytes in the wanted file.
        end: of them.
        cover: what is known of that file.
        sizes: of the old files, in bytes.
    """
    middle = (start + end) // 2
    found: list[Part] = []
    for run in (cover.before(start + 1), cover.after(end - 1)):
        if run is not None:
            window = _window(run.source, middle + run.shift, sizes[run.source])
            if not any(
                other.source == window.source and abs(other.start - window.start) < _MARGIN
                for other in found
            ):
                found.append(window)
    yield from found


def _window(source: int, middle: int, size: int) -> Part:
    start = max(min(middle - WINDOW_BYTES // 2, size - WINDOW_BYTES), 0)
    return Part(source, start, min(WINDOW_BYTES, size))


def seeds_in(wanted: dict[bytes, Unit], source: int, units: Iterable[Unit]) -> Iterator[Seed]:
    """Give a seed for each old group that is wanted; ``wanted`` has those that occur once."""
    for unit in units:
        found = wanted.get(unit.digest)
        if found is not None and found.length == unit.length:
            yield Seed(found.start, Shift(source, unit.start - found.start))


def occurring_once(units: Iterable[Unit]) -> dict[bytes, Unit]:
    """Units by digest, without those that occur several times: these tell of no shift."""
    found: dict[bytes, Unit | None] = {}
    for unit in units:
        found[unit.digest] = None if unit.digest in found else unit
    return {digest: unit for digest, unit in found.items() if unit is not None}


def divide(
    region: Region, seeds: Sequence[Seed], piece_starts: int, piece_length: int
) -> list[Region]:
    """Divide a region at the seeds in it.

    Args:
        region: to divide; its own shifts have been tried.
        seeds: ascending, of the whole file.
        piece_starts: offset in the wanted file at which piece 0 would begin.
        piece_length: in bytes.

    Returns:
        Regions with shifts to try; none if no seed is in the region.
    """
    inside: list[tuple[int, Seed]] = []
    begin, end = (piece_starts + piece * piece_length for piece in region[:2])
    first = bisect_left(seeds, begin, key=_start_of)
    for seed in seeds[first : bisect_left(seeds, end, lo=first, key=_start_of)]:
        piece = (seed.start - piece_starts) // piece_length
        last = inside[-1][1] if inside else None
        if last is None or last.shift != seed.shift or seed.start - last.start >= _SEEDS_APART:
            inside.append((piece, seed))
    if not inside:
        return []
    found = [Region(region.first, inside[0][0], None, inside[0][1].shift)]
    for at, (piece, seed) in enumerate(inside):
        following = inside[at + 1] if at + 1 < len(inside) else (region.stop, None)
        right = following[1].shift if following[1] is not None else None
        found.append(Region(piece, following[0], seed.shift, right))
    return [part for part in found if part.first < part.stop]


def _start_of(seed: Seed) -> int:
    return seed.start


def halves(region: Region) -> list[Region]:
    """Divide a region in which nothing was found; its shifts have been tried."""
    middle = (region.first + region.stop) // 2
    both = (Region(region.first, middle), Region(middle, region.stop))
    return [half for half in both if half.first < half.stop]


def parts_for(gaps: Iterable[Span], cover: Cover, own: int, sizes: Sequence[int]) -> list[Part]:
    """Where in old files the content of small gaps would be, going by what is known beside them.

    Args:
        gaps: unknown bytes of a wanted file, ascending.
        cover: what is known of that file.
        own: number of the file whose content is kept where nothing is lacking; -1: none.
        sizes: of the old files, in bytes.

    Returns:
        Parts in order, without overlaps; with a margin, so that cuts are in step.
    """
    found: list[tuple[int, int, int]] = []
    for start, end in gaps:
        before, after = cover.before(start), cover.after(end)
        left = Shift(before.source, before.shift) if before is not None else None
        right = Shift(after.source, after.shift) if after is not None else None
        if before is None or before.end < start:
            left = Shift(own, 0) if own >= 0 else left
        if after is None or after.start > end:
            right = Shift(own, 0) if own >= 0 else right
        found += _between(start, end, left, right)
    merged: list[tuple[int, int, int]] = []
    for source, start, end in sorted(found):
        start, end = max(start - _MARGIN, 0), min(end + _MARGIN, sizes[source])  # noqa: PLW2901
        if merged and merged[-1][0] == source and start <= merged[-1][2]:
            merged[-1] = (source, merged[-1][1], max(end, merged[-1][2]))
        elif start < end:
            merged.append((source, start, end))
    return [Part(source, start, end - start) for source, start, end in merged]


def _between(
    start: int, end: int, left: Shift | None, right: Shift | None
) -> Iterator[tuple[int, int, int]]:
    """The old bytes between two shifts; where that is nothing sensible, those next to each."""
    if left is not None and right is not None and left.source == right.source:
        first, last = start + left.shift, end + right.shift
        if 0 <= last - first <= 2 * (end - start) + SMALL_REGION:
            yield left.source, first, last
            return
    for shift in (left, right):
        if shift is not None:
            yield shift.source, start + shift.shift, end + shift.shift
