"""Ask a tree's file system for its room: what is free, in which blocks, and whether it clones."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from torsync.disk.copying import FICLONE
from torsync.disk.tree import FOLDER_FLAGS, Tree, doing
from torsync.model.names import PRIVATE_FOLDER
from torsync.model.placement import Place
from torsync.model.space import Room, Staged
from torsync.subscribe.cloning import UNFINISHED
from torsync.subscribe.stage import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_OF_STAT = 512
_ANY_BLOCK = 4096
UNTOLD_BYTES = 2**60
"""Stands for the size of a file system that does not tell it, as some in FUSE and ramfs."""
_PLACES = {"": Place.STAGE, "scratch": Place.SCRATCH}


def measure_room(tree: Tree, info_hash: str, *, reflinks: bool) -> Room:
    """Measure how much room the stage of a release has; nothing is changed.

    Args:
        tree: that the stage is in; its folder need not be there.
        info_hash: of the release.
        reflinks: see ``has_reflinks``.

    Raises:
        TreeError: the file system or the stage cannot be asked.
    """
    found = _statvfs(tree.root)
    staged, cleared = _leftovers(tree, info_hash)
    return Room(found.f_frsize or _ANY_BLOCK, _free_bytes(found) + cleared, reflinks, staged)


def free_bytes(folder: Path) -> int:
    """How much may be written to the file system that a folder is on, or will be made on.

    Raises:
        TreeError: it cannot be asked.
    """
    return _free_bytes(_statvfs(folder))


def total_bytes(tree: Tree) -> int:
    """How large the file system of a tree is.

    Raises:
        TreeError: it cannot be asked.
    """
    with doing("ask for the size of", str(tree.root)):
        found = os.fstatvfs(tree.folder_fd(""))
    return found.f_blocks * found.f_frsize or UNTOLD_BYTES


def _free_bytes(found: os.statvfs_result) -> int:
    return found.f_bavail * found.f_frsize if found.f_blocks else UNTOLD_BYTES


def _statvfs(folder: Path) -> os.statvfs_result:
    with doing("ask for the free space of", str(folder)):
        for there in (folder, *folder.parents):
            with suppress(FileNotFoundError, NotADirectoryError):
                return os.statvfs(there)
        return os.statvfs(folder)


def has_reflinks(tree: Tree) -> bool:
    """Whether a clone of a file shares its blocks: tried with two files that have no names.

    False also where that cannot be tried.
    """
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is None:
        return False
    with ExitStack() as opened, suppress(OSError):
        folder_fd = _own_folder(tree)
        fds = []
        for _ in range(2):
            fds.append(os.open(".", unnamed | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder_fd))
            opened.callback(os.close, fds[-1])
        os.pwrite(fds[0], bytes(4096), 0)
        fcntl.ioctl(fds[1], FICLONE, fds[0])
        return True
    return False


def _own_folder(tree: Tree) -> int:
    try:
        return tree.folder_fd(PRIVATE_FOLDER)
    except FileNotFoundError:
        return tree.folder_fd("")


def _leftovers(tree: Tree, info_hash: str) -> tuple[dict[Staged, int], int]:
    """What is staged of a release, and how many bytes of other things are cleared away first."""
    staged: dict[Staged, int] = {}
    cleared = 0
    with doing("read", STAGES), suppress(FileNotFoundError):
        for stage in os.listdir(tree.folder_fd(STAGES)):
            found = dict(_files_in(tree.folder_fd(STAGES), stage))
            for name, taken in found.items():
                number, _, suffix = name.partition(".")
                place = _PLACES.get(suffix)
                is_ours = stage == info_hash and number.isdecimal()
                if is_ours and place is not None and name + UNFINISHED not in found:
                    staged[Staged(int(number), place)] = taken
                else:
                    cleared += taken
    return staged, cleared


def _files_in(parent_fd: int, folder: str) -> Iterator[tuple[str, int]]:
    """The files in a folder that have no other name, by name, with the bytes that they take."""
    try:
        fd = os.open(folder, FOLDER_FLAGS, dir_fd=parent_fd)
    except OSError:  # no folder
        return
    try:
        with os.scandir(fd) as found:
            for item in found:
                status = item.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                    yield item.name, status.st_blocks * _BLOCK_OF_STAT
    finally:
        os.close(fd)
