"""Hash pieces where they are on disk, with all cores, and tell which are right.

Each thread reads into one small buffer that stays in its core's cache, and hashes from there.
Files are not mapped into memory: one that is cut short meanwhile would end the process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha1
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, Union

from torsync.model.errors import InterruptedByUserError
from torsync.model.hash_batches import Batch, FilesDone, Walk
from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root
from torsync.subscribe.turns import Turns

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskEntry

Opener = Callable[[int], int]
"""Opens the file of a manifest's index for reading; gives a descriptor, raises OSError."""

_BUFFER_BYTES = 256 * 1024  # a multiple of the block size; the core's own cache holds it
_BATCH_BYTES = 4 * 1024**2  # large enough to hand over, small enough to end at the same time


class HashProgress(NamedTuple):
    """How far hashing is: bytes and files of the release, and the file it is at (or -1).

    A file is done when all its pieces that were asked for are.
    """

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    file_index: int


@dataclass
class HashedPieces:
    """What hashing found.

    Attributes:
        good: the pieces whose content is right.
        unreadable: file index → the error that reading it gave.
        changed: files that are no longer as they were seen before: their pieces may be from
            different times.
        bytes_hashed: how much was read and hashed.
    """

    good: set[int] = field(default_factory=set)
    unreadable: dict[int, OSError] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    bytes_hashed: int = 0


def hash_pieces(
    manifest: Manifest,
    pieces: Iterable[int],
    opener: Opener,
    *,
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None] = lambda _count: None,
    on_progress: Callable[[HashProgress], None] = lambda _progress: None,
    seen: Callable[[int], DiskEntry | None] | None = None,
    workers: int = 0,
) -> HashedPieces:
    """Read and hash ``pieces``.

    A piece that is cut short by the end of a file is not right; one in a file that cannot be
    read is not right, and the file is named.

    Args:
        manifest: has the right hashes; the v2 ones are used where there are both.
        pieces: indexes in ascending order.
        opener: called from several threads.
        stopping: asked several times a piece, from several threads.
        on_bytes: called in this thread with the bytes of files done since the last call.
        on_progress: called in this thread now and then.
        seen: how a file was when it was looked at; None to not compare.
        workers: threads; 0 for one per core.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    result = HashedPieces()
    walk = Walk(manifest)
    batches = walk.batches(pieces, _BATCH_BYTES)
    files = FilesDone(batches)
    bytes_done, bytes_total = 0, sum(batch.content_bytes for batch in batches)
    threads = min(workers or os.cpu_count() or 1, len(batches))
    if not threads:
        return result
    pending = deque(batches)
    told: SimpleQueue[_Told] = SimpleQueue()
    halt, turns = Event(), Turns()
    hashers = [
        _Hasher(manifest, walk, _Reader(opener, seen), turns, lambda: halt.is_set() or stopping())
        for _ in range(threads)
    ]
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="hash") as pool:
        jobs = [pool.submit(hasher.run, pending, told) for hasher in hashers]
        try:
            for batch, good in _until_all_ended(told, threads):
                result.good.update(good)
                bytes_done += batch.content_bytes
                files.add(batch)
                on_bytes(batch.content_bytes)
                at = walk.file_index(batch.last) if batch.files else -1
                on_progress(HashProgress(bytes_done, bytes_total, files.done, files.total, at))
        finally:
            halt.set()
    for job in jobs:
        job.result()
    if any(hasher.stopped for hasher in hashers):
        raise InterruptedByUserError("stopped while hashing")
    for hasher in hashers:
        result.unreadable.update(hasher.reader.errors)
        result.changed |= hasher.reader.changed
        result.bytes_hashed += hasher.reader.bytes_read
    return result


_Told = Union[tuple[Batch, list[int]], None]


def _until_all_ended(told: SimpleQueue[_Told], threads: int) -> Iterator[tuple[Batch, list[int]]]:
    """Give what the threads tell until each has told None."""
    while threads:
        found = told.get()
        if found is None:
            threads -= 1
        else:
            yield found


class _StoppedError(Exception):
    """Hashing shall end, in the middle of a piece too."""


class _Hasher:
    """One thread's work."""

    def __init__(
        self,
        manifest: Manifest,
        walk: Walk,
        reader: _Reader,
        turns: Turns,
        stopping: Callable[[], bool],
    ) -> None:
        self._manifest = manifest
        self._walk = walk
        self._turns = turns
        self._stopping = stopping
        self._check = self._is_right_v2 if manifest.is_v2 else self._is_right_v1
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self.reader = reader
        self.stopped = False

    def run(self, pending: deque[Batch], told: SimpleQueue[_Told]) -> None:
        """Hash batches until there are none; tell which pieces of each are right."""
        try:
            while True:
                try:
                    batch = pending.popleft()
                except IndexError:
                    break
                with self._turns.take(batch.content_bytes, batch.files):
                    good = self._good_pieces(batch)
                told.put((batch, good))
        except _StoppedError:
            self.stopped = True
        finally:
            try:
                self.reader.close()
            finally:
                told.put(None)  # whatever happened: it is waited for

    def _good_pieces(self, batch: Batch) -> list[int]:
        return [
            piece
            for piece, first, stop in self._walk.pieces(batch.pieces)
            if self._check(piece, first, stop)
        ]

    def _heed(self) -> None:
        if self._stopping():
            raise _StoppedError

    def _is_right_v1(self, piece: int, first: int, stop: int) -> bool:
        manifest, walk = self._manifest, self._walk
        self._heed()
        found = _Sha1(self._buffer, self._heed)
        position = piece * manifest.piece_length
        end = position + manifest.piece_size(piece)
        for place in range(first, stop):
            start = walk.starts[place]
            found.add_zeros(start - position)
            position = max(position, start)
            upto = min(walk.ends[place], end)
            index = walk.file_index(place)
            while position < upto:
                part = found.room(upto - position)
                if not self.reader.fill(index, position - start, part):
                    return False
                found.added(len(part))
                position += len(part)
        found.add_zeros(end - position)
        return found.digest() == manifest.v1_hash(piece)

    def _is_right_v2(self, piece: int, first: int, stop: int) -> bool:
        """Check the one file that has bytes in a v2 piece; padding is no content (BEP 52)."""
        manifest, walk = self._manifest, self._walk
        length = manifest.piece_length
        for place in range(first, stop):
            index = walk.file_index(place)
            size = manifest.files[index].size
            offset = piece * length - walk.starts[place]
            upto = min(offset + length, size)
            hashes = []
            for at in range(offset, upto, _BUFFER_BYTES):
                self._heed()
                part = self._buffer[: upto - at]
                if not self.reader.fill(index, at, part):
                    return False
                hashes.append(block_hashes(part))
            leaves = length // BLOCK_SIZE if size > length else 0
            expected = manifest.v2_hash(index, offset // length)
            if merkle_root(b"".join(hashes), leaves=leaves) != expected:
                return False
        return True


class _Sha1:
    """SHA-1 of parts that are collected in a buffer: small ones are hashed together."""

    def __init__(self, buffer: memoryview, when_full: Callable[[], None]) -> None:
        self._buffer = buffer
        self._filled = 0
        self._hash = sha1(usedforsecurity=False)
        self._when_full = when_full

    def room(self, length: int) -> memoryview:
        """The part of the buffer that the next bytes go to, at most ``length``."""
        return self._buffer[self._filled : self._filled + length]

    def added(self, length: int) -> None:
        """Note that the next bytes are there."""
        self._filled += length
        if self._filled == len(self._buffer):
            self._hash.update(self._buffer)
            self._filled = 0
            self._when_full()

    def add_zeros(self, count: int) -> None:
        """Add padding; nothing if ``count`` is not positive."""
        while count > 0:
            part = self.room(count)
            part[:] = bytes(len(part))
            count -= len(part)
            self.added(len(part))

    def digest(self) -> bytes:
        """The hash of all that was added."""
        self._hash.update(self._buffer[: self._filled])
        return self._hash.digest()


class _Reader:
    """Reads at offsets of files, in the order in which they lie; remembers what failed."""

    def __init__(self, opener: Opener, seen: Callable[[int], DiskEntry | None] | None) -> None:
        self._opener = opener
        self._seen = seen
        self._index = -1
        self._fd = -1
        self.errors: dict[int, OSError] = {}
        self.changed: set[int] = set()
        self.bytes_read = 0

    def fill(self, file_index: int, offset: int, target: memoryview) -> bool:
        """Fill ``target`` from a file; False if it ends before, or could not be read."""
        try:
            if file_index != self._index and not self._open(file_index):
                return False
            wanted = len(target)
            done = os.preadv(self._fd, [target], offset)
            while 0 < done < wanted:
                count = os.preadv(self._fd, [target[done:]], offset + done)
                if not count:
                    break
                done += count
        except OSError as error:
            self.errors[file_index] = error
            self.close()
            return False
        self.bytes_read += done
        return done == wanted

    def _open(self, file_index: int) -> bool:
        if file_index in self.errors:
            return False
        self.close()
        self._fd = self._opener(file_index)
        self._index = file_index
        return True

    def close(self) -> None:
        """Close the file, and see whether it is still as it was."""
        if self._fd < 0:
            return
        fd, index = self._fd, self._index
        self._fd = self._index = -1
        try:
            try:
                if self._seen is not None and not is_as_seen(os.fstat(fd), self._seen(index)):
                    self.changed.add(index)
            finally:
                os.close(fd)
        except OSError as error:
            self.errors[index] = error


def is_as_seen(now: os.stat_result, seen: DiskEntry | None) -> bool:
    """Whether a file is still as it was when it was looked at."""
    return seen is not None and (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) == (
        seen.size,
        seen.mtime_ns,
        seen.ctime_ns,
        seen.inode,
    )
