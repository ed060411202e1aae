"""A clone of a published folder, which shares its blocks and does not change with it.

It lies in ``TREE/.torsync/snapshot/``, as reflinks reach no further than their file system. Files
are cloned after they were hashed, and looked at before and after: a clone holds what was hashed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.disk.copying import share_blocks
from torsync.disk.stamps import stamp_of
from torsync.disk.tree import FOLDER_FLAGS, Tree, doing, tree_error
from torsync.model.errors import InterruptedByUserError, TreeError
from torsync.model.names import PRIVATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.disk.stamps import FileStamp

FOLDER = f"{PRIVATE_FOLDER}/snapshot"
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class ChangedMeanwhileError(TreeError):
    """A file changed between hashing and cloning."""

    code = "changed_meanwhile"


def take_snapshot(
    tree: Tree,
    stamps: Mapping[str, FileStamp],
    name: str,
    stopping: Callable[[], bool],
) -> dict[str, FileStamp]:
    """Clone files of a folder into a new one in ``FOLDER``.

    Args:
        tree: the folder.
        stamps: what each file was when it was hashed, by path.
        name: of the snapshot.
        stopping: whether the work shall stop.

    Returns:
        What each clone is, by path.

    Raises:
        ChangedMeanwhileError: a file is not what it was.
        TreeError: the file system shares no blocks, or something could not be read or written.
        InterruptedByUserError: ``stopping`` said so.
    """
    remove_snapshots(tree, only=name)
    root = f"{FOLDER}/{name}"
    found = {}
    for path, stamp in stamps.items():
        if stopping():
            raise InterruptedByUserError("stopped while taking the snapshot")
        with doing("clone", path):
            found[path] = _clone(tree, path, stamp, f"{root}/{path}")
    return found


def _clone(tree: Tree, path: str, stamp: FileStamp, target: str) -> FileStamp:
    source = tree.open(path)
    try:
        if stamp_of(os.fstat(source)) != stamp:
            raise _changed(path)
        folder_fd, name = tree.locate(target, create=True)
        clone = os.open(name, _NEW_FILE, 0o644, dir_fd=folder_fd)
        try:
            if stamp.size and not share_blocks(source, clone):
                raise _no_reflink(tree)
            if stamp_of(os.fstat(source)) != stamp:
                raise _changed(path)
            os.utime(clone, ns=(stamp.mtime_ns, stamp.mtime_ns))
            return stamp_of(os.fstat(clone))
        finally:
            os.close(clone)
    finally:
        os.close(source)


def check_reflinks(tree: Tree) -> None:
    """See that the file system of a folder shares blocks, before anything is hashed.

    Raises:
        TreeError: it does not, or the folder cannot be written.
    """
    names = "probe", "probe-clone"
    opened: list[int] = []
    with doing("write", FOLDER):
        folder_fd = tree.folder_fd(FOLDER, create=True)
        try:
            for name in names:
                with_name = os.O_TRUNC | _NEW_FILE & ~os.O_EXCL
                opened.append(os.open(name, with_name, 0o600, dir_fd=folder_fd))
            os.write(opened[0], bytes(4096))
            if not share_blocks(*opened):
                raise _no_reflink(tree)
        finally:
            for fd in opened:
                os.close(fd)
            for name in names[: len(opened)]:
                os.unlink(name, dir_fd=folder_fd)


def remove_snapshots(tree: Tree, *, but: str = "", only: str = "") -> None:
    """Remove snapshots.

    Args:
        tree: the folder.
        but: the name of one that stays.
        only: the name of the only one to remove; empty: all.

    Raises:
        TreeError: that was not possible.
    """
    tree.forget_folders()
    try:
        folder_fd = tree.folder_fd(FOLDER)
        for name in os.listdir(folder_fd):
            if name != but and only in {"", name}:
                _remove(folder_fd, name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise tree_error(error, FOLDER, "remove") from error
    finally:
        tree.forget_folders()


def _remove(parent_fd: int, name: str) -> None:
    """Remove a file, or a folder with all that is in it; links are not followed."""
    try:
        folder_fd = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent_fd)
        return
    try:
        for inner in os.listdir(folder_fd):
            _remove(folder_fd, inner)
    finally:
        os.close(folder_fd)
    os.rmdir(name, dir_fd=parent_fd)


def _changed(path: str) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(
        f"{path!r} changed while the release was made",
        path=path,
        hint="it is tried again; a program that writes all the time may have to be stopped",
    )


def _no_reflink(tree: Tree) -> TreeError:
    return TreeError(
        "snapshot = true needs a file system that can share blocks (reflinks), and that of "
        f"{str(tree.root)!r} cannot",
        path=str(tree.root),
        hint="put the folder on btrfs, or on xfs with reflink=1, or set snapshot = false",
    )
