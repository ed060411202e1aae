"""Cut the files whose entries are not known, with all cores, into the cache."""

from __future__ import annotations

import sys
import time
from array import array
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import InterruptedByUserError
from torsync.model.hints.chunks import SEGMENT_BYTES, Chunks, average_for
from torsync.model.hints.format import Entry, key_of, write_entry
from torsync.model.merkle import merkle_root, padding_root
from torsync.publish.hashing.progress import Meter
from torsync.publish.hashing.spread import Spread
from torsync.publish.hints.cache import CutPart
from torsync.publish.hints.kernel import SEGMENT_BLOCKS, CutKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torsync.disk.stamps import FileStamp
    from torsync.disk.tree import Tree
    from torsync.publish.hashing.progress import HashProgress
    from torsync.publish.hints.cache import HintsCache, PartKey
    from torsync.publish.hints.kernel import Cut, CutResult

CUTTING = "torsync.publish.hints.worker"
"""The module whose ``main`` cuts in a worker process."""

_ALONE_BYTES = 32 * 1024**2
_JOB_FILES = 500
_BYTES_PER_FILE = 16 * 1024  # as much time as it takes to open one and tell of it
_STORE_EVERY_S = 1.0
_STORE_BYTES = 16 * 1024**2  # of entries, which wait in memory until then


class ReleasedFile(NamedTuple):
    """A file of a release, where it can be read.

    Attributes:
        path: in the folder.
        stamp: what it was like when it was hashed.
        root: its pieces root (BEP 52).
    """

    path: str
    stamp: FileStamp
    root: bytes


@dataclass
class CutWork:
    """A job, and the files that it is about; see ``torsync.publish.hashing.pool.SizedTask``."""

    job: list[Cut] = field(default_factory=list)
    files: list[ReleasedFile] = field(default_factory=list)
    content_bytes: int = 0
    cost_bytes: int = 0

    def add(self, file: ReleasedFile, start: int, length: int) -> None:
        """Have it cut a file, or a segment of one."""
        size, mtime_ns, ctime_ns, inode = file.stamp  # marshal knows tuples of no other class
        self.job.append((file.path, (size, mtime_ns, ctime_ns, inode), start, length))
        self.files.append(file)
        self.content_bytes += length
        self.cost_bytes += length + _BYTES_PER_FILE

    @property
    def paths(self) -> list[str]:
        """The files that it reads."""
        return [file.path for file in self.files]

    @property
    def files_ended(self) -> int:
        """How many files end in it."""
        return sum(start + length == stamp[0] for _path, stamp, start, length in self.job)


class Maker:
    """Makes entries of files.

    A file that is not what it was when it was hashed, or cannot be read, is left without one.

    Attributes:
        files_cut: how many got one.
        bytes_cut: what was read for it.
    """

    def __init__(
        self,
        tree: Tree,
        cache: HintsCache,
        *,
        progress: Callable[[HashProgress], None],
        stopping: Callable[[], bool],
        workers: int = 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            tree: the folder.
            cache: of its publication.
            progress: told several times a second how far it is.
            stopping: asked several times a second.
            workers: processes; 0 for one per core.
            clock_s: any that does not go back.
        """
        self._cache = cache
        self._progress = progress
        self._stopping = stopping
        self._clock_s = clock_s
        self._spread = Spread(
            tree,
            CutKernel(tree.open, self._heed).run,
            CUTTING,
            workers,
            alone_bytes=_ALONE_BYTES,
            places=[place for place in sys.path if place],
        )
        self._parts: dict[PartKey, CutPart] = {}
        self._new_parts: dict[PartKey, CutPart] = {}
        self._new: list[Entry] = []
        self._joined: list[bytes] = []
        self._waiting_bytes = 0
        self.files_cut = 0
        self.bytes_cut = 0

    def make(self, files: Iterable[ReleasedFile]) -> None:
        """Cut files; what was cut is in the cache, also if it fails on the way.

        Args:
            files: with other roots each, that have no entry yet.

        Raises:
            InterruptedByUserError: ``stopping`` said so.
            HashingError: a worker has ended.
            StateError: the cache cannot be used.
        """
        works = self._plan(files)
        if not works:
            return
        meter = Meter(works, self._progress, self._clock_s)
        stores_s = self._clock_s() + _STORE_EVERY_S
        try:
            with closing(self._spread.do(works, self._heed)) as results:
                for work, result in results:
                    self.bytes_cut += work.content_bytes
                    for cut, file, found in zip(work.job, work.files, result, strict=True):
                        self._take(cut, file, found)
                    meter.add(work)
                    if self._waiting_bytes >= _STORE_BYTES or self._clock_s() >= stores_s:
                        self._store()
                        stores_s = self._clock_s() + _STORE_EVERY_S
        finally:
            self._store()

    def _plan(self, files: Iterable[ReleasedFile]) -> list[CutWork]:
        works: list[CutWork] = []
        small = CutWork()
        is_loaded = False
        for file in files:
            size = file.stamp.size
            if size <= SEGMENT_BYTES:
                small.add(file, 0, size)
                if small.content_bytes >= SEGMENT_BYTES or len(small.job) >= _JOB_FILES:
                    works.append(small)
                    small = CutWork()
                continue
            if not is_loaded:
                self._parts, is_loaded = self._cache.parts(), True
            starts = range(0, size, SEGMENT_BYTES)
            missing = [start for start in starts if not self._has(file, start)]
            for start in missing or [0]:  # with all parts the last one is made again
                work = CutWork()
                work.add(file, start, min(SEGMENT_BYTES, size - start))
                works.append(work)
        if small.job:
            works.append(small)
        return works

    def _has(self, file: ReleasedFile, start: int) -> bool:
        part = self._parts.get((key_of(file.root), start))
        return part is not None and part.length == min(SEGMENT_BYTES, file.stamp.size - start)

    def _take(self, cut: Cut, file: ReleasedFile, found: CutResult) -> None:
        """Note what was found of a file, or of a segment of it, unless it has changed."""
        if isinstance(found, int):
            return
        key, size, length = key_of(file.root), file.stamp.size, cut[3]
        if length == size:
            root, groups, chunks, data = found
            assert isinstance(groups, int)
            assert isinstance(chunks, int)
            if root == file.root:
                self._complete(Entry(key, data, groups, chunks, average_for(size)))
            return
        root, lengths, hashes, cells = found
        assert isinstance(lengths, bytes)
        assert isinstance(hashes, bytes)
        part = CutPart(length, root, lengths, hashes, cells)
        self._parts[key, cut[2]] = self._new_parts[key, cut[2]] = part
        self._waiting_bytes += len(lengths) + len(hashes) + len(cells)
        if all(self._has(file, start) for start in range(0, size, SEGMENT_BYTES)):
            self._join(file)

    def _join(self, file: ReleasedFile) -> None:
        """Make the entry of a file of which all segments are known."""
        key, size = key_of(file.root), file.stamp.size
        starts = range(0, size, SEGMENT_BYTES)
        parts = [self._parts.pop((key, start)) for start in starts]
        for start in starts:
            self._new_parts.pop((key, start), None)
        self._joined.append(key)
        layer = b"".join([part.root for part in parts])
        if merkle_root(layer, padding=padding_root(SEGMENT_BLOCKS)) != file.root:
            return
        lengths = array("I", b"".join([part.lengths for part in parts]))
        chunks = Chunks(lengths, b"".join([part.hashes for part in parts]))
        cells = b"".join([part.cells for part in parts])
        self._complete(write_entry(key, average_for(size), chunks, cells))

    def _complete(self, entry: Entry) -> None:
        self._new.append(entry)
        self._waiting_bytes += len(entry.data)
        self.files_cut += 1

    def _store(self) -> None:
        self._cache.remember(self._new, self._new_parts, self._joined)
        self._new, self._new_parts, self._joined, self._waiting_bytes = [], {}, [], 0

    def _heed(self) -> None:
        if self._stopping():
            raise InterruptedByUserError("stopped while making hints; what was cut is kept")
