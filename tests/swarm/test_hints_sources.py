"""Where shifted content is taken from: whatever becomes of its source, the result is right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import is_report, trash_contents
from tests.support.hints import (
    BLOCK,
    KIB,
    MIB,
    PIECE,
    Hinted,
    hint_notices,
    in_blocks,
    inserted,
)
from tests.support.processes import wait_until
from tests.support.torrents import info_hash
from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import overwritten

if TYPE_CHECKING:
    from pathlib import Path

APPLY = ("staged", "in-place")
ONE = random_bytes(MIB, "one")
TWO = random_bytes(600 * KIB, "two")
BOX = b"in a box: "
FEW_BLOCKS = 4 * BLOCK

each_way = pytest.mark.parametrize("apply", APPLY)


@each_way
def test_files_that_change_their_names_and_shift(hinted: Hinted, apply: str) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"a": ONE, "b": TWO})
    report = hinted.update({"a": b"!" + TWO, "b": b"!" + ONE}, verify=True)
    assert report["bytes_fetched"] <= FEW_BLOCKS


@each_way
def test_a_file_that_becomes_a_folder_which_holds_it(hinted: Hinted, apply: str) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"a": ONE, "b/c": TWO})
    (hinted.folder / "a").unlink()
    (hinted.folder / "b/c").unlink()
    (hinted.folder / "b").rmdir()
    report = hinted.update({"a/d": b"!" + ONE, "b": b"!" + TWO}, verify=True)
    assert report["bytes_fetched"] <= FEW_BLOCKS


@each_way
def test_what_is_overwritten_in_one_file_and_goes_to_another(hinted: Hinted, apply: str) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"patched": ONE, "kept": TWO})
    part = ONE[3 * PIECE : 9 * PIECE]
    fresh = random_bytes(6 * PIECE, "fresh")
    report = hinted.update(
        {"patched": overwritten(ONE, 3 * PIECE, fresh), "kept": TWO, "zz new": BOX + part},
        verify=True,
    )
    # What is patched where it is gives nothing of what is overwritten in it.
    most = len(fresh) + (in_blocks(BOX + part) if apply == "in-place" else 0)
    assert report["bytes_fetched"] <= most + FEW_BLOCKS


@each_way
def test_killed_after_the_source_was_overwritten_it_goes_on(hinted: Hinted, apply: str) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"patched": ONE, "kept": TWO})
    part = ONE[3 * PIECE : 9 * PIECE]
    fresh = random_bytes(6 * PIECE, "fresh")
    new = {"patched": overwritten(ONE, 3 * PIECE, fresh), "kept": TWO, "zz new": BOX + part}
    hinted.publish(new, upload_limit=400 * KIB)
    running = hinted.torsync.start("check-now")
    wait_until(lambda: hinted.sent() > 200 * KIB, "it fetches")
    running.kill()
    hinted.check(verify=True)


def test_one_source_for_many_files(hinted: Hinted) -> None:
    hinted.sync_first({"one": TWO})
    new = {f"copy {number}": b"!" * number + TWO for number in range(1, 6)}
    report = hinted.update(new, verify=True)
    assert report["bytes_fetched"] <= 5 * 2 * BLOCK
    assert trash_contents(hinted.tree) == {"one": [TWO]}


def test_one_file_of_many_sources(hinted: Hinted) -> None:
    parts = {f"part {number}": random_bytes(90_000, number) for number in range(4)}
    hinted.sync_first(parts)
    report = hinted.update({"whole": BOX + b"".join(parts.values())}, verify=True)
    assert report["bytes_fetched"] <= 5 * 2 * BLOCK


def test_a_file_that_repeats_itself(hinted: Hinted) -> None:
    period = random_bytes(50_000, "period")
    hinted.sync_first({"zeros": bytes(MIB), "period": period * 10})
    report = hinted.update(
        {"zeros": b"!" + bytes(MIB + 5), "period": b"!" + period * 12}, verify=True
    )
    assert report["bytes_fetched"] <= FEW_BLOCKS


def test_what_is_not_selected_is_neither_fetched_nor_touched(hinted: Hinted) -> None:
    hinted.sync_first({"one": ONE, "two": TWO})
    hinted.torsync.subscribe(select=["one"])
    hinted.publish({"one": b"!" + ONE, "two": b"!" + TWO})
    report = hinted.check(besides={"two": TWO}, verify=True).subscription
    assert report["bytes_fetched"] <= FEW_BLOCKS
    assert report["unselected"] == 1


@each_way
def test_pipes_links_and_folders_in_the_place_of_sources_hold_nothing_up(
    hinted: Hinted, apply: str, tmp_path: Path
) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"one": ONE, "gone": TWO, "other": 3000})
    outside = tmp_path / "outside"
    outside.write_bytes(ONE)
    (hinted.tree / "one").unlink()
    (hinted.tree / "one").symlink_to(outside)
    (hinted.tree / "gone").unlink()
    os.mkfifo(hinted.tree / "gone")
    os.mkfifo(hinted.tree / "box")
    (hinted.tree / "elsewhere").mkdir()
    os.mkfifo(hinted.tree / "elsewhere/one")
    hinted.publish({"one": b"!" + ONE, "box/box": BOX + TWO, "other": 3000})
    (hinted.tree / "box").unlink()
    outcome = hinted.torsync.run("check-now", "--timeout", "20s")
    outcome.assert_ok()
    found = {path: (hinted.tree / path).read_bytes() for path in tree_bytes(hinted.release.folder)}
    assert found == tree_bytes(hinted.release.folder)
    assert outside.read_bytes() == ONE
    assert not (hinted.tree / "one").is_symlink()


def test_a_release_that_is_superseded_while_it_is_fetched(hinted: Hinted) -> None:
    hinted.sync_first({"one": ONE, "two": TWO})
    hinted.torsync.subscribe(interval="1s")
    second = b"!" + ONE + random_bytes(MIB, "second")
    torrent = hinted.publish({"one": second, "two": TWO}, upload_limit=300 * KIB)
    service = hinted.torsync.start("run")
    wait_until(lambda: hinted.seeder.uploaded(torrent) > 100 * KIB, "it fetches")
    hinted.publish({"one": b"?" + second, "two": b"!" + TWO})
    newest = info_hash(hinted.release.torrent)
    service.wait_for(
        lambda one: is_report(one) and one["info_hash"] == newest, "the newest is in place"
    )
    hinted.assert_content()
    service.kill()
    assert hint_notices(hinted.check(verify=True)) == []


def test_an_update_after_the_ledger_was_lost(hinted: Hinted) -> None:
    hinted.sync_first({"one": ONE, "gone": TWO})
    for database in hinted.torsync.state_dir.rglob("*.sqlite*"):
        database.unlink()
    hinted.torsync.subscribe(max_delete="100%")
    hinted.publish({"one": inserted(ONE, 500_000, b"!"), "box": BOX + TWO})
    outcome = hinted.torsync.run("check-now", "--adopt", "--timeout", "20s")
    outcome.assert_ok()
    found = tree_bytes(hinted.tree)
    assert found.items() >= tree_bytes(hinted.release.folder).items()
