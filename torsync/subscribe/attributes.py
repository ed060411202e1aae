"""Modes and modification times: what a release asks for, and what the user's files keep."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.model.tree_index import DiskEntry, DiskIndex, Kind

if TYPE_CHECKING:
    from torsync.model.journal import Identity
    from torsync.model.known import Synced
    from torsync.model.manifest import FileEntry

_NANOSECONDS = 1_000_000_000


class Attributes:
    """The attributes that the files of a release have to have (BEP 47)."""

    def __init__(self, index: DiskIndex, synced: Synced) -> None:
        """Prepare.

        Args:
            index: the tree before the commit.
            synced: the release before this one, to tell executable bits that it set from
                those that the user set.
        """
        self._index = index
        self._synced = synced

    def are_right(self, file: FileEntry, entry: DiskEntry) -> bool:
        """Whether a file has what the release asks for."""
        right_time = file.mtime_s is None or entry.mtime_ns == file.mtime_s * _NANOSECONDS
        return right_time and self.wanted_mode(file, entry.mode) == entry.mode

    def set(self, fd: int, file: FileEntry) -> None:
        """Give a file its mode and time; the other mode bits are those of what it replaces."""
        set_attributes(fd, self.mode_in_place(file, mode_of(fd)), file.mtime_s)

    def mode_in_place(self, file: FileEntry, mode: int) -> int:
        """The mode of a file that is to be put at its path, and has ``mode`` now."""
        entry = self._index.entries.get(file.path)
        replaced = entry.mode if entry is not None and entry.kind is Kind.FILE else mode
        return self.wanted_mode(file, replaced)

    def wanted_mode(self, file: FileEntry, mode: int) -> int:
        """What a file's mode has to become: the bits of the release in those of the user."""
        if file.executable:
            return mode | ((mode & 0o444) >> 2)
        may_lose = mode & 0o111 and self._was_executable(file.path)
        return mode & ~0o111 if may_lose else mode

    def _was_executable(self, path: str) -> bool:
        synced = self._synced.manifest
        if synced is None:
            return False
        index = synced.by_path.get(path)
        return index is not None and synced.files[index].executable


def mode_of(fd: int) -> int:
    """The permission bits of an open file."""
    return os.fstat(fd).st_mode & 0o7777


def set_attributes(fd: int, mode: int, mtime_s: int | None) -> None:
    """Give an open file a mode, unless that is -1, and a time (Unix seconds), unless it is None."""
    if mode not in {-1, mode_of(fd)}:
        os.fchmod(fd, mode)
    if mtime_s is not None:
        os.utime(fd, ns=(mtime_s * _NANOSECONDS,) * 2)


def identity_of(status: os.stat_result) -> Identity:
    """How a file is recognised."""
    return status.st_size, status.st_mtime_ns, status.st_ino
