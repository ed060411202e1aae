"""The rule for ``piece_size = "auto"``."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.authoring.piece_size import choose_piece_size
from torsync.model.config import TorrentFormat
from torsync.model.units import parse_size

KIB, MIB = 1024, 1024**2
FORMATS = (TorrentFormat.V1, TorrentFormat.V2, TorrentFormat.HYBRID)


def spread(count: int, mean: int) -> list[int]:
    """Sizes from half to one and a half times the mean."""
    return [mean // 2 + mean * number // count for number in range(count)]


def documented() -> list[tuple[int, int, list[int]]]:
    """Count, mean size and piece sizes from the table in the docstring."""
    row = re.compile(
        r"^ *([\d,]+) files of (\S+ \S+) \(.*?\) +(\S+ \S+) +(\S+ \S+) +(\S+ \S+)$", re.MULTILINE
    )
    return [
        (int(count.replace(",", "")), parse_size(mean), [parse_size(size) for size in sizes])
        for count, mean, *sizes in row.findall(choose_piece_size.__doc__ or "")
    ]


def test_the_documented_table_is_true() -> None:
    rows = documented()
    assert len(rows) == 8
    for count, mean, expected in rows:
        found = [choose_piece_size(spread(count, mean), format_) for format_ in FORMATS]
        assert found == expected, (count, mean)


sizes = st.lists(st.integers(0, 2**45), max_size=30)
formats = st.sampled_from(FORMATS)


@given(sizes=sizes, format_=formats, previous=st.integers(0, 2**30))
def test_it_is_a_power_of_two_within_bounds(
    sizes: list[int], format_: TorrentFormat, previous: int
) -> None:
    found = choose_piece_size(sizes, format_, previous)
    assert 16 * KIB <= found <= 16 * MIB
    assert not found & (found - 1)


@given(sizes=sizes, format_=formats, shift=st.integers(14, 24))
def test_the_previous_size_is_kept_until_it_is_off_by_four(
    sizes: list[int], format_: TorrentFormat, shift: int
) -> None:
    ideal, previous = choose_piece_size(sizes, format_), 1 << shift
    is_near = ideal // 2 <= previous <= ideal * 2
    assert choose_piece_size(sizes, format_, previous) == (previous if is_near else ideal)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("previous", [48 * KIB, 8 * KIB, 32 * MIB, 1, 0])
def test_a_previous_size_that_is_never_chosen_is_not_kept(
    format_: TorrentFormat, previous: int
) -> None:
    content = [20 * MIB]
    assert choose_piece_size(content, format_, previous) == choose_piece_size(content, format_)


def test_files_a_little_larger_than_a_piece_are_packed_where_they_are_many() -> None:
    """Each would otherwise have its first fetch send padding, up to the end of a block."""
    assert choose_piece_size([600_000] * 20_000, TorrentFormat.V1) == MIB


def test_nothing_at_all_has_the_least() -> None:
    assert choose_piece_size([], TorrentFormat.V1) == 16 * KIB
