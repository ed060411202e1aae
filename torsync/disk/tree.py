"""A tree on disk, reached through folder descriptors so that no link leads out of it.

Every path is relative to the tree. Each folder on the way is opened without following
links, and operations name only the last component (``openat`` and its kin), so a folder
that is swapped for a link while torsync works makes the operation fail instead of going
astray.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections import OrderedDict
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from torsync.disk.scan import NO_ROWS, disk_entry, mounts_in, scan_tree
from torsync.disk.syscalls import sync_file_system
from torsync.model.errors import BusyError, DiskFullError, TreeError
from torsync.model.names import PRIVATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.tree_index import DiskEntry, DiskIndex, LedgerRow

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = getattr(os, "O_TMPFILE", os.O_DIRECTORY) | os.O_RDWR | os.O_CLOEXEC
_OPEN_FOLDERS = 64
_UNKNOWN_CLOCK_NS = 2_000_000_000  # the coarsest time stamps that file systems have: FAT's
LOOK_AGAIN_S = 0.02  # so old may be the knowledge of where an open folder is
_TICK_PATIENCE_S = 0.05
_TICK_POLL_S = 0.0005

_NO_LOCK = {
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC),
    *(errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP),
}
_HINTS = {
    errno.EACCES: "give the user that torsync runs as the permission to read and write there",
    errno.EPERM: "give the user that torsync runs as the permission to read and write there",
    errno.EROFS: "the file system is mounted read-only; mount it writable",
    errno.ENAMETOOLONG: "the file system does not hold names this long",
    errno.EIO: "the disk reports errors; check it before anything else",
}


def tree_error(error: OSError, path: str, doing: str) -> TreeError:
    """Turn an operating system's error into one that names the path and what to do."""
    message = f"could not {doing} {path!r}: {os.strerror(error.errno or errno.EIO)}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(
            message, path=path, hint="make room on the file system; nothing was lost"
        )
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return TreeError(
            f"could not {doing} {path!r}: a folder on the way is a link or a file",
            path=path,
            hint="links are never followed inside a tree; replace it by a real folder",
        )
    return TreeError(message, path=path, hint=_HINTS.get(error.errno or 0, ""))


@contextmanager
def doing(action: str, path: str) -> Iterator[None]:
    """Name ``path`` and ``action`` in whatever the operating system refuses.

    Raises:
        TreeError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        raise tree_error(error, path, action) from error


class Tree:
    """An open tree. One thread uses it; only ``open`` and ``sync`` may be called from several."""

    def __init__(
        self, root: Path, *, clock_ns: Callable[[], int] | None = None, root_fd: int = -1
    ) -> None:
        """Open the folder ``root``, whatever links lead to it.

        Args:
            root: of the tree.
            clock_ns: instead of the file system's own clock, for tests.
            root_fd: a descriptor of the folder, which becomes the tree's, if it is open already.

        Raises:
            TreeError: it is not there, no folder, or may not be read.
        """
        self.root = root
        self._clock_ns = clock_ns or self._probe_clock_ns
        self._lock_fd = self._unnamed_fd = -1
        self._open_root(root_fd)
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._seen_s: dict[str, float] = {}  # when each of them was last known to be at its path
        self._pinned = ""  # a folder that must stay open for now
        self._opening = threading.Lock()

    def _open_root(self, root_fd: int = -1) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with doing("open", str(self.root)):
            self._root_fd = root_fd if root_fd >= 0 else os.open(self.root, flags)
            with _closed_on_failure(self._root_fd):
                self.device = os.fstat(self._root_fd).st_dev

    def close(self) -> None:
        """Give back all descriptors, and the lock."""
        self.forget_folders()
        for descriptor in (self._lock_fd, self._unnamed_fd):
            if descriptor >= 0:
                _close(descriptor)
        self._lock_fd = self._unnamed_fd = -1
        if self._root_fd >= 0:
            _close(self._root_fd)
            self._root_fd = -1

    def forget_folders(self) -> None:
        """Close remembered folders: after folders were removed or moved, or to look anew."""
        self._seen_s.clear()
        while self._folders:
            _close(self._folders.popitem()[1])

    def folder_fd(self, folder: str, *, create: bool = False) -> int:
        """Open a folder ("" is the tree itself); the descriptor stays the tree's.

        It is good until the next folder is opened: the oldest are then closed. Others may move a
        folder, out of the tree too: what is open is looked for at its path again after
        ``LOOK_AGAIN_S``.

        Raises:
            OSError: it is not there, or a component is a link or no folder.
        """
        now_s = time.monotonic()
        seen_s = self._seen_s.get(folder)
        if seen_s is not None and now_s - seen_s >= LOOK_AGAIN_S and folder != self._pinned:
            self._forget_moved(folder, now_s)
        missing: list[str] = []
        at = folder
        while at and at not in self._folders:
            missing.append(at)
            at = at.rpartition("/")[0]
        fd = self._folders[at] if at else self._root_fd
        if at:
            self._folders.move_to_end(at)
        while missing:
            fd = self._open_folder(fd, missing.pop(), create=create)
        return fd

    def _forget_moved(self, folder: str, now_s: float) -> None:
        """Close the first folder on the way that is no more at its path, and all in it."""
        above_fd, at = self._root_fd, ""
        with ExitStack() as opened:  # those that were closed since
            for name in folder.split("/"):
                at = f"{at}/{name}" if at else name
                fd = self._folders.get(at)
                if fd is None:
                    try:
                        fd = os.open(name, FOLDER_FLAGS, dir_fd=above_fd)
                    except OSError:
                        break
                    opened.callback(_close, fd)
                elif _is_at(fd, name, above_fd):
                    self._seen_s[at] = now_s
                else:
                    break
                above_fd = fd
            else:
                return
        for known in [known for known in self._folders if f"{known}/".startswith(f"{at}/")]:
            if known == self._pinned:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), known)
            _close(self._folders.pop(known))
            del self._seen_s[known]

    def _open_folder(self, parent_fd: int, folder: str, *, create: bool) -> int:
        name = folder.rpartition("/")[2]
        try:
            fd = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent_fd)
            fd = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
        self._folders[folder] = fd
        self._seen_s[folder] = time.monotonic()
        if len(self._folders) > _OPEN_FOLDERS:
            oldest = next(known for known in self._folders if known != self._pinned)
            _close(self._folders.pop(oldest))
            del self._seen_s[oldest]
        return fd

    def locate(self, path: str, *, create: bool = False) -> tuple[int, str]:
        """Give the descriptor of the folder that ``path`` lies in, and its last component."""
        folder, _, name = path.rpartition("/")
        return self.folder_fd(folder, create=create), name

    def locate_both(
        self, source: str, target: str, *, create: bool = False
    ) -> tuple[tuple[int, str], tuple[int, str]]:
        """``locate`` two paths, of which the first stays open while the second is opened.

        Args:
            source: the first.
            target: the second.
            create: make the folders of ``target``.
        """
        found = self.locate(source)
        self._pinned = source.rpartition("/")[0]
        try:
            return found, self.locate(target, create=create)
        finally:
            self._pinned = ""

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        """Open a regular file and give its descriptor; never a link, a FIFO or a device.

        Raises:
            OSError: as ``open``; ELOOP for a link, EINVAL for another kind of file.
        """
        guarded = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._opening:
            folder_fd, name = self.locate(path)
            fd = os.open(name, guarded, mode, dir_fd=folder_fd)
        with _closed_on_failure(fd):
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
        return fd

    def stat(self, path: str) -> DiskEntry | None:
        """Look at one entry without following links; None if it is not there.

        Raises:
            OSError: it could not be looked at.
        """
        try:
            folder_fd, name = self.locate(path)
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        target = ""
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(name, dir_fd=folder_fd)
        return disk_entry(found, self.device, target)

    def scan(
        self,
        on_entries: Callable[[int], None] = lambda _count: None,
        *,
        like: Mapping[str, LedgerRow] = NO_ROWS,
        leave_out: Callable[[str], bool] | None = None,
    ) -> DiskIndex:
        """Look at everything in the tree but ``.torsync``, by stat alone; see ``scan_tree``."""
        clock_ns = self.clock_ns()
        mounts = mounts_in(self.root)
        return scan_tree(self.folder_fd, self.device, clock_ns, mounts, like, on_entries, leave_out)

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return self._root_fd >= 0

    def is_current(self) -> bool:
        """Whether the folder that is open is still the one at its path."""
        try:
            return os.path.samestat(os.fstat(self._root_fd), os.stat(self.root))
        except OSError:
            return False

    def twin(self) -> Tree:
        """Give the same open folder for another thread, which is to close it.

        Raises:
            TreeError: too many files are open.
        """
        with doing("open", str(self.root)):
            return Tree(self.root, clock_ns=self._clock_ns, root_fd=os.dup(self._root_fd))

    def reopen(self) -> None:
        """Open what is at the path now.

        Raises:
            TreeError: it is not there, no folder, or may not be read.
            BusyError: another process works on it.
        """
        self.close()
        self._open_root()

    def hold(self) -> None:
        """Be the only one who works on this tree, whatever state directory others use.

        A tree that cannot be written needs no lock; some network file systems have none to give.

        Raises:
            BusyError: another process works on it.
            TreeError: ``.torsync`` is no folder.
        """
        try:
            folder_fd = self.folder_fd(PRIVATE_FOLDER, create=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._lock_fd = os.open("lock", flags, 0o600, dir_fd=folder_fd)
            if not _is_own_file(self._lock_fd):  # it gets touched, to see what time it is
                os.close(self._lock_fd)
                os.unlink("lock", dir_fd=folder_fd)
                self._lock_fd = os.open("lock", flags | os.O_EXCL, 0o600, dir_fd=folder_fd)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"the folder {str(self.root)!r} is in use by another process, which has another "
                "state directory",
                hint="let one torsync take care of it",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCK:
                raise tree_error(error, f"{PRIVATE_FOLDER}/lock", "open") from error

    def keep_time(self) -> None:
        """Have an exact ``clock_ns`` without a lock: by a file without a name, where one can be."""
        if self._unnamed_fd < 0:
            with suppress(OSError):
                self._unnamed_fd = os.open(".", _UNNAMED, 0o600, dir_fd=self._root_fd)

    def clock_ns(self) -> int:
        """What the file system's clock says, as coarse as its time stamps are.

        A file that is touched from now on does not get an earlier ctime.
        """
        return self._clock_ns()

    def wait_for_tick(self) -> int:
        """Wait until the clock has moved on; what is touched from then on gets a new ctime.

        Files that were changed before the call, and are looked at after it, have an earlier
        ctime than the clock it gives. It waits for at most 50 ms: where the clock is coarser,
        it gives the old one.
        """
        first = now = self.clock_ns()
        ends = time.monotonic() + _TICK_PATIENCE_S
        while now <= first and time.monotonic() < ends:
            time.sleep(_TICK_POLL_S)
            now = self.clock_ns()
        return now

    def _probe_clock_ns(self) -> int:
        """Touch the lock, or a file without a name, and see what time that gives it."""
        probe_fd = self._lock_fd if self._lock_fd >= 0 else self._unnamed_fd
        try:
            os.utime(probe_fd)
            touched = os.fstat(probe_fd)
        except (OSError, OverflowError):  # not held, or it cannot be written
            return time.time_ns() - _UNKNOWN_CLOCK_NS
        return min(touched.st_mtime_ns, touched.st_ctime_ns or touched.st_mtime_ns)

    def sync(self) -> None:
        """Have the file system write everything to the disk (``syncfs``, else ``sync``).

        Raises:
            TreeError: the disk did not take something that was written.
        """
        with doing("write to the disk what is in", str(self.root)):
            sync_file_system(self._root_fd)


def _close(fd: int) -> None:
    """Close what nothing was written through: that its file system is gone does not matter."""
    with suppress(OSError):
        os.close(fd)


def _is_own_file(fd: int) -> bool:
    found = os.fstat(fd)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _is_at(fd: int, name: str, above_fd: int) -> bool:
    """Whether an open folder is what has a name in another one."""
    try:
        found = os.stat(name, dir_fd=above_fd, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(fd))


@contextmanager
def _closed_on_failure(fd: int) -> Iterator[None]:
    try:
        yield
    except OSError:
        _close(fd)
        raise
