"""The stage: where changed files are built, out of sight of readers.

It is a folder under ``TREE/.torsync``, so that finished files reach their place by renaming.
Staged files are named by their number in the manifest: no name from a torrent is used here.
What an interrupted update left is used by the next one if it is for the same release.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torsync.disk.copying import same_content
from torsync.disk.scan import disk_entry
from torsync.disk.tree import FOLDER_FLAGS, Tree, doing
from torsync.model.errors import TreeError
from torsync.model.names import PRIVATE_FOLDER
from torsync.model.placement import Place, Placement, runs_to_copy
from torsync.model.stored import fits, load_json
from torsync.subscribe.cloning import (
    UNFINISHED,
    Clone,
    begin_clone,
    check_untouched,
    finish_clone,
)
from torsync.subscribe.trash import NO_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torsync.model.plan import Plan
    from torsync.model.tree_index import DiskEntry

STAGES = f"{PRIVATE_FOLDER}/stage"


def staged_name(index: int, place: Place) -> str:
    """The name of a file in the stage of its release."""
    return f"{index}.scratch" if place is Place.SCRATCH else str(index)


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
        """Read what ``dump`` gave; None for the empty text, or something else."""
        raw = load_json(text)
        if not isinstance(raw, dict):
            return None
        values: list[Any] = [raw.get(name) for name in ("info_hash", "have", "files")]
        if not fits(values, str, str, dict):
            return None
        info_hash, packed, files = values
        if not all(fits(seen, int, int, int) for seen in files.values()):
            return None
        try:
            have = zlib.decompress(base64.b64decode(packed))
        except (ValueError, zlib.error):
            return None
        return StagedRecord(info_hash, have, {name: tuple(seen) for name, seen in files.items()})


class Stage:
    """The stage of one release in one tree."""

    def __init__(self, tree: Tree, info_hash: str) -> None:
        self.info_hash = info_hash
        self.folder = f"{STAGES}/{info_hash}"
        self._tree = tree
        self._linked: set[str] = set()  # names of files that are patched where they are
        self._other_names: set[int] = set()  # inodes of files that got or lost a name here

    def path(self, index: int, place: Place) -> str:
        """Where a file is staged, relative to the tree."""
        return f"{self.folder}/{staged_name(index, place)}"

    def open_for(self, placement: Placement) -> Callable[[int], int]:
        """Give a function that opens a file of the manifest for reading, at its place."""

        def opener(index: int) -> int:
            place = placement.places[index]
            if place is Place.TREE:
                return self._tree.open(placement.path(index))
            return self._tree.open(self.path(index, place))

        return opener

    @contextmanager
    def for_writing_by_name(self) -> Iterator[str]:
        """Give an absolute path of the stage for libtorrent, which opens files by their names.

        Where the system has one, it is a path of the open folder itself: a link that others put
        in the place of the stage, or of a folder on the way, leads nowhere.

        Raises:
            TreeError: there is no stage; what is raised meanwhile names the stage as people do.
        """
        known_as = str(self._tree.root / self.folder)
        with doing("open", self.folder):
            fd = os.dup(self._tree.folder_fd(self.folder))
        try:
            path = f"/proc/self/fd/{fd}"
            try:
                is_there = os.path.samestat(os.stat(path), os.fstat(fd))
            except OSError:
                is_there = False
            yield path if is_there else known_as
        except TreeError as error:
            error.path = error.path.replace(path, known_as)
            error.message = error.message.replace(path, known_as)
            raise
        finally:
            os.close(fd)

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
            names = set(os.listdir(folder))
            for name in sorted(names):  # a mark is behind what it marks, and goes after it
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                if name in self._linked:
                    continue
                if own and not name.endswith(UNFINISHED) and name + UNFINISHED not in names:
                    found[name] = disk_entry(status, self._tree.device)
                else:
                    self._remove(folder, name)
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
    ) -> list[Clone]:
        """Clone what files are patched or copied from, unless it is ``present`` already.

        Returns:
            The clones that are to be finished, as the file system cannot share blocks: the files
            are there, and have the right size.

        Raises:
            TreeError: a file could not be cloned, or changed meanwhile.
        """
        there = set(present)
        files = plan.files
        acting = [i for i in plan.acting if files[i].is_cloned and str(i) not in there]
        # First of all: what is linked gets another ctime, and may be cloned for another file.
        here = [i for i in acting if i in plan.in_place]
        linked = {i for i in here if self._link(i, files[i].source, plan)}
        clones = []
        lacking = frozenset(plan.lacking)
        for index in acting:
            if index in linked:
                continue
            planned = files[index]
            expected = self.expected(planned.source, plan)
            target = self.path(index, Place.STAGE)
            size = plan.wanted.files[index].size
            if not begin_clone(self._tree, planned.source, expected, target, size):
                runs = tuple(runs_to_copy(plan.wanted, index, lacking))
                clones.append(Clone(index, planned.source, expected, target, runs))
        return clones

    def _link(self, index: int, path: str, plan: Plan) -> bool:
        """Give a file that is patched where it is a name in the stage: all writes go there.

        So no link that others put in its path leads them astray.

        Returns:
            False if it has names elsewhere, whose content has to stay, or can have none here.
        """
        with doing("prepare to patch", path):
            self.check_untouched(path, plan, but_names=True)
            (folder_fd, name), (target_fd, target) = self._tree.locate_both(
                path, staged_path(self.info_hash, index)
            )
            if os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_nlink > 1:
                return False
            try:
                os.link(
                    name, target, src_dir_fd=folder_fd, dst_dir_fd=target_fd, follow_symlinks=False
                )
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return False
        self._linked.add(target)
        self._other_names.add(plan.index.entries[path].inode)
        return True

    def save_copy(self, path: str, index: int, plan: Plan, stopping: Callable[[], bool]) -> str:
        """Copy a file of the tree into the stage, for the trash; gives the copy's path.

        Raises:
            TreeError: it could not be copied, or changed meanwhile.
            InterruptedByUserError: ``stopping`` said so.
        """
        copy = staged_path(self.info_hash, index)
        with doing("prepare to copy", path), suppress(FileNotFoundError):
            self._remove(*self._tree.locate(copy))
        expected = self.expected(path, plan)
        if not begin_clone(self._tree, path, expected, copy, expected.size):
            clone = Clone(index, path, expected, copy, ((0, expected.size),))
            finish_clone(self._tree, clone, stopping, lambda _count: None)
        with doing("copy", path):
            folder, name = self._tree.locate(copy)
            os.utime(name, ns=(expected.mtime_ns,) * 2, dir_fd=folder)
        return copy

    def expected(self, path: str, plan: Plan) -> DiskEntry:
        """What a file is to be until it is copied; it may have got or lost a name meanwhile."""
        expected = plan.index.entries[path]
        if expected.inode in self._other_names:
            with doing("look at", path):
                seen = self._tree.stat(path)
            if seen is not None:
                expected = expected._replace(ctime_ns=seen.ctime_ns)
        return expected

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

    def check_untouched(self, path: str, plan: Plan, *, but_names: bool = False) -> None:
        """See that a file is as it was; ``but_names``: it may have got or lost a hard link.

        Raises:
            TreeError: it is not.
        """
        seen, expected = self._tree.stat(path), self.expected(path, plan)
        if seen is not None and but_names:
            seen = seen._replace(ctime_ns=expected.ctime_ns)
        check_untouched(path, seen, expected)

    def give_up(self, plan: Plan) -> None:
        """Throw away what is staged, and read files that are patched in place from the disk again.

        Raises:
            TreeError: that was not possible.
        """
        for index in plan.in_place:
            with doing("read again", plan.wanted.files[index].path):
                fd = self._tree.open(plan.wanted.files[index].path)
                try:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(fd)
        self.remove()

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
                self._remove(self._tree.folder_fd(STAGES), name)
        self._tree.forget_folders()

    def _remove(self, parent_fd: int, name: str) -> None:
        """Remove a file, a link, or a folder with all that is in it; links are not followed."""
        seen = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if not stat.S_ISDIR(seen.st_mode):
            os.unlink(name, dir_fd=parent_fd)
            if seen.st_nlink > 1:
                self._other_names.add(seen.st_ino)
            return
        fd = os.open(name, FOLDER_FLAGS, dir_fd=parent_fd)
        try:
            for inside in os.listdir(fd):
                self._remove(fd, inside)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=parent_fd)
