"""Where large files are looked into: windows, regions between shifts, and small gaps."""

from __future__ import annotations

import itertools

import pytest

from torsync.model.hints.cover import Cover
from torsync.model.hints.matching import Unit
from torsync.model.hints.regions import (
    WINDOW_BYTES,
    Part,
    Region,
    Seed,
    Shift,
    divide,
    halves,
    occurring_once,
    parts_for,
    seeds_in,
    window_in,
    windows_over,
)
from torsync.model.hints.worth import Span

MIB = 1024**2
MARGIN = 256 * 1024
ONE, TWO = Shift(0, 5), Shift(1, -7)


@pytest.mark.parametrize("size", [1, MIB, 5 * MIB, 100 * MIB, 1024 * MIB, 100 * 1024 * MIB + 3])
def test_windows_are_all_over_a_file_and_a_small_part_of_it(size: int) -> None:
    found = list(windows_over(3, size))
    assert found
    assert all(part.source == 3 and part.start >= 0 for part in found)
    assert all(part.start + part.length <= size for part in found)
    assert sum(part.length for part in found) <= max(size // 3, MIB)
    ends = [0, *(part.start for part in found), size]
    assert all(following - one <= 66 * MIB for one, following in itertools.pairwise(ends))


def test_windows_between_two_shifts_are_one_if_they_are_close() -> None:
    cover = Cover()
    cover.add(0, 10 * MIB, 0, 100)
    cover.add(30 * MIB, 40 * MIB, 0, 200)
    middle = 20 * MIB - WINDOW_BYTES // 2
    sizes = [50 * MIB, 12 * MIB]
    assert list(window_in(10 * MIB, 30 * MIB, cover, sizes)) == [
        Part(0, middle + 100, WINDOW_BYTES)
    ]
    cover.add(40 * MIB, 41 * MIB, 1, -30 * MIB)
    assert list(window_in(41 * MIB, 43 * MIB, cover, sizes)) == [Part(1, 11 * MIB, WINDOW_BYTES)]
    far = Cover()
    far.add(0, 10, 0, 0)
    far.add(30 * MIB, 40 * MIB, 0, 10 * MIB)
    assert len(list(window_in(10, 30 * MIB, far, sizes))) == 2
    assert list(window_in(0, 5, Cover(), sizes)) == []


def test_content_that_occurs_several_times_tells_of_no_shift() -> None:
    units = [Unit(0, 10, b"a"), Unit(10, 10, b"b"), Unit(20, 10, b"a"), Unit(30, 10, b"a")]
    once = occurring_once(units)
    assert once == {b"b": units[1]}
    old = [Unit(100, 10, b"a"), Unit(110, 10, b"b"), Unit(120, 9, b"b")]
    assert list(seeds_in(once, 4, old)) == [Seed(10, Shift(4, 100))]


def test_a_region_is_divided_at_the_seeds_in_it() -> None:
    seeds = [Seed(5, ONE), Seed(120, ONE), Seed(130, ONE), Seed(151, TWO), Seed(300, ONE)]
    assert divide(Region(10, 20), seeds, 0, 10) == [
        Region(10, 12, None, ONE),
        Region(12, 15, ONE, TWO),
        Region(15, 20, TWO, None),
    ]
    assert divide(Region(20, 25), seeds, 0, 10) == []
    assert divide(Region(1, 3), [Seed(5, ONE)], -10, 10) == [
        Region(1, 3, ONE, None),
    ]
    assert divide(Region(30, 31), seeds, 0, 10) == [Region(30, 31, ONE, None)]


def test_of_one_shift_seeds_that_are_close_tell_nothing_more() -> None:
    seeds = [Seed(at, ONE) for at in (5 * MIB, 6 * MIB, 13 * MIB - 1, 13 * MIB)]
    assert divide(Region(5, 20), [*seeds, Seed(16 * MIB, TWO)], 0, MIB) == [
        Region(5, 13, ONE, ONE),
        Region(13, 16, ONE, TWO),
        Region(16, 20, TWO),
    ]


def test_a_region_without_a_seed_is_halved() -> None:
    assert divide(Region(10, 20), [], 0, 10) == []
    assert halves(Region(10, 21, ONE, TWO)) == [Region(10, 15), Region(15, 21)]
    assert halves(Region(10, 11)) == [Region(10, 11)]
    assert halves(Region(10, 10)) == []


def test_the_old_bytes_of_a_gap_are_between_those_of_its_neighbours() -> None:
    cover = Cover()
    cover.add(0, 10 * MIB, 0, 100)
    cover.add(11 * MIB, 20 * MIB, 0, 300)
    (part,) = parts_for([Span(10 * MIB, 11 * MIB)], cover, -1, [50 * MIB])
    assert part == Part(0, 10 * MIB + 100 - MARGIN, MIB + 200 + 2 * MARGIN)


def test_where_neighbours_are_in_different_places_both_are_looked_at() -> None:
    cover = Cover()
    cover.add(0, 10 * MIB, 0, 100)
    cover.add(11 * MIB, 20 * MIB, 1, 0)
    found = parts_for([Span(10 * MIB, 11 * MIB)], cover, -1, [50 * MIB, 11 * MIB])
    assert [(part.source, part.start) for part in found] == [
        (0, 10 * MIB + 100 - MARGIN),
        (1, 10 * MIB - MARGIN),
    ]
    assert found[1].start + found[1].length == 11 * MIB


def test_where_much_was_taken_out_or_put_in_only_what_is_near_is_looked_at() -> None:
    cover = Cover()
    cover.add(0, 10 * MIB, 0, 0)
    cover.add(11 * MIB, 20 * MIB, 0, 100 * MIB)
    found = parts_for([Span(10 * MIB, 11 * MIB)], cover, -1, [200 * MIB])
    assert [part.start for part in found] == [10 * MIB - MARGIN, 110 * MIB - MARGIN]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (5 * MIB, [(10 * MIB, 16 * MIB)]),
        (5 * MIB + 1, [(10 * MIB, 11 * MIB), (15 * MIB + 1, 16 * MIB + 1)]),
        (-MIB, [(10 * MIB, 10 * MIB)]),
        (-MIB - 1, [(9 * MIB - 1, 11 * MIB)]),
    ],
)
def test_between_neighbours_is_what_is_not_much_more_than_the_gap(
    more: int, expected: list[tuple[int, int]]
) -> None:
    cover = Cover()
    cover.add(0, 10 * MIB, 0, 0)
    cover.add(11 * MIB, 20 * MIB, 0, more)
    found = parts_for([Span(10 * MIB, 11 * MIB)], cover, -1, [200 * MIB])
    assert found == [Part(0, start - MARGIN, end - start + 2 * MARGIN) for start, end in expected]


def test_neighbours_that_touch_a_gap_tell_more_than_the_file_at_the_path() -> None:
    cover = Cover()
    cover.add(0, 4 * MIB, 1, 100)
    cover.add(20 * MIB, 30 * MIB, 1, 300)

    def parts(start: int, end: int, own: int = 0) -> list[Part]:
        return parts_for([Span(start * MIB, end * MIB)], cover, own, [50 * MIB] * 2)

    def part(source: int, start: int, end: int) -> Part:
        return Part(source, start - MARGIN, end - start + 2 * MARGIN)

    assert parts(4, 20) == [part(1, 4 * MIB + 100, 20 * MIB + 300)]
    assert parts(10, 11) == [part(0, 10 * MIB, 11 * MIB)]
    assert parts(10, 11, own=-1) == [part(1, 10 * MIB + 100, 11 * MIB + 300)]
    assert parts(4, 5) == [part(0, 4 * MIB, 5 * MIB), part(1, 4 * MIB + 100, 5 * MIB + 100)]
    assert parts(19, 20) == [part(0, 19 * MIB, 20 * MIB), part(1, 19 * MIB + 300, 20 * MIB + 300)]


def test_the_margin_ends_where_an_old_file_begins() -> None:
    assert parts_for([Span(0, 1000)], Cover(), 0, [MIB]) == [Part(0, 0, 1000 + MARGIN)]


def test_behind_the_end_of_an_old_file_is_nothing_to_cut() -> None:
    gap = Span(MIB + MARGIN, 2 * MIB)
    assert parts_for([gap], Cover(), 0, [MIB]) == []
    assert parts_for([gap], Cover(), 0, [MIB + 1]) == [Part(0, MIB, 1)]


def test_beside_what_is_kept_the_old_bytes_are_where_they_were() -> None:
    (part,) = parts_for([Span(4 * MIB, 5 * MIB)], Cover(), 2, [0, 0, 50 * MIB])
    assert part == Part(2, 4 * MIB - MARGIN, MIB + 2 * MARGIN)
    assert parts_for([Span(4 * MIB, 5 * MIB)], Cover(), -1, [50 * MIB]) == []
    assert parts_for([Span(40 * MIB, 50 * MIB)], Cover(), 0, [MIB]) == []


def test_gaps_that_are_close_are_cut_in_one_go() -> None:
    gaps = [Span(at * MIB, at * MIB + 1000) for at in (1, 2, 30)]
    found = parts_for(gaps, Cover(), 0, [50 * MIB])
    assert [part.start for part in found] == [MIB - MARGIN, 2 * MIB - MARGIN, 30 * MIB - MARGIN]
    gaps = [Span(MIB, MIB + 1000), Span(MIB + 2000, MIB + 3000)]
    (part,) = parts_for(gaps, Cover(), 0, [50 * MIB])
    assert part == Part(0, MIB - MARGIN, 3000 + 2 * MARGIN)
    gaps = [Span(MIB, MIB + 1000), Span(MIB + 1000 + 2 * MARGIN, 2 * MIB)]
    assert parts_for(gaps, Cover(), 0, [50 * MIB]) == [Part(0, MIB - MARGIN, MIB + 2 * MARGIN)]
