"""A part of a release: what ``select`` leaves out is not fetched, changed, removed or missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import staged, trash_contents
from tests.support.leecher import DownloadError, libtorrent_download
from tests.support.processes import HOST, free_port
from tests.support.torrents import root_name
from tests.support.trees import random_bytes, tree_bytes, write_tree
from tests.support.updates import PIECE, assert_equal, edit, pieces_with

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.cli import Json
    from tests.support.trees import Content
    from tests.support.updates import Updates

FORMATS = ("v1", "packed", "v2")
# In the order of their names, so that small and large files share pieces with their neighbours
# where the format lets them.
PACK: dict[str, Content] = {
    "maps/big.bin": random_bytes(9 * PIECE + 777, "big"),
    "maps/large/a.txt": random_bytes(700, "large a"),
    "maps/small.txt": random_bytes(900, "small"),
    "readme.txt": random_bytes(500, "readme"),
    "sound/a.txt": random_bytes(1100, "sound a"),
    "sound/empty": b"",
    "sound/long.bin": random_bytes(7 * PIECE + 99, "long"),
    "zz.txt": random_bytes(300, "zz"),
}
SELECT = ["maps/", "zz.txt", "!maps/large/"]
SELECTED = ("maps/big.bin", "maps/small.txt", "zz.txt")
# What the user has at paths that are not selected: another size, the same, more, nothing.
LOCAL: dict[str, Content] = {
    "maps/large/a.txt": b"mine",
    "readme.txt": random_bytes(500, "my readme"),
    "sound/long.bin": random_bytes(8 * PIECE, "my long"),
}


def part(entries: Mapping[str, Content], *paths: str) -> dict[str, Content]:
    return {path: entries[path] for path in paths}


def stats(updates: Updates, *paths: str) -> dict[str, tuple[int, ...]]:
    """What tells that a file was touched, access times aside."""
    found = {}
    for path in paths:
        seen = (updates.tree / path).lstat()
        found[path] = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
    return found


def check(updates: Updates, *paths: str, besides: Mapping[str, Content] | None = None) -> Json:
    """Check: the tree has these files of the release, and ``besides``; the report is true."""
    sent = updates.publisher.seeder.uploaded(updates.torrent)
    report = updates.torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
    wanted = tree_bytes(updates.folder)
    assert_equal(tree_bytes(updates.tree), {**part(wanted, *paths), **(besides or {})})
    fetched, seeder = report["bytes_fetched"], updates.publisher.seeder
    assert fetched == seeder.uploaded(updates.torrent, at_least=sent + fetched) - sent
    assert report["unselected"] == len(wanted) - len(paths)
    assert report["bytes_total"] == sum(len(wanted[path]) for path in paths)
    assert report["kept_local"] == report["unreadable"] == 0
    assert staged(updates.tree) == []
    assert not list(updates.tree.rglob("*.parts"))
    return report


def assert_verified(updates: Updates, ok: int, unselected: int) -> None:
    """Both kinds of verify find nothing amiss, and only count what is not selected."""
    for how in ([], ["--quick"], ["--repair"]):
        report = updates.torsync.run("verify", *how).assert_ok().subscription
        assert (report["ok"], report["unselected"]) == (ok, unselected)
        assert report["missing"] == report["damaged"] == report["wrong_size"] == 0
        assert report["unlisted"] == report["kept_local"] == report["repaired"] == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_only_what_is_selected_is_fetched(updates: Updates, format_: str) -> None:
    updates.torsync.subscribe(select=SELECT)
    updates.publish(PACK, format_)
    plan = updates.torsync.run("check-now", "--dry-run")
    assert plan.exit_code == 4
    assert plan.subscription["unselected"] == len(PACK) - len(SELECTED)
    assert {action["path"] for action in plan.subscription["actions"]} == {*SELECTED}
    report = check(updates, *SELECTED)
    assert sorted(report["fetched_paths"]) == sorted(SELECTED)
    pieces = len(pieces_with(updates.torrent, SELECTED))
    size = sum(len(PACK[path]) for path in SELECTED)
    assert size <= report["bytes_fetched"] <= pieces * PIECE
    assert plan.subscription["bytes_to_fetch"] == report["bytes_fetched"]
    if format_ == "v2":
        assert report["bytes_fetched"] == size
    again = check(updates, *SELECTED)
    assert (again["kept"], again["bytes_fetched"], again["changed"]) == (3, 0, False)
    assert_verified(updates, 3, len(PACK) - 3)
    status = updates.torsync.run("status").assert_ok().subscription
    assert (status["files"], status["bytes_total"]) == (3, size)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_not_selected_is_left_alone_whatever_it_is(updates: Updates, format_: str) -> None:
    """Also by updates, repairs and cleans that fetch pieces which it shares."""
    updates.torsync.subscribe(select=SELECT, clean="mirror")
    write_tree(updates.tree, LOCAL)
    before = stats(updates, *LOCAL)
    updates.publish(PACK, format_)
    check(updates, *SELECTED, besides=LOCAL)
    newer = {path: content[::-1] for path, content in PACK.items() if isinstance(content, bytes)}
    updates.publish(newer, format_)
    report = check(updates, *SELECTED, besides=LOCAL)
    assert sorted(report["fetched_paths"] + report["patched_paths"]) == sorted(SELECTED)
    assert report["bytes_fetched"] <= len(pieces_with(updates.torrent, SELECTED)) * PIECE
    edit(updates.tree / "maps/small.txt", 5, b"edited")
    found = updates.torsync.run("verify", "--repair", "--clean").assert_ok().subscription
    assert found["repaired_paths"] == ["maps/small.txt"]
    check(updates, *SELECTED, besides=LOCAL)
    assert stats(updates, *LOCAL) == before


def test_obstacles_where_nothing_is_selected_are_left_alone(
    updates: Updates, tmp_path: Path
) -> None:
    """A file where a folder would be needed, a folder in the place of a file, a linked folder."""
    elsewhere = write_tree(tmp_path / "elsewhere", {"big.bin": b"outside", "small.txt": b"too"})
    updates.torsync.subscribe(select=["readme.txt"])
    local = {"sound": b"a file", "zz.txt/inside": b"a folder"}
    write_tree(updates.tree, local)
    (updates.tree / "maps").symlink_to(elsewhere)
    updates.publish(PACK, "v1")
    report = (
        updates.torsync.run("check-now", "--adopt", "--timeout", "20s").assert_ok().subscription
    )
    assert report["fetched_paths"] == ["readme.txt"]
    assert (updates.tree / "maps").is_symlink()
    assert tree_bytes(elsewhere) == {"big.bin": b"outside", "small.txt": b"too"}
    assert {path: (updates.tree / path).read_bytes() for path in local} == local
    assert not updates.torsync.run("check-now").assert_ok().subscription["changed"]
    assert_verified_alone(updates)


def assert_verified_alone(updates: Updates) -> None:
    report = updates.torsync.run("verify").subscription
    assert (report["ok"], report["unselected"], report["missing"]) == (1, len(PACK) - 1, 0)


@pytest.mark.parametrize("format_", ["v1", "packed"])
def test_selecting_less_leaves_what_was_fetched_until_the_release_drops_it(
    updates: Updates, format_: str
) -> None:
    updates.sync_first(PACK, format_)
    updates.torsync.subscribe(select=SELECT)
    rest = {path: PACK[path] for path in PACK if path not in SELECTED}
    before = stats(updates, *rest)
    report = check(updates, *SELECTED, besides=rest)
    assert (report["kept"], report["changed"], report["bytes_fetched"]) == (3, False, 0)
    assert report["bytes_hashed"] == 0
    assert_verified(updates, 3, len(rest))
    newer = {path: content[::-1] for path, content in PACK.items() if isinstance(content, bytes)}
    updates.publish(newer, format_)
    check(updates, *SELECTED, besides=rest)
    assert stats(updates, *rest) == before
    dropped = ("readme.txt", "sound/long.bin")
    updates.publish({path: newer[path] for path in newer if path not in dropped}, format_)
    left = {path: rest[path] for path in rest if path not in dropped}
    report = check(updates, *SELECTED, besides=left)
    assert report["trashed_paths"] == sorted(dropped)
    updates.assert_trashed(report, part(PACK, *dropped))
    assert stats(updates, *left) == {path: before[path] for path in left}


def test_an_edited_file_that_is_no_longer_selected_goes_with_its_edit(updates: Updates) -> None:
    updates.sync_first(PACK, "packed")
    updates.torsync.subscribe(select=SELECT)
    mine = edit(updates.tree / "readme.txt", 3, b"mine")
    rest = {path: PACK[path] for path in PACK if path not in SELECTED}
    for _ in range(2):
        report = check(updates, *SELECTED, besides={**rest, "readme.txt": mine})
        assert not report["changed"]
    del rest["readme.txt"]
    updates.publish({path: PACK[path] for path in PACK if path != "readme.txt"}, "packed")
    report = check(updates, *SELECTED, besides=rest)
    assert report["trashed_paths"] == ["readme.txt"]
    assert trash_contents(updates.tree)["readme.txt"] == [mine]


@pytest.mark.parametrize("format_", ["v1", "v2"])
def test_selecting_more_fetches_that_at_the_next_check(updates: Updates, format_: str) -> None:
    updates.torsync.subscribe(select=SELECT)
    updates.publish(PACK, format_)
    check(updates, *SELECTED)
    updates.settle()
    more = ("sound/a.txt", "sound/empty", "sound/long.bin")
    updates.torsync.subscribe(select=[*SELECT, "sound/"])
    report = check(updates, *SELECTED, *more)
    assert sorted(report["fetched_paths"]) == sorted(more)
    assert report["bytes_fetched"] <= len(pieces_with(updates.torrent, more)) * PIECE
    updates.torsync.subscribe(select=[])
    report = check(updates, *PACK)
    assert sorted(report["fetched_paths"]) == ["maps/large/a.txt", "readme.txt"]


def test_a_kept_file_is_kept_if_it_is_selected_and_not_counted_if_not(updates: Updates) -> None:
    updates.torsync.subscribe(select=["*.txt", "!sound/"], keep=["readme.txt", "sound/a.txt"])
    texts = ("maps/large/a.txt", "maps/small.txt", "readme.txt", "zz.txt")
    updates.publish(PACK, "packed")
    check(updates, *texts)
    mine = edit(updates.tree / "readme.txt", 0, b"mine")
    write_tree(updates.tree, {"sound/a.txt": b"mine too"})
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert report["kept_local_paths"] == ["readme.txt"]
    assert (report["kept"], report["unselected"]) == (3, 4)
    assert (updates.tree / "readme.txt").read_bytes() == mine
    assert (updates.tree / "sound/a.txt").read_bytes() == b"mine too"


def test_what_is_not_selected_is_copied_and_not_moved_away(updates: Updates) -> None:
    long = PACK["sound/long.bin"]
    updates.sync_first(PACK, "packed")
    updates.torsync.subscribe(select=SELECT)
    rest = {path: PACK[path] for path in PACK if path not in SELECTED}
    swapped = {**PACK, "maps/new.bin": long, "sound/long.bin": random_bytes(7 * PIECE, "newer")}
    updates.publish(swapped, "packed")
    report = check(updates, *SELECTED, "maps/new.bin", besides=rest)
    assert report["copied_paths"] == ["maps/new.bin"]
    assert (report["moved"], report["bytes_fetched"]) == (0, 0)


def test_a_selection_that_matches_nothing_is_warned_about(updates: Updates) -> None:
    updates.torsync.subscribe(select=["textures/"])
    updates.publish(PACK, "v1")
    outcome = updates.torsync.run("check-now").assert_ok()
    assert "nothing_selected" in [notice["code"] for notice in outcome.notices]
    assert outcome.subscription["unselected"] == len(PACK)
    assert tree_bytes(updates.tree) == {}


def seeding_port(updates: Updates) -> int:
    """Where the service, started now, has begun to seed what is selected, and all that is right."""
    port = free_port(udp=True)
    updates.torsync.session["listen"] = [f"{HOST}:{port}"]
    updates.torsync.subscribe(select=SELECT)
    updates.torsync.run("check-now", "--timeout", "20s").assert_ok()
    updates.torsync.start("run").wait_for_stage("pack", "seeding")
    return port


def test_what_is_no_longer_selected_is_seeded_while_it_is_right(
    updates: Updates, tmp_path: Path
) -> None:
    updates.sync_first(PACK, "packed")
    port = seeding_port(updates)
    libtorrent_download(updates.torrent, tmp_path / "got", peers=[(HOST, port)])
    assert tree_bytes(tmp_path / "got" / root_name(updates.torrent)) == PACK


@pytest.mark.parametrize("was_there", [False, True])
def test_wrong_content_at_a_path_that_is_not_selected_is_not_seeded(
    updates: Updates, tmp_path: Path, was_there: bool
) -> None:
    """A claim that is wrong would end the download with a piece that fails its hash."""
    if was_there:
        updates.sync_first(PACK, "packed")
        edit(updates.tree / "sound/long.bin", 4 * PIECE, b"edited")
    else:
        write_tree(updates.tree, LOCAL)
        updates.publish(PACK, "packed")
    port = seeding_port(updates)
    got = tmp_path / "got"
    with pytest.raises(DownloadError, match=r"\d+ of \d+ bytes in 2 s"):
        libtorrent_download(updates.torrent, got, peers=[(HOST, port)], timeout_s=2)
    found = tree_bytes(got / root_name(updates.torrent))
    assert found["maps/big.bin"] == PACK["maps/big.bin"]
