"""Files get to paths where others save something at the same moment: nobody's file is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trees import tree_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.subscribe import replacing
from torsync.subscribe.replacing import put_in_place, remove_name
from torsync.subscribe.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD = ".torsync/stage/1"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(write_tree(tmp_path / "tree", {HELD: b"new"}))
    yield made
    made.close()


@pytest.fixture
def trash(tree: Tree) -> Trash:
    return Trash(tree, "stamp")


def trashed(tree: Tree, folder: str = "stamp") -> dict[str, object]:
    at = tree.root / ".torsync/trash" / folder
    return dict(tree_bytes(at)) if at.exists() else {}


def replace(tree: Tree, path: str) -> None:
    """What a program does that saves a file."""
    write_tree(tree.root, {f"{path}~": b"mine"})
    (tree.root / f"{path}~").rename(tree.root / path)


def test_what_came_where_nothing_was_stays_and_is_told(tree: Tree, trash: Trash) -> None:
    write_tree(tree.root, {"a": b"mine"})
    assert not put_in_place(tree, trash, HELD, "a", None)
    assert tree_bytes(tree.root) == {"a": b"mine"}
    assert (tree.root / HELD).read_bytes() == b"new"
    assert put_in_place(tree, trash, HELD, "b", None)
    assert tree_bytes(tree.root) == {"a": b"mine", "b": b"new"}


def test_folders_on_the_way_are_made(tree: Tree, trash: Trash) -> None:
    assert put_in_place(tree, trash, HELD, "x/y/a", None)
    assert tree_bytes(tree.root) == {"x/y/a": b"new"}


@pytest.mark.parametrize("exchanges", [False, True])
@pytest.mark.parametrize("saves", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_what_was_there_goes_to_the_trash_if_it_has_no_other_name(
    tree: Tree,
    trash: Trash,
    monkeypatch: pytest.MonkeyPatch,
    released: bool,
    saves: bool,
    exchanges: bool,
) -> None:
    if not exchanges:
        monkeypatch.setattr(replacing, "exchange", lambda *_names: False)
    write_tree(tree.root, {"a": b"old"})
    assert put_in_place(tree, trash, HELD, "a", tree.stat("a"), saves=saves, released=released)
    assert tree_bytes(tree.root) == {"a": b"new"}
    saved = {"a": b"old"} if saves else {}
    assert trashed(tree, "stamp-release") == (saved if released else {})
    assert trashed(tree) == ({} if released else saved)
    assert not (tree.root / HELD).exists()


def test_a_folder_is_never_replaced(tree: Tree, trash: Trash) -> None:
    write_tree(tree.root, {"a/mine": b"mine"})
    with pytest.raises(IsADirectoryError):
        put_in_place(tree, trash, HELD, "a", tree.stat("a"), saves=False)
    assert tree_bytes(tree.root) == {"a/mine": b"mine"}
    assert (tree.root / HELD).read_bytes() == b"new"


@pytest.mark.parametrize("saves", [False, True])
def test_what_was_saved_after_the_old_version_went_to_the_trash_goes_there_too(
    tree: Tree, trash: Trash, saves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tree.root, {"a": b"old"})
    exchange = replacing.exchange

    def save_and_exchange(*names: object) -> bool:
        replace(tree, "a")
        return exchange(*names)  # type: ignore[arg-type]

    monkeypatch.setattr(replacing, "exchange", save_and_exchange)
    there = tree.stat("a")
    assert put_in_place(tree, trash, HELD, "a", there, saves=saves, released=True)
    assert tree_bytes(tree.root) == {"a": b"new"}
    assert trashed(tree) == {"a": b"mine"}
    assert trashed(tree, "stamp-release") == ({"a": b"old"} if saves else {})


def test_the_old_name_of_a_file_is_removed(tree: Tree) -> None:
    write_tree(tree.root, {"a": b"moved"})
    (tree.root / "b").hardlink_to(tree.root / "a")
    remove_name(tree, "a", (tree.root / "a").stat().st_ino, HELD + ".aside")
    assert tree_bytes(tree.root) == {"b": b"moved"}
    assert not (tree.root / f"{HELD}.aside").exists()


@pytest.mark.parametrize("renames", [True, False])
def test_what_was_saved_at_an_old_name_is_there_again(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    """Also where the file system has no rename that replaces nothing."""
    write_tree(tree.root, {"a": b"moved"})
    inode = (tree.root / "a").stat().st_ino
    (tree.root / "b").hardlink_to(tree.root / "a")
    replace(tree, "a")
    if not renames:
        monkeypatch.setattr(replacing, "rename_new", lambda *_names: False)
    remove_name(tree, "a", inode, f"{HELD}.aside")
    assert tree_bytes(tree.root) == {"a": b"mine", "b": b"moved"}
    assert not (tree.root / f"{HELD}.aside").exists()


def test_what_is_saved_there_once_more_stays_and_the_other_is_set_aside(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tree.root, {"a": b"first"})
    rename_new = replacing.rename_new

    def save_and_rename(*names: object) -> bool:
        replace(tree, "a")
        return rename_new(*names)  # type: ignore[arg-type]

    monkeypatch.setattr(replacing, "rename_new", save_and_rename)
    remove_name(tree, "a", 1, f"{HELD}.aside")
    assert tree_bytes(tree.root) == {"a": b"mine"}
    assert (tree.root / f"{HELD}.aside").read_bytes() == b"first"
