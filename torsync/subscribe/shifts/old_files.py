"""The files in the tree that are looked into: read and cut, as long as they stay as they were."""

from __future__ import annotations

import os
import threading
from array import array
from collections import Counter, OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from torsync.disk.chunking import Cutter
from torsync.model.errors import InterruptedByUserError
from torsync.model.hints.chunks import HASH_BYTES, SEGMENT_BYTES, Chunks, no_chunks
from torsync.model.hints.matching import Stretch
from torsync.model.hints.regions import Part
from torsync.subscribe.hashing import is_as_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from torsync.disk.tree import Tree
    from torsync.model.hints.matching import Unit
    from torsync.model.tree_index import DiskEntry

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_OPEN = 64
_MOST_CACHED = 64 * 1024**2  # bytes of chunks' hashes and lengths
_CHUNK_COST = HASH_BYTES + 4
_WORKERS = os.cpu_count() or 1
_AHEAD = 2 * _WORKERS


def heed(stopping: Callable[[], bool]) -> None:
    """Raise InterruptedByUserError if the work shall stop."""
    if stopping():
        raise InterruptedByUserError("stopped while looking for moved content")


class OldFiles:
    """Numbered files; one that cannot be read, or is not as it was, is bad from then on."""

    def __init__(
        self,
        tree: Tree,
        entries: Mapping[str, DiskEntry],
        paths: Iterable[str],
        *,
        stopping: Callable[[], bool],
        on_read: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            tree: that they are in.
            entries: how they were when they were looked at.
            paths: of the files; each has its place among them as its number.
            stopping: asked for each part that is read, from several threads.
            on_read: told now and then how many bytes have been read, in the caller's thread.
        """
        self.paths = list(dict.fromkeys(paths))
        self.numbers = {path: number for number, path in enumerate(self.paths)}
        self.sizes = [entries[path].size for path in self.paths]
        self.bytes_read = 0
        self._tree = tree
        self._entries = entries
        self._stopping = stopping
        self._on_read = on_read
        self._open: OrderedDict[int, int] = OrderedDict()
        self._users: Counter[int] = Counter()
        self._bad: set[int] = set()
        self._cut: OrderedDict[tuple[int, Part], Stretch] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._halt = False
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Close all files; those that are no longer as they were are bad from here on."""
        self._halt = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        while self._open:
            self._close(*self._open.popitem())

    def is_bad(self, number: int) -> bool:
        """Whether a file could not be read, or has changed."""
        return number in self._bad

    def each(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Do something in several threads, a few items ahead of who asks; results in order."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="shifts")
        following = iter(items)
        jobs: deque[Future[_Result]] = deque()
        while True:
            for item in islice(following, _AHEAD - len(jobs)):
                jobs.append(self._pool.submit(work, item))
            if not jobs:
                return
            yield jobs.popleft().result()
            self._on_read(self.bytes_read)

    def heed(self) -> None:
        """See whether the work shall stop; raises InterruptedByUserError."""
        heed(lambda: self._halt or self._stopping())

    # --- reading --------------------------------------------------------------------------------

    @contextmanager
    def _opened(self, number: int) -> Iterator[int]:
        """Have a file open; raises OSError. It is looked at before and after it is read."""
        with self._lock:
            if number in self._bad:
                raise FileNotFoundError(self.paths[number])
            fd = self._open.get(number, -1)
            if fd < 0:
                fd = self._open[number] = self._tree.open(self.paths[number])
                self._compare(number, fd)
                self._close_oldest()
            self._open.move_to_end(number)
            self._users[number] += 1
        try:
            yield fd
        finally:
            with self._lock:
                self._users[number] -= 1

    def _close_oldest(self) -> None:
        if len(self._open) > _MOST_OPEN:
            number = next((each for each in self._open if not self._users[each]), None)
            if number is not None:
                self._close(number, self._open.pop(number))

    def _close(self, number: int, fd: int) -> None:
        try:
            self._compare(number, fd)
        finally:
            os.close(fd)

    def _compare(self, number: int, fd: int) -> None:
        """See whether a file is still as it was."""
        if not is_as_seen(os.fstat(fd), self._entries[self.paths[number]]):
            self._bad.add(number)

    def parts(self, number: int, start: int, end: int, buffer: memoryview) -> Iterator[memoryview]:
        """Read a part of a file through a buffer; less, or nothing, where it cannot be had.

        Raises:
            InterruptedByUserError: the work shall stop.
        """
        at = start
        try:
            with self._opened(number) as fd:
                while at < end:
                    self.heed()
                    count = os.preadv(fd, [buffer[: end - at]], at)
                    if not count:
                        break
                    yield buffer[:count]
                    at += count
        except OSError:
            self._bad.add(number)
        with self._lock:
            self.bytes_read += at - start

    def sees(self, number: int, offset: int, unit: Unit) -> bool:
        """Whether a file has at an offset what a unit hashes to."""
        if number < 0 or offset + unit.length > self.sizes[number]:
            return False
        found = sha256()
        for part in self.parts(number, offset, offset + unit.length, self._buffer(unit.length)):
            found.update(part)
        return found.digest()[: len(unit.digest)] == unit.digest

    def _buffer(self, length: int) -> memoryview:
        """A buffer of the calling thread."""
        known: bytearray = self._local.__dict__.setdefault("buffer", bytearray())
        if len(known) < length:
            known = self._local.buffer = bytearray(length)
        return memoryview(known)[:length]

    # --- cutting --------------------------------------------------------------------------------

    def whole(self, numbers: Iterable[int]) -> list[Part]:
        """The parts that are all of some files."""
        return [Part(number, 0, self.sizes[number]) for number in numbers]

    def stretches(self, parts: Sequence[Part], average: int) -> Iterator[Stretch]:
        """Cut parts of files into chunks of that average size; those at hand are not cut again.

        Raises:
            InterruptedByUserError: the work shall stop.
        """
        cached = {part: self._cut[average, part] for part in parts if (average, part) in self._cut}
        segments = [segment for part in parts if part not in cached for segment in _segments(part)]
        fresh = self.each(lambda segment: self._cut_one(segment, average), segments)
        for part in parts:
            known = cached.get(part)
            if known is None:
                known = _joined(part, [next(fresh) for _segment in _segments(part)])
                self._keep(average, part, known)
            yield known

    def _cut_one(self, part: Part, average: int) -> Chunks:
        """Cut a segment, in one of several threads, each of which has its own cutters."""
        self.heed()
        cutters: dict[int, Cutter] = self._local.__dict__.setdefault("cutters", {})
        if average not in cutters:
            cutters[average] = Cutter(average)
        try:
            with self._opened(part.source) as fd:
                chunks = cutters[average].cut(fd, part.start, part.length)
        except OSError:
            self._bad.add(part.source)
            return no_chunks()
        with self._lock:
            self.bytes_read += part.length
        return chunks

    def _keep(self, average: int, part: Part, stretch: Stretch) -> None:
        cost = _CHUNK_COST * len(stretch.chunks.lengths)
        if cost > _MOST_CACHED // 2 or (average, part) in self._cut:
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
