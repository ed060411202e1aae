"""Free libtorrent's threads that wait in ``open`` for a FIFO somebody put in the place of a file.

It opens files by name, without ``O_NONBLOCK``: such a thread waits until somebody writes, and
neither a torrent nor a session ends before its threads do.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FLAGS = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def free_openers(folder: str, paths: Iterable[str]) -> None:
    """Be a writer for a moment of each FIFO: who waits for one goes on, and reads nothing.

    Args:
        folder: that relative ``paths`` start at.
        paths: where files should be.
    """
    for path in paths:
        at = os.path.join(folder, path)
        with suppress(OSError):
            if stat.S_ISFIFO(os.lstat(at).st_mode):
                os.close(os.open(at, _FLAGS | os.O_CLOEXEC))
