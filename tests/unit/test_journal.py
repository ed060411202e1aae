"""The journal of a commit: it comes back as it was stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.journal import Gone, Journal, Kept, Placed

numbers = st.integers(0, 2**63)
paths = st.text(min_size=1, max_size=20) | st.just("not \udcff UTF-8")
identities = st.tuples(numbers, numbers, numbers)
placed = st.builds(
    Placed,
    st.sampled_from(["moved", "copied", "patched", "fetched"]),
    paths,
    numbers,
    numbers,
    numbers,
    numbers,
    source=paths | st.just(""),
    aside=st.booleans(),
    over=identities | st.none(),
    mode=st.integers(-1, 0o7777),
    mtime_s=numbers | st.none(),
    link=paths | st.just(""),
)
kept = st.builds(Kept, paths, numbers, numbers, numbers, numbers, numbers, mtime_s=st.none())
gone = st.builds(Gone, paths, numbers, numbers, numbers, st.booleans())
journals = st.builds(
    Journal,
    st.text(),
    st.text(),
    st.text(),
    st.floats(0, 1e12),
    st.just({"changed": True, "paths": ["a"]}),
    cleared=st.lists(gone, max_size=3).map(tuple),
    blocking=st.frozensets(paths, max_size=3),
    folders=st.lists(paths, max_size=3).map(tuple),
    placed=st.lists(placed, max_size=3).map(tuple),
    removed=st.lists(gone, max_size=3).map(tuple),
    kept=st.lists(kept, max_size=3).map(tuple),
)


@given(journals)
def test_a_journal_comes_back_as_it_was_stored(journal: Journal) -> None:
    lines = list(journal.dump())
    assert all("\n" not in line and line.isascii() for line in lines)
    assert Journal.load(lines) == journal


def test_no_lines_are_no_journal() -> None:
    assert Journal.load([]) is None


def test_a_journal_without_steps_moves_nothing() -> None:
    journal = Journal("body", "stage", "stamp", kept=(Kept("a", 0, 1, 2, 3),))
    assert not journal.moves_anything
    assert list(journal.vacated()) == []


@pytest.mark.parametrize(
    "steps",
    [
        {"placed": (Placed("fetched", "a", 0),)},
        {"cleared": (Gone("a", 1, 2, 3, released=True),)},
        {"removed": (Gone("a", 1, 2, 3, released=True),)},
    ],
)
def test_any_path_that_gets_other_content_or_none_is_moved(steps: dict[str, Any]) -> None:
    """What is moved is then synced to the disk."""
    assert Journal("body", "stage", "stamp", **steps).moves_anything


def test_the_same_journal_is_the_same_text() -> None:
    blocking = [f"{number}" for number in range(20)]
    texts = {
        tuple(Journal("body", "stage", "stamp", blocking=frozenset(paths)).dump())
        for paths in (blocking, blocking[::-1])
    }
    assert texts == {tuple(Journal("body", "stage", "stamp", blocking=frozenset(blocking)).dump())}
    assert json.loads(next(iter(texts))[1])[0] == sorted(blocking)


def test_paths_that_nothing_gets_to_are_vacated() -> None:
    journal = Journal(
        "body",
        "stage",
        "stamp",
        cleared=(Gone("cleared", 1, 2, 3, released=True),),
        placed=(
            Placed("moved", "b", 0, source="a"),
            Placed("moved", "c", 1, source="b"),
            Placed("fetched", "d", 2),
        ),
        removed=(Gone("removed", 1, 2, 3, released=False),),
    )
    assert list(journal.vacated()) == ["cleared", "removed", "a"]


def test_a_file_gets_the_time_of_the_release() -> None:
    assert Placed("moved", "a", 0, 10, 20, 30).identity == (10, 20, 30)
    assert Placed("moved", "a", 0, 10, 20, 30, mtime_s=7).identity == (10, 7 * 10**9, 30)
    assert Kept("a", 0, 10, 20, 30, mtime_s=7).identity == (10, 7 * 10**9, 30)
    assert Gone("a", 10, 20, 30, released=True).identity == (10, 20, 30)


def test_the_lines_are_json() -> None:
    journal = Journal("body", "stage", "stamp", placed=(Placed("fetched", "a", 0),))
    assert [type(json.loads(line)) for line in journal.dump()] == [list, list, list]


SHORTEST = {
    "placed": (["fetched", "a", 0], Placed("fetched", "a", 0, 0, 0, 0, "", False, None, -1)),
    "kept": (["a", 0, 10, 20, 30], Kept("a", 0, 10, 20, 30, -1, -1, None)),
    "removed": (["a", 10, 20, 30, True], Gone("a", 10, 20, 30, released=True)),
    "cleared": (["a", 10, 20, 30, False], Gone("a", 10, 20, 30, released=False)),
}
BEGIN = ['["body", "stage", "stamp", 7.0, {}]', "[[], []]"]


@pytest.mark.parametrize("name", SHORTEST)
def test_steps_that_an_older_version_wrote_are_read(name: str) -> None:
    values, step = SHORTEST[name]
    journal = Journal.load([*BEGIN, json.dumps([name, *values])])
    assert journal == Journal("body", "stage", "stamp", 7.0, **{name: (step,)})
    for damaged in (values[:-1], [*step, 1], [None, *values[1:]], []):
        with pytest.raises(ValueError, match="it has a step that is damaged"):
            Journal.load([*BEGIN, json.dumps([name, *damaged])])
