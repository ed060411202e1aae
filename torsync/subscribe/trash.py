"""Putting things in the trash of a tree, where they wait, so that nothing is lost at once.

Each update or clean-up has folders of its own there, named by its time, in which every file lies
under the path that it had: ``STAMP`` for the user's files, ``STAMP-release`` for those of an old
release.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.retention import TRASH, folder_name
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.journal import Identity
    from torsync.model.tree_index import DiskEntry

_BLOCK_BYTES = 4096
_ANYTHING_BYTES = 2**62
_MOST_FOLDERS = 10_000  # of one stamp
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


class NoHardLinks(Exception):  # noqa: N818 - there is another way
    """The file system has no hard links."""


def trash_stamp(now_s: float) -> str:
    """Name one update or clean-up by its time, in Unix seconds."""
    return time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now_s))


class Trash:
    """The trash of one update or clean-up; its folders are made when the first file goes there.

    Should another file go there under the same path, it gets a further folder.

    Attributes:
        released: where the files of old releases are that were put there → the paths they had.
        added_bytes: what was put there takes on the disk, at most.
    """

    def __init__(self, tree: Tree, stamp: str) -> None:
        """Prepare.

        Args:
            tree: whose trash it is.
            stamp: what ``trash_stamp`` gave. A commit that goes on after it was cut off gives the
                same one again, and what it had saved is not saved twice.
        """
        self._tree = tree
        self._stamp = stamp
        self.released: dict[str, str] = {}
        self.added_bytes = 0

    def save(self, path: str, *, released: bool = False) -> bool:
        """Give the file or link at ``path`` a second name in the trash; it stays where it is.

        Where the file system has no hard links it is moved.

        Args:
            path: in the tree.
            released: whether its content is an old release's, as the ledger vouches.

        Returns:
            Whether something was put there: not if it is there already, or ``path`` is gone.

        Raises:
            TreeError: that was not possible; the file is where it was.
        """
        try:
            return self.link(path, released=released)
        except NoHardLinks:
            return self.take(path, released=released)

    def link(self, path: str, *, released: bool = False) -> bool:
        """The same, if the file system has hard links.

        Raises:
            NoHardLinks: it has not; nothing was done.
            TreeError: that was not possible.
        """
        with doing("move to the trash", path):
            entry = self._tree.stat(path)
            if entry is None:
                return False
            target, is_there = self._place(path, entry, released=released)
            if is_there:
                return False
            try:
                self._link(path, target)
            except OSError as error:
                if error.errno in NO_LINKS:
                    raise NoHardLinks from error
                if not self._is_gone(path, error):
                    raise
                return False
            self._count(entry)
            return True

    def take(self, path: str, *, released: bool = False, name: str = "") -> bool:
        """Move what is at ``path`` to the trash.

        Args:
            path: in the tree.
            released: whether its content is an old release's, as the ledger vouches.
            name: the path that it had before, if that is another.

        Returns:
            Whether there was something to take.

        Raises:
            TreeError: that was not possible; the file is where it was.
        """
        with doing("move to the trash", name or path):
            entry = self._tree.stat(path)
            if entry is None:
                return False
            target, is_there = self._place(name or path, entry, released=released)
            if is_there:  # a rename of one name of a file over another does nothing
                folder_fd, last = self._tree.locate(path)
                with suppress(FileNotFoundError):
                    os.unlink(last, dir_fd=folder_fd)
                return True
            return self._move(path, target, entry)

    def recall(self, path: str, identity: Identity) -> None:
        """Add to ``released`` what was put there before a commit was cut off, if it was.

        Args:
            path: that it had.
            identity: of the old release's file.

        Raises:
            TreeError: the trash could not be looked at.
        """
        for number in range(1, _MOST_FOLDERS):
            folder = folder_name(self._stamp, released=True, number=number)
            target = f"{TRASH}/{folder}/{path}"
            with doing("look at", target):
                try:
                    found = self._tree.stat(target)
                except NotADirectoryError:  # a file is in the way of it
                    continue
            if found is None:
                return
            if (found.size, found.mtime_ns, found.inode) == identity:
                self.released[target] = path
                return

    def _link(self, path: str, target: str) -> None:
        (folder_fd, name), (target_fd, target_name) = self._tree.locate_both(
            path, target, create=True
        )
        os.link(
            name, target_name, src_dir_fd=folder_fd, dst_dir_fd=target_fd, follow_symlinks=False
        )

    def _move(self, path: str, target: str, entry: DiskEntry) -> bool:
        (folder_fd, name), (target_fd, target_name) = self._tree.locate_both(
            path, target, create=True
        )
        try:
            os.rename(name, target_name, src_dir_fd=folder_fd, dst_dir_fd=target_fd)
        except OSError as error:
            if not self._is_gone(path, error):
                raise
            return False
        self._count(entry)
        return True

    def _count(self, entry: DiskEntry) -> None:
        is_folder = entry.kind is Kind.FOLDER  # nobody looked what is in it
        self.added_bytes += _ANYTHING_BYTES if is_folder else entry.size + _BLOCK_BYTES

    def _is_gone(self, path: str, error: OSError) -> bool:
        return isinstance(error, FileNotFoundError) and self._tree.stat(path) is None

    def _place(self, path: str, entry: DiskEntry, *, released: bool) -> tuple[str, bool]:
        """Decide where to put ``entry``, which is at ``path``, and tell whether it is there."""
        self._tree.folder_fd(TRASH, create=True)
        for number in range(1, _MOST_FOLDERS):
            folder = folder_name(self._stamp, released=released, number=number)
            target = f"{TRASH}/{folder}/{path}"
            try:
                found = self._tree.stat(target)
            except NotADirectoryError:  # a file is in the way of it
                continue
            if found is None or (found.inode, found.kind) == (entry.inode, entry.kind):
                if released:
                    self.released[target] = path
                return target, found is not None
        raise FileExistsError(errno.EEXIST, "too many folders of one second", TRASH)


def remove_emptied_folders(tree: Tree, paths: Iterable[str]) -> None:
    """Remove the folders that ``paths`` lay in, as far up as they are empty now."""
    tree.forget_folders()
    for folder in sorted({path.rpartition("/")[0] for path in paths} - {""}, reverse=True):
        at = folder
        while at:
            try:
                parent_fd, name = tree.locate(at)
                os.rmdir(name, dir_fd=parent_fd)
            except OSError:
                break
            at = at.rpartition("/")[0]
    tree.forget_folders()
