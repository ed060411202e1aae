"""What is on disk in a tree, found by stat alone."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.names import is_private
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.model.tree_index import LedgerRow

NO_ROWS: Mapping[str, LedgerRow] = {}
_MOUNT_ESCAPE = re.compile(rb"\\([0-7]{3})")  # proc(5): space, tab, newline and backslash
_MODES = tuple(range(0o10000))  # one object each: 100,000 files are of a few modes


def scan_tree(
    open_folder: Callable[[str], int],
    device: int,
    clock_ns: int,
    mounts: set[str],
    like: Mapping[str, LedgerRow],
    on_entries: Callable[[int], None],
    leave_out: Callable[[str], bool] | None = None,
) -> DiskIndex:
    """Look at everything in a tree but ``.torsync``.

    Args:
        open_folder: gives a descriptor of a folder ("" is the tree itself).
        device: of the tree.
        clock_ns: what the file system's clock said before.
        mounts: the mount points in the tree; they are not looked into.
        like: what files may look like, by path; those that do take little memory of their own.
        on_entries: called once per folder with the number of entries found so far.
        leave_out: whether to leave a path out, which ends in a slash if it is a folder's; such a
            folder is not looked into.
    """
    scan = _Scan(open_folder, device, like, leave_out)
    pending = [""]
    while pending:
        folder = pending.pop()
        if folder in mounts:
            scan.entries[folder] = scan.entries[folder]._replace(kind=Kind.MOUNT)
            continue
        try:
            scan.look_into(folder, pending)
        except OSError as error:
            scan.problems[folder] = os.strerror(error.errno or errno.EIO)
        on_entries(len(scan.entries))
    for path in mounts & scan.entries.keys():
        scan.entries[path] = scan.entries[path]._replace(kind=Kind.MOUNT)
    return DiskIndex(scan.entries, scan.problems, clock_ns)


class _Scan:
    def __init__(
        self,
        open_folder: Callable[[str], int],
        device: int,
        like: Mapping[str, LedgerRow],
        leave_out: Callable[[str], bool] | None,
    ) -> None:
        self._open_folder = open_folder
        self._device = device
        self._like = like
        self._leave_out = leave_out
        self._names = {path: path for path in like}
        self.entries: dict[str, DiskEntry] = {}
        self.problems: dict[str, str] = {}

    def look_into(self, folder: str, pending: list[str]) -> None:
        """Look at what is in one folder; the folders in it are added to ``pending``."""
        prefix = f"{folder}/" if folder else ""
        device, like, names, entries = self._device, self._like, self._names, self.entries
        make, is_file, modes = tuple.__new__, stat.S_ISREG, _MODES  # of each file in turn
        leave_out = self._leave_out
        with os.scandir(self._open_folder(folder)) as found:
            for item in found:
                name = item.name
                if not folder and is_private(name):
                    continue
                path = prefix + name
                path = names.get(path, path)
                try:
                    status = item.stat(follow_symlinks=False)
                    mode = status.st_mode
                    if is_file(mode):
                        if leave_out is not None and leave_out(path):
                            continue
                        seen = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
                        row = like.get(path)
                        if row is not None and row[:4] == seen:
                            seen = row[:4]
                        permissions = modes[mode & 0o7777]
                        entries[path] = make(DiskEntry, (Kind.FILE, *seen, permissions, ""))
                        continue
                    target = ""
                    if stat.S_ISLNK(status.st_mode):
                        target = os.readlink(name, dir_fd=self._open_folder(folder))
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self.problems[path] = os.strerror(error.errno or errno.EIO)
                    continue
                entry = disk_entry(status, device, target)
                is_folder = stat.S_ISDIR(status.st_mode)
                if leave_out is not None and leave_out(f"{path}/" if is_folder else path):
                    continue
                entries[path] = entry
                if entry.kind is Kind.FOLDER:
                    pending.append(path)


def mounts_in(root: Path) -> set[str]:
    """The mount points inside a folder, relative to it; bind mounts have the same device."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    prefix = os.fsencode(os.path.realpath(root)).rstrip(b"/") + b"/"
    points = (_MOUNT_ESCAPE.sub(_unescape, line.split(b" ")[4]) for line in lines)
    return {os.fsdecode(point[len(prefix) :]) for point in points if point.startswith(prefix)}


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def disk_entry(found: os.stat_result, device: int, link_target: str = "") -> DiskEntry:
    """Turn a stat result into a value; ``device`` is that of the tree."""
    mode = found.st_mode
    return DiskEntry(
        Kind.FILE if stat.S_ISREG(mode) else _kind(found, device),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        _MODES[stat.S_IMODE(mode)],
        link_target,
    )


def _kind(found: os.stat_result, device: int) -> Kind:
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        return Kind.FOLDER if found.st_dev == device else Kind.MOUNT
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER
