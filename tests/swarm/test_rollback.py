"""Back to an earlier release: from the trash where that has it, and to stay there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import MIB, PIECE, WITH_DIGESTS, overwritten
from tests.unit.test_tree import mounted, tmpfs

if TYPE_CHECKING:
    from tests.support.cli import Json
    from tests.support.updates import Updates

LARGE = random_bytes(20 * PIECE + 100, "large")
FIRST = {
    "dropped/file": random_bytes(2 * PIECE, "dropped"),
    "large": LARGE,
    "name/old": random_bytes(3 * PIECE, "renamed"),
    "small": b"small",
    "stays": random_bytes(PIECE, "stays"),
}
SECOND = {
    "large": overwritten(LARGE, 5 * PIECE, b"patched"),
    "name/new": FIRST["name/old"],
    "new": random_bytes(2 * PIECE, "new"),
    "small": b"other",
    "stays": FIRST["stays"],
}
THIRD = {**SECOND, "small": b"third"}


def _two_releases(updates: Updates, format_: str) -> None:
    updates.sync_first(FIRST, format_)
    updates.update(SECOND, format_)


def _rollback(updates: Updates, *arguments: str) -> Json:
    report = updates.torsync.run("rollback", "pack", *arguments).assert_ok().subscription
    assert report["command"] == "rollback"
    return report


@pytest.mark.parametrize("format_", [*WITH_DIGESTS, "v1"])
def test_a_rollback_takes_everything_from_the_tree_and_the_trash(
    updates: Updates, format_: str
) -> None:
    _two_releases(updates, format_)
    report = _rollback(updates)
    assert tree_bytes(updates.tree) == FIRST
    assert report["bytes_fetched"] == 0
    assert report["moved_paths"] == ["dropped/file", "large", "name/old", "small"]
    assert updates.torsync.run("verify").assert_ok().subscription["ok"] == len(FIRST)
    updates.torsync.run("apply", "pack").assert_ok()
    assert tree_bytes(updates.tree) == SECOND
    assert not list((updates.tree / ".torsync").rglob("*.moved"))


def test_what_the_trash_has_lost_is_fetched(updates: Updates) -> None:
    updates.sync_first(FIRST, "packed")
    first = updates.torrent
    updates.update(SECOND, "packed")
    shutil.rmtree(updates.tree / ".torsync/trash")
    report = _rollback(updates)
    assert tree_bytes(updates.tree) == FIRST
    assert report["patched_paths"] == ["large"]
    assert 0 < report["bytes_fetched"] <= 5 * PIECE
    fetched = report["bytes_fetched"]
    assert updates.publisher.seeder.uploaded(first, at_least=fetched) >= fetched


def test_what_was_edited_in_the_trash_is_not_believed(updates: Updates) -> None:
    _two_releases(updates, "packed")
    trashed = next((updates.tree / ".torsync/trash").glob("*-release/large"))
    with trashed.open("r+b") as file:
        file.write(b"edited")
    _rollback(updates)
    assert tree_bytes(updates.tree) == FIRST


def test_a_release_that_nobody_knows_is_a_mistake_in_the_command_and_no_failure(
    updates: Updates,
) -> None:
    _two_releases(updates, "packed")
    assert updates.torsync.run("rollback", "pack", "nope").exit_code == 2
    assert updates.torsync.run("status").assert_ok().subscription["last_error"] == ""


def test_after_a_rollback_it_stays_until_it_is_told_to_follow_again(updates: Updates) -> None:
    _two_releases(updates, "packed")
    outcome = updates.torsync.run("rollback", "pack").assert_ok()
    assert outcome.notices[-1]["hint"] == "`torsync apply pack` follows the newest again"
    updates.publish(THIRD, "packed")
    outcome = updates.torsync.run("check-now").assert_ok()
    assert not outcome.subscription["changed"]
    assert tree_bytes(updates.tree) == FIRST
    assert [notice["code"] for notice in outcome.notices] == ["rolled_back"]
    (updates.tree / "small").write_bytes(b"damaged")
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == FIRST, "what it stays at is kept in order"
    status = updates.torsync.run("status").assert_ok().subscription
    assert (status["pinned"], status["stage"]) == (True, "rolled back")
    assert updates.torsync.run("plan").exit_code == 4
    updates.torsync.run("apply", "pack").assert_ok()
    assert tree_bytes(updates.tree) == THIRD
    assert not updates.torsync.run("status").assert_ok().subscription["pinned"]
    updates.publish(SECOND, "packed")
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == SECOND


def test_releases_are_listed_and_found_by_name_or_info_hash(updates: Updates) -> None:
    _two_releases(updates, "packed")
    updates.update(THIRD, "packed")
    listed = updates.torsync.run("rollback", "pack", "--list").assert_ok().subscription
    assert [release["release"] for release in listed["releases"]] == [
        "release-3",
        "release-2",
        "release-1",
    ]
    assert [release["current"] for release in listed["releases"]] == [True, False, False]
    first = listed["releases"][2]["info_hash"]
    _rollback(updates, first[:12])
    assert tree_bytes(updates.tree) == FIRST
    _rollback(updates, "release-3")
    assert tree_bytes(updates.tree) == THIRD
    assert not updates.torsync.run("status").assert_ok().subscription["pinned"]


def test_a_release_that_is_not_known_is_named(updates: Updates) -> None:
    updates.sync_first(FIRST, "packed")
    outcome = updates.torsync.run("rollback", "pack", "release-9")
    assert outcome.exit_code == 2
    assert "release-9" in outcome.error["message"]
    assert "release-1" in outcome.error["hint"]
    outcome = updates.torsync.run("rollback", "pack")
    assert outcome.exit_code == 2
    assert "before" in outcome.error["message"]
    assert tree_bytes(updates.tree) == FIRST


def test_what_is_refused_leaves_it_with_the_release_that_it_followed(updates: Updates) -> None:
    _two_releases(updates, "packed")
    updates.torsync.subscribe(max_delete=0)
    outcome = updates.torsync.run("rollback", "pack")
    assert (outcome.exit_code, outcome.error["code"]) == (5, "refused")
    assert not updates.torsync.run("status").assert_ok().subscription["pinned"]
    assert not updates.torsync.run("check-now").assert_ok().subscription["changed"]
    updates.torsync.run("rollback", "pack", "--allow", "deletes").assert_ok()
    assert updates.torsync.run("apply", "pack").exit_code == 5
    assert updates.torsync.run("status").assert_ok().subscription["pinned"]
    assert tree_bytes(updates.tree) == FIRST


def test_each_rollback_goes_one_release_further_back(updates: Updates) -> None:
    _two_releases(updates, "packed")
    updates.update(THIRD, "packed")
    _rollback(updates)
    assert tree_bytes(updates.tree) == SECOND
    _rollback(updates)
    assert tree_bytes(updates.tree) == FIRST
    assert updates.torsync.run("rollback", "pack").exit_code == 2
    updates.torsync.run("apply", "pack").assert_ok()
    _rollback(updates)
    assert tree_bytes(updates.tree) == SECOND


def test_what_a_rollback_takes_from_the_trash_is_not_given_up_to_make_room_for_it(
    updates: Updates,
) -> None:
    first = {"gone": random_bytes(2 * MIB, "gone"), "moved": random_bytes(3 * MIB, "moved")}
    second = {"other": random_bytes(2 * MIB, "other")}
    third = {"another": random_bytes(MIB, "another")}
    updates.torsync.subscribe(trash_size="100%")
    with mounted(updates.tree, *tmpfs("size=12m")) as disk:
        for release in (first, second, third):
            updates.publish(release, "packed")
            updates.torsync.run("check-now").assert_ok()
        next(disk.glob(".torsync/trash/*/gone")).unlink()
        found = os.statvfs(disk)
        filling = found.f_bavail * found.f_frsize - MIB
        (disk / "mine").write_bytes(bytes(filling))
        report = _rollback(updates, "release-1")
        assert report["moved_paths"] == ["moved"]
        assert report["fetched_paths"] == ["gone"]
        assert tree_bytes(disk) == {**first, "mine": bytes(filling)}


def test_a_state_of_an_earlier_version_knows_no_earlier_release(updates: Updates) -> None:
    updates.sync_first(FIRST, "packed")
    state = next(updates.torsync.state_dir.glob("trees/*/state.sqlite"))
    with closing(sqlite3.connect(state)) as database:
        database.executescript(
            "DROP TABLE journal; DROP TABLE releases; DROP TABLE trash; PRAGMA user_version = 1"
        )
    listed = updates.torsync.run("rollback", "pack", "--list").assert_ok().subscription
    assert listed["releases"] == []
    status = updates.torsync.run("status").assert_ok().subscription
    assert (status["stage"], status["release"]) == ("stopped", "release-1")
    updates.torsync.run("check-now").assert_ok()
    assert updates.torsync.run("rollback", "pack").exit_code == 2
