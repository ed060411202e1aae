"""Bad peers, bad disks and bad trees: a clear end, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, trash_contents, visible
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from tests.support.updates import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * 1024
PIECE = 16 * KIB
FIRST: dict[str, Content] = {"a/one.bin": 20 * PIECE, "a/two.bin": 3 * PIECE + 7, "b": 5}
SECOND: dict[str, Content] = {"a/one.bin": 21 * PIECE, "a/two.bin": 3 * PIECE + 7, "c": 500}


# --- peers ----------------------------------------------------------------------------------


def test_without_peers_it_gives_up_when_told_to_and_tells_what_to_check(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    before = visible(torsync.tree)
    second = write_tree(tmp_path / "two", SECOND)
    publisher.announce(make_libtorrent(second, piece_size=PIECE))
    started = time.monotonic()
    outcome = torsync.run("check-now", "--timeout", "1s")
    assert time.monotonic() - started < 6
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "no_peers"
    assert "0 peers" in outcome.error["message"]
    assert "tracker" in outcome.error["hint"]
    assert visible(torsync.tree) == before


# --- disks ----------------------------------------------------------------------------------


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own, mounted at a folder; skips where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "torsync-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.fixture
def small_disk(torsync: Torsync) -> Iterator[Path]:
    """The tree is a file system of 3 MiB."""
    with file_system(torsync.tree, "size=3m") as folder:
        yield folder


def test_a_full_disk_ends_the_update_at_once_and_the_old_release_stays(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, small_disk: Path
) -> None:
    publish(publisher, tmp_path / "one", {"a": MIB, "b": 7})
    torsync.run("check-now").assert_ok()
    before = visible(torsync.tree)
    publish(publisher, tmp_path / "two", {"a": 4 * MIB, "b": 8, "c": 9})
    assert torsync.run("check-now").exit_code == 5
    started = time.monotonic()
    outcome = torsync.run("check-now", "--allow", "space")
    assert time.monotonic() - started < 10
    assert outcome.exit_code == 1
    assert outcome.error["code"] == "disk_full"
    assert "No space left" in outcome.error["message"]
    assert "room" in outcome.error["hint"]
    assert visible(torsync.tree) == before
    assert tree_bytes(torsync.tree) == tree_bytes(tmp_path / "one")

    remount(small_disk, "size=20m")
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")


def test_a_first_sync_that_does_not_fit_says_so(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, small_disk: Path
) -> None:
    publish(publisher, tmp_path / "one", {f"{number}": 500 * KIB for number in range(10)})
    outcome = torsync.run("check-now", "--allow", "space")
    assert outcome.exit_code == 1
    assert outcome.error["code"] == "disk_full"
    assert tree_bytes(torsync.tree) == {}
    remount(small_disk, "size=20m")
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "one")


def test_a_read_only_tree_is_named_and_left_alone(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, small_disk: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    before = visible(torsync.tree)
    remount(small_disk, "ro")
    report = torsync.run("check-now").assert_ok().subscription
    assert not report["changed"], "nothing is to be written, so nothing fails"
    publish(publisher, tmp_path / "two", SECOND)
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 1
    assert "Read-only file system" in outcome.error["message"]
    assert "writable" in outcome.error["hint"]
    assert visible(torsync.tree) == before
    remount(small_disk, "rw")
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")


def test_a_mount_point_inside_the_tree_is_refused_by_name(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", {"other/x": 10, "here": 10})
    with file_system(torsync.tree / "other", "size=1m") as other:
        (other / "mine").write_bytes(b"mine")
        outcome = torsync.run("check-now")
        assert outcome.exit_code == 1
        assert "'other'" in outcome.error["message"]
        assert "file system" in outcome.error["message"]
        assert tree_bytes(torsync.tree) == {"other/mine": b"mine"}


# --- what is in the way ---------------------------------------------------------------------


def test_a_file_of_the_user_where_the_release_has_a_folder_is_refused(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    write_tree(torsync.tree, {"a": b"my file"})
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 1
    assert "'a'" in outcome.error["message"]
    assert tree_bytes(torsync.tree) == {"a": b"my file"}
    assert trash_contents(torsync.tree) == {}


def test_a_folder_of_the_user_where_the_release_has_a_file_is_refused(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    write_tree(torsync.tree, {"b/mine": b"my file"})
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 1
    assert "'b'" in outcome.error["message"]
    assert tree_bytes(torsync.tree) == {"b/mine": b"my file"}


def test_files_and_folders_of_the_old_release_give_way_to_one_another(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    old: dict[str, Content] = {"file": 10, "folder/deep/x": 20, "folder/y": 30, "stays": 40}
    new: dict[str, Content] = {"file/x": 11, "file/deep/y": 12, "folder": 21, "stays": 40}
    publish(publisher, tmp_path / "one", old)
    torsync.run("check-now").assert_ok()
    previous = tree_bytes(torsync.tree)
    publish(publisher, tmp_path / "two", new)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")
    dropped = {path: [previous[path]] for path in ("file", "folder/deep/x", "folder/y")}
    assert trash_contents(torsync.tree) == dropped
    publish(publisher, tmp_path / "three", {**old, "stays": 41})
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "three")


def test_a_users_file_in_a_folder_that_becomes_a_file_is_refused(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", {"folder/x": 20, "stays": 40})
    torsync.run("check-now").assert_ok()
    write_tree(torsync.tree, {"folder/mine": b"mine"})
    before = visible(torsync.tree)
    publish(publisher, tmp_path / "two", {"folder": 21, "stays": 41})
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 1
    assert "'folder'" in outcome.error["message"]
    assert visible(torsync.tree) == before


@pytest.mark.parametrize("synced_before", [False, True])
def test_a_folder_that_is_a_symbolic_link_is_refused_by_name(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, synced_before: bool
) -> None:
    outside = write_tree(tmp_path / "outside", {"one.bin": b"not yours", "other": b"nor this"})
    before = snapshot(outside)
    torsync.tree.mkdir()
    if synced_before:
        publish(publisher, tmp_path / "one", FIRST)
        torsync.run("check-now").assert_ok()
        os.rename(torsync.tree / "a", tmp_path / "moved away")
    (torsync.tree / "a").symlink_to(outside)
    publish(publisher, tmp_path / "two", SECOND)
    for command in (["check-now"], ["verify", "--repair", "--clean"]):
        outcome = torsync.run(*command)
        if command[0] == "check-now" or synced_before:
            assert outcome.exit_code == 1
            assert "'a'" in outcome.error["message"]
            assert "link" in outcome.error["message"]
        assert (torsync.tree / "a").is_symlink()
        assert snapshot(outside) == before


# --- others ---------------------------------------------------------------------------------


def test_a_second_process_is_told_who_holds_the_tree(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    torsync.service["control"] = ""  # else the service does it
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    for command in ("check-now", "verify"):
        outcome = torsync.run(command)
        assert outcome.exit_code == 6
        assert outcome.error["code"] == "busy"
        assert str(service.pid) in outcome.error["message"]
        assert "torsync run" in outcome.error["message"]
    service.kill()
    torsync.run("check-now").assert_ok()


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_two_trees_of_the_same_release_are_synced_and_seeded_by_one_process(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    torsync.subscribe("twin", path=str(tmp_path / "twin"), url=publisher.url, peers=publisher.peers)
    for name in ("pack", "twin"):
        torsync.subscribe(name, interval="1s")
    service = torsync.start("run")
    for number, entries in enumerate([FIRST, SECOND]):
        heard = len(service.objects())
        folder = write_tree(tmp_path / f"release-{number}", entries)
        torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
        publisher.publish(torrent, folder)
        for name in ("pack", "twin"):
            service.wait_for_stage(name, "seeding", since=heard)
        for tree in (torsync.tree, tmp_path / "twin"):
            assert_same_tree(tree, folder)
