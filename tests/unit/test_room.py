"""What a file system is asked for before something is staged on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot
from tests.support.trees import write_tree
from tests.unit.test_stage import _make_file_system
from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.errors import TreeError
from torsync.model.placement import Place
from torsync.model.space import Staged
from torsync.subscribe.preview import AbsentTree
from torsync.subscribe.room import free_bytes, has_reflinks, measure_room
from torsync.subscribe.stage import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASH, OTHER_HASH = "ab" * 20, "cd" * 20
KIB = 1024


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree alone on a file system of 1 MiB, with blocks of 4 KiB."""
    with mounted(tmp_path / "tree", *tmpfs()) as folder:
        tree = Tree(folder)
        yield tree
        tree.close()


def test_an_empty_file_system_is_free_to_the_last_block(tree: Tree) -> None:
    room = measure_room(tree, HASH, reflinks=False)
    assert (room.block_bytes, room.free_bytes) == (4 * KIB, 1024 * KIB)
    assert (room.staged, room.reflinks) == ({}, False)
    (tree.root / "file").write_bytes(b"1")
    assert measure_room(tree, HASH, reflinks=True).free_bytes == 1020 * KIB
    assert free_bytes(tree.root) == 1020 * KIB


def test_what_is_staged_of_the_release_is_told_by_its_file(tree: Tree) -> None:
    stage = f"{STAGES}/{HASH}"
    write_tree(tree.root, {f"{stage}/0": 5000, f"{stage}/12": 1, f"{stage}/3.scratch": 9000})
    room = measure_room(tree, HASH, reflinks=False)
    assert room.staged == {
        Staged(0, Place.STAGE): 8 * KIB,
        Staged(12, Place.STAGE): 4 * KIB,
        Staged(3, Place.SCRATCH): 12 * KIB,
    }
    assert room.free_bytes == (1024 - 24) * KIB


def test_of_a_file_with_holes_only_its_blocks_are_there(tree: Tree) -> None:
    write_tree(tree.root, {f"{STAGES}/{HASH}/0": b""})
    os.truncate(tree.root / STAGES / HASH / "0", 100 * KIB)
    assert measure_room(tree, HASH, reflinks=False).staged == {Staged(0, Place.STAGE): 0}


def test_what_is_cleared_away_before_counts_as_free(tree: Tree) -> None:
    own, other = f"{STAGES}/{HASH}", f"{STAGES}/{OTHER_HASH}"
    write_tree(
        tree.root,
        {
            f"{own}/0": 5000,
            f"{own}/0.part": 0,
            f"{own}/junk": 1,
            f"{own}/1.held": 1,
            f"{other}/0": 5000,
        },
    )
    write_tree(tree.root, {f"{STAGES}/stray": 10})
    room = measure_room(tree, HASH, reflinks=False)
    assert room.staged == {}
    assert room.free_bytes == (1024 - 4) * KIB, "all but the stray file, which is left alone"


def test_a_file_with_another_name_gives_nothing_back(tree: Tree) -> None:
    write_tree(tree.root, {"file": 5000, f"{STAGES}/{OTHER_HASH}/1": 1, f"{STAGES}/{HASH}/1": 1})
    for folder in (HASH, OTHER_HASH):
        (tree.root / STAGES / folder / "0").hardlink_to(tree.root / "file")
    (tree.root / STAGES / HASH / "2").symlink_to(tree.root / "file")
    room = measure_room(tree, HASH, reflinks=False)
    assert room.staged == {Staged(1, Place.STAGE): 4 * KIB}
    assert room.free_bytes == (1024 - 16 + 4) * KIB


def test_a_folder_that_is_not_there_has_the_room_of_those_above_it(tree: Tree) -> None:
    absent = AbsentTree(tree.root / "not/yet")
    assert measure_room(absent, HASH, reflinks=False).free_bytes == 1024 * KIB


def test_a_stage_that_is_a_link_is_told(tree: Tree, tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {f"{HASH}/0": 5})
    (tree.root / ".torsync").mkdir()
    (tree.root / STAGES).symlink_to(outside)
    with pytest.raises(TreeError, match="a folder on the way is a link"):
        measure_room(tree, HASH, reflinks=False)


# --- reflinks -------------------------------------------------------------------------------


def test_without_reflinks_a_probe_says_so_and_leaves_no_trace(tree: Tree) -> None:
    for _ in range(2):
        before = snapshot(tree.root)
        assert not has_reflinks(tree)
        assert snapshot(tree.root) == before
        (tree.root / ".torsync").mkdir(exist_ok=True)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_with_reflinks_a_probe_says_so_and_leaves_no_trace(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "image"
    _make_file_system(kind, image)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        tree = Tree(disk)
        before = snapshot(disk)
        assert has_reflinks(tree)
        assert snapshot(disk) == before
        tree.close()


def test_where_it_cannot_be_tried_there_are_none(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    assert not has_reflinks(tree)
