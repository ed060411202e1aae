"""File errors in the middle of a fetch: it ends with that error, and the old release stays.

libtorrent itself would try again after ten minutes, or never.
"""

from __future__ import annotations

import errno
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.trees import tree_bytes
from tests.unit.test_tree import mounted, tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Outcome, Running
    from tests.support.updates import Updates

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
RATE = MIB
# It has to end long before libtorrent tries again.
SECONDS = 20
OLD = {"a": 300 * KIB, "b": 7}
NEW = {**{f"files/{number}": 200 * KIB for number in range(15)}, "b": 8}


@pytest.fixture
def fetching(updates: Updates) -> Callable[..., Running]:
    """Start to fetch the new release over the old one, slowly; returns when much has arrived."""

    def start(environment: dict[str, str] | None = None) -> Running:
        updates.publish(OLD, "v1")
        updates.torsync.run("check-now", environment=environment).assert_ok()
        torrent = updates.publish(NEW, "v1", upload_limit=RATE)
        running = updates.torsync.start("check-now", environment=environment)
        seeder = updates.publisher.seeder
        wait_until(lambda: seeder.uploaded(torrent) > 300 * KIB, "much has been sent")
        return running

    return start


def assert_old_release_stays_and_new_one_follows(updates: Updates, old: dict[str, object]) -> None:
    assert tree_bytes(updates.tree) == old
    updates.publisher.seeder.remove(updates.torrent)
    updates.publisher.seeder.add_folder(updates.torrent, updates.folder)
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == tree_bytes(updates.folder)


def end_of(running: Running) -> Outcome:
    outcome = running.wait(SECONDS)
    assert outcome.exit_code == 1
    return outcome


def test_a_disk_that_others_fill_meanwhile(
    updates: Updates, fetching: Callable[..., Running]
) -> None:
    with mounted(updates.tree, *tmpfs("size=12m")) as disk:
        running = fetching()
        old = tree_bytes(updates.tree)
        filler = updates.tree / ".torsync/filler"
        fill(filler)
        error = end_of(running).error
        assert error["code"] == "disk_full"
        assert "No space left" in error["message"]
        assert str(disk) in error["message"]
        filler.unlink()
        assert_old_release_stays_and_new_one_follows(updates, old)


def test_a_stage_that_may_no_longer_be_written(
    updates: Updates, fetching: Callable[..., Running], unprivileged: dict[str, str]
) -> None:
    running = fetching(unprivileged)
    old = tree_bytes(updates.tree)
    stage = updates.tree / ".torsync/stage"
    everything = [stage, *stage.rglob("*")]
    for path in everything:
        path.chmod(0o500 if path.is_dir() else 0o400)
    error = end_of(running).error
    for path in everything:
        if path.exists():
            path.chmod(0o700)
    assert "Permission denied" in error["message"]
    assert ".torsync/stage" in error["message"]
    assert_old_release_stays_and_new_one_follows(updates, old)


@contextmanager
def immutable(files: list[Path]) -> Iterator[None]:
    """Files that nobody may write, not even who has them open already."""
    chattr = require("chattr")
    done = subprocess.run([chattr, "+i", *files], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"files cannot be made immutable here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([chattr, "-i", *files], check=True)


def test_a_staged_file_that_becomes_read_only(
    updates: Updates, fetching: Callable[..., Running]
) -> None:
    running = fetching()
    old = tree_bytes(updates.tree)
    files = [path for path in (updates.tree / ".torsync/stage").rglob("*") if path.is_file()]
    assert files
    with immutable(files):
        error = end_of(running).error
    assert "Operation not permitted" in error["message"]
    assert ".torsync/stage" in error["message"]
    assert_old_release_stays_and_new_one_follows(updates, old)


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(PIECE)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A folder with the image of a disk, which fails to store what it took if the folder is full.

    Without a journal that disk goes on, so that only those files suffer.
    """
    with mounted(tmp_path / "store", *tmpfs("size=24m")) as folder:
        with (folder / "image").open("wb") as file:
            file.truncate(64 * MIB)
        mkfs = require("mkfs.ext4")
        subprocess.run([mkfs, "-q", "-O", "^has_journal", folder / "image"], check=True)
        yield folder


def fail_to_store(updates: Updates, store: Path) -> None:
    """Update while the disk fails to store what it takes."""
    (updates.tree / "lost+found").rmdir()
    updates.publish(OLD, "v1")
    updates.torsync.run("check-now").assert_ok()
    old = tree_bytes(updates.tree)
    subprocess.run(["sync", "--file-system", updates.tree], check=True)
    updates.publish(NEW, "v1")
    fill(store / "filler")
    outcome = updates.torsync.run("check-now")
    assert outcome.exit_code == 1
    assert "could not write" in outcome.error["message"]
    assert str(updates.tree) in outcome.error["message"]
    assert tree_bytes(updates.tree) == old


def test_a_disk_that_loses_what_was_written_is_noticed_before_the_tree_changes(
    updates: Updates, store: Path
) -> None:
    with mounted(updates.tree, "-o", "loop", store / "image"):
        fail_to_store(updates, store)


def test_what_a_disk_lost_is_not_believed_later_because_it_can_be_read_from_memory(
    updates: Updates, store: Path
) -> None:
    with mounted(updates.tree, "-o", "loop", store / "image"):
        fail_to_store(updates, store)
        (store / "filler").unlink()
        updates.torsync.run("check-now").assert_ok()
    with mounted(updates.tree, "-o", "loop", store / "image"):
        found, wanted = tree_bytes(updates.tree), tree_bytes(updates.folder)
        assert [path for path in wanted if found.get(path) != wanted[path]] == []


def test_a_file_that_nobody_may_replace_leaves_the_tree_between_releases_and_says_so(
    updates: Updates,
) -> None:
    updates.sync_first({"a/first": b"old", "b/second": b"old"}, "packed")
    new = {"a/first": b"newer", "b/second": b"newer"}
    updates.publish(new, "packed")
    with immutable([updates.tree / "b"]):
        outcome = updates.torsync.run("check-now")
        assert (outcome.exit_code, len(outcome.errors)) == (1, 1)
        assert "'b/second': Operation not permitted" in outcome.error["message"]
        status = updates.torsync.run("status").assert_ok().subscription
        assert status["stage"] == "between releases"
        assert (status["release"], status["between"]) == ("release-1", "release-2")
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert report["bytes_fetched"] == 0
    assert tree_bytes(updates.tree) == new
    assert updates.torsync.run("status").assert_ok().subscription["between"] == ""
