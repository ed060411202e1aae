"""``torsync verify`` on real trees: what it finds, mends, cleans, and leaves alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, staged, trash_contents
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.trees import Content

PIECE = 16 * 1024
FORMATS = ["v1", "v2", "hybrid"]
ENTRIES: dict[str, Content] = {
    "a/big.bin": 8 * PIECE,
    "b/second.bin": 4 * PIECE,
    "c/long.bin": 3 * PIECE,
    "d/short.bin": 3 * PIECE,
    "e/gone.bin": 2 * PIECE,
    "settings/game.ini": 2 * PIECE,
    "z.bin": PIECE,
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", ENTRIES)


def sync(torsync: Torsync, publisher: Publisher, folder: Path, *, format_: str = "v1") -> None:
    publisher.publish(make_libtorrent(folder, format=format_, piece_size=PIECE), folder)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, folder)


def overwrite(file: Path, at: int, data: bytes, *, keep_time: bool = False) -> None:
    before = file.stat()
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)
    if keep_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def damage(tree: Path) -> dict[str, bytes]:
    """Do harm of every kind; returns what is then in the files that are not as they were."""
    overwrite(tree / "a/big.bin", 2 * PIECE + 10, b"damage", keep_time=True)
    overwrite(tree / "a/big.bin", 6 * PIECE - 1, b"xx", keep_time=True)
    with (tree / "c/long.bin").open("ab") as file:
        file.write(b"too long")
    os.truncate(tree / "d/short.bin", PIECE + 1)
    (tree / "e/gone.bin").unlink()
    write_tree(tree, {"mine.txt": b"unlisted", "x/y/mine too.txt": b"unlisted as well"})
    wrong = ("a/big.bin", "c/long.bin", "d/short.bin")
    return {path: (tree / path).read_bytes() for path in wrong}


def assert_found(report: dict[str, Any]) -> None:
    assert report["missing_paths"] == ["e/gone.bin"]
    assert report["damaged_paths"] == ["a/big.bin"]
    assert report["damaged_pieces"] == {"a/big.bin": [2, 5, 6]}
    assert sorted(report["wrong_size_paths"]) == ["c/long.bin", "d/short.bin"]
    assert sorted(report["unlisted_paths"]) == ["mine.txt", "x/y/mine too.txt"]
    assert report["ok"] == 3
    assert report["unreadable"] == report["kept_local"] == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_an_intact_tree_is_hashed_whole_and_found_right(
    torsync: Torsync, publisher: Publisher, pack: Path, format_: str
) -> None:
    sync(torsync, publisher, pack, format_=format_)
    report = torsync.run("verify").assert_ok().subscription
    assert report["ok"] == len(ENTRIES)
    assert report["bytes_hashed"] == report["bytes_total"]
    assert report["bytes_fetched"] == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_every_kind_of_difference_is_found_and_nothing_is_changed(
    torsync: Torsync, publisher: Publisher, pack: Path, format_: str
) -> None:
    sync(torsync, publisher, pack, format_=format_)
    damage(torsync.tree)
    before = snapshot(torsync.tree)
    outcome = torsync.run("verify")
    assert outcome.exit_code == 4
    assert_found(outcome.subscription)
    assert outcome.subscription["repaired"] == outcome.subscription["cleaned"] == 0
    assert snapshot(torsync.tree) == before


@pytest.mark.parametrize("format_", FORMATS)
def test_repair_fetches_what_is_wrong_and_trashes_what_it_replaces(
    torsync: Torsync, publisher: Publisher, pack: Path, format_: str
) -> None:
    sync(torsync, publisher, pack, format_=format_)
    replaced = damage(torsync.tree)
    report = torsync.run("verify", "--repair").assert_ok().subscription
    assert_found(report)
    assert sorted(report["repaired_paths"]) == sorted([*replaced, "e/gone.bin"])
    assert report["cleaned"] == 0
    # Three pieces of the damaged file, two of the short one, two of the lost one.
    assert report["bytes_fetched"] == 7 * PIECE
    assert trash_contents(torsync.tree) == {path: [data] for path, data in replaced.items()}
    assert staged(torsync.tree) == []
    unlisted = {"mine.txt", "x/y/mine too.txt"}
    found = tree_bytes(torsync.tree)
    assert {path: found[path] for path in found.keys() - unlisted} == tree_bytes(pack)
    assert unlisted <= found.keys()
    report = torsync.run("verify").assert_ok().subscription
    assert report["ok"] == len(ENTRIES)


def test_clean_trashes_unlisted_files_and_the_folders_that_it_empties(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    write_tree(
        torsync.tree,
        {"mine.txt": b"1", "x/y/mine.txt": b"2", "a/mine.txt": b"3", "link": ("link", "z.bin")},
    )
    report = torsync.run("verify", "--clean").assert_ok().subscription
    assert sorted(report["cleaned_paths"]) == ["a/mine.txt", "link", "mine.txt", "x/y/mine.txt"]
    assert report["repaired"] == report["bytes_fetched"] == 0
    assert_same_tree(torsync.tree, pack)
    assert not (torsync.tree / "x").exists()
    assert trash_contents(torsync.tree) == {
        "mine.txt": [b"1"],
        "x/y/mine.txt": [b"2"],
        "a/mine.txt": [b"3"],
    }


def test_clean_alone_leaves_damage_and_repair_alone_leaves_unlisted_files(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    wrong = damage(torsync.tree)
    outcome = torsync.run("verify", "--clean")
    assert outcome.exit_code == 4
    assert outcome.subscription["cleaned"] == 2
    assert outcome.subscription["repaired"] == 0
    for path, data in wrong.items():
        assert (torsync.tree / path).read_bytes() == data
    assert not (torsync.tree / "e/gone.bin").exists()
    report = torsync.run("verify", "--repair").assert_ok().subscription
    assert report["repaired"] == 4
    assert_same_tree(torsync.tree, pack)


def test_repair_and_clean_together_leave_exactly_the_release(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    replaced = damage(torsync.tree)
    report = torsync.run("verify", "--repair", "--clean").assert_ok().subscription
    assert report["repaired"] == 4
    assert report["cleaned"] == 2
    assert_same_tree(torsync.tree, pack)
    assert trash_contents(torsync.tree).keys() == {*replaced, "mine.txt", "x/y/mine too.txt"}


def test_a_dry_run_tells_and_touches_nothing(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    damage(torsync.tree)
    before = snapshot(torsync.tree)
    outcome = torsync.run("verify", "--repair", "--clean", "--dry-run")
    assert outcome.exit_code == 4
    assert outcome.subscription["dry_run"]
    assert_found(outcome.subscription)
    assert snapshot(torsync.tree) == before


def test_check_now_as_a_dry_run_tells_and_touches_nothing(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    second = write_tree(tmp_path / "second", {**ENTRIES, "z.bin": PIECE + 1, "new": 10})
    (second / "b/second.bin").unlink()
    publisher.publish(make_libtorrent(second, format="v2", piece_size=PIECE), second)
    before = snapshot(torsync.tree)
    outcome = torsync.run("check-now", "--dry-run")
    assert outcome.exit_code == 4
    report = outcome.subscription
    assert report["dry_run"]
    assert set(report["fetched_paths"] + report["patched_paths"]) == {"z.bin", "new"}
    assert sorted(report["trashed_paths"]) == ["b/second.bin", "z.bin"]
    assert report["bytes_to_fetch"] > 0
    assert report["bytes_fetched"] == 0
    assert snapshot(torsync.tree) == before
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, second)


def test_an_edited_keep_file_is_kept_by_verify_repair_clean_and_updates(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    torsync.subscribe(keep=["*.ini", "saves/"], clean="mirror")
    sync(torsync, publisher, pack)
    mine: dict[str, Content] = {"settings/game.ini": b"my settings", "saves/1.sav": b"my save"}
    write_tree(torsync.tree, mine)
    report = torsync.run("verify", "--repair", "--clean").assert_ok().subscription
    assert report["kept_local_paths"] == ["settings/game.ini"]
    assert report["ok"] == len(ENTRIES) - 1
    assert report["unlisted"] == report["repaired"] == report["cleaned"] == 0

    second = write_tree(tmp_path / "second", {**ENTRIES, "settings/game.ini": 100, "z.bin": 10})
    publisher.publish(make_libtorrent(second, piece_size=PIECE), second)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["kept_local_paths"] == ["settings/game.ini"]
    assert "settings/game.ini" not in trash_contents(torsync.tree)
    expected = {**tree_bytes(second), **mine}
    assert tree_bytes(torsync.tree) == expected

    third = write_tree(tmp_path / "third", {"z.bin": 10})
    publisher.publish(make_libtorrent(third, piece_size=PIECE), third)
    torsync.run("check-now").assert_ok()
    assert tree_bytes(torsync.tree) == {**tree_bytes(third), **mine}


def test_mirror_trashes_what_is_unlisted_with_the_next_update(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    torsync.subscribe(clean="mirror")
    sync(torsync, publisher, pack)
    write_tree(torsync.tree, {"mine.txt": b"mine", "x/y": b"mine too"})
    outcome = torsync.run("verify")
    assert outcome.exit_code == 4, "unlisted files are differences in a mirror"
    second = write_tree(tmp_path / "second", {**ENTRIES, "z.bin": 10})
    publisher.publish(make_libtorrent(second, piece_size=PIECE), second)
    report = torsync.run("check-now").assert_ok().subscription
    assert sorted(report["trashed_paths"]) == ["mine.txt", "x/y", "z.bin"]
    assert_same_tree(torsync.tree, second)
    assert trash_contents(torsync.tree)["mine.txt"] == [b"mine"]


def test_clean_off_leaves_even_files_that_the_release_dropped(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    torsync.subscribe(clean="off")
    sync(torsync, publisher, pack)
    second = write_tree(tmp_path / "second", {"z.bin": 10})
    publisher.publish(make_libtorrent(second, piece_size=PIECE), second)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["trashed_paths"] == ["z.bin"]
    assert tree_bytes(torsync.tree) == {**tree_bytes(pack), **tree_bytes(second)}


def test_check_now_restores_an_edited_file_and_trashes_the_edit(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    overwrite(torsync.tree / "a/big.bin", PIECE, b"edited")
    edited = (torsync.tree / "a/big.bin").read_bytes()
    (torsync.tree / "e/gone.bin").unlink()
    report = torsync.run("check-now").assert_ok().subscription
    assert report["changed"]
    assert report["patched_paths"] == ["a/big.bin"]
    assert report["fetched_paths"] == ["e/gone.bin"]
    assert report["bytes_fetched"] == 3 * PIECE
    assert_same_tree(torsync.tree, pack)
    assert trash_contents(torsync.tree) == {"a/big.bin": [edited]}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_touched_file_is_hashed_once_and_not_fetched(
    torsync: Torsync, publisher: Publisher, pack: Path, format_: str
) -> None:
    sync(torsync, publisher, pack, format_=format_)
    os.utime(torsync.tree / "b/second.bin", (1, 1))
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["fetched"], report["patched"], report["trashed"]) == (0, 0, 0)
    assert report["bytes_fetched"] == 0
    assert report["bytes_hashed"] == 4 * PIECE
    assert not report["changed"]
    report = torsync.run("check-now").assert_ok().subscription
    assert report["bytes_hashed"] == 0


def test_verify_before_the_first_sync_says_so(torsync: Torsync, publisher: Publisher) -> None:
    outcome = torsync.run("verify")
    assert outcome.exit_code == 4
    assert outcome.error["code"] == "not_synced"
    assert "check-now" in outcome.error["hint"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named_and_stops_the_cleaner(
    torsync: Torsync, publisher: Publisher, pack: Path
) -> None:
    sync(torsync, publisher, pack)
    write_tree(torsync.tree, {"mine.txt": b"mine", "closed/file": b"hidden"})
    (torsync.tree / "a/big.bin").chmod(0)
    (torsync.tree / "closed").chmod(0)
    try:
        outcome = torsync.run("verify")
        assert outcome.exit_code == 1
        assert sorted(outcome.subscription["unreadable_paths"]) == ["a/big.bin", "closed"]
        outcome = torsync.run("verify", "--clean")
        assert outcome.exit_code == 1
        assert "closed" in outcome.error["message"]
        assert (torsync.tree / "mine.txt").exists()
    finally:
        (torsync.tree / "closed").chmod(0o755)
