"""The files in the tree that are looked into: read and cut, as long as they stay as they were."""

from __future__ import annotations

import os
import threading
from array import array
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.chunking import Cutter
from torsync.model.errors import InterruptedByUserError
from torsync.model.hints.chunks import HASH_BYTES, SEGMENT_BYTES, Chunks, no_chunks
from torsync.model.hints.matching import Stretch
from torsync.subscribe.hashing import is_as_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from torsync.disk.tree import Tree
    from torsync.model.hints.matching import Unit
    from torsync.model.tree_index import DiskEntry

_MOST_OPEN = 64
_MOST_CACHED = 64 * 1024**2  # bytes of chunks' hashes and lengths
_CHUNK_COST = HASH_BYTES + 4
_WORKERS = os.cpu_count() or 1
_AHEAD = 2 * _WORKERS


class Part(NamedTuple):
    """Bytes of an old file, which is told by its number."""

    source: int
    start: int
    length: int


class OldFiles:
    """Numbered files; one that cannot be read, or is not as it was, has no content."""

    def __init__(
        self,
        tree: Tree,
        entries: Mapping[str, DiskEntry],
        paths: Iterable[str],
        *,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            tree: that they are in.
            entries: how they were when they were looked at.
            paths: of the files; each has its place among them as its number.
            stopping: asked for each part that is read, from several threads.
            on_bytes: told how many bytes have been cut since the last call, in the caller's
                thread.
        """
        self.paths = list(dict.fromkeys(paths))
        self.numbers = {path: number for number, path in enumerate(self.paths)}
        self.bytes_read = 0
        self._tree = tree
        self._entries = entries
        self._stopping = stopping
        self._on_bytes = on_bytes
        self._open: OrderedDict[int, int] = OrderedDict()
        self._bad: set[int] = set()
        self._cut: OrderedDict[tuple[int, Part], Stretch] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Close all files; those that are no longer as they were are ``bad`` from here on."""
        if self._pool is not None:
            self._pool.shutdown()
        while self._open:
            self._close(*self._open.popitem())

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._entries[self.paths[number]].size

    def is_bad(self, number: int) -> bool:
        """Whether a file could not be read, or has changed."""
        return number in self._bad

    def heed(self) -> None:
        """Raise InterruptedByUserError if the work shall stop."""
        if self._stopping():
            raise InterruptedByUserError("stopped while looking for moved content")

    # --- reading --------------------------------------------------------------------------------

    def _fd(self, number: int) -> int:
        """The descriptor of an open file; raises OSError."""
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
            if number in self._bad:
                raise FileNotFoundError(self.paths[number])
            try:
                fd = self._tree.open(self.paths[number])
            except OSError:
                self._bad.add(number)
                raise
            self._open[number] = fd
            if not is_as_seen(os.fstat(fd), self._entries[self.paths[number]]):
                self._bad.add(number)
            if len(self._open) > _MOST_OPEN:
                self._close(*self._open.popitem(last=False))
            return fd

    def _close(self, number: int, fd: int) -> None:
        """Close a file, and see whether it is still as it was."""
        try:
            if not is_as_seen(os.fstat(fd), self._entries[self.paths[number]]):
                self._bad.add(number)
        finally:
            os.close(fd)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Read a part of a file; less, or nothing, where it cannot be had."""
        try:
            data = os.pread(self._fd(number), length, offset)
        except OSError:
            self._bad.add(number)
            return b""
        self.bytes_read += len(data)
        return data

    def sees(self, number: int, offset: int, unit: Unit) -> bool:
        """Whether a file has at an offset what a unit hashes to."""
        if offset + unit.length > self.size(number) or number in self._bad:
            return False
        self.heed()
        data = self.read(number, offset, unit.length)
        return sha256(data).digest()[: len(unit.digest)] == unit.digest

    # --- cutting --------------------------------------------------------------------------------

    def whole(self, numbers: Iterable[int]) -> list[Part]:
        """The parts that are all of some files."""
        return [Part(number, 0, self.size(number)) for number in numbers]

    def stretches(self, parts: Sequence[Part], average: int) -> Iterator[Stretch]:
        """Cut parts of files into chunks of that average size; those at hand are not cut again.

        Raises:
            InterruptedByUserError: the work shall stop.
        """
        missing = [part for part in parts if (average, part) not in self._cut]
        fresh = self._cut_all([segment for part in missing for segment in _segments(part)], average)
        for part in parts:
            known = self._cut.get((average, part))
            if known is None:
                known = _joined(part, [next(fresh) for _segment in _segments(part)])
                self._keep(average, part, known)
            yield known

    def _cut_all(self, parts: Sequence[Part], average: int) -> Iterator[Chunks]:
        """Cut parts of at most a segment, with all cores, a few ahead of who asks."""
        if not parts:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="cut")
        following = iter(parts)
        jobs: deque[tuple[Part, Future[Chunks]]] = deque()
        try:
            while True:
                for part in islice(following, _AHEAD - len(jobs)):
                    jobs.append((part, self._pool.submit(self._cut_one, part, average)))
                if not jobs:
                    return
                part, job = jobs.popleft()
                yield job.result()
                self._on_bytes(part.length)
        finally:
            for _part, job in jobs:
                job.cancel()

    def _cut_one(self, part: Part, average: int) -> Chunks:
        """Called in the pool's threads; each has its own cutters."""
        self.heed()
        cutters: dict[int, Cutter] = self._local.__dict__.setdefault("cutters", {})
        if average not in cutters:
            cutters[average] = Cutter(average)
        try:
            chunks = cutters[average].cut(self._fd(part.source), part.start, part.length)
        except OSError:
            self._bad.add(part.source)
            return no_chunks()
        with self._lock:
            self.bytes_read += part.length
        return chunks

    def _keep(self, average: int, part: Part, stretch: Stretch) -> None:
        cost = _CHUNK_COST * len(stretch.chunks.lengths)
        if cost > _MOST_CACHED // 2:
            return
        self._cut[average, part] = stretch
        self._cached += cost
        while self._cached > _MOST_CACHED:
            _key, gone = self._cut.popitem(last=False)
            self._cached -= _CHUNK_COST * len(gone.chunks.lengths)


def _segments(part: Part) -> Iterator[Part]:
    """Divide a part where cutting begins anew."""
    start, end = part.start, part.start + part.length
    while start < end:
        upto = min(end, (start // SEGMENT_BYTES + 1) * SEGMENT_BYTES)
        yield Part(part.source, start, upto - start)
        start = upto


def _joined(part: Part, cut: Sequence[Chunks]) -> Stretch:
    """Put together what was cut of a part; it ends with the first segment that ends early."""
    lengths = array("I")
    hashes = []
    for segment, chunks in zip(_segments(part), cut, strict=True):
        lengths.extend(chunks.lengths)
        hashes.append(chunks.hashes)
        if sum(chunks.lengths) < segment.length:
            break
    return Stretch(part.source, part.start, Chunks(lengths, b"".join(hashes)))
