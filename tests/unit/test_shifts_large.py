"""Large files are looked into without cutting all of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.edits import Edit, edit_lists, edited
from tests.support.searching import Searched, search
from tests.support.trees import random_bytes
from torsync.model.events import Progress
from torsync.model.hints.chunks import CELL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIB = 1024**2
PIECE = 256 * 1024
OLD = random_bytes(24 * MIB + 12345, "large")


def searched(scratch: Path, new: bytes, *, format_: str = "v1", old: bytes = OLD) -> Searched:
    found = search(scratch, {"a": old}, {"a": new}, piece_length=PIECE, format=format_)
    found.assert_right()
    return found


def inserted(content: bytes, places: Iterable[int], length: int = 100) -> bytes:
    parts, last = [], 0
    for at in places:
        parts += [content[last:at], random_bytes(length, at)]
        last = at
    return b"".join([*parts, content[last:]])


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_one_byte_at_the_front_costs_one_block(tmp_path: Path, format_: str) -> None:
    found = searched(tmp_path, b"x" + OLD, format_=format_)
    assert 0 < found.lacking("a") <= CELL_BYTES
    assert found.shifts.bytes_read < 1.5 * len(OLD)
    assert found.shifts.hint_bytes < len(OLD) // 300
    assert len(found.source.requests) <= 5


@pytest.mark.parametrize("format_", ["v1", "v2"])
def test_scattered_edits_cost_a_block_or_two_each(tmp_path: Path, format_: str) -> None:
    places = [random_at * len(OLD) // 97 for random_at in (3, 8, 11, 40, 41, 42, 66, 80, 95)]
    found = searched(tmp_path, inserted(OLD, places), format_=format_)
    assert found.lacking("a") <= 2 * CELL_BYTES * len(places)
    assert found.shifts.bytes_read < 3 * len(OLD)


def test_many_edits_are_found_by_cutting_everything(tmp_path: Path) -> None:
    places = range(50_000, len(OLD), 150_000)
    found = searched(tmp_path, inserted(OLD, places))
    assert found.lacking("a") <= 2 * CELL_BYTES * len(places)
    assert found.shifts.bytes_read < 4 * len(OLD)


def test_parts_that_have_changed_places_are_found(tmp_path: Path) -> None:
    third = len(OLD) // 3
    new = OLD[2 * third :] + OLD[:third] + OLD[third : 2 * third]
    assert searched(tmp_path, new).lacking("a") <= 4 * CELL_BYTES


def test_what_was_taken_out_is_not_missed(tmp_path: Path) -> None:
    found = searched(tmp_path, OLD[: 5 * MIB] + OLD[12 * MIB + 5 :])
    assert found.lacking("a") <= CELL_BYTES


def test_edits_that_moved_nothing_are_looked_for_where_they_are(tmp_path: Path) -> None:
    new = bytearray(OLD)
    for at in range(100_000, len(OLD), 500_000):
        new[at : at + 100] = random_bytes(100, at)
    found = searched(tmp_path, bytes(new))
    assert found.lacking("a") <= 2 * CELL_BYTES * len(range(100_000, len(OLD), 500_000))
    assert found.shifts.bytes_read < 4 * len(OLD)


def test_a_small_part_of_new_content_is_all_that_is_lacking(tmp_path: Path) -> None:
    new = OLD[: 7 * MIB] + random_bytes(3 * MIB, "new") + OLD[7 * MIB :]
    assert searched(tmp_path, new).lacking("a") <= 3 * MIB + 2 * CELL_BYTES


def test_content_that_is_put_together_anew_is_found_wherever_it_is(tmp_path: Path) -> None:
    step = 200_000
    parts = [OLD[at : at + step] for at in range(0, 20 * MIB, step)]
    new = b"".join(parts[7 * number % len(parts)] for number in range(len(parts)))
    found = searched(tmp_path, new)
    assert found.lacking("a") <= 2 * CELL_BYTES * len(parts)


def test_new_content_costs_little_hints_and_a_few_reads(tmp_path: Path) -> None:
    found = searched(tmp_path, random_bytes(24 * MIB, "other"))
    assert not found.shifts.runs
    assert found.shifts.bytes_read <= 4 * len(OLD)
    assert found.shifts.hint_bytes <= len(OLD) // 200


def test_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    told = [event for event in searched(tmp_path, b"x" + OLD).events if isinstance(event, Progress)]
    assert told
    assert all(0 < event.bytes_done <= event.bytes_total == len(OLD) for event in told)


_SMALLER = {  # so that little content has many windows and regions
    "search._LARGE": 200_000,
    "proving.SMALL_REGION": 300_000,
}


@settings(max_examples=25, deadline=None)
@given(
    format_=st.sampled_from(["v1", "v2", "hybrid", "unaligned"]),
    piece=st.sampled_from([16 * 1024, 64 * 1024]),
    size=st.integers(MIB, 4 * MIB),
    edits=edit_lists(4 * MIB, MIB),
)
def test_any_edits(
    tmp_path_factory: pytest.TempPathFactory,
    format_: str,
    piece: int,
    size: int,
    edits: list[Edit],
) -> None:
    lead = {"0": b"lead" * 5000}  # moves the other file away from a piece's begin, if it may
    old = OLD[:size]
    new = edited(old, edits)
    with ExitStack() as stack:
        for name, value in _SMALLER.items():
            stack.enter_context(patch(f"torsync.subscribe.shifts.{name}", value))
        for name in ("_NEAREST_WINDOWS", "SMALL_REGION"):
            stack.enter_context(patch(f"torsync.model.hints.regions.{name}", 300_000))
        scratch = tmp_path_factory.mktemp("any")
        found = search(
            scratch,
            {**lead, "a": old},
            {**lead, "a": new or b"x"},
            piece_length=piece,
            format=format_,
        )
    found.assert_right()
    if found.source.requests:
        written = sum(length for kind, _at, length, _to in edits if kind in {"insert", "overwrite"})
        written *= 2 ** sum(edit.kind == "repeat" for edit in edits)  # of what is written, too
        assert found.lacking("a") <= written + 6 * CELL_BYTES * len(edits) + 2 * piece
        assert found.shifts.bytes_read <= 8 * (len(old) + len(new))
