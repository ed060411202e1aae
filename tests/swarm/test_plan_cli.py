"""``plan`` and ``check-now --dry-run``: they tell what would be done, and leave no trace."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, trash_contents
from tests.support.torrents import info_hash, make_libtorrent
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Json
    from tests.support.trees import Content

KIB = 1024
PIECE = 16 * KIB
FIRST: dict[str, Content] = {
    "a/kept.bin": 5 * PIECE,
    "a/patched.bin": 9 * PIECE,
    "b/dropped.bin": 2 * PIECE,
    "mine.ini": 100,
}


@pytest.fixture
def publisher(publisher: Publisher, torsync: Torsync) -> Publisher:
    torsync.subscribe(keep=["*.ini"])
    return publisher


@pytest.fixture
def first(tmp_path: Path, publisher: Publisher) -> bytes:
    """The first release, published."""
    folder = write_tree(tmp_path / "first", FIRST)
    torrent = make_libtorrent(folder, format="v2", piece_size=PIECE)
    publisher.publish(torrent, folder)
    return torrent


@pytest.fixture
def second(tmp_path: Path, first: bytes) -> bytes:
    """The second release: one file patched, one dropped, one new."""
    folder = write_tree(tmp_path / "second", FIRST)
    (folder / "b/dropped.bin").unlink()
    with (folder / "a/patched.bin").open("r+b") as file:
        file.seek(3 * PIECE)
        file.write(b"something else")
    write_tree(folder, {"c/new.bin": 3 * PIECE})
    return make_libtorrent(folder, format="v2", piece_size=PIECE)


def facts(torsync: Torsync) -> dict[str, object]:
    """What the state says."""
    state = TreeState(state_folder(torsync.state_dir, torsync.tree))
    try:
        query = "SELECT key, value FROM meta"
        rows = state._db.run(lambda database: database.execute(query).fetchall())
        return {**dict(rows), "ledger": state.load_ledger(), "stage": state.noted_stage()}
    finally:
        state.close()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def actions(report: Json) -> dict[str, str]:
    return {action["path"]: action["action"] for action in report["actions"]}


WANTED = {"a/patched.bin": "patch", "b/dropped.bin": "trash", "c/new.bin": "fetch"}


@pytest.mark.parametrize("command", [("check-now", "--dry-run"), ("plan",)])
def test_an_absent_folder_is_planned_as_empty_and_not_made(
    torsync: Torsync, first: bytes, command: tuple[str, ...]
) -> None:
    if command == ("plan",):
        assert torsync.run("check-now", "--dry-run").exit_code == 4
        before = facts(torsync)
    outcome = torsync.run(*command)
    assert outcome.exit_code == 4
    report = outcome.subscription
    assert (report["command"], report["dry_run"]) == (command[0], True)
    assert report["info_hash"] == info_hash(first)
    assert actions(report) == dict.fromkeys(FIRST, "fetch")
    assert report["bytes_to_fetch"] == report["bytes_total"] == 16 * PIECE + 100
    assert report["space_needed"] == 16 * PIECE + os.statvfs(torsync.folder).f_frsize
    assert report["space_free"] > 0
    assert not torsync.tree.exists()
    if command == ("plan",):
        assert facts(torsync) == before
    torsync.run("check-now").assert_ok()


@pytest.mark.parametrize("command", [("check-now", "--dry-run"), ("plan",)])
def test_an_empty_folder_stays_empty(
    torsync: Torsync, first: bytes, command: tuple[str, ...]
) -> None:
    torsync.run("check-now", "--dry-run")
    torsync.tree.mkdir()
    before = snapshot(torsync.tree)
    assert torsync.run(*command).exit_code == 4
    assert snapshot(torsync.tree) == before
    assert os.listdir(torsync.tree) == []


def test_a_plan_needs_a_poll_first_and_leaves_no_state(torsync: Torsync, first: bytes) -> None:
    outcome = torsync.run("plan", "pack")
    assert outcome.exit_code == 1
    assert outcome.error["code"] == "not_polled"
    assert "torsync check-now --dry-run pack" in outcome.error["hint"]
    assert not torsync.state_dir.exists() or names(torsync.state_dir) == set()
    assert not torsync.tree.exists()
    outcome = torsync.run("apply", "pack")
    assert (outcome.exit_code, outcome.error["code"]) == (1, "not_polled")


def test_a_release_from_another_url_is_not_planned(
    tmp_path: Path, torsync: Torsync, first: bytes
) -> None:
    assert torsync.run("check-now", "--dry-run").exit_code == 4
    torsync.subscribe(url=(tmp_path / "elsewhere.torrent").as_uri())
    assert torsync.run("plan").error["code"] == "not_polled"


def test_in_sync_there_is_nothing_to_plan(torsync: Torsync, first: bytes) -> None:
    torsync.run("check-now").assert_ok()
    report = torsync.run("plan").assert_ok().subscription
    assert (report["changed"], report["actions"], report["space_needed"]) == (False, [], 0)
    assert report["kept"] == len(FIRST)


def test_dry_run_and_plan_touch_neither_tree_nor_state(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, first: bytes, second: bytes
) -> None:
    torsync.run("check-now").assert_ok()
    (torsync.tree / "mine.ini").write_bytes(b"my settings")
    (torsync.tree / "a/kept.bin").touch()
    publisher.publish(second, tmp_path / "second")
    before, listed = snapshot(torsync.tree), names(torsync.tree)
    state = facts(torsync)
    dry = torsync.run("check-now", "--dry-run")
    assert dry.exit_code == 4
    polled = facts(torsync)
    assert {key for key in polled if polled[key] != state.get(key)} <= {"poll", "stage"}
    files = names(torsync.state_dir)
    planned = torsync.run("plan")
    assert planned.exit_code == 4
    assert (snapshot(torsync.tree), names(torsync.tree)) == (before, listed)
    assert facts(torsync) == polled
    assert names(torsync.state_dir) == files
    for report in (dry.subscription, planned.subscription):
        assert actions(report) == {**WANTED, "mine.ini": "kept_local"}
        assert report["bytes_hashed"] >= 5 * PIECE, "the touched file is doubtful"
        assert report["bytes_fetched"] == 0
    told = {**dry.subscription, "command": "plan"}
    for volatile in ("seconds", "space_free"):
        del told[volatile], planned.subscription[volatile]
    assert told == planned.subscription


def test_a_plan_leaves_a_state_of_a_newer_torsync_where_it_is(
    torsync: Torsync, first: bytes
) -> None:
    """Whoever holds the tree may be working with it."""
    torsync.run("check-now").assert_ok()
    state = state_folder(torsync.state_dir, torsync.tree)
    with closing(sqlite3.connect(state / "state.sqlite")) as database:
        database.execute("PRAGMA user_version=99")
    files = sorted(os.listdir(state))
    outcome = torsync.run("plan")
    assert (outcome.exit_code, outcome.error["code"]) == (1, "state")
    assert [name for name in sorted(os.listdir(state)) if "-" not in name] == files
    with closing(sqlite3.connect(state / "state.sqlite")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (99,)


def test_apply_does_exactly_what_the_plan_said(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, first: bytes, second: bytes
) -> None:
    torsync.run("check-now").assert_ok()
    before = tree_bytes(torsync.tree)
    publisher.publish(second, tmp_path / "second")
    torsync.run("check-now", "--dry-run")
    planned = torsync.run("plan").subscription
    assert actions(planned) == WANTED
    reasons = {action["path"]: action["reason"] for action in planned["actions"]}
    assert reasons["b/dropped.bin"] == "no longer in the release"
    sources = {action["path"]: action["source"] for action in planned["actions"]}
    assert sources == {"a/patched.bin": "a/patched.bin", "b/dropped.bin": "", "c/new.bin": ""}
    assert planned["space_needed"] == (9 + 3) * PIECE
    assert planned["bytes_to_fetch"] == (1 + 3) * PIECE

    report = torsync.run("apply", "pack").assert_ok().subscription
    assert (report["command"], report["dry_run"]) == ("apply", False)
    assert (report["changed"], report["info_hash"]) == (True, info_hash(second))
    assert report["bytes_fetched"] == planned["bytes_to_fetch"]
    for count in ("kept", "moved", "copied", "patched", "fetched", "trashed"):
        assert report[count] == planned[count], count
    for paths in ("patched_paths", "fetched_paths", "trashed_paths"):
        assert sorted(report[paths]) == sorted(planned[paths]), paths
    assert_same_tree(torsync.tree, tmp_path / "second")
    gone = {path: [before[path]] for path in ("a/patched.bin", "b/dropped.bin")}
    assert trash_contents(torsync.tree) == gone
    assert torsync.run("plan").exit_code == 0


def test_apply_does_not_poll(
    torsync: Torsync, publisher: Publisher, tmp_path: Path, first: bytes, second: bytes
) -> None:
    torsync.run("check-now").assert_ok()
    publisher.publish(second, tmp_path / "second")
    outcome = torsync.run("apply", "pack").assert_ok()
    assert not outcome.subscription["changed"]
    assert [notice["code"] for notice in outcome.notices] == ["nothing_pending"]
    assert_same_tree(torsync.tree, tmp_path / "first")
    publisher.file.unlink()
    assert torsync.run("plan").exit_code == 0, "only what was polled counts"


def test_apply_needs_a_name(torsync: Torsync, first: bytes) -> None:
    started = torsync.start("apply")
    with pytest.raises(AssertionError, match="usage"):
        started.wait()


def test_a_plan_names_what_could_not_be_a_folder(torsync: Torsync, first: bytes) -> None:
    assert torsync.run("check-now", "--dry-run").exit_code == 4
    torsync.tree.write_bytes(b"a file")
    outcome = torsync.run("plan")
    assert (outcome.exit_code, outcome.error["code"]) == (1, "tree")
