"""Folders are moved out of a tree, files are renamed, while torsync works there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import NEW, OLD, Scene, Strike, fast_folder, found, nth_call
from tests.support.cli import snapshot
from tests.support.trees import tree_bytes, write_tree
from torsync.disk import tree as tree_module
from torsync.disk.tree import Tree
from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from pathlib import Path

_rename = os.rename

FIRST = {f"folder/{number}": b"old %d" % number for number in range(6)}
SECOND = {f"folder/{number}": b"new %d!" % number for number in range(6)}


class Wide(Scene):
    """An update that replaces several files of one folder."""

    def prepare(self) -> None:
        self.publish(FIRST)
        self.check_now()
        write_tree(self.tree, {"folder/mine": b"mine"})
        self.publish(SECOND)


def _places(call: Strike) -> bool:
    return call.name == "rename" and call.arguments[1].isdigit() and call.arguments[0].isdigit()


@pytest.fixture
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", 0.0)


@pytest.mark.usefixtures("looks_each_time")
def test_a_folder_that_is_moved_out_of_the_tree_gets_no_more_files() -> None:
    """Whoever takes it away takes it as it is: the rest of the release goes to the tree."""
    with fast_folder() as folder:
        scene = Wide(folder)
        scene.prepare()
        taken = folder / "taken"
        before: dict[str, bytes] = {}

        def take(_strike: Strike) -> None:
            _rename(scene.tree / "folder", taken)
            before.update({file.name: file.read_bytes() for file in taken.iterdir()})

        # The one file that is being placed at that very moment was on its way.
        with nth_call(2, take, of=_places) as struck, suppress(TorsyncError):
            scene.check_now()
        assert struck
        assert before["mine"] == b"mine"
        after = {file.name: file.read_bytes() for file in taken.iterdir()}
        assert sum(before[name] != after.get(name) for name in before) <= 1
        scene.check_now()
        assert {file.name: file.read_bytes() for file in taken.iterdir()} == after
        assert tree_bytes(scene.tree) == SECOND


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("looks_each_time")
@pytest.mark.parametrize("place", ["gone", "new", "replaced", "y", ".torsync/stage"])
def test_wherever_a_folder_is_moved_out_the_next_run_makes_the_tree_equal(place: str) -> None:
    number, moves, is_over = len(place), 0, False
    while not is_over:
        with fast_folder() as folder:
            scene = Scene(folder)
            scene.prepare()
            taken = folder / "taken"
            at_once: list[object] = []

            def take(
                _strike: Strike,
                scene: Scene = scene,
                taken: Path = taken,
                at_once: list[object] = at_once,
            ) -> None:
                with suppress(OSError):
                    _rename(scene.tree / place, taken)
                    at_once.append(snapshot(taken))

            with nth_call(number, take) as struck, suppress(TorsyncError):
                scene.check_now()
            is_over = not struck
            moves += bool(at_once)
            scene.check_now()
            assert scene.check_now().changed is False
            there = tree_bytes(scene.tree)
            told = f"before call {number}: {struck}"
            assert {path: there.get(path) for path in NEW} == found(NEW), told
            assert there.keys() <= found(OLD).keys() | found(NEW).keys() | {"mine"} | {
                "half gone/mine"
            }, told
        number += 41
    assert moves > 3


def test_what_is_open_is_looked_for_at_its_path_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path / "tree", {"a/b/file": b"old", "a/other": b"1"})
    tree = Tree(root)
    try:
        before = os.fstat(tree.folder_fd("a/b")).st_ino
        (root / "a").rename(tmp_path / "taken")
        write_tree(root, {"a/b/file": b"new"})
        monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", 0.0)
        assert os.fstat(tree.folder_fd("a/b")).st_ino != before
        assert tree.stat("a/other") is None
        (root / "a/b").rename(tmp_path / "b")
        assert tree.stat("a/b/file") is None
        with pytest.raises(FileNotFoundError):
            tree.locate("a/b/file")
        folder_fd, name = tree.locate("a/b/file", create=True)
        assert (name, os.fstat(folder_fd).st_ino) == ("file", (root / "a/b").stat().st_ino)
    finally:
        tree.close()


def test_a_folder_that_is_moved_between_the_two_halves_of_a_rename_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor was given out already, and stays what it is."""
    root = write_tree(tmp_path / "tree", {"a/b/file": b"old", "a/c/file": b"1"})
    tree = Tree(root)
    try:
        tree.folder_fd("a/c")
        tree.folder_fd("a/b")
        locate = tree.locate

        def located(path: str, *, create: bool = False) -> tuple[int, str]:
            found = locate(path, create=create)
            if path == "a/b/file":
                (root / "a").rename(tmp_path / "taken")
                monkeypatch.setattr(tree_module, "LOOK_AGAIN_S", 0.0)
            return found

        monkeypatch.setattr(tree, "locate", located)
        with pytest.raises(OSError, match="a/b"):
            tree.locate_both("a/b/file", "a/c/file")
    finally:
        tree.close()
