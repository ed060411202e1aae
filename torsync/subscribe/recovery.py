"""Finish what was cut off, when the process or the machine ended in the middle of a commit."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.tree_index import Kind
from torsync.subscribe.moves import HELD
from torsync.subscribe.stage import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.subscribe.trash import Trash


def rescue_held(tree: Tree, trash: Trash) -> list[str]:
    """Move to the trash what a commit had set aside, and that has no other name in the tree.

    That is so where its journal is lost, or others have put something in its place since. What
    has another name loses the one in the stage: now, as a look takes that for a change.

    Args:
        tree: to look at.
        trash: to move it to.

    Returns:
        What was moved there, as it was named in the stage.

    Raises:
        TreeError: the stage could not be read, or something not be moved; it is still there.
    """
    held = dict(_held(tree))
    if not held:
        return []
    tree.forget_folders()
    seen = {entry.inode for entry in tree.scan().entries.values() if entry.kind is Kind.FILE}
    rescued = []
    for path, inode in held.items():
        if inode in seen:
            with doing("remove", path):
                folder_fd, name = tree.locate(path)
                os.unlink(name, dir_fd=folder_fd)
        else:
            trash.take(path)
            rescued.append(path)
    return rescued


def _held(tree: Tree) -> Iterator[tuple[str, int]]:
    """What is set aside in any stage: path and inode."""
    with doing("read", STAGES), suppress(FileNotFoundError):
        for stage in sorted(os.listdir(tree.folder_fd(STAGES))):
            with suppress(NotADirectoryError):
                for name in sorted(os.listdir(tree.folder_fd(f"{STAGES}/{stage}"))):
                    path = f"{STAGES}/{stage}/{name}"
                    entry = tree.stat(path) if name.endswith(f".{HELD}") else None
                    if entry is not None and entry.kind is Kind.FILE:
                        yield path, entry.inode
