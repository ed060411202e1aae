"""Find wanted chunks and groups among those of old content; pure.

Old content goes by as a stream: what is kept of it depends on what is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.chunks import HASH_BYTES, Chunks, Group, group_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torsync.model.hints.cover import Cover

_MOST_PLACES = 16  # of one hash; zeros and the like can be everywhere
_MOST_PER_SOURCE = 4


class Unit(NamedTuple):
    """A chunk or a group of a wanted file: where it is, and what its content hashes to."""

    start: int
    length: int
    digest: bytes

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.start + self.length


class Stretch(NamedTuple):
    """Chunks of a part of an old file.

    Attributes:
        source: number of the file.
        start: where the first one begins.
        chunks: that follow one another.
    """

    source: int
    start: int
    chunks: Chunks


class _Place(NamedTuple):
    source: int
    start: int
    length: int


def units_of_groups(groups: Iterable[Group]) -> Iterator[Unit]:
    """The groups of a whole file, each with its place."""
    start = 0
    for group in groups:
        yield Unit(start, group.length, group.digest)
        start += group.length


def units_of_chunks(chunks: Chunks, start: int) -> Iterator[Unit]:
    """Chunks, each with its place; the first one begins at ``start``."""
    at = 0
    for length in chunks.lengths:
        yield Unit(start, length, chunks.hashes[at : at + HASH_BYTES])
        start += length
        at += HASH_BYTES


def groups_in(stretch: Stretch) -> Iterator[Unit]:
    """The groups that old chunks form."""
    start = stretch.start
    for unit in units_of_groups(group_chunks(stretch.chunks)):
        yield unit._replace(start=start + unit.start)


def chunks_in(stretch: Stretch) -> Iterator[Unit]:
    """The old chunks themselves."""
    return units_of_chunks(stretch.chunks, stretch.start)


class Places:
    """Where in old content some hashes are."""

    def __init__(self, wanted: Iterable[Unit]) -> None:
        self._places: dict[bytes, list[_Place]] = {unit.digest: [] for unit in wanted}

    def note(self, source: int, units: Iterable[Unit]) -> None:
        """Let old chunks or groups of one file go by."""
        get = self._places.get
        for unit in units:
            places = get(unit.digest)
            if places is None or len(places) >= _MOST_PLACES:
                continue
            if sum(place.source == source for place in places) < _MOST_PER_SOURCE:
                places.append(_Place(source, unit.start, unit.length))

    def settle(self, units: Iterable[Unit], cover: Cover, own: int) -> None:
        """Note in ``cover`` where each of the wanted ``units`` is, if it is anywhere.

        Of several places the one is taken that goes on where the unit before ended, else one in
        the source ``own``, else the one that has moved the least.

        Args:
            units: of one wanted file, ascending.
            cover: what is known of that file.
            own: number of the likeliest source.
        """
        for unit in units:
            places = self._places.get(unit.digest)
            if not places or cover.is_known(unit.start, unit.end):
                continue
            before = cover.before(unit.start)
            source, shift = (before.source, before.shift) if before is not None else (own, 0)
            candidates = [
                (
                    place.source != source,
                    place.source != own,
                    abs(unit.start + shift - place.start),
                    *place,
                )
                for place in places
                if place.length == unit.length
            ]
            if candidates:
                *_rank, found, start, _length = min(candidates)
                cover.add(unit.start, unit.end, found, start - unit.start)


def extend(units: Sequence[Unit], cover: Cover, is_there: Callable[[int, int, Unit], bool]) -> None:
    """Try unknown chunks where a neighbour's place says that they are, one after the other.

    Args:
        units: of one wanted file, ascending.
        cover: what is known of that file.
        is_there: whether a source has, at an offset, what a unit hashes to; see ``sees``.
    """
    for unit in units:
        before = cover.before(unit.end)
        if before is not None and before.start < unit.start <= before.end < unit.end:
            _try(unit, before.source, before.shift, cover, is_there)
    for unit in reversed(units):
        after = cover.after(unit.start)
        if after is not None and unit.start < after.start <= unit.end < after.end:
            _try(unit, after.source, after.shift, cover, is_there)


def try_cells(
    cells: Sequence[Unit],
    cover: Cover,
    own: int,
    is_there: Callable[[int, int, Unit], bool],
) -> None:
    """Try unknown cells at the shifts of what is known around them, and where they are.

    Args:
        cells: of one wanted file, ascending.
        cover: what is known of that file.
        own: number of the file at its path.
        is_there: see ``extend``.
    """
    tried: dict[int, set[tuple[int, int]]] = {}
    for cell in (*cells, *reversed(cells)):
        if cover.is_known(cell.start, cell.end):
            continue
        done = tried.setdefault(cell.start, set())
        places = [(run.source, run.shift) for run in cover.near(cell.start, cell.end)]
        for source, shift in dict.fromkeys((*places, (own, 0))):
            if (source, shift) not in done:
                done.add((source, shift))
                if _try(cell, source, shift, cover, is_there):
                    break


def _try(
    unit: Unit,
    source: int,
    shift: int,
    cover: Cover,
    is_there: Callable[[int, int, Unit], bool],
) -> bool:
    if unit.start + shift < 0 or not is_there(source, unit.start + shift, unit):
        return False
    cover.add(unit.start, unit.end, source, shift)
    return True
