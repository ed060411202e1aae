"""Content that moved inside files, or between them, is found; lies are not believed."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.edits import Edit, edit_lists, edited
from tests.support.searching import search
from tests.support.trees import random_bytes
from torsync.disk.chunking import Cutter
from torsync.model.errors import InterruptedByUserError
from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.hints.chunks import CELL_BYTES, average_for
from torsync.model.hints.worth import worth_asking
from torsync.model.shifts import lacking_ranges

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
OLD = random_bytes(600 * KIB, "old")
SHIFTED = OLD[: 100 * KIB] + b"one line more\n" + OLD[100 * KIB :]
KEPT = {f"kept{number}": random_bytes(20 * KIB, number) for number in range(400)}
"""Files whose entries make the hints too large to be read whole."""


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_after_an_inserted_line_only_its_block_is_lacking(tmp_path: Path, format_: str) -> None:
    found = search(tmp_path, {"a.js": OLD}, {"a.js": SHIFTED}, format=format_)
    found.assert_right()
    assert 0 < found.lacking("a.js") <= CELL_BYTES
    assert len(found.shifts.runs[0]) <= 3
    assert found.shifts.hint_bytes == found.source.bytes_received <= 4 * KIB
    assert len(found.source.requests) <= 5


def test_a_small_file_is_cut_finely(tmp_path: Path) -> None:
    old = random_bytes(60 * KIB)
    new = {"a": b"begin" + old, "b": b"begin" + old[::-1]}
    found = search(tmp_path, {"a": old, "b": old[::-1]}, new)
    found.assert_right()
    assert found.lacking("a") < 4 * KIB
    assert found.lacking("b") < 4 * KIB


def test_content_is_found_under_another_name(tmp_path: Path) -> None:
    new = {"lib/app.5f3a91bc0.js": SHIFTED}
    found = search(tmp_path, {"lib/app.0c11e2f4a.js": OLD, "other": random_bytes(9 * KIB)}, new)
    found.assert_right()
    assert found.lacking("lib/app.5f3a91bc0.js") <= CELL_BYTES
    assert {run.path for run in found.shifts.runs[0]} == {"lib/app.0c11e2f4a.js"}


def test_one_file_is_put_together_from_several(tmp_path: Path) -> None:
    other = random_bytes(300 * KIB, "other")
    new = {"pack.bin": b"head" + other + OLD, "x": b"kept"}
    found = search(tmp_path, {"pack.bin": OLD, "gone.bin": other, "x": b"kept"}, new)
    found.assert_right()
    assert found.lacking("pack.bin") <= 3 * CELL_BYTES
    assert {run.path for run in found.shifts.runs[found.manifest.by_path["pack.bin"]]} == {
        "pack.bin",
        "gone.bin",
    }


def test_what_repeats_itself_is_found_once_more(tmp_path: Path) -> None:
    page = random_bytes(3 * KIB)
    found = search(tmp_path, {"a": page * 100}, {"a": b"<" + page * 100})
    found.assert_right()
    assert found.lacking("a") <= CELL_BYTES


def test_zeros_are_found_in_zeros(tmp_path: Path) -> None:
    found = search(tmp_path, {"a": bytes(400 * KIB)}, {"a": b"x" + bytes(500 * KIB)})
    found.assert_right()
    assert found.lacking("a") <= CELL_BYTES


def test_many_files_are_searched_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {f"{number}": random_bytes(90 * KIB, number) for number in range(90)}
    new = {path: content[:50_000] + b"line" + content[50_000:] for path, content in old.items()}
    whole = search(tmp_path / "whole", old, new)
    whole.assert_right()
    assert all(whole.lacking(path) <= CELL_BYTES for path in new)
    monkeypatch.setattr("torsync.subscribe.shifts.search._GROUPS", 20)
    monkeypatch.setattr("torsync.subscribe.shifts.search._DETAILS", 500)
    monkeypatch.setattr("torsync.subscribe.shifts.old_files._MOST_OPEN", 3)
    monkeypatch.setattr("torsync.subscribe.shifts.old_files._MOST_CACHED", 1000)
    in_parts = search(tmp_path / "parts", old, new)
    assert in_parts.shifts.runs == whole.shifts.runs
    assert in_parts.shifts.hint_bytes == whole.shifts.hint_bytes


# --- what is not worth it -------------------------------------------------------------------


def test_little_is_fetched_without_asking(tmp_path: Path) -> None:
    old = OLD[: 300 * KIB]
    found = search(tmp_path, {"a": old}, {"a": old + b"more"}, piece_length=16 * KIB)
    assert lacking_ranges(found.plan)
    assert not worth_asking(found.plan)
    assert not found.source.requests
    assert not found.events


def test_a_new_file_without_any_relative_asks_for_nothing(tmp_path: Path) -> None:
    found = search(tmp_path, {"kept": b"kept"}, {"kept": b"kept", "new": OLD})
    assert not worth_asking(found.plan)
    assert not found.source.requests


def test_hints_of_new_content_cost_a_small_share_of_it(tmp_path: Path) -> None:
    new = random_bytes(len(OLD), "new")
    found = search(tmp_path, {"a": OLD}, {"a": new})
    assert not found.shifts.runs
    assert 0 < found.shifts.hint_bytes < len(new) // 100


def test_files_that_are_as_they_should_be_cost_no_hints(tmp_path: Path) -> None:
    found = search(tmp_path, {"a": OLD, **KEPT}, {"a": SHIFTED, **KEPT})
    found.assert_right()
    assert found.lacking("a") <= CELL_BYTES
    assert found.shifts.hint_bytes < 8 * KIB
    assert len(found.source.requests) == 4


# --- what may go wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("request_", range(5))
def test_hints_that_end_midway_leave_what_was_found(tmp_path: Path, request_: int) -> None:
    old = random_bytes(3 * KIB * KIB)
    new = {"a": b"x" + old + random_bytes(200 * KIB, "more"), **KEPT}
    found = search(tmp_path, {"a": old, **KEPT}, new, fails_at=request_)
    found.assert_right()
    assert bool(found.shifts.runs) == (request_ == 4)
    notices = [event for event in found.events if isinstance(event, Notice)]
    assert [(event.level, event.code) for event in notices] == [
        (Level.WARNING, "hints_unavailable")
    ]


def test_what_is_no_hints_file_is_told_and_ignored(tmp_path: Path) -> None:
    found = search(tmp_path, {"a": OLD}, {"a": SHIFTED}, hints=lambda _data: OLD)
    assert not found.shifts.runs
    (notice,) = [event for event in found.events if isinstance(event, Notice)]
    assert notice.code == "hints_unavailable"
    assert "no hints file" in notice.message
    assert notice.message.endswith("without hints, more is fetched")
    assert "the publisher has to" in notice.hint


def test_hints_of_a_later_version_are_told_and_ignored(tmp_path: Path) -> None:
    found = search(
        tmp_path, {"a": OLD}, {"a": SHIFTED}, hints=lambda data: data[:16] + b"\2" + data[17:]
    )
    assert not found.shifts.runs
    (notice,) = [event for event in found.events if isinstance(event, Notice)]
    assert "its version is 2" in notice.message
    assert "newer torsync" in notice.hint


@pytest.mark.parametrize("first", [40, 80, 140, 260, 500, 900, 2000])
def test_wrong_bytes_in_the_hints_never_make_a_wrong_run(tmp_path: Path, first: int) -> None:
    def spoil(data: bytes) -> bytes:
        noise = random_bytes(64, first)
        return data[:first] + noise + data[first + len(noise) :]

    found = search(tmp_path, {"a": OLD}, {"a": SHIFTED}, hints=spoil)
    found.assert_right()


def test_a_source_that_changes_meanwhile_is_left_out(tmp_path: Path) -> None:
    def touch(root: Path) -> None:
        (root / "a").write_bytes(OLD)
        os.utime(root / "a", ns=(1, 1))

    found = search(tmp_path, {"a": OLD}, {"a": SHIFTED}, meanwhile=touch)
    assert not found.shifts.runs


def test_a_source_that_changes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    asked = count()

    def touch_late() -> bool:
        if next(asked) == 1:
            os.utime(tmp_path / "tree/a", ns=(1, 1))
        return False

    found = search(tmp_path, {"a": OLD}, {"a": SHIFTED}, stopping=touch_late)
    assert not found.shifts.runs


@pytest.mark.parametrize("end", ["unlink", "link"])
def test_a_source_that_is_gone_is_left_out(tmp_path: Path, end: str) -> None:
    def remove(root: Path) -> None:
        (root / "a").unlink()
        if end == "link":
            (root / "a").symlink_to("b")

    old = {"a": OLD, "b": OLD[: 300 * KIB]}
    found = search(tmp_path, old, {"a": SHIFTED}, meanwhile=remove)
    found.assert_right()
    assert {run.path for run in found.shifts.runs[0]} == {"b"}


def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    with pytest.raises(InterruptedByUserError):
        search(tmp_path, {"a": OLD}, {"a": SHIFTED}, stopping=lambda: True)


def test_it_says_what_it_does(tmp_path: Path) -> None:
    found = search(tmp_path, {"a": OLD}, {"a": SHIFTED})
    assert StageStarted("pack", Stage.LOOKING_FOR_SHIFTS) in found.events


# --- any edits ------------------------------------------------------------------------------


def by_chunks_alone(old: Path, new: Path) -> bytearray:
    """Where the wanted file has a chunk that the old one has: what any search has to find."""
    average = average_for(new.stat().st_size)
    cutter = Cutter(average)
    with old.open("rb") as opened:
        had = cutter.cut(opened.fileno(), 0, old.stat().st_size)
    with new.open("rb") as opened:
        wanted = cutter.cut(opened.fileno(), 0, new.stat().st_size)
    known = {had.hash_of(number) for number in range(len(had.lengths))}
    found = bytearray()
    for number, length in enumerate(wanted.lengths):
        found += (b"\1" if wanted.hash_of(number) in known else b"\0") * length
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    size=st.integers(20 * KIB, 300 * KIB),
    edits=edit_lists(300 * KIB, 40 * KIB),
)
def test_any_edits(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    size: int,
    edits: list[Edit],
) -> None:
    old = random_bytes(size, seed)
    new = edited(old, edits)
    found = search(tmp_path_factory.mktemp("any"), {"a": old}, {"a": new or b"x"})
    found.assert_right()
    if found.source.requests and len(new) > CELL_BYTES:
        known = found.found("a")
        reference = by_chunks_alone(found.root / "a", found.root.parent / "new/a")
        for start, length in lacking_ranges(found.plan).get(0, []):
            for at in range(start, start + length):
                assert known[at] >= reference[at]
