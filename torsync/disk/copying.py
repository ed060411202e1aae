"""Copy content between open files: by reflink where the file system can, else in the kernel."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torsync.disk.tree import Tree

FICLONE = 0x40049409
_COPY_BYTES = 16 * 1024**2
_COMPARE_BYTES = 4 * 1024**2
_BUFFER_BYTES = 256 * 1024
_PAGE_BYTES = 4096
_OPEN_FILES = 16
_NO_REFLINK = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}


def share_blocks(source: int, target: int) -> bool:
    """Make an empty file a reflink of another; False where the file system has none."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        return False
    return True


def copy_runs(
    source: int,
    target: int,
    runs: Iterable[tuple[int, int]],
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> None:
    """Copy so many bytes at some offsets to where they are in the other file, in the kernel.

    What is behind the end of the source is left as it is.
    """
    for offset, length in runs:
        done = 0
        while done < length:
            if stopping():
                raise InterruptedByUserError("stopped while copying")
            count = _copy_some(source, target, min(_COPY_BYTES, length - done), offset + done)
            if not count:
                break
            done += count
            on_bytes(count)


def _copy_some(
    source: int, target: int, count: int, offset: int, target_offset: int | None = None
) -> int:
    to = offset if target_offset is None else target_offset
    try:
        return os.copy_file_range(source, target, count, offset, to)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
    return os.pwrite(target, os.pread(source, count, offset), to)


class RunCopier:
    """Copies between offsets of open files; it has one buffer, and is used by one thread."""

    def __init__(self) -> None:
        self._buffer = memoryview(b"")

    def copy(self, source: int | None, target: int, run: tuple[int, int, int]) -> None:
        """Copy so many bytes from one offset to another; zeros if there is no source.

        It ends where the source does, which may have become shorter.
        """
        offset, target_offset, length = run
        done = 0
        while done < length:
            places = offset + done, target_offset + done
            if source is None:
                count = os.pwrite(target, bytes(min(_BUFFER_BYTES, length - done)), places[1])
            elif (offset - target_offset) % _PAGE_BYTES:
                # Pages do not fit one another: the kernel takes twice as long as this.
                count = self._copy_some(source, target, length - done, *places)
            else:
                count = _copy_some(source, target, length - done, *places)
            if not count:
                break
            done += count

    def _copy_some(
        self, source: int, target: int, length: int, offset: int, target_offset: int
    ) -> int:
        if not self._buffer:
            self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        found = os.preadv(source, [self._buffer[:length]], offset)
        written = 0
        while written < found:
            written += os.pwrite(target, self._buffer[written:found], target_offset + written)
        return found


class OpenFiles:
    """Files that are open for now, the last few of them; ``seen`` are all that were."""

    def __init__(self, tree: Tree, flags: int = os.O_RDONLY) -> None:
        self._tree = tree
        self._flags = flags
        self._open: dict[str, int] = {}
        self.seen: set[str] = set()

    def get(self, path: str) -> int:
        """Give the descriptor of a file, which stays this object's."""
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            fd = self._open[path] = self._tree.open(path, self._flags)
            self.seen.add(path)
        return fd

    def close(self) -> None:
        """Close all."""
        while self._open:
            os.close(self._open.popitem()[1])


def same_content(one: int, other: int, start: int, length: int) -> bool:
    """Whether two open files have the same bytes there."""
    for offset in range(start, start + length, _COMPARE_BYTES):
        count = min(_COMPARE_BYTES, start + length - offset)
        if os.pread(one, count, offset) != os.pread(other, count, offset):
            return False
    return True
