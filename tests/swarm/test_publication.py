"""A publication's releases: what becomes public, when, and what stays if something fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.publications import PIECE, Publisher
from torsync.model.config import TorrentFormat
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.trees import Content

FIRST: dict[str, Content] = {"a/one.bin": 5 * PIECE + 7, "a/two.bin": 3 * PIECE, "c": 100, "d": 300}


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path)
    yield publisher
    publisher.close()


@pytest.mark.parametrize("format_", list(TorrentFormat))
def test_a_release_is_public_and_a_stranger_gets_it(
    publisher: Publisher, tmp_path: Path, format_: TorrentFormat
) -> None:
    publisher.configure(format=format_)
    report = publisher.open().release(FIRST)
    assert (report.changed, report.number, report.files) == (True, 1, 4)
    assert parse_metainfo(publisher.torrent.read_bytes()).info_hash == report.info_hash
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_the_next_release_takes_its_place_and_the_one_before_leaves_the_session(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FIRST)
    old = publisher.torrent.read_bytes()
    report = publisher.release({"a/one.bin": 6 * PIECE, "new": 500})
    assert (report.changed, report.number) == (True, 2)
    assert (report.added, report.modified, report.removed) == (["new"], ["a/one.bin"], [])
    assert publisher.torrent.read_bytes() != old
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_nothing_is_released_where_nothing_has_changed(publisher: Publisher) -> None:
    publisher.open().release(FIRST)
    before = publisher.torrent.stat()
    report = publisher.release()
    assert (report.changed, report.number, report.unchanged) == (False, 1, 4)
    assert publisher.torrent.stat() == before
