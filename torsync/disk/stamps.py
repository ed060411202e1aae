"""What stat says of a file that tells whether it is still the same content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

    from torsync.model.tree_index import DiskEntry


class FileStamp(NamedTuple):
    """A regular file as it was at one moment; times in nanoseconds since 1970.

    It is equal to the tuple that ``hashing.kernel`` gives for a file.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp_of(found: os.stat_result) -> FileStamp:
    """Give the stamp of what stat saw."""
    return FileStamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def stamp_of_entry(entry: DiskEntry) -> FileStamp:
    """Give the stamp of what a scan saw."""
    return FileStamp(*entry[1:5])
