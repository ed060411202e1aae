"""A ledger that is lost, damaged, newer or lies, and the service that comes back with one."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import trash_contents
from tests.support.leecher import libtorrent_download
from tests.support.processes import HOST, free_port
from tests.support.torrents import root_name
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes
from tests.support.updates import PIECE, edit, overwritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Json, Outcome, Torsync
    from tests.support.updates import Updates

FORMATS = ("v1", "packed", "v2", "hybrid")
LONG = random_bytes(20 * PIECE + 5, "long")
ENTRIES = {
    "a/long.bin": LONG,
    "a/other.bin": random_bytes(7 * PIECE, "other"),
    "b/small.txt": random_bytes(300, "small"),
    "b/smaller.txt": random_bytes(200, "smaller"),
    "dropped.txt": random_bytes(400, "dropped"),
}
TOTAL = sum(map(len, ENTRIES.values()))


def database(torsync: Torsync) -> Path:
    """The only tree's database, without any log beside it."""
    found = list(torsync.state_dir.rglob("state.sqlite"))
    assert len(found) == 1, found
    with closing(sqlite3.connect(found[0])) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found[0]


def remove_logs(file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def verifying(outcome: Outcome) -> list[Json]:
    return [one for one in outcome.of_type("progress") if one["stage"] == "verifying"]


def alarms(outcome: Outcome) -> list[Json]:
    return [one for one in outcome.notices if one["level"] in {"warning", "error"}]


# --- lost, damaged, newer -------------------------------------------------------------------


def _delete(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _garbage(file: Path) -> None:
    file.write_bytes(random_bytes(20_000, "garbage"))


def _cut_in_the_middle(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def _overwrite_the_middle(file: Path) -> None:
    edit(file, 100, b"\xff" * (file.stat().st_size - 200))


def _from_the_future(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute("PRAGMA user_version=99")


LOST = [_delete, _empty]
UNUSABLE = [_garbage, _cut_in_the_middle, _overwrite_the_middle, _from_the_future]


def spoil(updates: Updates, how: Callable[[Path], None]) -> bytes | None:
    """Spoil the ledger; what is in its file then."""
    file = database(updates.torsync)
    how(file)
    remove_logs(file)
    return file.read_bytes() if file.exists() else None


def assert_kept_aside(torsync: Torsync, spoilt: bytes) -> None:
    files = [file for file in torsync.state_dir.rglob("*") if file.is_file()]
    assert any(file.read_bytes() == spoilt for file in files), files


@pytest.mark.parametrize(
    ("how", "format_"),
    [
        *((how, "packed") for how in (*LOST, *UNUSABLE)),
        *((how, format_) for how in (_delete, _garbage) for format_ in ("v1", "v2")),
    ],
)
def test_a_lost_ledger_is_rebuilt_by_hashing_with_progress_and_without_fetching(
    updates: Updates, how: Callable[[Path], None], format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    spoilt = spoil(updates, how)
    outcome = updates.check()
    report = outcome.subscription
    assert not report["changed"]
    assert report["kept"] == len(ENTRIES)
    assert report["bytes_fetched"] == 0
    assert TOTAL <= report["bytes_hashed"] <= TOTAL + len(ENTRIES) * PIECE  # with padding
    assert verifying(outcome)
    assert any(one["bytes_done"] for one in verifying(outcome)), "how far it is"
    if how in UNUSABLE:
        assert alarms(outcome), "a person is told"
        assert spoilt is not None
        assert_kept_aside(updates.torsync, spoilt)
    updates.settle()
    updates.assert_at_rest()


@pytest.mark.parametrize(
    ("how", "format_"),
    [
        *((_delete, format_) for format_ in FORMATS),
        *((how, "packed") for how in (_garbage, _from_the_future)),
    ],
)
def test_with_a_lost_ledger_an_update_fetches_nothing_that_the_disk_has(
    updates: Updates, how: Callable[[Path], None], format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    spoil(updates, how)
    fresh = {"zz/fresh.bin": random_bytes(2 * PIECE, "fresh")}
    kept = {path: content for path, content in ENTRIES.items() if path != "a/long.bin"}
    updates.publish({**kept, "c/renamed.bin": LONG, **fresh}, format_)
    report = updates.torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
    found = tree_bytes(updates.tree)
    # Without the ledger nobody can tell whether the old file was torsync's or the user's.
    found.pop("a/long.bin", None)
    assert found == tree_bytes(updates.folder)
    fetched, seeder = report["bytes_fetched"], updates.publisher.seeder
    assert fetched == seeder.uploaded(updates.torrent, at_least=fetched)
    boundaries = 2 if format_ == "v1" else 0
    assert report["bytes_fetched"] <= (boundaries + updates.pieces_of("zz/fresh.bin")) * PIECE
    assert report["kept"] == len(kept)


@pytest.mark.parametrize("how", [_garbage, _from_the_future])
def test_verify_does_not_stumble_over_a_ledger_that_it_cannot_use(
    updates: Updates, how: Callable[[Path], None]
) -> None:
    """It may have to say that there is nothing to compare with, and changes nothing."""
    updates.sync_first(ENTRIES, "packed")
    spoilt = spoil(updates, how)
    outcome = updates.torsync.run("verify", "--repair")
    assert outcome.exit_code in {0, 4}, outcome.stderr
    assert tree_bytes(updates.tree) == ENTRIES
    report = updates.check().subscription
    assert report["bytes_fetched"] == 0
    assert spoilt is not None
    assert_kept_aside(updates.torsync, spoilt)


# --- edits that hide ------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_an_edit_whose_time_was_set_back_is_noticed_by_a_check(
    updates: Updates, format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    edited = edit(updates.tree / "a/long.bin", 5 * PIECE + 9, b"edited", keep_time=True)
    report = updates.check().subscription
    assert report["patched_paths"] == report["trashed_paths"] == ["a/long.bin"]
    assert report["bytes_fetched"] == PIECE
    assert report["bytes_hashed"] <= len(LONG) + 4 * PIECE
    assert trash_contents(updates.tree) == {"a/long.bin": [edited]}


def make_it_lie(torsync: Torsync, file: Path, path: str) -> None:
    """Have the ledger say that a file was written as it is now."""
    seen = file.stat()
    with closing(sqlite3.connect(database(torsync), isolation_level=None)) as opened:
        tables = [
            name
            for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if {"path", "mtime_ns", "ctime_ns"}
            <= {column[1] for column in opened.execute(f"PRAGMA table_info({name})")}
        ]
        assert len(tables) == 1, tables
        changed = opened.execute(
            f"UPDATE {tables[0]} SET mtime_ns = ?, ctime_ns = ? WHERE CAST(path AS TEXT) = ?",
            (seen.st_mtime_ns, seen.st_ctime_ns, path),
        )
        assert changed.rowcount == 1


@pytest.mark.parametrize("format_", FORMATS)
def test_verify_does_not_believe_a_ledger_that_lies(updates: Updates, format_: str) -> None:
    updates.sync_first(ENTRIES, format_)
    edited = edit(updates.tree / "a/long.bin", 5 * PIECE + 9, b"edited", keep_time=True)
    make_it_lie(updates.torsync, updates.tree / "a/long.bin", "a/long.bin")
    outcome = updates.torsync.run("verify")
    assert outcome.exit_code == 4
    assert outcome.subscription["damaged_paths"] == ["a/long.bin"]
    assert outcome.subscription["ok"] == len(ENTRIES) - 1
    outcome = updates.torsync.run("verify", "--repair").assert_ok()
    assert outcome.subscription["repaired_paths"] == ["a/long.bin"]
    assert outcome.subscription["bytes_fetched"] == PIECE
    assert_same_tree(updates.tree, updates.folder)
    assert trash_contents(updates.tree) == {"a/long.bin": [edited]}
    assert updates.torsync.run("verify").assert_ok().subscription["ok"] == len(ENTRIES)


def test_an_update_where_the_ledger_lies_can_be_repaired(updates: Updates) -> None:
    """What is claimed of the file that is patched is wrong; a full verify tells."""
    updates.sync_first(ENTRIES, "packed")
    edit(updates.tree / "a/long.bin", 5 * PIECE + 9, b"edited", keep_time=True)
    make_it_lie(updates.torsync, updates.tree / "a/long.bin", "a/long.bin")
    patched = overwritten(LONG, 9 * PIECE, b"patch")
    updates.publish({**ENTRIES, "a/long.bin": patched}, "packed")
    updates.torsync.run("check-now", "--timeout", "20s")
    updates.torsync.run("verify", "--repair").assert_ok()
    updates.torsync.run("check-now", "--timeout", "20s").assert_ok()
    assert_same_tree(updates.tree, updates.folder)


# --- the service ----------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_the_service_seeds_all_of_an_updated_tree_at_once_without_hashing(
    tmp_path: Path, updates: Updates, format_: str
) -> None:
    port = free_port(udp=True)
    updates.torsync.session["listen"] = [f"{HOST}:{port}"]
    updates.sync_first(ENTRIES, format_)
    changed = {**ENTRIES, "c/moved.bin": LONG, "b/small.txt": random_bytes(5000, "new")}
    del changed["a/long.bin"]
    updates.update(changed, format_)
    updates.settle()
    updates.publisher.seeder.remove(updates.torrent)
    service = updates.torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    libtorrent_download(updates.torrent, tmp_path / "leecher", peers=[(HOST, port)])
    assert_same_tree(tmp_path / "leecher" / root_name(updates.torrent), updates.folder)
    service.wait_for_stage("pack", "waiting")
    assert "verifying" not in {one.get("stage") for one in service.objects()}
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_an_edit_made_while_the_service_was_down_is_noticed_and_repaired(
    updates: Updates, format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    sent = updates.publisher.seeder.uploaded(updates.torrent)
    edited = edit(updates.tree / "a/long.bin", 7 * PIECE + 1, b"edited", keep_time=True)
    service = updates.torsync.start("run")
    report = service.wait_for(lambda one: one["type"] == "subscription", "the repair is reported")
    assert report["patched_paths"] == ["a/long.bin"]
    assert report["bytes_fetched"] == PIECE
    assert report["bytes_hashed"] <= len(LONG) + 4 * PIECE
    seeder = updates.publisher.seeder
    assert seeder.uploaded(updates.torrent, at_least=sent + PIECE) - sent == PIECE
    assert_same_tree(updates.tree, updates.folder)
    assert trash_contents(updates.tree) == {"a/long.bin": [edited]}
    service.wait_for_stage("pack", "seeding")
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0
