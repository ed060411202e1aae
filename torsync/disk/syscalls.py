"""What the kernel can do for a commit, and Python has no function for."""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_NOT_KNOWN = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def sync_file_system(fd: int) -> None:
    """Have the disk take everything that was written to the file system of ``fd``.

    ``syncfs`` where there is one, else ``sync``, which waits for all file systems.

    Raises:
        OSError: the disk did not take something.
    """
    syncfs = getattr(_libc(), "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(fd) != 0:
        raise _error()


def exchange(source: str, target: str, source_fd: int, target_fd: int) -> bool:
    """Let two paths change places, in one step (``renameat2`` with ``RENAME_EXCHANGE``).

    Args:
        source: a name in the folder ``source_fd``.
        target: a name in the folder ``target_fd``.
        source_fd: the descriptor of a folder.
        target_fd: the same, of the same file system.

    Returns:
        False where kernel or file system cannot do it: nothing has changed.

    Raises:
        OSError: it failed for another reason.
    """
    return renameat2(source, target, source_fd, target_fd, _RENAME_EXCHANGE)


def rename_new(source: str, target: str, source_fd: int, target_fd: int) -> bool:
    """Rename to a path at which nothing is (``renameat2`` with ``RENAME_NOREPLACE``).

    Args, Returns: as ``exchange``.

    Raises:
        FileExistsError: something is there.
        OSError: it failed for another reason.
    """
    return renameat2(source, target, source_fd, target_fd, _RENAME_NOREPLACE)


def renameat2(source: str, target: str, source_fd: int, target_fd: int, flags: int) -> bool:
    """Rename as ``flags`` say (renameat2(2)); see ``exchange``."""
    function = getattr(_libc(), "renameat2", None)
    if function is None:
        return False
    if function(source_fd, os.fsencode(source), target_fd, os.fsencode(target), flags) == 0:
        return True
    error = _error()
    if error.errno in _NOT_KNOWN:
        return False
    raise error


@cache
def _libc() -> ctypes.CDLL:
    import ctypes  # noqa: PLC0415 - costs start-up time, and only a commit needs it

    return ctypes.CDLL(None, use_errno=True)


def _error() -> OSError:
    import ctypes  # noqa: PLC0415 - costs start-up time

    number: Any = ctypes.get_errno()
    return OSError(number, os.strerror(number))
