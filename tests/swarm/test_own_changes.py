"""What users change, add and keep, through updates and repairs: all of it can be had back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cli import trash_contents
from tests.support.trees import random_bytes, tree_bytes, write_tree
from tests.support.updates import PIECE, overwritten

if TYPE_CHECKING:
    from tests.support.updates import Updates

FILES = {name: random_bytes(3 * PIECE + 100, name) for name in ("edited", "fine", "patched")}
FIRST = {
    **FILES,
    "dropped": b"dropped",
    "saves/dropped": b"a saved game",
    "saves/game": b"as published",
    "settings.ini": b"as published",
    "untouched.ini": b"as published",
}
SECOND = {
    **FILES,
    "patched": overwritten(FILES["patched"], PIECE, b"by the publisher"),
    "new.ini": b"new",
    "saves/game": b"published again",
    "settings.ini": b"published again",
    "untouched.ini": b"published again",
}
THIRD = {**FILES, "patched": b"short"}
MINE = {"mine.txt": b"mine", "saves/mine": b"mine as well"}
KEPT = {"saves/game": b"played", "settings.ini": b"my settings"}
KEPT_AS_IT_WAS = {"saves/dropped": b"a saved game", "untouched.ini": b"as published"}


def test_edits_go_to_the_trash_kept_files_stay_and_unlisted_ones_stay_until_they_are_cleaned(
    updates: Updates,
) -> None:
    updates.torsync.subscribe(keep=["*.ini", "saves/"])
    updates.publish(FIRST, "v1")
    updates.check()
    edits = {
        "edited": overwritten(FILES["edited"], 2 * PIECE, b"by me"),
        "patched": overwritten(FILES["patched"], 7, b"by me"),
    }
    write_tree(updates.tree, {**edits, **KEPT, **MINE})
    report = updates.update(SECOND, "v1", besides={**MINE, **KEPT, **KEPT_AS_IT_WAS})
    assert report["kept_local_paths"] == ["saves/game", "settings.ini", "untouched.ini"]
    assert report["trashed_paths"] == ["dropped", "edited", "patched"]
    trash = {**{path: [content] for path, content in edits.items()}, "dropped": [b"dropped"]}
    assert trash_contents(updates.tree) == trash

    damaged = overwritten(FILES["fine"], PIECE, b"damage")
    write_tree(updates.tree, {"fine": damaged})
    (updates.tree / "untouched.ini").unlink()
    report = updates.torsync.run("verify", "--repair").assert_ok().subscription
    assert report["damaged_paths"] == ["fine"]
    assert report["repaired_paths"] == ["fine", "untouched.ini"]
    stays = {**SECOND, **MINE, **KEPT, "saves/dropped": b"a saved game"}
    assert tree_bytes(updates.tree) == stays
    trash["fine"] = [damaged]
    assert trash_contents(updates.tree) == trash

    # The releases drop what is kept, and then everything that is unlisted goes.
    kept = {
        **KEPT,
        "new.ini": b"new",
        "saves/dropped": b"a saved game",
        "saves/mine": MINE["saves/mine"],
        "untouched.ini": b"published again",
    }
    updates.update(THIRD, "v1", besides={**MINE, **kept})
    trash["patched"].append(SECOND["patched"])
    assert trash_contents(updates.tree) == trash
    report = updates.torsync.run("verify", "--clean").assert_ok().subscription
    assert report["cleaned_paths"] == ["mine.txt"]
    assert tree_bytes(updates.tree) == {**THIRD, **kept}
    trash["mine.txt"] = [b"mine"]
    assert trash_contents(updates.tree) == trash

    write_tree(updates.tree, MINE)
    updates.torsync.subscribe(clean="mirror")
    report = updates.update(SECOND, "v1", besides={**kept, **KEPT})
    assert "mine.txt" in report["trashed_paths"]
    assert trash_contents(updates.tree)["mine.txt"] == [b"mine", b"mine"]


def test_a_file_under_keep_that_comes_while_an_update_is_fetched_stays(updates: Updates) -> None:
    updates.torsync.subscribe(keep=["*.ini"])
    release = {"large": random_bytes(100 * PIECE, "large"), "settings.ini": b"as published"}
    updates.publish(release, "packed", upload_limit=50 * PIECE)
    running = updates.torsync.start("check-now")
    running.wait_for_download(10 * PIECE)
    write_tree(updates.tree, {"settings.ini": b"mine"})
    report = running.wait().assert_ok().subscription
    assert report["kept_local_paths"] == ["settings.ini"]
    assert report["fetched_paths"] == ["large"]
    assert tree_bytes(updates.tree) == {**release, "settings.ini": b"mine"}
    assert trash_contents(updates.tree) == {}
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert (report["changed"], report["kept_local"]) == (False, 1)
