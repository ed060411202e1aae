"""Empty the page cache, so that what is read next comes from the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WHOLE = "drop_caches"
FILES = "posix_fadvise"

_DROP = Path("/proc/sys/vm/drop_caches")
_ALL = b"3"


def way_to_empty(*, may_be_whole: bool) -> str:
    """``drop_caches`` where this process may use it and shall, else ``posix_fadvise``."""
    return WHOLE if may_be_whole and os.access(_DROP, os.W_OK) else FILES


def empty_caches(roots: Iterable[Path], *, how: str) -> None:
    """Have nothing of these folders in memory.

    Args:
        roots: whose files are dropped.
        how: by ``drop_caches`` all of the machine's files are, with folders and inodes, and so are
            programs and libraries; by ``posix_fadvise`` the content of these folders alone.
    """
    os.sync()  # what has still to be written cannot be dropped
    if how == WHOLE:
        _DROP.write_bytes(_ALL)
        return
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                _drop(os.path.join(folder, name))


def _drop(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
