"""Finish the moves of a commit that was cut off, and know what else it did.

A commit gives a file that it moves a second name in the stage where its old one is needed for
something else. Cut off at the wrong moment, that is the only name its content has left: then it
is put where it was going to, before the stage is used for anything else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.tree_index import DiskEntry, Kind, ledger_row
from torsync.subscribe.moves import HELD
from torsync.subscribe.stage import STAGES
from torsync.subscribe.tree import Tree, doing

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import LedgerRow
    from torsync.subscribe.trash import Trash


class Held(NamedTuple):
    """A file in a stage that was being moved: where it is, where to, and how it is recognised.

    ``target`` is empty where that is not known, as it was moved for another release.
    """

    path: str
    target: str
    size: int
    inode: int


def find_held(tree: Tree, manifest: Manifest) -> list[Held]:
    """Find the files that a commit held when it was cut off.

    Args:
        tree: to look at.
        manifest: of the release that the tree is to be brought to.

    Raises:
        TreeError: the stage cannot be read.
    """
    held = []
    with doing("read", STAGES), suppress(FileNotFoundError):
        for stage in sorted(os.listdir(tree.folder_fd(STAGES))):
            with suppress(NotADirectoryError):
                for name in sorted(os.listdir(tree.folder_fd(f"{STAGES}/{stage}"))):
                    number, _, suffix = name.partition(".")
                    entry = tree.stat(f"{STAGES}/{stage}/{name}") if suffix == HELD else None
                    if entry is not None and entry.kind is Kind.FILE:
                        target = _target(manifest, number, entry, stage)
                        path = f"{STAGES}/{stage}/{name}"
                        held.append(Held(path, target, entry.size, entry.inode))
    return held


def _target(manifest: Manifest, number: str, entry: DiskEntry, stage: str) -> str:
    if stage != manifest.info_hash or not number.isdecimal():
        return ""
    index = int(number)
    if index >= len(manifest.files) or manifest.files[index].size != entry.size:
        return ""
    return manifest.files[index].path


def finish_moves(tree: Tree, held: list[Held], trash: Trash) -> None:
    """Put what a commit held where it belongs, if any of it is nowhere else.

    If all of it is still in the tree, only the second names go: now, as that gives the files
    another ctime, and they must not seem to change once they have been looked at. Nothing is
    believed of the content: the next look finds files that the ledger does not know.

    Args:
        tree: to change.
        held: what ``find_held`` gave.
        trash: for what is in the way, and for what was moved for another release.

    Raises:
        TreeError: something could not be moved; it is in the stage.
    """
    tree.forget_folders()
    seen = {entry.inode for entry in tree.scan().entries.values() if entry.kind is Kind.FILE}
    inodes = {each.inode for each in held}
    if inodes <= seen:
        for each in held:
            _unlink(tree, each.path)
        return
    for each in held:
        if each.target and _make_room(tree, each.target, inodes):
            with doing("put in place", each.target):
                there = tree.stat(each.target)
                if there is not None and there.inode not in inodes:
                    trash.save(each.target)
                (source_fd, source), (target_fd, target) = tree.locate_both(
                    each.path, each.target, create=True
                )
                os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        else:
            trash.take(each.path)
    tree.forget_folders()


def rows_of_placed(
    tree: Tree, placed: Mapping[str, int | str], ledger: Container[str]
) -> dict[str, LedgerRow]:
    """What the ledger lacks of files that a commit put in the tree before it was cut off.

    Nobody vouches for their content, but they are torsync's to remove.

    Args:
        tree: to look at.
        placed: path → inode, or text of a link, as the commit noted it before it began.
        ledger: the paths that torsync manages already.

    Raises:
        TreeError: something could not be looked at.
    """
    rows = {}
    for path, mark in placed.items():
        if path in ledger:
            continue
        with doing("look at", path), suppress(NotADirectoryError):
            entry = tree.stat(path)
            if entry is not None and mark in {entry.inode, entry.link_target}:
                rows[path] = ledger_row(entry, "")
    return rows


def _make_room(tree: Tree, path: str, held: set[int]) -> bool:
    """Take away names of held files, and empty folders, that are in the way of ``path``."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        with doing("look at", folder):
            entry = tree.stat(folder)
        if entry is None:
            return True
        if entry.kind is not Kind.FOLDER:
            if entry.kind is not Kind.FILE or entry.inode not in held:
                return False
            _unlink(tree, folder)
            return True
    with doing("look at", path):
        entry = tree.stat(path)
    if entry is None or entry.kind is not Kind.FOLDER:
        return entry is None or entry.kind is not Kind.MOUNT
    return _is_cleared(tree, path, held)


def _is_cleared(tree: Tree, path: str, held: set[int]) -> bool:
    inside = {
        found: entry
        for found, entry in tree.scan().entries.items()
        if f"{found}/".startswith(f"{path}/")
    }
    for found, entry in inside.items():
        if entry.kind is Kind.FILE and entry.inode in held:
            _unlink(tree, found)
    for found in sorted(inside, reverse=True):
        if inside[found].kind is Kind.FOLDER:
            with suppress(OSError):  # it is not empty
                folder_fd, name = tree.locate(found)
                os.rmdir(name, dir_fd=folder_fd)
    tree.forget_folders()
    with doing("look at", path):
        return tree.stat(path) is None


def _unlink(tree: Tree, path: str) -> None:
    with doing("remove the old name", path):
        folder_fd, name = tree.locate(path)
        os.unlink(name, dir_fd=folder_fd)
