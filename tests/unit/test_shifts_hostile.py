"""Hints that lie cost a bounded effort, and nothing else."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.hinted import CountingSource, hints_file
from tests.support.searching import Searched, search
from tests.support.trees import random_bytes
from torsync.disk.chunking import Cutter
from torsync.model.hints.chunks import CELL_BYTES, Chunks, average_for
from torsync.model.hints.format import HEADER_BYTES, Entry, Filed, write_entry, write_front
from torsync.model.hints.worth import Sought, Span
from torsync.subscribe.shifts.entries import Entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KIB = 1024
OLD = random_bytes(900 * KIB, "old")
NEW = OLD[:9000] + b"inserted" + OLD[9000:]
LARGE = random_bytes(9 * KIB * KIB, "large")


def lied_to(
    scratch: Path, entry: Callable[[bytes, Path], Entry], old: bytes = OLD, new: bytes = NEW
) -> Searched:
    """Search with hints of one entry; it is made of its key and the old file."""

    def lie(data: bytes) -> bytes:
        key = data[-16:] if len(data) < HEADER_BYTES else data[HEADER_BYTES + 8 :][:16]
        return hints_file([entry(key, scratch / "tree/a")])

    found = search(scratch, {"a": old}, {"a": new}, hints=lie)
    assert_bounded(found)
    return found


def assert_bounded(found: Searched) -> None:
    """What was read is in proportion to what is lacking and to what is there."""
    found.assert_sound()
    lacking = len(found.contents["a"])
    there = (found.root / "a").stat().st_size
    assert found.shifts.bytes_read <= 3 * there + 7 * lacking
    assert found.shifts.hint_bytes <= lacking // 4
    assert len(found.source.requests) <= 6


def cut(path: Path, average: int) -> Chunks:
    with path.open("rb") as opened:
        return Cutter(average).cut(opened.fileno(), 0, path.stat().st_size)


def cells(size: int) -> bytes:
    return bytes(-(-size // CELL_BYTES) * 8)


@pytest.mark.parametrize("new", [NEW, b"x" + LARGE], ids=["small", "large"])
def test_one_old_chunk_all_over_the_file(tmp_path: Path, new: bytes) -> None:
    def entry(key: bytes, path: Path) -> Entry:
        had = cut(path, average_for(len(new)))
        length, digest = had.lengths[3], had.hash_of(3)
        count, rest = divmod(len(new), length)
        lengths = array("I", [length] * count + [rest] * bool(rest))
        return write_entry(key, 8192, Chunks(lengths, digest * len(lengths)), cells(len(new)))

    old = OLD if new is NEW else LARGE
    assert lied_to(tmp_path, entry, old, new).shifts.runs


@pytest.mark.parametrize("new", [NEW, b"x" + LARGE], ids=["small", "large"])
def test_old_chunks_that_are_said_to_be_elsewhere(tmp_path: Path, new: bytes) -> None:
    def entry(key: bytes, path: Path) -> Entry:
        had = cut(path, average_for(len(new)))
        order = sorted(range(len(had.lengths)), key=had.hash_of)
        extra = len(new) - sum(had.lengths)
        lengths = array("I", [*(had.lengths[number] for number in order), extra])
        hashes = b"".join(had.hash_of(number) for number in order) + bytes(16)
        return write_entry(key, 8192, Chunks(lengths, hashes), cells(len(new)))

    old = OLD if new is NEW else LARGE
    lied_to(tmp_path, entry, old, new)


def test_more_and_smaller_chunks_than_make_sense(tmp_path: Path) -> None:
    new = b"x" + LARGE

    def entry(key: bytes, _path: Path) -> Entry:
        count, rest = divmod(len(new), 300)
        lengths = array("I", [300] * count + [rest] * bool(rest))
        hashes = random_bytes(16 * len(lengths))
        return write_entry(key, 256, Chunks(lengths, hashes), cells(len(new)))

    found = lied_to(tmp_path, entry, LARGE, new)
    assert found.shifts.hint_bytes < 1000


def test_a_file_of_other_size_than_it_has(tmp_path: Path) -> None:
    def entry(key: bytes, path: Path) -> Entry:
        had = cut(path, 8192)
        return write_entry(key, 8192, had, cells(len(OLD)))

    assert not lied_to(tmp_path, entry).shifts.runs


def test_what_is_tried_beside_known_content_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [OLD[at : at + 20_000] for at in range(0, len(OLD), 20_000)]
    new = b"".join(part[:-300] + bytes(200) for part in reversed(parts))
    found = search(tmp_path / "tried", {"a": OLD}, {"a": new})
    monkeypatch.setattr("torsync.subscribe.shifts.search._TRIES", 0)
    untried = search(tmp_path / "untried", {"a": OLD}, {"a": new})
    assert untried.lacking("a") > found.lacking("a")
    assert untried.shifts.bytes_read == len(OLD)
    assert found.shifts.bytes_read <= len(OLD) + 6 * len(new)


@pytest.mark.parametrize("bits", [0, 3, 24, 25, 255])
def test_an_index_that_is_not_there(tmp_path: Path, bits: int) -> None:
    def lie(data: bytes) -> bytes:
        header = data[:16] + struct.pack("<HBxIQ", 1, bits, 2**32 - 1, 2**63)
        return header + b"\xff" * 200_000

    found = search(tmp_path, {"a": OLD}, {"a": NEW}, hints=lie)
    assert not found.shifts.runs
    assert_bounded(found)


def test_a_fan_out_that_points_everywhere(tmp_path: Path) -> None:
    def lie(data: bytes) -> bytes:
        return data[:HEADER_BYTES] + struct.pack("<II", 1, 0) + data[HEADER_BYTES + 8 :]

    found = search(tmp_path, {"a": OLD}, {"a": NEW}, hints=lie)
    assert not found.shifts.runs
    assert [event.code for event in found.events if hasattr(event, "code")] == ["hints_unavailable"]


def test_a_bucket_of_everything_is_not_read(tmp_path: Path) -> None:
    def lie(data: bytes) -> bytes:
        count = 2**22
        size = HEADER_BYTES + 8 + 36 * count + 1000
        header = data[:16] + struct.pack("<HBxIQ", 1, 0, count, size)
        return header + struct.pack("<II", 0, count) + data[HEADER_BYTES + 8 :]

    found = search(tmp_path, {"a": OLD}, {"a": NEW}, hints=lie)
    assert not found.shifts.runs
    assert_bounded(found)


@pytest.mark.parametrize("groups", [500_000, 2_500_000])
def test_what_a_huge_file_may_take_of_memory_is_bounded(groups: int) -> None:
    size = 16 * 1024**3
    sought = Sought(0, size, b"k" * 16, (Span(0, size),), ("a",))
    front = write_front([Filed(sought.key, 2**28, groups, groups, 8192)])
    source = CountingSource(front + bytes(64 * KIB**2))
    assert Entries(source, [sought]).read_groups([sought]) == []
    assert (source.bytes_received > 21 * groups) == (groups == 500_000)


@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2500), st.binary(min_size=1, max_size=24)), min_size=1, max_size=5
    )
)
def test_any_bytes_changed_anywhere(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    def spoil(data: bytes) -> bytes:
        spoiled = bytearray(data)
        for at, change in changes:
            spoiled[at : at + len(change)] = change
        return bytes(spoiled)

    scratch = tmp_path_factory.mktemp("any")
    assert_bounded(search(scratch, {"a": OLD}, {"a": NEW}, hints=spoil))
