"""What stat says of a file that tells whether it was touched since."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os


class FileStamp(NamedTuple):
    """A file is taken to be what it was as long as all of these are what they were."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp_of(status: os.stat_result) -> FileStamp:
    """Take the stamp out of what stat gave."""
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
