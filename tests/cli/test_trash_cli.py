"""``torsync trash`` as its users run it, and the trash that updates keep small."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, trash_contents
from tests.support.privileges import unprivileged_environment
from tests.support.torrents import make_libtorrent
from tests.support.trees import Content, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

OLD = {"a/file": b"old" * 1000, "gone": b"gone"}
NEW = {"a/file": b"new" * 1000}


class Site:
    """A subscriber, and a publisher with as many releases as are wanted."""

    def __init__(self, folder: Path, seeder: LibtorrentSeeder) -> None:
        self._folder = folder
        self.publisher = Publisher(folder / "published", seeder)
        (folder / "work").mkdir()
        self.torsync = Torsync(folder / "work")
        self.torsync.subscribe(
            url=self.publisher.url, peers=self.publisher.peers, interval="1h", trash_size="100%"
        )
        self.tree = self.torsync.tree
        self._releases = 0

    def update(self, entries: Mapping[str, Content]) -> None:
        self._releases += 1
        release = write_tree(self._folder / f"release-{self._releases}", entries)
        self.publisher.publish(make_libtorrent(release), release)
        self.torsync.run("check-now", "--timeout", "30s").assert_ok()


@pytest.fixture
def site(tmp_path: Path, seeder: LibtorrentSeeder) -> Iterator[Site]:
    found = Site(tmp_path, seeder)
    with found.torsync:
        yield found


def test_an_edited_file_is_listed_restored_and_kept_if_that_is_asked_for(site: Site) -> None:
    torsync = site.torsync
    site.update(OLD)
    (site.tree / "a/file").write_bytes(b"mine")
    site.update(NEW)
    assert trash_contents(site.tree) == {"a/file": [b"mine"], "gone": [b"gone"]}

    listed = torsync.run("trash", "list").assert_ok().subscription
    found = {entry["path"]: entry for entry in listed["entries"]}
    assert {path: entry["kind"] for path, entry in found.items()} == {
        "a/file": "edited",
        "gone": "old release",
    }
    assert (listed["edited"], listed["old_release"]) == (1, 1)
    assert listed["bytes_total"] > 0
    when = found["a/file"]["from"]

    outcome = torsync.run("trash", "restore", "pack", "a/file", "--from", when[:10]).assert_ok()
    report = outcome.subscription
    assert report["restored_paths"] == report["trashed_paths"] == ["a/file"]
    assert report["replaced_again_paths"] == ["a/file"]
    assert (site.tree / "a/file").read_bytes() == b"mine"
    (notice,) = [found for found in outcome.notices if found["code"] == "restored_for_now"]
    assert 'keep = ["a/file"]' in notice["hint"]

    torsync.run("check-now", "--timeout", "30s").assert_ok()
    assert tree_bytes(site.tree) == NEW
    assert b"mine" in trash_contents(site.tree)["a/file"]

    torsync.subscribe(keep=["a/file"])
    outcome = torsync.run("trash", "restore", "pack", site.tree / "a/file").assert_ok()
    assert outcome.subscription["replaced_again"] == 0
    assert outcome.notices == []
    report = torsync.run("check-now").assert_ok().subscription
    assert report["kept_local_paths"] == ["a/file"]
    assert (site.tree / "a/file").read_bytes() == b"mine"


def test_what_a_restore_replaces_is_known_for_an_old_releases(site: Site) -> None:
    site.update(OLD)
    site.update(NEW)
    site.torsync.run("trash", "restore", "pack", "a/file").assert_ok()
    entries = site.torsync.run("trash", "list").assert_ok().subscription["entries"]
    kinds = {entry["path"]: entry["kind"] for entry in entries}
    assert kinds["a/file"] == "old release"
    assert tree_bytes(site.tree)["a/file"] == OLD["a/file"]


def test_a_file_that_the_release_does_not_list_is_said_to_stay_unless_it_mirrors(
    site: Site,
) -> None:
    site.update(OLD)
    site.update(NEW)
    site.torsync.subscribe(clean="mirror")
    report = site.torsync.run("trash", "restore", "pack", "gone").assert_ok().subscription
    assert report["replaced_again_paths"] == ["gone"]
    site.torsync.run("check-now").assert_ok()
    assert "gone" in trash_contents(site.tree)
    site.torsync.subscribe(clean="managed")
    report = site.torsync.run("trash", "restore", "pack", "gone").assert_ok().subscription
    assert report["replaced_again_paths"] == []
    site.torsync.run("check-now").assert_ok()
    assert tree_bytes(site.tree) == {**NEW, "gone": b"gone"}


def test_what_is_not_in_the_trash_is_an_error(site: Site) -> None:
    site.update(OLD)
    outcome = site.torsync.run("trash", "restore", "pack", "absent")
    assert outcome.exit_code == 1
    assert outcome.error["code"] == "not_in_trash"
    assert "'absent'" in outcome.error["message"]
    assert "torsync trash list pack" in outcome.error["hint"]


def test_emptying_tells_what_was_removed(site: Site) -> None:
    site.update(OLD)
    site.update(NEW)
    kept = site.torsync.run("trash", "empty", "--older-than", "1h").assert_ok().subscription
    assert (kept["removed"], kept["bytes_freed"]) == (0, 0)
    assert len(trash_contents(site.tree)) == 2
    size = site.torsync.run("trash", "list").assert_ok().subscription["bytes_total"]
    emptied = site.torsync.run("trash", "empty", "pack").assert_ok().subscription
    assert (emptied["removed"], emptied["bytes_freed"], emptied["left"]) == (2, size, 0)
    assert os.listdir(site.tree / ".torsync/trash") == []
    assert site.torsync.run("trash", "list").assert_ok().subscription["entries"] == []
    assert tree_bytes(site.tree) == NEW


def test_the_service_restores_and_empties_what_it_holds_and_anybody_may_look(site: Site) -> None:
    site.update(OLD)
    site.update(NEW)
    service = site.torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    assert len(site.torsync.run("trash", "list").assert_ok().subscription["entries"]) == 2
    restored = site.torsync.run("trash", "restore", "pack", "gone").assert_ok().subscription
    assert (restored["command"], restored["restored_paths"]) == ("trash restore", ["gone"])
    assert tree_bytes(site.tree)["gone"] == b"gone"
    missing = site.torsync.run("trash", "restore", "pack", "gone")
    assert (missing.exit_code, missing.error["code"]) == (1, "not_in_trash")
    emptied = site.torsync.run("trash", "empty", "--older-than", "1h").assert_ok().subscription
    assert (emptied["command"], emptied["removed"]) == ("trash empty", 0)
    emptied = site.torsync.run("trash", "empty").assert_ok().subscription
    assert (emptied["removed"], emptied["left"]) == (1, 0)
    assert trash_contents(site.tree) == {}
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0


def test_a_folder_that_was_never_synced_has_an_empty_trash(site: Site) -> None:
    for arguments in (["list"], ["empty"]):
        site.torsync.run("trash", *arguments).assert_ok()
    assert not site.tree.exists()
    outcome = site.torsync.run("trash", "restore", "pack", "file")
    assert outcome.exit_code == 1


def test_what_cannot_be_read_or_removed_is_told(site: Site, tmp_path: Path) -> None:
    site.update(OLD)
    locked = site.tree / ".torsync/trash/mine/locked"
    write_tree(locked, {"file": b"1"})
    locked.chmod(0)
    environment = unprivileged_environment(tmp_path / "site")
    try:
        listed = site.torsync.run("trash", "list", environment=environment)
        emptied = site.torsync.run("trash", "empty", environment=environment)
    finally:
        locked.chmod(0o700)
    assert (listed.exit_code, emptied.exit_code) == (1, 1)
    expected = [".torsync/trash/mine/locked"]
    assert listed.subscription["unreadable_paths"] == expected
    assert emptied.subscription["left_paths"] == expected


def test_an_update_leaves_no_more_in_the_trash_than_is_wanted(site: Site) -> None:
    site.torsync.subscribe(trash="0s")
    site.update(OLD)
    site.update(NEW)
    assert trash_contents(site.tree) == {}
    write_tree(site.tree, {"mine": b"1"})
    cleaned = site.torsync.run("verify", "--clean").assert_ok().subscription
    assert cleaned["cleaned_paths"] == ["mine"]
    assert trash_contents(site.tree) == {}


def test_the_service_sees_to_a_trash_that_no_update_fills(site: Site) -> None:
    site.update(OLD)
    site.update(NEW)
    site.torsync.subscribe(trash="0s")
    service = site.torsync.start("run")
    trash = site.tree / ".torsync/trash"
    service.wait_for(lambda _one: not list(trash.iterdir()), "the trash is empty")
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
