"""What has been found of a file: runs without overlaps, and the gaps between them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from torsync.model.hints.cover import Cover, Found
from torsync.model.hints.worth import Span

SIZE = 60


def cover(*runs: tuple[int, int, int, int]) -> Cover:
    made = Cover()
    for run in runs:
        made.add(*run)
    return made


def test_runs_of_one_shift_that_meet_are_one() -> None:
    assert list(cover((0, 4, 0, 7), (8, 12, 0, 7), (4, 8, 0, 7))) == [Found(0, 12, 0, 7)]


def test_runs_of_other_shifts_or_sources_stay_apart() -> None:
    runs = [Found(0, 4, 0, 7), Found(4, 8, 0, 8), Found(8, 12, 1, 8)]
    assert list(cover(*runs)) == runs


def test_what_is_known_is_not_replaced() -> None:
    assert list(cover((4, 8, 0, 7), (0, 12, 1, 1))) == [
        Found(0, 4, 1, 1),
        Found(4, 8, 0, 7),
        Found(8, 12, 1, 1),
    ]


def test_the_neighbours_of_a_stretch() -> None:
    runs = [Found(at, at + 2, 0, at) for at in range(0, 40, 4)]
    made = cover(*runs)
    assert made.before(0) is None
    assert made.before(9) == runs[2]
    assert made.after(9) == runs[2]
    assert made.after(10) == runs[3]
    assert made.after(38) is None
    assert Cover().before(5) is Cover().after(5) is None
    assert made.near(10, 11) == [runs[2], runs[3]]
    assert made.near(9, 14) == [runs[2], runs[3], runs[4]]
    assert made.near(38, 50) == [runs[9]]
    assert Cover().near(3, 9) == []


def test_of_many_runs_inside_a_stretch_some_are_near() -> None:
    made = cover(*(Found(at, at + 1, 0, at) for at in range(0, 100, 2)))
    assert len(made.near(0, 99)) < 10


@given(
    runs=st.lists(
        st.tuples(
            st.integers(0, SIZE - 1), st.integers(1, 20), st.integers(0, 1), st.integers(0, 2)
        ),
        max_size=20,
    ),
    spans=st.lists(st.integers(0, SIZE + 20), max_size=6, unique=True),
)
def test_it_says_of_each_byte_what_was_said_first(
    runs: list[tuple[int, int, int, int]], spans: list[int]
) -> None:
    made = Cover()
    told: dict[int, tuple[int, int]] = {}
    for start, length, source, shift in runs:
        made.add(start, start + length, source, shift)
        for at in range(start, start + length):
            told.setdefault(at, (source, shift))
    found = list(made)
    assert len(made) == len(found)
    assert {
        at: (run.source, run.shift) for run in found for at in range(run.start, run.end)
    } == told
    for one, following in itertools.pairwise(found):
        assert one.end < following.start or (
            one.end == following.start and one[2:] != following[2:]
        )
    edges = sorted(spans)
    asked = [Span(*pair) for pair in zip(edges[::2], edges[1::2], strict=False)]
    unknown = {at for gap in made.gaps_in(asked) for at in range(*gap)}
    assert unknown == {at for span in asked for at in range(*span)} - told.keys()
    assert all(run.start < run.end for run in made.within(asked))
    within = [at for run in made.within(asked) for at in range(run.start, run.end)]
    assert within == sorted({at for span in asked for at in range(*span)} & told.keys())
    for span in asked:
        assert made.is_known(*span) == told.keys().__ge__(set(range(*span)))
