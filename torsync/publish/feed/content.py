"""A published file, open for reading: only as long as it is what was published."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import ExitStack
from hashlib import blake2b
from typing import TYPE_CHECKING

from torsync.disk.stamps import stamp_of
from torsync.disk.tree import FOLDER_FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.publish.feed.catalogue import PublishedFile
    from torsync.publish.feed.request import Span

CHUNK_BYTES = 256 * 1024
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_ABOUT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}


class EditedError(Exception):
    """The file is not what was published: edited, replaced, gone, or not readable."""


class _OpenFile:
    """``read`` and ``close`` may be called from different threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._closing = threading.Lock()

    def read(self, span: Span, most_bytes: int = CHUNK_BYTES) -> bytes:
        """Read at most so many bytes of what is asked for.

        Raises:
            EditedError: it is not what it was, or cannot be read.
        """
        with self._closing:
            try:
                data = os.pread(self._fd, min(span.end - span.start, most_bytes), span.start)
            except OSError as error:
                raise _edited_or(error) from error
            self._check()
        if not data:
            raise EditedError
        return data

    def close(self) -> None:
        """Close it, once a read that goes on is done."""
        with self._closing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _check(self) -> None:
        """See that it is still what it was; raises ``EditedError``."""


class Content(_OpenFile):
    """An open file of a release; stat vouches for what was read, after each reading."""

    def __init__(self, file: PublishedFile) -> None:
        """Open it through the folders on the way, none of which may be a link.

        The way is walked anew for each file: a folder that was moved away since the release
        is not found by a descriptor that somebody kept.

        Raises:
            EditedError: it is not what was published.
            OSError: the system has no room for another open file.
        """
        self._stamp = file.stamp
        try:
            super().__init__(_open(file))
        except OSError as error:
            raise _edited_or(error) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or stamp_of(status) != self._stamp:
            raise EditedError


class HintsContent(_OpenFile):
    """An open hints file: one that is replaced meanwhile is read to its end.

    Attributes:
        size_bytes: of it.
        etag: strong; another one for another file.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            EditedError: it is not there, or cannot be read.
            OSError: the system has no room for another open file.
        """
        try:
            super().__init__(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            raise _edited_or(error) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise EditedError
        self.size_bytes = status.st_size
        identity = repr(tuple(stamp_of(status))).encode()
        self.etag = f'"{blake2b(identity, digest_size=16).hexdigest()}"'


def _open(file: PublishedFile) -> int:
    *folders, name = file.path.split("/")
    # Links that lead to the root are the publisher's own.
    folder_fd = os.open(file.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner_fd = os.open(folder, FOLDER_FLAGS, dir_fd=folder_fd)
            os.close(folder_fd)
            folder_fd = inner_fd
        return os.open(name, _FILE_FLAGS, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)


def _edited_or(error: OSError) -> Exception:
    """What the system refuses is about the file, unless it is about everything."""
    return (
        error if error.errno in _NOT_ABOUT_THE_FILE else EditedError(os.strerror(error.errno or 0))
    )


def read_first(
    file: PublishedFile, span: Span, most_bytes: int = CHUNK_BYTES
) -> tuple[bytes, Content | None]:
    """Open a published file and read the first chunk of what is asked for.

    Args:
        file: to open.
        span: what is asked for.
        most_bytes: of the chunk.

    Returns:
        The chunk; and the open file, if there is more to read.

    Raises:
        EditedError: it is not what was published.
        OSError: the system has no room for another open file.
    """
    content = Content(file)
    with ExitStack() as opened:
        opened.callback(content.close)
        data = content.read(span, most_bytes) if span.start < span.end else b""
        if len(data) == span.end - span.start:
            return data, None
        opened.pop_all()
    return data, content
