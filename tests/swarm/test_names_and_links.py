"""Names as long as the system takes them, other names of a tree's files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.trees import OWN_FOLDER, random_bytes, tree_bytes, write_tree
from tests.support.updates import MAKERS, PIECE, overwritten

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.updates import Updates

KIB = 1024
MIB = 1024 * KIB
PATH_MAX = 4096  # with the byte that ends it
PATH_ACCEPTED = 4000  # in a release
NAME_MAX = 255
PAD = 1
LONG = random_bytes(20 * PIECE + 99, "long")


# --- hard links -----------------------------------------------------------------------------


def test_another_name_of_a_file_outside_the_tree_keeps_its_content_when_the_file_changes(
    updates: Updates, tmp_path: Path
) -> None:
    old = {"a": b"dropped", "patched": LONG, "replaced": LONG[::-1], "shorter": LONG[PIECE:]}
    new = {
        "a too": b"added",
        "patched": overwritten(LONG, 3 * PIECE, b"patched"),
        "replaced": random_bytes(5 * PIECE, "replaced by this"),
        "shorter": LONG[PIECE : 4 * PIECE],
    }
    updates.publish(old, "packed")
    updates.check()
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in old:
        (outside / name).hardlink_to(updates.tree / name)
    updates.update(new, "packed")
    assert tree_bytes(outside) == old
    for name in new:
        (outside / f"new {name}").hardlink_to(updates.tree / name)
        (updates.tree / name).chmod(0o644)
    (outside / "new patched").write_bytes(LONG)
    updates.torsync.run("verify", "--repair").assert_ok()
    assert tree_bytes(updates.tree) == new
    assert (outside / "new patched").read_bytes() == LONG, "not repaired through its other name"


# --- long names -----------------------------------------------------------------------------


def deep(root: Path, last: str) -> str:
    """A path of the longest names that is just short enough, below a folder and for torsync."""
    room = min(PATH_MAX - 2 - len(os.fsencode(root)), PATH_ACCEPTED) - len(last)
    parts = []
    while room > NAME_MAX:
        parts.append("d" * NAME_MAX)
        room -= NAME_MAX + 1
    if room > 1:
        parts.append("d" * (room - 1))
    return "/".join([*parts, last])


def contents(root: Path) -> dict[str, bytes]:
    """Relative path → content, also where paths are too long for the system."""
    found = {}
    for path, folders, names, folder in os.fwalk(root):
        if path == str(root) and OWN_FOLDER in folders:
            folders.remove(OWN_FOLDER)
        for name in names:
            with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
                found[os.path.relpath(os.path.join(path, name), root)] = file.read()
    return found


def publish_long(updates: Updates, folder: Path, entries: dict[str, bytes]) -> None:
    """Publish files of different sizes: libtorrent cuts names at 240 bytes, so seeds others."""
    import libtorrent as lt

    torrent = MAKERS["packed"](write_tree(folder, entries), piece_size=PIECE)
    shutil.rmtree(folder)
    contents = {len(content): content for content in entries.values()}
    assert len(contents) == len(entries)
    layout = lt.load_torrent_buffer(torrent).ti.layout()
    for index in range(layout.num_files()):
        if not int(layout.file_flags(index)) & PAD:
            write_tree(folder.parent, {layout.file_path(index): contents[layout.file_size(index)]})
    updates.publisher.publish(torrent, folder)
    updates.torrent = torrent


def test_names_at_the_limits_are_staged_patched_moved_trashed_and_restored(
    updates: Updates, tmp_path: Path
) -> None:
    # What is published lies in a folder with a longer name than the tree's.
    path = deep(tmp_path / "second", "z" * NAME_MAX)
    assert len(path) > PATH_ACCEPTED - NAME_MAX
    # The other deep one differs at its beginning: what is cut has to differ as well.
    name = "x" + "ä" * (NAME_MAX // 2)
    first = {path: LONG, f"y{path[1:]}": b"dropped", name: LONG[PIECE:], "x": b"1"}
    second = {
        path: overwritten(LONG, 2 * PIECE, b"patched"),
        name[::-1]: first[name],
        "x": b"22",
    }
    publish_long(updates, tmp_path / "first", first)
    updates.torsync.run("check-now").assert_ok()
    assert contents(updates.tree) == first
    publish_long(updates, tmp_path / "second", second)
    updates.torsync.run("check-now").assert_ok()
    assert contents(updates.tree) == second
    assert set(contents(updates.tree / ".torsync/trash").values()) == {LONG, b"dropped", b"1"}
    updates.torsync.run("verify").assert_ok()
    updates.torsync.run("trash", "restore", "pack", path).assert_ok()
    assert contents(updates.tree) == {**second, path: LONG}
    assert second[path] in contents(updates.tree / ".torsync/trash").values()


# --- links in the stage ---------------------------------------------------------------------


@pytest.mark.parametrize("place", [".torsync", ".torsync/stage", "the release's"])
def test_a_link_that_replaces_the_stage_in_the_middle_of_a_fetch_leads_nowhere(
    updates: Updates, tmp_path: Path, place: str
) -> None:
    updates.publish({"x": 100, "y": 200}, "v1")
    updates.check()
    entries = {"x": 101, **{f"new/{number}": 300 * KIB for number in range(8)}}
    torrent = updates.publish(entries, "v1", upload_limit=2 * MIB)
    running = updates.torsync.start("check-now")
    seeder = updates.publisher.seeder
    wait_until(lambda: seeder.uploaded(torrent) > 200 * KIB, "much has been sent")
    outside = tmp_path / "outside"
    outside.mkdir()
    stages = updates.tree / ".torsync/stage"
    at = next(stages.iterdir()) if place == "the release's" else updates.tree / place
    at.rename(tmp_path / "aside")
    at.symlink_to(outside, target_is_directory=True)
    running.wait(20)
    assert list(outside.rglob("*")) == []
    at.unlink()
    (tmp_path / "aside").rename(at)
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == tree_bytes(updates.folder)
