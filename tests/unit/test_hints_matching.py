"""Which place is taken for wanted content that old content has in several."""

from __future__ import annotations

from array import array
from hashlib import sha256
from typing import TYPE_CHECKING

from torsync.model.hints.chunks import HASH_BYTES, Chunks
from torsync.model.hints.cover import Cover, Found
from torsync.model.hints.matching import (
    Places,
    Stretch,
    Unit,
    chunks_in,
    extend,
    groups_in,
    try_cells,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def chunks(text: str, length: int = 10) -> Chunks:
    """A chunk per letter."""
    hashes = b"".join(sha256(letter.encode()).digest()[:HASH_BYTES] for letter in text)
    return Chunks(array("I", [length] * len(text)), hashes)


def wanted(text: str) -> list[Unit]:
    return list(chunks_in(Stretch(0, 0, chunks(text))))


def settled(text: str, *old: Stretch, own: int = 0) -> list[Found]:
    units = wanted(text)
    places = Places(units)
    for stretch in old:
        places.note(stretch.source, chunks_in(stretch))
    cover = Cover()
    places.settle(units, cover, own)
    return list(cover)


def test_what_follows_goes_on_where_the_run_before_ended() -> None:
    assert settled("xab", Stretch(0, 0, chunks("bbxab"))) == [Found(0, 30, 0, 20)]


def test_the_likeliest_file_is_preferred_and_then_the_least_way() -> None:
    one, two = Stretch(0, 0, chunks("...a")), Stretch(1, 0, chunks("a...a"))
    assert settled("a", one, two, own=0) == [Found(0, 10, 0, 30)]
    assert settled("a", one, two, own=1) == [Found(0, 10, 1, 0)]


def test_the_least_way_is_counted_from_where_it_is() -> None:
    one, two = Stretch(0, 1, chunks("a")), Stretch(0, 0, chunks("a"))
    assert settled("a", one, two) == [Found(0, 10, 0, 0)]


def test_beside_what_is_elsewhere_the_likeliest_file_comes_before_the_least_way() -> None:
    olds = Stretch(2, 0, chunks("x")), Stretch(1, 10, chunks("a")), Stretch(0, 500, chunks("a"))
    assert settled("xa", *olds) == [Found(0, 10, 2, 0), Found(10, 20, 0, 490)]


def test_old_content_of_which_only_a_part_was_cut_is_where_it_is() -> None:
    assert settled("ab", Stretch(2, 1000, chunks("-ab"))) == [Found(0, 20, 2, 1010)]


def test_what_is_known_already_is_not_placed_again() -> None:
    units = wanted("ab")
    places = Places(units)
    places.note(0, chunks_in(Stretch(0, 100, chunks("ab"))))
    cover = Cover()
    cover.add(0, 10, 1, 7)
    places.settle(units, cover, 0)
    assert list(cover) == [Found(0, 10, 1, 7), Found(10, 20, 0, 100)]


def test_a_hint_that_lies_about_a_length_finds_nothing() -> None:
    assert settled("ab", Stretch(0, 0, chunks("ab", length=11))) == []


def test_what_is_everywhere_is_remembered_in_a_few_places_only() -> None:
    units = wanted("a")
    places = Places(units)
    for source in range(100):
        places.note(source, chunks_in(Stretch(source, 0, chunks("a" * 100))))
    cover = Cover()
    places.settle(units, cover, own=50)
    assert list(cover) == [Found(0, 10, 0, 0)]


def test_what_is_everywhere_in_one_file_leaves_room_for_another() -> None:
    olds = Stretch(0, 1000, chunks("a" * 100)), Stretch(1, 0, chunks("a"))
    assert settled("a", *olds, own=1) == [Found(0, 10, 1, 0)]


def test_groups_are_where_their_first_chunk_is() -> None:
    letters = "".join(map(chr, range(0x100, 0x200)))
    groups = list(groups_in(Stretch(3, 500, chunks(letters))))
    assert len(groups) > 10
    assert groups[0].start == 500
    assert [one.end for one in groups[:-1]] == [following.start for following in groups[1:]]
    shifted = list(groups_in(Stretch(3, 0, chunks("ab" + letters))))
    assert {unit.digest for unit in groups[1:]} <= {unit.digest for unit in shifted}


class Content:
    """Old files whose bytes are known by their offset; it notes what it was asked."""

    def __init__(self, *right: tuple[int, int]) -> None:
        """Remember: (start of a wanted unit, shift) at which source 0 has it."""
        self._right = set(right)
        self.asked: list[tuple[int, int, int]] = []

    def sees(self, source: int, offset: int, unit: Unit) -> bool:
        self.asked.append((source, unit.start, offset - unit.start))
        return source == 0 and (unit.start, offset - unit.start) in self._right


def known(*runs: tuple[int, int, int, int]) -> Cover:
    cover = Cover()
    for run in runs:
        cover.add(*run)
    return cover


def shifts(cover: Iterable[Found]) -> list[tuple[int, int, int]]:
    return [(run.start, run.end, run.shift) for run in cover]


def test_an_unknown_chunk_is_tried_where_its_neighbours_say() -> None:
    cover = known((0, 10, 0, 5), (50, 60, 0, -5))
    old = Content((10, 5), (20, 5), (40, -5))
    extend(wanted("abcdef"), cover, old.sees)
    assert shifts(cover) == [(0, 30, 5), (40, 60, -5)]
    assert len(old.asked) == 5


def test_a_chunk_of_which_a_part_is_known_is_tried_by_that() -> None:
    cover = known((0, 15, 0, 5), (35, 60, 0, -5))
    extend(wanted("abcdef"), cover, Content((10, 5), (30, -5)).sees)
    assert shifts(cover) == [(0, 20, 5), (30, 60, -5)]


def test_nothing_is_tried_before_the_old_file_begins() -> None:
    old = Content()
    extend(wanted("ab"), known((10, 20, 0, -10)), old.sees)
    assert old.asked == []
    extend(wanted("abc"), known((20, 30, 0, -10)), old.sees)
    assert old.asked == [(0, 10, -10)]


def test_a_cell_is_tried_at_the_shifts_around_it_and_where_it_is() -> None:
    cover = known((0, 12, 0, 5), (35, 40, 0, -5))
    old = Content((20, 0), (10, 5), (30, -5))
    try_cells(wanted("abcd"), cover, 0, old.sees)
    assert shifts(cover) == [(0, 20, 5), (20, 30, 0), (30, 40, -5)]
    assert (0, 10, 0) not in old.asked, "it was found by then"


def test_a_cell_is_tried_again_when_its_neighbour_has_been_found() -> None:
    cover = known((40, 50, 0, 7))
    old = Content((30, 7), (20, 7), (10, 7))
    try_cells(wanted("abcde"), cover, -1, old.sees)
    assert shifts(cover) == [(10, 50, 7)]
    assert len(old.asked) == len(set(old.asked))
