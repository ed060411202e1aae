"""Rollbacks where something is in the way: edits, patterns, guards, a service, a kill, in place."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot, staged, trash_contents
from tests.support.processes import wait_until
from tests.support.trees import edit_in_place, random_bytes, tree_bytes
from tests.support.updates import KIB, MIB, PIECE, overwritten

if TYPE_CHECKING:
    from tests.support.cli import Json
    from tests.support.updates import Updates

LARGE = random_bytes(MIB + 100, "large")
FIRST = {
    "dropped": random_bytes(2 * PIECE, "dropped"),
    "large": LARGE,
    "small": b"small",
    "stays": random_bytes(PIECE, "stays"),
}
SECOND = {
    "large": overwritten(LARGE, 5 * PIECE, random_bytes(40 * PIECE, "patch")),
    "new/1": random_bytes(2 * PIECE, "new 1"),
    "new/2": random_bytes(2 * PIECE, "new 2"),
    "new/3": random_bytes(2 * PIECE, "new 3"),
    "small": b"other",
    "stays": FIRST["stays"],
}
SLOW = 512 * KIB


def _two_releases(updates: Updates, **first: int) -> bytes:
    """Sync one, then the other; gives the first one's torrent."""
    torrent = updates.publish(FIRST, "packed", **first)
    updates.torsync.run("check-now").assert_ok()
    updates.settle()
    updates.update(SECOND, "packed")
    return torrent


def _status(updates: Updates) -> Json:
    return updates.torsync.run("status").assert_ok().subscription


def test_after_an_update_in_place_what_was_patched_is_fetched_again_and_no_more(
    updates: Updates,
) -> None:
    updates.torsync.subscribe(apply="in-place")
    first = _two_releases(updates)
    sent = updates.publisher.seeder.uploaded(first)
    inode = (updates.tree / "large").stat().st_ino
    report = updates.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok().subscription
    assert tree_bytes(updates.tree) == FIRST
    assert report["patched_paths"] == ["large"]
    assert report["moved_paths"] == ["dropped", "small"]
    fetched = report["bytes_fetched"]
    assert fetched == updates.publisher.seeder.uploaded(first, at_least=sent + fetched) - sent
    assert 0 < report["bytes_fetched"] <= 41 * PIECE
    assert (updates.tree / "large").stat().st_ino == inode


@pytest.mark.parametrize("apply", ["staged", "in-place"])
def test_an_edited_file_goes_to_the_trash(updates: Updates, apply: str) -> None:
    updates.torsync.subscribe(apply=apply)
    _two_releases(updates)
    for path in ("large", "new/1"):
        edit_in_place(updates.tree / path)
    edited = tree_bytes(updates.tree)
    updates.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == FIRST
    trash = trash_contents(updates.tree)
    assert edited["large"] in trash["large"]
    assert trash["new/1"] == [edited["new/1"]]


def test_keep_and_select_are_heeded(updates: Updates) -> None:
    _two_releases(updates)
    updates.torsync.subscribe(keep=["small", "new/1"], select=["*", "!dropped"])
    updates.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok()
    expected = {**FIRST, "small": SECOND["small"], "new/1": SECOND["new/1"]}
    del expected["dropped"]
    assert tree_bytes(updates.tree) == expected


def test_a_release_whose_torrent_is_gone_from_the_state_is_named(updates: Updates) -> None:
    _two_releases(updates)
    for file in updates.torsync.state_dir.rglob("*.torrent"):
        file.unlink()
    before = snapshot(updates.tree)
    outcome = updates.torsync.run("rollback", "pack")
    assert outcome.exit_code == 1
    assert "'release-1'" in outcome.error["message"]
    assert "gone" in outcome.error["message"]
    assert "--list" in outcome.error["hint"]
    assert snapshot(updates.tree) == before
    assert not _status(updates)["pinned"]
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == SECOND


def test_while_the_service_runs_that_rolls_back_and_stays_there_when_it_is_started_again(
    updates: Updates,
) -> None:
    _two_releases(updates)
    service = updates.torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    updates.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == FIRST
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    service = updates.torsync.start("run")
    service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "rolled_back", "it stays"
    )
    service.wait_for_stage("pack", "seeding")
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    assert tree_bytes(updates.tree) == FIRST


def test_it_removes_no_more_than_an_update_may(updates: Updates) -> None:
    _two_releases(updates)
    updates.torsync.subscribe(max_delete=2)
    before = snapshot(updates.tree)
    outcome = updates.torsync.run("rollback", "pack")
    assert outcome.exit_code == 5
    assert "3 of 6 files" in outcome.error["message"]
    assert "torsync rollback pack --allow deletes" in outcome.error["hint"]
    assert snapshot(updates.tree) == before
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == SECOND, "what was refused is not done by the next check"
    assert not _status(updates)["pinned"]
    command = outcome.error["hint"].split("`")[1].split()[1:]
    updates.torsync.run(*command, "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == FIRST
    assert _status(updates)["pinned"]
    updates.torsync.subscribe(max_delete=0)
    assert updates.torsync.run("apply", "pack").exit_code == 5
    assert _status(updates)["pinned"], "that it follows again was refused as well"
    assert updates.torsync.run("check-now").assert_ok().subscription["release"] == "release-1"


@pytest.mark.parametrize("apply", ["staged", "in-place"])
def test_one_that_is_killed_while_it_fetches_is_gone_on_with(updates: Updates, apply: str) -> None:
    updates.torsync.subscribe(apply=apply)
    first = _two_releases(updates, upload_limit=SLOW)
    shutil.rmtree(updates.tree / ".torsync/trash")
    seeder = updates.publisher.seeder
    sent = seeder.uploaded(first)
    running = updates.torsync.start("rollback", "pack")
    wait_until(lambda: seeder.uploaded(first) > sent + 200 * KIB, "it fetches")
    running.kill()
    if apply == "staged":
        assert tree_bytes(updates.tree) == SECOND
    else:
        assert _status(updates)["stage"] == "between releases"
    updates.torsync.run("check-now", "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == FIRST
    status = _status(updates)
    assert (status["stage"], status["release"]) == ("rolled back", "release-1")
    assert staged(updates.tree) == []
    assert "large" not in trash_contents(updates.tree) or apply == "staged"
    updates.torsync.run("apply", "pack", "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == SECOND
    assert not _status(updates)["pinned"]


def test_one_that_was_cut_off_can_be_called_off(updates: Updates) -> None:
    updates.torsync.subscribe(apply="in-place")
    first = _two_releases(updates, upload_limit=SLOW)
    seeder = updates.publisher.seeder
    sent = seeder.uploaded(first)
    running = updates.torsync.start("rollback", "pack")
    wait_until(lambda: seeder.uploaded(first) > sent + 200 * KIB, "it fetches")
    running.kill()
    updates.torsync.run("apply", "pack", "--timeout", "20s").assert_ok()
    assert tree_bytes(updates.tree) == SECOND
    status = _status(updates)
    assert (status["stage"], status["release"]) == ("stopped", "release-2")
