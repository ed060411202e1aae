"""What the hash cache remembers, forgets, and does with what it cannot use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.publishing import LATER_NS, fail
from torsync.publish.hash_cache import KEPT_RELEASES, HashCache, KnownFile, KnownPart

if TYPE_CHECKING:
    from pathlib import Path

_ROW = KnownFile(5, 10, 20, 30, 7, 16384, b"r" * 32, b"l" * 64, b"s" * 40)


def _cache(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "hashes.sqlite", on_new=fail)


def test_what_is_remembered_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    wide = _ROW._replace(inode=2**64 - 5, mtime_ns=-3)
    part = KnownPart(16384, (5, -1, 2, 2**63 + 9), 16384, b"l", b"s")
    files = {"a/b": _ROW, "wide": wide}
    with closing(_cache(tmp_path)) as cache:
        cache.remember(files, {("c", 16384): part}, {b"k": b"1"}, clock_ns=LATER_NS)
    with closing(_cache(tmp_path)) as cache:
        assert cache.files() == files
        assert cache.parts() == {("c", 16384): part}
        assert cache.packed() == {b"k": b"1"}


def test_a_time_that_sqlite_cannot_hold_makes_a_row_that_no_file_matches(tmp_path: Path) -> None:
    far = _ROW._replace(mtime_ns=2**63 + 1)
    with closing(_cache(tmp_path)) as cache:
        cache.remember({"far": far}, {}, {}, clock_ns=0)
        assert cache.files()["far"][:4] != far[:4]


@pytest.mark.parametrize(
    ("ctime_ns", "mtime_ns", "is_believed"),
    [(99, 50, True), (100, 50, False), (101, 50, False), (0, 99, True), (0, 100, False)],
)
def test_a_file_that_was_changed_in_the_tick_of_the_look_is_not_believed_next_time(
    tmp_path: Path, ctime_ns: int, mtime_ns: int, is_believed: bool
) -> None:
    row = _ROW._replace(ctime_ns=ctime_ns, mtime_ns=mtime_ns)
    with closing(_cache(tmp_path)) as cache:
        cache.remember({"a": row}, {}, {}, clock_ns=100)
        assert (cache.files()["a"] == row) == is_believed


def test_a_whole_file_replaces_its_parts(tmp_path: Path) -> None:
    part = KnownPart(16384, _ROW[:4], 16384, b"l", b"s")
    with closing(_cache(tmp_path)) as cache:
        cache.remember({}, {("a", 0): part, ("b", 0): part}, {}, clock_ns=LATER_NS)
        cache.remember({"a": _ROW}, {}, {}, clock_ns=LATER_NS)
        assert cache.parts().keys() == {("b", 0)}


def test_a_release_forgets_files_that_are_gone_and_pieces_that_the_last_ones_did_not_have(
    tmp_path: Path,
) -> None:
    with closing(_cache(tmp_path)) as cache:
        packed = {b"old": b"1", b"now": b"2", b"back": b"3"}
        cache.remember({"a": _ROW, "b": _ROW}, {}, packed, clock_ns=LATER_NS)

        cache.finish_release(["a"], packed, [b"now"])
        assert cache.files().keys() == {"b"}
        for _ in range(KEPT_RELEASES - 1):
            assert cache.packed() == packed
            cache.finish_release([], packed, [b"now", b"back"])
        cache.finish_release([], packed, [b"now"])
        assert cache.packed().keys() == {b"now", b"back"}


def test_a_cache_that_is_damaged_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "hashes.sqlite").write_bytes(b"not a database at all" * 100)
    told: list[str] = []
    with closing(
        HashCache(tmp_path / "hashes.sqlite", on_new=lambda _message, hint: told.append(hint))
    ) as cache:
        assert cache.files() == {}
    assert told == ["the folder is hashed once"]
    assert len(list(tmp_path.glob("hashes.sqlite.damaged-*"))) == 1


def test_a_cache_of_a_newer_torsync_is_put_aside(tmp_path: Path) -> None:
    _cache(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "hashes.sqlite")) as database:
        database.execute("PRAGMA user_version=99")
    told: list[str] = []
    HashCache(
        tmp_path / "hashes.sqlite", on_new=lambda message, _hint: told.append(message)
    ).close()
    assert len(told) == 1
    assert "newer" in told[0]
