"""``torsync verify --quick``: sizes and times against the ledger; nothing is read for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, trash_contents
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, edit_in_place, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

PIECE = 16 * 1024
FORMATS = ["v1", "v2"]
ENTRIES: dict[str, Content] = {
    "a/big.bin": 8 * PIECE,
    "b/small 1.bin": 100,
    "b/small 2.bin": 200,
    "c/long.bin": 3 * PIECE,
    "empty": b"",
    "link": ("link", "c/long.bin"),
    "settings/game.ini": 2 * PIECE,
    "z.bin": PIECE,
}


@pytest.fixture
def synced(tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync) -> Path:
    """The published folder of a tree that is in sync."""
    return publish(tmp_path, seeder, torsync, "v1")


def publish(tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync, format_: str) -> Path:
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers, keep=["*.ini"])
    folder = write_tree(tmp_path / "pack", ENTRIES)
    publisher.publish(make_libtorrent(folder, format=format_, piece_size=PIECE), folder)
    torsync.run("check-now").assert_ok()
    return folder


def touch(file: Path) -> None:
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))


def edit(file: Path) -> None:
    edit_in_place(file, set_mtime_back=True)


def change_much(tree: Path) -> None:
    """One file of each kind that ``--quick`` tells apart."""
    touch(tree / "a/big.bin")
    edit(tree / "b/small 1.bin")
    os.truncate(tree / "c/long.bin", PIECE)
    (tree / "z.bin").unlink()
    (tree / "link").unlink()
    (tree / "link").symlink_to("z.bin")
    edit(tree / "settings/game.ini")
    write_tree(tree, {"mine.txt": b"unlisted"})


@pytest.mark.parametrize("format_", FORMATS)
def test_an_untouched_tree_is_in_sync_and_nothing_is_read(
    tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync, format_: str
) -> None:
    publish(tmp_path, seeder, torsync, format_)
    report = torsync.run("verify", "--quick").assert_ok().subscription
    assert report["quick"]
    assert report["ok"] == len(ENTRIES)
    assert report["bytes_hashed"] == report["bytes_fetched"] == 0


def test_every_kind_of_difference_is_told_and_nothing_is_read_or_recorded(
    torsync: Torsync, synced: Path
) -> None:
    change_much(torsync.tree)
    before = snapshot(torsync.tree)
    for _ in range(2):
        outcome = torsync.run("verify", "--quick")
        assert outcome.exit_code == 4
        report = outcome.subscription
        assert report["modified_paths"] == ["a/big.bin", "b/small 1.bin"]
        assert report["wrong_size_paths"] == ["c/long.bin"]
        assert report["missing_paths"] == ["z.bin"]
        assert report["damaged_paths"] == ["link"]
        assert report["kept_local_paths"] == ["settings/game.ini"]
        assert report["unlisted_paths"] == ["mine.txt"]
        assert report["ok"] == len(ENTRIES) - 6
        assert report["bytes_hashed"] == 0
    assert snapshot(torsync.tree) == before
    assert (synced / "z.bin").exists()


@pytest.mark.parametrize("clean", ["managed", "mirror"])
def test_unlisted_files_are_differences_in_a_mirror_only(
    torsync: Torsync, synced: Path, clean: str
) -> None:
    assert synced.exists()
    write_tree(torsync.tree, {"mine.txt": b"unlisted"})
    torsync.subscribe(clean=clean)
    outcome = torsync.run("verify", "--quick")
    assert outcome.exit_code == (4 if clean == "mirror" else 0)


def test_an_edit_that_leaves_no_trace_in_stat_is_found_by_the_full_verify_only(
    torsync: Torsync, synced: Path
) -> None:
    """The ledger is made to lie: it is the only way to hide an edit from ctime."""
    import sqlite3

    edit(torsync.tree / "a/big.bin")
    now = (torsync.tree / "a/big.bin").stat()
    (database,) = torsync.state_dir.glob("trees/*/state.sqlite")
    with sqlite3.connect(database) as ledger:
        ledger.execute(
            "UPDATE ledger SET mtime_ns = ?, ctime_ns = ?, inode = ? WHERE path = 'a/big.bin'",
            (now.st_mtime_ns, now.st_ctime_ns, now.st_ino),
        )
    ledger.close()
    torsync.run("verify", "--quick").assert_ok()
    assert torsync.run("verify").subscription["damaged_paths"] == ["a/big.bin"]
    assert torsync.run("verify", "--quick").subscription["modified_paths"] == ["a/big.bin"]
    torsync.run("verify", "--repair").assert_ok()
    assert_same_tree(torsync.tree, synced)


def test_a_full_verify_settles_what_was_only_touched(torsync: Torsync, synced: Path) -> None:
    touch(torsync.tree / "a/big.bin")
    assert torsync.run("verify", "--quick").exit_code == 4
    torsync.run("verify").assert_ok()
    torsync.run("verify", "--quick").assert_ok()
    assert_same_tree(torsync.tree, synced)


@pytest.mark.parametrize("format_", FORMATS)
def test_repair_hashes_only_what_is_in_doubt_and_fetches_what_is_wrong(
    tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync, format_: str
) -> None:
    folder = publish(tmp_path, seeder, torsync, format_)
    touch(torsync.tree / "a/big.bin")
    edit(torsync.tree / "z.bin")
    edited = (torsync.tree / "z.bin").read_bytes()
    (torsync.tree / "c/long.bin").unlink()
    report = torsync.run("verify", "--quick", "--repair").assert_ok().subscription
    assert report["quick"]
    assert (report["damaged_paths"], report["missing_paths"]) == (["z.bin"], ["c/long.bin"])
    assert report["modified"] == 0
    assert sorted(report["repaired_paths"]) == ["c/long.bin", "z.bin"]
    # What is in doubt and in shared pieces (10), then what was fetched (6); not all 14 and 6.
    assert 9 * PIECE <= report["bytes_hashed"] <= 16 * PIECE
    assert_same_tree(torsync.tree, folder)
    assert trash_contents(torsync.tree)["z.bin"] == [edited]
    report = torsync.run("verify", "--quick").assert_ok().subscription
    assert report["ok"] == len(ENTRIES)


def test_clean_trashes_what_is_unlisted_and_leaves_the_rest_unread(
    torsync: Torsync, synced: Path
) -> None:
    change_much(torsync.tree)
    outcome = torsync.run("verify", "--quick", "--clean")
    assert outcome.exit_code == 4
    assert outcome.subscription["cleaned_paths"] == ["mine.txt"]
    assert outcome.subscription["repaired"] == outcome.subscription["bytes_hashed"] == 0
    assert trash_contents(torsync.tree) == {"mine.txt": [b"unlisted"]}
    again = torsync.run("verify", "--quick").subscription
    assert again["modified_paths"] == ["a/big.bin", "b/small 1.bin"]
    assert again["unlisted"] == 0
    torsync.run("verify", "--quick", "--repair").assert_ok()
    (torsync.tree / "settings/game.ini").write_bytes((synced / "settings/game.ini").read_bytes())
    assert_same_tree(torsync.tree, synced)


def test_a_dry_run_of_repair_hashes_what_is_in_doubt_and_changes_nothing(
    torsync: Torsync, synced: Path
) -> None:
    change_much(torsync.tree)
    before = snapshot(torsync.tree)
    outcome = torsync.run("verify", "--quick", "--repair", "--clean", "--dry-run")
    assert outcome.exit_code == 4
    report = outcome.subscription
    assert report["modified"] == 0
    assert sorted(report["damaged_paths"]) == ["b/small 1.bin", "link"]
    assert report["bytes_hashed"] > 0
    assert snapshot(torsync.tree) == before
    assert (synced / "z.bin").exists()
