"""Remotes that are files of this machine: ``file:`` URLs (RFC 8089)."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from torsync.model.errors import ConfigError, RemoteUnreachableError
from torsync.subscribe.remote.body import too_large_error
from torsync.subscribe.remote.references import local_path
from torsync.subscribe.remote.rules import (
    RemoteMissingError,
    TransientError,
    mask_url,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def file_path(url: str) -> str:
    """Decide the path of a file URL, as ``local_path`` does.

    Raises:
        ConfigError: it names another host, or no absolute path.
    """
    path = local_path(url)
    if path is None:
        raise ConfigError(
            f"url {mask_url(url)}: expected a file URL with an absolute path on this machine",
            hint="a file URL looks like file:///folder/name.torrent",
        )
    return os.fsdecode(path)


def read_regular_file(path: str, shown_url: str, max_bytes: int) -> bytes:
    """Read a local ``.torrent`` that may be anything or be replaced meanwhile.

    Raises:
        TransientError: it changed while it was read.
        RemoteUnreachableError: it is missing, unreadable, or no regular file.
        RemoteInvalidError: it is larger than ``max_bytes``.
    """
    with explained(shown_url):
        file, before = open_regular(path, shown_url)
        with file:
            body = file.read(max_bytes + 1)
            after = os.fstat(file.fileno())
    if len(body) > max_bytes:
        raise too_large_error(shown_url, max_bytes)
    if not is_unchanged(before, after) or len(body) != after.st_size:
        raise TransientError(
            f"{shown_url}: expected a whole .torrent, found a file that changed while it was read",
            hint="write the .torrent under another name and rename it when it is complete",
        )
    return body


def open_regular(path: str, shown_url: str) -> tuple[BinaryIO, os.stat_result]:
    """Open a file that may be anything, without waiting for it.

    Returns:
        The file, and what it is.

    Raises:
        RemoteUnreachableError: it is no regular file.
        OSError: for ``explained``.
    """
    # Looked at before it is opened: opening a device or FIFO can have effects.
    _check_regular(os.stat(path), shown_url)
    # Not blocking, in case it has become a FIFO since.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    file = open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115 - returned
    try:
        status = os.fstat(file.fileno())
        _check_regular(status, shown_url)
    except BaseException:
        file.close()
        raise
    return file, status


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether an open file can have had the same content at both times."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@contextmanager
def explained(shown_url: str) -> Iterator[None]:
    """Turn the system's errors into ours.

    Raises:
        RemoteUnreachableError: the file is missing or unreadable.
    """
    try:
        yield
    except OSError as error:
        found = f"{shown_url}: expected a .torrent, found {error.strerror or 'a system error'}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise RemoteMissingError(found, hint="check the URL: there is no such file") from error
        hint = "check the file's permissions and its file system"
        raise RemoteUnreachableError(found, hint=hint) from error


def _check_regular(status: os.stat_result, shown_url: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is no regular file"
        raise RemoteUnreachableError(
            f"{shown_url}: expected a .torrent, found {found}",
            hint="check the URL: it has to name the file itself",
        )
