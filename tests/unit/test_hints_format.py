"""The hints file: what is written is what is read, and what is read is never believed blindly."""

from __future__ import annotations

import struct
from array import array
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import random_bytes
from torsync.model.hints.chunks import CELL_HASH_BYTES, Chunks, Group, cell_count, group_chunks
from torsync.model.hints.format import (
    HEADER_BYTES,
    MAGIC,
    Entry,
    Filed,
    Header,
    HintsError,
    Range,
    Record,
    find_record,
    key_of,
    parse_chunks,
    parse_groups,
    parse_header,
    write_entry,
    write_front,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def _entry(size: int, seed: object = 0, *, key: bytes = b"", chunk: int = 0) -> Entry:
    """An entry of a file of that size with made-up hashes."""
    lengths = []
    left, number = size, 0
    while left:
        most = chunk or 1 + int.from_bytes(random_bytes(2, f"{seed} {number}"), "big")
        lengths.append(min(left, most))
        left -= lengths[-1]
        number += 1
    hashes = random_bytes(16 * len(lengths), f"hashes {seed}")
    cells = random_bytes(CELL_HASH_BYTES * cell_count(size), f"cells {seed}")
    return write_entry(
        key or sha256(str(seed).encode()).digest()[:16],
        1024,
        Chunks(array("I", lengths), hashes),
        cells,
    )


def _file(entries: Iterable[Entry]) -> bytes:
    ordered = sorted(entries)
    filed = [Filed(e.key, len(e.data), e.groups, e.chunks, e.average) for e in ordered]
    return write_front(filed) + b"".join(entry.data for entry in ordered)


def _at(data: bytes, place: Range) -> bytes:
    return data[place.offset : place.end]


def _find(data: bytes, key: bytes, size: int) -> Record | None:
    header = parse_header(data[:HEADER_BYTES])
    return find_record(
        _at(data, header.bucket_of(_at(data, header.fanout_of(key)))), key, header, size
    )


# --- round trip ------------------------------------------------------------------------------


@given(
    st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(16385, 200_000), max_size=9)
)
@settings(max_examples=40)
def test_what_is_written_of_each_file_is_found_and_read(sizes: dict[bytes, int]) -> None:
    entries = {key: _entry(size, key, key=key) for key, size in sizes.items()}
    data = _file(entries.values())

    header = parse_header(data[:HEADER_BYTES])
    assert (header.records, header.size) == (len(sizes), len(data))
    for key, size in sizes.items():
        record = _find(data, key, size)
        assert record is not None
        assert (record.key, record.average) == (key, 1024)
        assert _at(data, record.entry_range(size)) == entries[key].data
        groups = parse_groups(_at(data, record.groups_range), record, size)
        chunks = parse_chunks(_at(data, record.chunks_range(0, record.chunks)), groups)
        assert group_chunks(chunks) == groups
        assert sum(chunks.lengths) == size
        cells = _at(data, record.cells_range(0, cell_count(size)))
        assert cells == random_bytes(len(cells), f"cells {key!r}")


def test_parts_of_an_entry_are_where_the_record_says() -> None:
    entry = _entry(100_000, chunk=700)
    data = _file([entry, _entry(20_000, "other")])
    record = _find(data, entry.key, 100_000)
    assert record is not None
    groups = parse_groups(_at(data, record.groups_range), record, 100_000)
    first = groups[0].chunks

    some = parse_chunks(_at(data, record.chunks_range(first, groups[1].chunks)), groups[1:2])

    whole = parse_chunks(_at(data, record.chunks_range(0, record.chunks)), groups)
    assert list(some.lengths) == list(whole.lengths[first : first + groups[1].chunks])
    assert some.hash_of(0) == whole.hash_of(first)
    assert _at(data, record.cells_range(2, 3)) == random_bytes(56, "cells 0")[16:40]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 31, 32, 500])
def test_the_fan_out_leads_to_each_of_many_and_to_nothing_else(count: int) -> None:
    keys = sorted(sha256(b"%d" % number).digest()[:16] for number in range(count))
    data = write_front([Filed(key, 100, 1, 1, 8192) for key in keys]) + bytes(100 * count)
    header = parse_header(data)

    assert header.size == len(data)
    assert header.fanout_range.offset == HEADER_BYTES
    for number, key in enumerate(keys):
        record = _find(data, key, 16385)
        assert record == Record(key, header.index_range.end + 100 * number, 1, 1, 13)
        bucket = header.bucket_of(_at(data, header.fanout_of(key)))
        assert bucket.length <= 36 * 64, "a bucket is cheap to ask for"
    assert _find(data, bytes(16), 16385) is None
    assert _find(data, b"\xff" * 16, 16385) is None


def test_the_exact_bytes_of_a_file_so_that_the_format_stays_as_it_is() -> None:
    first = write_entry(
        bytes(range(16)),
        1024,
        Chunks(array("I", [16384, 616]), b"\x01" * 16 + b"\x02" * 15 + b"\x03"),
        b"\xaa" * 8 + b"\xbb" * 8,
    )
    second = write_entry(
        b"\xff" + bytes(range(1, 16)),
        8192,
        Chunks(array("I", [16385]), b"\x07" * 16),
        b"\xcc" * 8 + b"\xdd" * 8,
    )
    digest = sha256(b"\x01" * 16 + b"\x02" * 15 + b"\x03").hexdigest()[:32]
    last = sha256(b"\x07" * 16).hexdigest()[:32]

    parts = [
        *("746f7273796e632068696e74730d0a1a", "0100", "00", "00", "02000000", "f000000000000000"),
        *("00000000", "02000000"),
        *("000102030405060708090a0b0c0d0e0f", "7000000000000000"),
        *("01000000", "02000000", "0a", "000000"),
        *("ff0102030405060708090a0b0c0d0e0f", "b900000000000000"),
        *("01000000", "01000000", "0d", "000000"),
        *("02", "68420000", digest),
        *("ff3f", "01" * 16, "6702", "02" * 15 + "03", "aa" * 8, "bb" * 8),
        *("01", "01400000", last, "0040", "07" * 16, "cc" * 8, "dd" * 8),
    ]
    assert _file([second, first]).hex() == "".join(parts)


def test_a_key_is_the_beginning_of_a_pieces_root() -> None:
    assert key_of(bytes(range(32))) == bytes(range(16))


# --- what is no hints file -------------------------------------------------------------------


def _header(**changes: int) -> bytes:
    given = {"version": 1, "bits": 0, "records": 0, "size": 1000, **changes}
    return struct.pack(
        "<16sHBxIQ", MAGIC, given["version"], given["bits"], given["records"], given["size"]
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no hints file"),
        (_header()[:-1], "no hints file"),
        (b"x" + _header()[1:], "no hints file"),
        (_header(version=2), "its version is 2, and 1 is"),
        (_header(version=0), "its version is 0"),
        (_header(bits=25, size=2**40), "contradicts itself"),
        (_header(bits=255, size=2**60), "contradicts itself"),
        (_header(records=2**32 - 1), "contradicts itself"),
        (_header(size=39), "contradicts itself"),
    ],
)
def test_what_is_no_header_is_an_error(data: bytes, said: str) -> None:
    with pytest.raises(HintsError, match=said):
        parse_header(data)


def test_the_smallest_header_is_one() -> None:
    assert parse_header(_header(size=40)) == Header(0, 0, 40)
    assert parse_header(_header(bits=24, size=2**40)).fanout_range.length == 4 * (2**24 + 1)


@pytest.mark.parametrize("two", [(1, 0), (0, 11), (2**32 - 1, 0), (11, 11)])
def test_a_fan_out_that_makes_no_sense_is_an_error(two: tuple[int, int]) -> None:
    with pytest.raises(HintsError, match=f"from {two[0]} to {two[1]} of 10 records"):
        Header(0, 10, 1000).bucket_of(struct.pack("<II", *two))


def test_a_fan_out_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(HintsError, match="should be 8 bytes, and are 7"):
        Header(0, 10, 1000).bucket_of(bytes(7))


KEY = b"k" * 16
SIZE = 100_000
HEADER = Header(0, 1, 100_000)


def _record(**changes: int) -> bytes:
    given = {"offset": 1000, "groups": 2, "chunks": 10, "bits": 10, **changes}
    return struct.pack(
        "<16sQIIB3x", KEY, given["offset"], given["groups"], given["chunks"], given["bits"]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": 0},
        {"groups": 0, "chunks": 0},
        {"groups": 11},
        {"groups": 2, "chunks": 65},
        {"groups": 64 + SIZE // 256 + 1, "chunks": 64 + SIZE // 256 + 1},
        {"groups": 2**32 - 1, "chunks": 2**32 - 1},
        {"bits": 7},
        {"bits": 15},
        {"bits": 255},
        {"offset": 75},
        {"offset": 0},
        {"offset": 100_000},
        {"offset": 2**64 - 1},
    ],
)
def test_a_record_that_is_not_possible_is_an_error(changes: dict[str, int]) -> None:
    assert find_record(_record(), KEY, HEADER, SIZE) is not None
    with pytest.raises(HintsError, match="not possible"):
        find_record(_record(**changes), KEY, HEADER, SIZE)


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": 10},
        {"chunks": 64},
        {"groups": 64 + SIZE // 256, "chunks": 64 + SIZE // 256},
        {"bits": 8},
        {"bits": 14},
        {"offset": 76 + 4},
    ],
)
def test_a_record_that_is_just_possible_is_read(changes: dict[str, int]) -> None:
    found = find_record(_record(**changes), KEY, HEADER, SIZE)
    given = {"offset": 1000, "groups": 2, "chunks": 10, "bits": 10, **changes}
    assert found == Record(KEY, *given.values())


def test_an_entry_may_end_with_the_file_and_not_behind_it() -> None:
    length = 2 * 21 + 10 * 18 + 7 * 8
    assert find_record(_record(offset=100_000 - length), KEY, HEADER, SIZE) is not None
    with pytest.raises(HintsError):
        find_record(_record(offset=100_000 - length + 1), KEY, HEADER, SIZE)


def test_a_bucket_with_half_a_record_is_read_as_far_as_it_goes() -> None:
    assert find_record(_record()[:-1], KEY, HEADER, SIZE) is None
    assert find_record(bytes(36) + _record() + b"12", KEY, HEADER, SIZE) is not None


def _groups(*groups: Group) -> bytes:
    return b"".join(struct.pack("<BI16s", *group) for group in groups)


GROUPS = [Group(4, SIZE - 1, b"d" * 16), Group(6, 1, b"e" * 16)]
RECORD = Record(KEY, 1000, 2, 10, 10)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (GROUPS[:1], "should be 42 bytes, and are 21"),
        ([*GROUPS, GROUPS[0]], "should be 42 bytes, and are 63"),
        ([Group(5, SIZE - 1, b""), GROUPS[1]], "11 chunks"),
        ([Group(4, SIZE, b""), GROUPS[1]], f"{SIZE + 1} bytes"),
        ([Group(0, SIZE - 1, b""), Group(10, 1, b"")], "an empty group"),
        ([Group(4, SIZE, b""), Group(6, 0, b"")], "an empty group"),
    ],
)
def test_groups_that_do_not_make_up_the_file_are_an_error(groups: list[Group], said: str) -> None:
    assert parse_groups(_groups(*GROUPS), RECORD, SIZE) == GROUPS
    with pytest.raises(HintsError, match=said):
        parse_groups(_groups(*groups), RECORD, SIZE)


def test_groups_that_are_cut_off_are_an_error() -> None:
    with pytest.raises(HintsError):
        parse_groups(_groups(*GROUPS)[:-1], RECORD, SIZE)


def test_chunks_that_are_not_those_of_their_groups_are_an_error() -> None:
    entry = _entry(SIZE, chunk=900)
    record = Record(entry.key, 0, entry.groups, entry.chunks, 10)
    groups = parse_groups(_at(entry.data, record.groups_range), record, SIZE)
    data = _at(entry.data, record.chunks_range(0, record.chunks))
    assert sum(parse_chunks(data, groups).lengths) == SIZE

    wrong = [
        data[:-18],
        data + data[:18],
        b"",
        data[18:] + data[:18],
        bytes([data[0] ^ 1]) + data[1:],
        data[:2] + bytes([data[2] ^ 1]) + data[3:],
        data[:-1],
    ]
    for other in wrong:
        with pytest.raises(HintsError):
            parse_chunks(other, groups)


# --- garbage ---------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.binary(min_size=16, max_size=16), st.integers(0, 2**49))
def test_garbage_gives_nothing_but_hints_errors(data: bytes, key: bytes, size: int) -> None:
    _read_all(MAGIC + data, key, size)
    _read_all(MAGIC + b"\x01\x00" + data, key, size)


@given(st.data(), st.integers(16385, 60_000))
@settings(max_examples=150)
def test_a_damaged_file_gives_nothing_but_hints_errors(data: st.DataObject, size: int) -> None:
    entry = _entry(size)
    whole = bytearray(_file([entry, _entry(30_000, "other")]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    _read_all(bytes(whole[:cut]), entry.key, size)


def _read_all(data: bytes, key: bytes, size: int) -> None:
    """Read as a subscriber does; what it would ask for is never more than its file justifies."""
    with suppress(HintsError):
        header = parse_header(data[:HEADER_BYTES])
        two = _at(data, header.fanout_of(key))
        record = find_record(_at(data, header.bucket_of(two)), key, header, size)
        if record is None:
            return
        assert record.chunks <= 64 + size // 256
        assert record.entry_range(size).end <= header.size
        groups = parse_groups(_at(data, record.groups_range), record, size)
        chunks = parse_chunks(_at(data, record.chunks_range(0, record.chunks)), groups)
        assert sum(chunks.lengths) == size
