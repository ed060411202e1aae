"""Cutting the content of open files into chunks."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from tests.support.trees import random_bytes
from torsync.disk import chunking
from torsync.disk.chunking import Cutter
from torsync.model.hints.chunks import Chunks, cells_of, no_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT = 65536


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "SEGMENT_BYTES", SEGMENT)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def fill(self, data: bytes) -> int:
        os.truncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)
        return self.fd


@pytest.fixture
def file(tmp_path: Path) -> Iterator[_File]:
    found = _File(tmp_path / "file")
    yield found
    os.close(found.fd)


def _cut_at_once(data: bytes, average: int) -> list[tuple[int, bytes]]:
    """What pyfastcdc itself says, segment by segment."""
    return [
        (chunk.length, sha256(chunk.data).digest()[:16])
        for at in range(0, len(data), SEGMENT)
        for chunk in FastCDC(average, normalized_chunking=2).cut_buf(data[at : at + SEGMENT])
    ]


def _listed(chunks: Chunks) -> list[tuple[int, bytes]]:
    return [(length, chunks.hash_of(number)) for number, length in enumerate(chunks.lengths)]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("average", [1024, 8192])
@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 777])
def test_a_file_is_cut_as_pyfastcdc_cuts_each_segment(file: _File, size: int, average: int) -> None:
    data = random_bytes(size)
    chunks, blocks = Cutter(average).cut_with_blocks(file.fill(data), 0, size)

    assert _listed(chunks) == _cut_at_once(data, average)
    cells = [data[at : at + 16384] for at in range(0, size, 16384)]
    assert blocks == b"".join(sha256(cell).digest() for cell in cells)
    short = b"".join(sha256(cell).digest()[:8] for cell in cells)
    assert cells_of(Cutter(average).cut_with_blocks(file.fd, 0, size)[1]) == short


@pytest.mark.usefixtures("short_segments")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.integers(1, 3 * SEGMENT))
def test_segments_can_be_cut_on_their_own_and_put_together(
    file: _File, data: st.DataObject, size: int
) -> None:
    content = random_bytes(size, data.draw(st.integers(0, 9)))
    fd = file.fill(content)
    cutter = Cutter(1024)

    parts = [cutter.cut(fd, at, SEGMENT) for at in range(0, size, SEGMENT)]

    found = [one for part in parts for one in _listed(part)]
    assert found == _listed(Cutter(1024).cut(fd, 0, size)) == _cut_at_once(content, 1024)


def test_chunks_keep_to_their_limits_but_for_the_last(file: _File) -> None:
    data = random_bytes(500_000) + bytes(300_000)
    chunks = Cutter(1024).cut(file.fill(data), 0, len(data))
    assert min(chunks.lengths[:-1]) >= 1024 // 4
    assert max(chunks.lengths) <= 1024 * 4
    assert chunks.offsets()[-1] == len(data)


def test_content_behind_an_insertion_is_cut_as_before(file: _File) -> None:
    data = random_bytes(400_000)
    before = Cutter(1024).cut(file.fill(data), 0, len(data))
    after = Cutter(1024).cut(file.fill(b"inserted" + data), 0, len(data) + 8)
    hashes = {after.hash_of(number) for number in range(len(after.lengths))}
    same = [before.hash_of(number) in hashes for number in range(len(before.lengths))]
    assert sum(same) >= len(same) - 5


def test_the_boundaries_are_those_of_the_format_for_ever(file: _File) -> None:
    data = b"".join(sha256(b"%d" % number).digest() for number in range(3000))
    small = Cutter(1024).cut(file.fill(data), 0, len(data))
    large = Cutter(8192).cut(file.fd, 0, len(data))
    assert list(small.lengths[:8]) == [462, 1482, 369, 1669, 1058, 1088, 1137, 695]
    assert list(large.lengths) == [
        8630,
        5554,
        8730,
        7906,
        9425,
        8665,
        9652,
        9454,
        9629,
        8257,
        8496,
        1602,
    ]


def test_a_range_may_begin_anywhere_and_end_behind_the_file(file: _File) -> None:
    data = random_bytes(50_000)
    fd = file.fill(data)
    cutter = Cutter(1024)
    assert sum(cutter.cut(fd, 20_000, 10_000).lengths) == 10_000
    assert sum(cutter.cut(fd, 20_000, 10**9).lengths) == 30_000
    assert cutter.cut(fd, 50_000, 10) == cutter.cut(fd, 60_000, 10) == no_chunks()


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            Cutter(1024).cut(fd, 0, 100)
    finally:
        os.close(fd)
