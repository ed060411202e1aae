"""What is in the trash of a tree: listed, removed, brought back.

Everything is reached through folder descriptors and named by its last component, no link is
followed, and what is mounted there is left alone: nothing outside the trash is ever removed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.disk.scan import disk_entry, mounts_in
from torsync.disk.tree import doing
from torsync.model.retention import (
    TRASH,
    Trashed,
    TrashFolder,
    freed_bytes,
    parse_folder_name,
    plan_room,
)
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from torsync.disk.tree import Tree

_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's own blocks are


@dataclass
class TrashContent:
    """What was found in a trash.

    Attributes:
        files: files, links and special files.
        folders: relative to the tree, each before those in it.
        problems: path relative to the tree → why it could not be read.
    """

    files: list[Trashed] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass
class TrashRemoved:
    """What was removed from a trash.

    Attributes:
        files: that are gone.
        freed_bytes: what the disk gave back.
        problems: path relative to the tree → why it could not be removed.
    """

    files: list[Trashed] = field(default_factory=list)
    freed_bytes: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def read_trash(tree: Tree) -> TrashContent:
    """Look at everything in the trash, by stat alone.

    Raises:
        TreeError: the trash is no folder, or cannot be read at all.
    """
    tree.forget_folders()
    content = TrashContent()
    with doing("read", TRASH):
        try:
            fd = tree.folder_fd(TRASH)
        except FileNotFoundError:
            return content
        block_bytes = max(os.fstatvfs(fd).f_frsize, 1)
        names = sorted(os.listdir(fd))
    walk = _Walk(tree, content, mounts_in(tree.root), block_bytes)
    for name in names:
        walk.read(name)
    tree.forget_folders()
    return content


class _Walk:
    """Reads folders of the trash; what is wrong with one is noted."""

    def __init__(
        self, tree: Tree, content: TrashContent, mounts: set[str], block_bytes: int
    ) -> None:
        self._tree = tree
        self._content = content
        self._mounts = mounts
        self._block_bytes = block_bytes

    def read(self, name: str) -> None:
        """Read all that is in the folder ``name`` of the trash."""
        parsed = parse_folder_name(name)
        pending = [f"{TRASH}/{name}"]
        while pending:
            folder = pending.pop()
            if folder in self._mounts:
                self._content.problems[folder] = Kind.MOUNT.value
                continue
            try:
                fd = self._tree.folder_fd(folder)
                if parsed.at_s is None:
                    parsed = parsed._replace(at_s=os.fstat(fd).st_mtime)
                with os.scandir(fd) as items:
                    pending += [
                        f"{folder}/{item.name}"
                        for item in items
                        if self._read_item(name, parsed, f"{folder}/{item.name}", item)
                    ]
            except OSError as error:
                self._content.problems[folder] = error.strerror or str(error)
            else:
                self._content.folders.append(folder)

    def _read_item(self, name: str, parsed: TrashFolder, path: str, item: os.DirEntry[str]) -> bool:
        """Note one entry; True if it is a folder to be read."""
        try:
            found = item.stat(follow_symlinks=False)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._content.problems[path] = error.strerror or str(error)
            return False
        entry = disk_entry(found, self._tree.device)
        if entry.kind is Kind.FOLDER:
            return True
        if entry.kind is Kind.MOUNT or path in self._mounts:
            self._content.problems[path] = Kind.MOUNT.value
            return False
        blocks = -(-found.st_blocks * _BLOCK_BYTES // self._block_bytes)
        self._content.files.append(
            Trashed(
                folder=name,
                path=path[len(TRASH) + len(name) + 2 :],
                at_s=parsed.at_s or 0.0,
                released=parsed.released,
                kind=entry.kind,
                size=entry.size,
                mtime_ns=entry.mtime_ns,
                inode=entry.inode,
                links=found.st_nlink,
                disk_bytes=blocks * self._block_bytes,
            )
        )
        return False


def remove_trashed(tree: Tree, content: TrashContent, files: Iterable[Trashed]) -> TrashRemoved:
    """Remove files from the trash, and the folders there that are empty then.

    What is no longer what it was when it was looked at stays.

    Args:
        tree: whose trash it is.
        content: what ``read_trash`` gave.
        files: of these, the ones to remove.
    """
    removed = TrashRemoved()
    tree.forget_folders()
    for file in files:
        problem = _unlink(tree, file)
        if problem:
            removed.problems[file.disk_path] = problem
        else:
            removed.files.append(file)
    removed.freed_bytes = freed_bytes(removed.files)
    tree.forget_folders()
    remove_empty_folders(tree, content.folders, content.files, removed.files)
    return removed


def _unlink(tree: Tree, file: Trashed) -> str:
    """Remove one file; why that was not possible, if so. One that is gone is no problem."""
    try:
        folder_fd, name = tree.locate(file.disk_path)
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        if found.st_ino != file.inode:
            return "it is another file by now"
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def remove_empty_folders(
    tree: Tree, folders: Iterable[str], files: Sequence[Trashed], gone: Sequence[Trashed]
) -> None:
    """Remove the folders of a trash in which nothing is left.

    Args:
        tree: whose trash it is.
        folders: of the trash.
        files: that were in it.
        gone: those of them that no longer are.
    """
    removed = set(gone)
    in_use: set[str] = set()
    for file in files:
        folder = file.disk_path.rpartition("/")[0]
        if file not in removed:
            while folder and folder not in in_use:
                in_use.add(folder)
                folder = folder.rpartition("/")[0]
    for folder in sorted(set(folders) - in_use, reverse=True):
        with suppress(OSError):  # something has come into it, or it must not be removed
            parent_fd, name = tree.locate(folder)
            os.rmdir(name, dir_fd=parent_fd)
    tree.forget_folders()


def room_in_trash(tree: Tree, but: Container[str] = ()) -> int:
    """How many bytes ``make_room`` could give back.

    Raises:
        TreeError: the trash cannot be read.
    """
    return freed_bytes(file for file in _spare(read_trash(tree), but) if file.released)


def make_room(tree: Tree, bytes_needed: int, but: Container[str] = ()) -> int:
    """Give up the oldest files of old releases, as many as it takes; nothing in vain.

    Args:
        tree: whose trash it is.
        bytes_needed: on its file system. If all of them are not enough, none is removed.
        but: paths, relative to the tree, of files that stay: their content is needed.

    Returns:
        The bytes that the disk gave back.

    Raises:
        TreeError: the trash cannot be read.
    """
    content = read_trash(tree)
    given_up = plan_room(_spare(content, but), bytes_needed)
    return remove_trashed(tree, content, given_up).freed_bytes


def _spare(content: TrashContent, but: Container[str]) -> list[Trashed]:
    return [file for file in content.files if file.disk_path not in but]
