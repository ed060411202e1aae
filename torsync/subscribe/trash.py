"""The trash of a tree: where removed and replaced files wait, so that nothing is lost at once.

Each update or clean-up has a folder of its own there, named by its time, in which every file
lies under the path that it had.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.names import PRIVATE_FOLDER
from torsync.subscribe.tree import Tree, doing

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRASH = f"{PRIVATE_FOLDER}/trash"
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


def trash_stamp(now_s: float) -> str:
    """The name of an update in the trash; ``now_s`` is the time in Unix seconds."""
    return time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now_s))


class Trash:
    """The trash folder of one update; made when the first file goes there.

    Should a path go there twice, because others write to the tree, it gets a further folder.
    """

    def __init__(self, tree: Tree, stamp: str) -> None:
        self._tree = tree
        self._stamp = stamp
        self._folder = ""

    def save(self, path: str, *, released: bool = False) -> None:  # noqa: ARG002
        """Give the file or link at ``path`` a second name in the trash; it stays where it is.

        Where the file system has no hard links it is moved.

        Raises:
            TreeError: that was not possible; the file is where it was.
        """
        with doing("move to the trash", path):
            entry = self._tree.stat(path)
            if entry is not None and not self._link(path):
                self.take(path)

    def take(self, path: str, *, released: bool = False) -> None:  # noqa: ARG002
        """Move what is at ``path`` to the trash.

        Raises:
            TreeError: that was not possible; the file is where it was.
        """
        with doing("move to the trash", path):
            (folder_fd, name), (target_fd, target_name) = self._places(path)
            os.rename(name, target_name, src_dir_fd=folder_fd, dst_dir_fd=target_fd)

    def _link(self, path: str) -> bool:
        (folder_fd, name), (target_fd, target_name) = self._places(path)
        try:
            os.link(
                name,
                target_name,
                src_dir_fd=folder_fd,
                dst_dir_fd=target_fd,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        return True

    def _places(self, path: str) -> tuple[tuple[int, str], tuple[int, str]]:
        if not self._folder or self._has(path):
            self._folder = self._make_folder()
        return self._tree.locate_both(path, f"{self._folder}/{path}", create=True)

    def _has(self, path: str) -> bool:
        """Whether something is here under that path, or in the way of it."""
        try:
            return self._tree.stat(f"{self._folder}/{path}") is not None
        except NotADirectoryError:
            return True

    def _make_folder(self) -> str:
        trash_fd = self._tree.folder_fd(_TRASH, create=True)
        for number in range(1, 10_000):
            name = self._stamp if number == 1 else f"{self._stamp}-{number}"
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=trash_fd)
                return f"{_TRASH}/{name}"
        raise FileExistsError(errno.EEXIST, "too many folders of one second", _TRASH)


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
