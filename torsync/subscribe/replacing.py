"""Put a file at a path where others may be at work: what they save there meanwhile is not lost.

Between a look at a path and the rename over it, somebody may have saved something there. So the
two change places in one step, and what comes out is looked at; where nothing was, a rename does
not replace what has come. (File systems that can do neither leave that moment.)
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.syscalls import exchange, rename_new
from torsync.model.tree_index import Kind
from torsync.subscribe.trash import NoHardLinks

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.tree_index import DiskEntry
    from torsync.subscribe.trash import Trash


def put_in_place(
    tree: Tree,
    trash: Trash,
    source: str,
    target: str,
    there: DiskEntry | None,
    *,
    saves: bool = True,
    released: bool = False,
) -> bool:
    """Move a file or link to a path in one step; what is there goes to the trash before.

    Args:
        tree: that both paths are in.
        trash: of it.
        source: path of what is moved.
        target: where to. Its folders are made.
        there: what is at ``target``, as far as is known.
        saves: False if that has another name, and need not be saved.
        released: whether it is an old release's.

    Returns:
        False if something has come to ``target`` where nothing was: it is there still.

    Raises:
        OSError, TreeError: that was not possible; nothing is lost.
    """
    if there is not None and saves:
        try:
            trash.link(target, released=released)
        except NoHardLinks:
            if exchange(*_both(tree, source, target)):
                trash.take(source, released=released, name=target)
                return True
            trash.take(target, released=released)  # it is absent for a moment
            there = None
    names = _both(tree, source, target)
    if there is None:
        try:
            is_done = rename_new(*names)
        except FileExistsError:
            return False
    else:
        # A folder stays: to rename a file over it fails.
        is_done = there.kind is not Kind.FOLDER and exchange(*names)
        if is_done:
            _let_go(tree, trash, source, target, there)
    if not is_done:
        os.rename(names[0], names[1], src_dir_fd=names[2], dst_dir_fd=names[3])
    return True


def _let_go(tree: Tree, trash: Trash, at: str, path: str, saved: DiskEntry) -> None:
    """See to what was replaced: it is what was ``saved``, or somebody was faster."""
    out = tree.stat(at)
    if out is not None and (out.inode, out.kind) != (saved.inode, saved.kind):
        trash.take(at, name=path)
    elif out is not None:
        _unlink(tree, at)


def remove_name(tree: Tree, path: str, inode: int, aside: str) -> None:
    """Remove a name of a file that has another one; what somebody saves there meanwhile stays.

    Args:
        tree: that it is in.
        path: to remove.
        inode: of the file.
        aside: a free path of the stage: there it is looked at once more.

    Raises:
        OSError: that was not possible.
    """
    source, target, source_fd, target_fd = _both(tree, path, aside)
    os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    out = tree.stat(aside)
    if out is not None and out.inode == inode:
        _unlink(tree, aside)
    elif out is not None:
        source, target, source_fd, target_fd = _both(tree, aside, path)
        with suppress(FileExistsError):  # then it goes to the trash with what is set aside
            if not rename_new(source, target, source_fd, target_fd):
                os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def _unlink(tree: Tree, path: str) -> None:
    folder_fd, name = tree.locate(path)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder_fd)


def _both(tree: Tree, source: str, target: str) -> tuple[str, str, int, int]:
    """Give the names of two paths, and the descriptors of their folders."""
    found, found_target = tree.locate_both(source, target, create=True)
    return found[1], found_target[1], found[0], found_target[0]
