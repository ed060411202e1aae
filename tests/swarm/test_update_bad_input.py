"""Trees that others changed behind torsync's back: odd things, closed files, wrong clocks."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import trash_contents
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes
from tests.support.updates import PIECE, built, edit, overwritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.updates import Updates

LONG = random_bytes(20 * PIECE + 5, "long")
ENTRIES = {
    "a/long.bin": LONG,
    "a/other.bin": random_bytes(7 * PIECE, "other"),
    "b/small.txt": random_bytes(300, "small"),
    "b/smaller.txt": random_bytes(200, "smaller"),
    "dropped.txt": random_bytes(400, "dropped"),
}


# --- something else in the place of a file --------------------------------------------------


def _folder(at: Path) -> None:
    at.mkdir()


def _link(at: Path) -> None:
    at.symlink_to("other.bin")


def _dangling_link(at: Path) -> None:
    at.symlink_to("nothing")


def _fifo(at: Path) -> None:
    os.mkfifo(at)


def _device(at: Path) -> None:
    try:
        os.mknod(at, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # endless zeros
    except PermissionError:
        pytest.skip("devices are not permitted here")


OTHER_THINGS = [_folder, _link, _dangling_link, _fifo, _device]


@pytest.mark.parametrize("put", OTHER_THINGS)
@pytest.mark.parametrize("format_", ["v1", "v2"])
def test_what_is_in_the_place_of_a_file_is_replaced_by_it(
    updates: Updates, put: Callable[[Path], None], format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    (updates.tree / "a/long.bin").unlink()
    put(updates.tree / "a/long.bin")
    report = updates.check().subscription
    assert built(report) == ["a/long.bin"]
    assert report["bytes_fetched"] >= len(LONG)
    assert stat.S_ISREG((updates.tree / "a/long.bin").lstat().st_mode)
    updates.assert_at_rest()


@pytest.mark.parametrize("put", OTHER_THINGS)
def test_what_is_in_the_place_of_a_file_is_no_source_of_its_move(
    updates: Updates, put: Callable[[Path], None]
) -> None:
    updates.sync_first(ENTRIES, "v2")
    (updates.tree / "a/long.bin").unlink()
    put(updates.tree / "a/long.bin")
    renamed = {path: content for path, content in ENTRIES.items() if path != "a/long.bin"}
    updates.publish({**renamed, "c/long.bin": LONG}, "v2")
    report = updates.torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
    assert built(report) == ["c/long.bin"]
    found = tree_bytes(updates.tree)
    assert {path: found[path] for path in [*renamed, "c/long.bin"]} == tree_bytes(updates.folder)


# --- one file that cannot be read -----------------------------------------------------------


@pytest.mark.parametrize("format_", ["v1", "packed", "v2"])
def test_one_file_that_cannot_be_read_is_reported_and_the_rest_proceeds(
    updates: Updates, unprivileged: dict[str, str], format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    closed = updates.tree / "a/other.bin"
    closed.chmod(0)
    patched = overwritten(LONG, 3 * PIECE, b"patch")
    wanted = {**ENTRIES, "a/long.bin": patched, "new.txt": b"new"}
    del wanted["dropped.txt"]
    updates.publish(wanted, format_)
    try:
        outcome = updates.torsync.run("check-now", "--timeout", "20s", environment=unprivileged)
        assert outcome.exit_code == 1
        assert outcome.subscription["unreadable_paths"] == ["a/other.bin"]
        assert (updates.tree / "a/long.bin").read_bytes() == patched
        assert (updates.tree / "new.txt").read_bytes() == b"new"
        assert (updates.tree / "dropped.txt").exists(), "nothing is removed"
        assert closed.stat().st_size == len(ENTRIES["a/other.bin"])
    finally:
        closed.chmod(0o644)
    assert closed.read_bytes() == ENTRIES["a/other.bin"]
    outcome = updates.torsync.run("check-now", "--timeout", "20s", environment=unprivileged)
    assert outcome.assert_ok().subscription["trashed_paths"] == ["dropped.txt"]
    assert_same_tree(updates.tree, updates.folder)


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_a_file_that_cannot_be_read_is_not_lost_when_it_is_renamed(
    updates: Updates, unprivileged: dict[str, str], format_: str
) -> None:
    updates.sync_first(ENTRIES, format_)
    closed = updates.tree / "a/long.bin"
    mine = edit(closed, 5, b"mine")
    closed.chmod(0)
    renamed = {path: content for path, content in ENTRIES.items() if path != "a/long.bin"}
    updates.publish({**renamed, "c/long.bin": LONG}, format_)
    outcome = updates.torsync.run("check-now", "--timeout", "20s", environment=unprivileged)
    assert outcome.exit_code in {0, 1}
    assert (updates.tree / "c/long.bin").read_bytes() == LONG
    left = [closed.read_bytes()] if closed.exists() else trash_contents(updates.tree)["a/long.bin"]
    assert left == [mine]


# --- clocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("time_s", [0, 1, 4_000_000_000, 7_000_000_000])
def test_files_from_the_past_and_the_future_are_vouched_for(updates: Updates, time_s: int) -> None:
    updates.sync_first(ENTRIES, "packed")
    for path in ENTRIES:
        os.utime(updates.tree / path, (time_s, time_s))
    updates.settle()
    moved = {**ENTRIES, "a/renamed.bin": LONG}
    del moved["a/long.bin"]
    report = updates.update(moved, "packed")
    assert report["moved_paths"] == ["a/renamed.bin"]
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
