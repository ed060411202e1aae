"""What was stored and comes back damaged is nothing, or named."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.fuzz.targets.state import journal
from torsync.model.history import Totals, UpdateRecord, read_stored
from torsync.model.journal import Journal
from torsync.model.postponed import Postponed
from torsync.model.retention import Tally
from torsync.model.seal import Seal
from torsync.model.stored import are_texts, fits, load_json, load_number
from torsync.model.trust import Order, Vouched
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD: dict[str, tuple[Callable[[str], Any], str]] = {
    "vouched": (Vouched.load, Vouched("0" * 64, "key", Order(1, 2), "http://h/").dump()),
    "postponed": (Postponed.load, Postponed("0" * 64, is_timed=True, reason="later").dump()),
    "tally": (Tally.load, Tally(1.0, 2.0, 3).dump()),
    "seal": (Seal.load, Seal("0" * 64, "policy", "pack", "1" * 40, 1, 2, ("a",)).dump()),
}
WRONG = (None, True, -1, 1.5, "x", [], {}, [None], {"x": 1})


def test_json_that_is_none_is_nothing() -> None:
    for text in ("", "[", "[" * 100_000, "9" * 5000, b"\xff"):
        assert load_json(text) is None
    assert load_json("[1]") == [1]


def test_a_list_fits_by_number_and_kinds() -> None:
    assert fits([1, "x"], int, str)
    assert not fits([1], int, str)
    assert not fits([1, 2], int, str)
    assert not fits("12", str, str)
    assert not fits([float("nan")], float)
    assert are_texts(["a"])
    assert not are_texts("a")
    assert not are_texts([1])


def test_numbers_are_finite() -> None:
    assert load_number("1.5") == 1.5
    for text in ("", "x", "nan", "inf"):
        assert load_number(text) is None


@pytest.mark.parametrize("kind", GOOD)
def test_what_was_stored_comes_back_and_anything_else_is_nothing(kind: str) -> None:
    load, text = GOOD[kind]
    assert load(text).dump() == text
    found = json.loads(text)
    keys = list(found) if isinstance(found, dict) else range(len(found))
    for key in keys:
        values = [wrong for wrong in WRONG if not isinstance(wrong, type(found[key]))]
        for wrong in values:
            damaged = {**found, key: wrong} if isinstance(found, dict) else [*found]
            damaged[key] = wrong
            again = load(json.dumps(damaged))
            assert again is None or isinstance(wrong, (int, float))
    for wrong in ("", "[", *map(json.dumps, WRONG)):
        assert load(wrong) is None
    if isinstance(found, dict):
        assert kind != "seal" or load(json.dumps({**found, "more": 1})) is None


def test_a_journal_comes_back_and_a_damaged_one_is_refused() -> None:
    lines = list(journal().dump())
    assert Journal.load(lines) == journal()
    assert Journal.load([]) is None
    for number in range(len(lines)):
        for wrong in ("", "[", *map(json.dumps, WRONG), '["placed"]', '["placed", 1, 2, 3]'):
            damaged = [*lines]
            damaged[number] = wrong
            with pytest.raises(ValueError, match="damaged"):
                Journal.load(damaged)
    with pytest.raises(ValueError, match="damaged"):
        Journal.load(lines[:1])
    placed = json.loads(next(line for line in lines if '"placed"' in line))
    placed[9] = [1, 2, "x"]
    with pytest.raises(ValueError, match="damaged"):
        Journal.load([*lines[:2], json.dumps(placed)])


def test_an_update_that_is_remembered_and_damaged_is_refused() -> None:
    good = UpdateRecord(1.0, "pack").as_json()
    assert read_stored(1.0, "aa", "pack", json.dumps(good)) == UpdateRecord(1.0, "pack", "aa")
    damaged = [
        "[",
        "[]",
        json.dumps({**good, "seconds": "x"}),
        json.dumps({**good, "seconds": float("nan")}),
        json.dumps({**good, "added_paths": [1]}),
        json.dumps({"fetched": 1}),
    ]
    for text in damaged:
        with pytest.raises(ValueError, match="remembered"):
            read_stored(1.0, "aa", "pack", text)
    at_s: Any = "x"
    with pytest.raises(ValueError, match="damaged"):
        read_stored(at_s, "aa", "pack", json.dumps(good))


def test_totals_that_are_damaged_begin_anew() -> None:
    good = Totals().plus(UpdateRecord(1.0, "pack", added=1))
    assert Totals.load(good.dump()) == good
    updates, seconds, sums, buckets = json.loads(good.dump())
    for damaged in (
        [],
        [updates, seconds, {"added": "x"}, buckets],
        [updates, seconds, sums, buckets[1:]],
        [updates, float("inf"), sums, buckets],
    ):
        assert Totals.load(json.dumps(damaged)) == Totals()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO journal VALUES (1, '[')", "journal of an update is damaged"),
        ("INSERT INTO ledger VALUES ('a', 'x', 1, 1, 1, '')", "row of its ledger is damaged"),
    ],
)
def test_a_state_that_cannot_be_relied_on_is_begun_anew_and_told(
    tmp_path: Path, statement: str, words: str
) -> None:
    told: list[str] = []
    with closing(TreeState(tmp_path, on_new=lambda message, _hint: told.append(message))) as state:
        state.put(pinned="x")
        state._db.run(lambda database: database.execute(statement))
        assert state.load_journal() is None
        assert state.load_ledger() == {}
        assert state.pinned == ""
    assert len(told) == 1
    assert words in told[0]
    assert [file for file in tmp_path.iterdir() if "damaged" in file.name]
