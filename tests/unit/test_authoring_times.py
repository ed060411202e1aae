"""Modification times outside the info dictionary: what is taken of them, and what is not."""

from __future__ import annotations

from typing import Any

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.authored import author
from tests.unit.metainfo_samples import Item, hybrid, torrent, v1, v1_info, v1_single, v2
from torsync.model.authoring.content import PublishedFile
from torsync.model.metainfo import parse_metainfo

NEWEST = 253_402_300_799  # the end of the year 9999
MAKERS = {"v1": v1, "v2": v2, "hybrid": hybrid}
every_format = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def times_of(data: bytes, extra: Any) -> list[int | None]:
    outer = bencode2.bdecode(data)
    outer[b"torsync"] = extra
    return [file.mtime_s for file in parse_metainfo(bencode2.bencode(outer)).files]


ITEMS = [Item("a", 5), Item("b", 40_000), Item("c"), Item("d", target="a")]


@every_format
def test_each_file_gets_its_own(make: Any) -> None:
    times = [NEWEST, 1, 1_700_000_000, 0]
    assert times_of(make(ITEMS), {b"mtimes": times}) == [NEWEST, 1, 1_700_000_000, None]


def test_a_single_file_has_one() -> None:
    assert times_of(torrent(v1_single()), {b"mtimes": [7]}) == [7]


@every_format
@pytest.mark.parametrize("time", [0, -1, NEWEST + 1, 2**63 - 1, -(2**63)])
def test_a_time_that_is_none_is_left_out(make: Any, time: int) -> None:
    assert times_of(make(ITEMS), {b"mtimes": [1, time, 3, 0]}) == [1, None, 3, None]


def test_a_link_gets_none() -> None:
    assert times_of(v1(ITEMS), {b"mtimes": [1, 2, 3, 4]}) == [1, 2, 3, None]


@pytest.mark.parametrize(
    "extra",
    [
        *({b"mtimes": list(range(1, count + 1))} for count in (0, 1, 3, 5, 1000)),
        {b"mtimes": [1, 2, b"3", 4]},
        {b"mtimes": [1, 2, [], 4]},
        {b"mtimes": [1, 2, {}, 4]},
        {b"mtimes": [1, 2, 2**63, 4]},
        {b"mtimes": [1, 2, -(10**1000), 4]},
        *({b"mtimes": value} for value in (b"1234", 4, {b"0": 1})),
        *([1, 2, 3, 4], b"mtimes", 1, {}),
    ],
)
def test_what_does_not_fit_the_files_is_ignored_as_a_whole(extra: Any) -> None:
    assert times_of(v1(ITEMS), extra) == [None] * 4


def test_they_go_before_those_that_file_entries_have() -> None:
    dated = [Item(path, 5, extra=((b"mtime", 9),)) for path in "ab"]
    data = torrent(v1_info(dated))
    assert times_of(data, {b"mtimes": [1, 0]}) == [1, 9]
    assert times_of(data, {b"mtimes": [1]}) == [9, 9]


@given(st.integers(-(2**70), 2**70))
def test_what_is_not_a_time_is_not_written(mtime_s: int) -> None:
    made = author([PublishedFile("a", 1, mtime_s), PublishedFile("b", 0)], {"a": b"1"})
    found = parse_metainfo(made.metainfo).files[0].mtime_s
    assert found == (mtime_s if 0 < mtime_s <= NEWEST else None)
