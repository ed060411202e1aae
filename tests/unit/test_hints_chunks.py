"""Chunks, the groups that they form, and cells."""

from __future__ import annotations

from array import array
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trees import random_bytes
from torsync.model.hints import chunks as hints
from torsync.model.hints.chunks import (
    CELL_BYTES,
    CELL_HASH_BYTES,
    HASH_BYTES,
    LARGEST_GROUP,
    SEGMENT_BYTES,
    Chunks,
    Group,
    average_for,
    cell_count,
    cells_of,
    group_chunks,
    is_cut,
)

ENDS, GOES_ON = bytes(15) + b"\x08", bytes(15) + b"\x01"
"""Hashes after which a group ends, and goes on."""


def _chunks(hashes: list[bytes], length: int = 1000) -> Chunks:
    return Chunks(array("I", [length + n for n in range(len(hashes))]), b"".join(hashes))


def test_a_group_ends_where_a_hash_ends_with_three_zero_bits_and_with_the_file() -> None:
    hashes = [GOES_ON, ENDS, ENDS, GOES_ON, GOES_ON]

    groups = group_chunks(_chunks(hashes))

    def digest(part: list[bytes]) -> bytes:
        return sha256(b"".join(part)).digest()[:16]

    assert groups == [
        Group(2, 2001, digest(hashes[:2])),
        Group(1, 1002, digest(hashes[2:3])),
        Group(2, 2007, digest(hashes[3:])),
    ]


@pytest.mark.parametrize(
    ("count", "sizes"), [(31, [31]), (32, [32]), (33, [32, 1]), (64, [32, 32]), (70, [32, 32, 6])]
)
def test_no_group_is_longer_than_the_largest(count: int, sizes: list[int]) -> None:
    assert [group.chunks for group in group_chunks(_chunks([GOES_ON] * count))] == sizes


def test_a_group_that_is_full_with_a_hash_that_ends_it_ends_once() -> None:
    found = group_chunks(_chunks([GOES_ON] * 31 + [ENDS] + [GOES_ON]))
    assert [group.chunks for group in found] == [32, 1]


def test_nothing_has_no_groups() -> None:
    assert group_chunks(hints.no_chunks()) == []


@given(st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES), max_size=200))
def test_groups_are_all_chunks_one_after_the_other(hashes: list[bytes]) -> None:
    chunks = _chunks(hashes)
    groups = group_chunks(chunks)

    first = 0
    for group in groups:
        stop = first + group.chunks
        assert 1 <= group.chunks <= LARGEST_GROUP
        assert group.length == sum(chunks.lengths[first:stop])
        assert group.digest == hints.digest_of(b"".join(hashes[first:stop]))
        first = stop
    assert first == len(hashes)


@given(
    st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES), max_size=20),
    st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES), max_size=60),
)
def test_groups_behind_a_hash_that_ends_one_do_not_depend_on_what_is_before(
    before: list[bytes], after: list[bytes]
) -> None:
    same = group_chunks(Chunks(array("I", [7] * len(after)), b"".join(after)))
    whole = [*before, ENDS, *after]
    found = group_chunks(Chunks(array("I", [7] * len(whole)), b"".join(whole)))
    assert found[len(found) - len(same) :] == same


def test_offsets_and_hashes_of_chunks() -> None:
    chunks = _chunks([GOES_ON, ENDS])
    assert chunks.offsets() == [0, 1000, 2001]
    assert [chunks.hash_of(0), chunks.hash_of(1)] == [GOES_ON, ENDS]


@pytest.mark.parametrize(
    ("size", "average"),
    [
        *((1, 1024), (65536, 1024), (65537, 8192), (1024**3, 8192), (1024**3 + 1, 16384)),
        (2**48, 16384),
    ],
)
def test_larger_files_have_larger_chunks(size: int, average: int) -> None:
    assert average_for(size) == average
    assert 4 * average <= 65536, "the largest chunk; the format has two bytes for it"
    assert SEGMENT_BYTES == 16 * 1024**2 == 1024 * CELL_BYTES, "as the format says"


@pytest.mark.parametrize(
    ("size", "has_entry"),
    [
        *((0, False), (16384, False), (16385, True), (64 * 1024**3, True)),
        (64 * 1024**3 + 1, False),
    ],
)
def test_files_of_one_block_and_gigantic_ones_have_no_entry(size: int, has_entry: bool) -> None:
    assert is_cut(size) is has_entry


@pytest.mark.parametrize(("size", "cells"), [(0, 0), (1, 1), (16384, 1), (16385, 2), (32769, 3)])
def test_cells_are_blocks(size: int, cells: int) -> None:
    assert cell_count(size) == cells


def test_a_cells_hash_is_the_beginning_of_its_blocks() -> None:
    blocks = [sha256(random_bytes(9, n)).digest() for n in range(3)]
    assert cells_of(b"".join(blocks)) == b"".join(block[:CELL_HASH_BYTES] for block in blocks)
    assert cells_of(b"") == b""
