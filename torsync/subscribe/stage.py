"""The stage: where changed files are built, out of sight of readers.

It is a folder under ``TREE/.torsync``, so that finished files reach their place by renaming.
Staged files are named by their number in the manifest: no name from a torrent is used here.
What an interrupted update left is used by the next one if it is for the same release.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import stat
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, TreeError
from torsync.model.names import PRIVATE_FOLDER
from torsync.model.placement import Place, Placement, matched_runs
from torsync.subscribe.scan import disk_entry
from torsync.subscribe.tree import FOLDER_FLAGS, Tree, doing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torsync.model.plan import Plan
    from torsync.model.tree_index import DiskEntry

STAGES = f"{PRIVATE_FOLDER}/stage"
FICLONE = 0x40049409
_COPY_BYTES = 16 * 1024**2
_COMPARE_BYTES = 4 * 1024**2
_OPEN_FILES = 16
_NO_REFLINK = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}


def staged_path(stage: str, index: int) -> str:
    """Where a file of a release is staged; ``stage`` is the release's info-hash."""
    return f"{STAGES}/{stage}/{index}"


@dataclass(frozen=True)
class StagedRecord:
    """What an update that was stopped in order had in its stage.

    Attributes:
        info_hash: of the release it was for.
        have: one byte per piece, 1 where its content is right under that update's placement.
        files: name in the stage → size, mtime_ns, inode, as they were then.
    """

    info_hash: str
    have: bytes
    files: dict[str, tuple[int, int, int]]

    def dump(self) -> str:
        """Turn it into text."""
        packed = base64.b64encode(zlib.compress(self.have)).decode()
        return json.dumps({"info_hash": self.info_hash, "have": packed, "files": self.files})

    @staticmethod
    def load(text: str) -> StagedRecord | None:
        """Read what ``dump`` gave; None for the empty text."""
        if not text:
            return None
        raw = json.loads(text)
        files = {name: (seen[0], seen[1], seen[2]) for name, seen in raw["files"].items()}
        return StagedRecord(raw["info_hash"], zlib.decompress(base64.b64decode(raw["have"])), files)


class Stage:
    """The stage of one release in one tree."""

    def __init__(self, tree: Tree, info_hash: str) -> None:
        self.info_hash = info_hash
        self.folder = f"{STAGES}/{info_hash}"
        self._tree = tree

    def path(self, index: int, place: Place) -> str:
        """Where a file is staged, relative to the tree."""
        suffix = ".scratch" if place is Place.SCRATCH else ""
        return staged_path(self.info_hash, index) + suffix

    def open_for(self, placement: Placement) -> Callable[[int], int]:
        """Give a function that opens a file of the manifest for reading, at its place."""

        def opener(index: int) -> int:
            place = placement.places[index]
            if place is Place.TREE:
                return self._tree.open(placement.path(index))
            return self._tree.open(self.path(index, place))

        return opener

    def prepare(self) -> None:
        """Make the stage, and remove those of other releases.

        Raises:
            TreeError: the tree cannot be written.
        """
        with doing("prepare", self.folder):
            stages = self._tree.folder_fd(STAGES, create=True)
            if self.info_hash in os.listdir(stages):
                mode = os.stat(self.info_hash, dir_fd=stages, follow_symlinks=False).st_mode
                self._remove_all(but=self.info_hash if stat.S_ISDIR(mode) else "")
            else:
                self._remove_all()
            self._tree.folder_fd(self.folder, create=True)

    def leftovers(self) -> dict[str, DiskEntry]:
        """What an earlier update left for this release, by name.

        Unfinished clones are removed, and whatever is no file of this stage's own: libtorrent
        opens staged files by name, and would write through a link to anywhere.

        Raises:
            TreeError: the stage cannot be read.
        """
        found: dict[str, DiskEntry] = {}
        with doing("read", self.folder):
            folder = self._tree.folder_fd(self.folder)
            for name in os.listdir(folder):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                if own and not name.endswith(".part"):
                    found[name] = disk_entry(status, self._tree.device)
                else:
                    _remove(folder, name)
        return found

    def record(self, have: bytes) -> StagedRecord:
        """Note what is staged, for the next start."""
        files = {
            name: (entry.size, entry.mtime_ns, entry.inode)
            for name, entry in self.leftovers().items()
        }
        return StagedRecord(self.info_hash, have, files)

    def clone_sources(
        self,
        plan: Plan,
        *,
        present: Iterable[str],
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Clone what files are patched or copied from, unless it is ``present`` already.

        Raises:
            TreeError: a file could not be copied, or changed meanwhile.
            InterruptedByUserError: ``stopping`` said so.
        """
        there = set(present)
        for index in plan.acting:
            planned = plan.files[index]
            if not planned.is_cloned or str(index) in there:
                continue
            with doing("copy", planned.source):
                size = plan.wanted.files[index].size
                self._clone(planned.source, index, size, plan, stopping, on_bytes)

    def _clone(
        self,
        path: str,
        index: int,
        size: int,
        plan: Plan,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        target = self.path(index, Place.STAGE)
        source_fd = self._tree.open(path)
        try:
            target_fd = self._tree.open(f"{target}.part", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                _copy(source_fd, target_fd, size, stopping, on_bytes)
                os.fchmod(target_fd, stat.S_IMODE(os.fstat(source_fd).st_mode) | 0o200)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)
        self._check_untouched(path, plan)
        folder, name = self._tree.locate(target)
        os.rename(f"{name}.part", name, src_dir_fd=folder, dst_dir_fd=folder)

    def is_clone_at(self, index: int, source: str, runs: Iterable[tuple[int, int]]) -> bool:
        """Whether a staged file has what ``source`` has at some offsets and lengths.

        Raises:
            TreeError: one of them could not be read.
        """
        staged = self.path(index, Place.STAGE)
        with doing("compare", source):
            fd = self._tree.open(source)
            try:
                staged_fd = self._tree.open(staged)
                try:
                    return all(same_content(fd, staged_fd, *run) for run in runs)
                finally:
                    os.close(staged_fd)
            finally:
                os.close(fd)

    def _check_untouched(self, path: str, plan: Plan) -> None:
        if self._tree.stat(path) != plan.index.entries[path]:
            raise TreeError(
                f"{path!r} changed while it was being copied", path=path, hint="try again"
            )

    def assemble(
        self,
        plan: Plan,
        placement: Placement,
        *,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Copy the pieces that are elsewhere in the tree to where they belong in the stage.

        Raises:
            TreeError: a file could not be read or written, or changed meanwhile.
            InterruptedByUserError: ``stopping`` said so.
        """
        sources = _OpenFiles(self._tree)
        targets = _OpenFiles(self._tree, os.O_RDWR | os.O_CREAT)
        try:
            for piece, extents in sorted(plan.copies.items()):
                if stopping():
                    raise InterruptedByUserError("stopped while copying")
                runs = matched_runs(plan.wanted.segments(piece), extents)
                for index, offset, source, source_offset, length in runs:
                    target = self.path(index, placement.places[index])
                    with doing("copy", source or target):
                        _copy_run(
                            sources.get(source) if source else None,
                            targets.get(target),
                            (source_offset, offset, length),
                        )
                on_bytes(plan.wanted.piece_size(piece))
        finally:
            sources.close()
            targets.close()
        for path in sources.seen:
            with doing("look at", path):
                self._check_untouched(path, plan)

    def discard(self, name: str) -> None:
        """Remove one staged file."""
        with doing("remove", f"{self.folder}/{name}"):
            os.unlink(name, dir_fd=self._tree.folder_fd(self.folder))

    def remove(self) -> None:
        """Remove this stage, and what interrupted updates to other releases have left.

        Raises:
            TreeError: that was not possible.
        """
        with doing("remove", STAGES), suppress(FileNotFoundError):
            self._remove_all()

    def _remove_all(self, *, but: str = "") -> None:
        for name in os.listdir(self._tree.folder_fd(STAGES)):
            if name != but:
                _remove(self._tree.folder_fd(STAGES), name)
        self._tree.forget_folders()


def _remove(parent_fd: int, name: str) -> None:
    """Remove a file, a link, or a folder with all that is in it; links are not followed."""
    try:
        os.unlink(name, dir_fd=parent_fd)
    except IsADirectoryError:
        fd = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
        try:
            for inside in os.listdir(fd):
                _remove(fd, inside)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=parent_fd)


def _copy(
    source: int,
    target: int,
    size: int,
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> None:
    """Copy at most ``size`` bytes: by reflink where the file system can, else in the kernel."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        _copy_bytes(source, target, min(size, os.fstat(source).st_size), stopping, on_bytes)
    if os.fstat(target).st_size > size:
        os.ftruncate(target, size)


def _copy_bytes(
    source: int,
    target: int,
    size: int,
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> None:
    done = 0
    while done < size:
        if stopping():
            raise InterruptedByUserError("stopped while copying")
        count = _copy_some(source, target, min(_COPY_BYTES, size - done), done)
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


def _copy_run(source: int | None, target: int, run: tuple[int, int, int]) -> None:
    """Copy so many bytes from one offset to another; zeros if there is no source."""
    offset, target_offset, length = run
    done = 0
    while done < length:
        if source is None:
            done += os.pwrite(target, bytes(length - done), target_offset + done)
            continue
        count = _copy_some(source, target, length - done, offset + done, target_offset + done)
        if not count:
            break  # it became shorter, which is noticed when it is looked at again
        done += count


class _OpenFiles:
    """Files that are open for now, the last few of them; ``seen`` are all that were."""

    def __init__(self, tree: Tree, flags: int = os.O_RDONLY) -> None:
        self._tree = tree
        self._flags = flags
        self._open: dict[str, int] = {}
        self.seen: set[str] = set()

    def get(self, path: str) -> int:
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            fd = self._open[path] = self._tree.open(path, self._flags)
            self.seen.add(path)
        return fd

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


def same_content(one: int, other: int, start: int, length: int) -> bool:
    """Whether two open files have the same bytes there."""
    for offset in range(start, start + length, _COMPARE_BYTES):
        count = min(_COMPARE_BYTES, start + length - offset)
        if os.pread(one, count, offset) != os.pread(other, count, offset):
            return False
    return True
