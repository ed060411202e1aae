"""Hash pieces where they are on disk, with all cores, and tell which are right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError
from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

Opener = Callable[[int], int]
"""Opens the file of a manifest's index for reading; gives a descriptor, raises OSError."""

_BATCH_BYTES = 16 * 1024**2
_OPEN_FILES = 8


@dataclass
class HashedPieces:
    """What hashing found.

    Attributes:
        good: the pieces whose content is right.
        unreadable: file index → the error that reading it gave.
        bytes_hashed: how much was read and hashed.
    """

    good: set[int] = field(default_factory=set)
    unreadable: dict[int, OSError] = field(default_factory=dict)
    bytes_hashed: int = 0


def hash_pieces(
    manifest: Manifest,
    pieces: Iterable[int],
    opener: Opener,
    *,
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None] = lambda _count: None,
    workers: int = 0,
) -> HashedPieces:
    """Read and hash ``pieces``.

    A piece that is cut short by the end of a file is not right; one in a file that cannot be
    read is not right, and the file is named.

    Args:
        manifest: has the right hashes; the v2 ones are used where there are both.
        pieces: indexes in ascending order.
        opener: called from several threads.
        stopping: asked between pieces.
        on_bytes: called in this thread with the bytes hashed since the last call.
        workers: threads; 0 for one per core.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    result = HashedPieces()
    batches = _batches(manifest, pieces)
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
        jobs = [pool.submit(_hash_batch, manifest, batch, opener, stopping) for batch in batches]
        try:
            for job in as_completed(jobs):
                found = job.result()
                result.good |= found.good
                result.unreadable.update(found.unreadable)
                result.bytes_hashed += found.bytes_hashed
                on_bytes(found.bytes_hashed)
                if stopping():
                    raise InterruptedByUserError("stopped while hashing")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return result


def _batches(manifest: Manifest, pieces: Iterable[int]) -> list[Sequence[int]]:
    size = max(1, _BATCH_BYTES // manifest.piece_length)
    batches: list[Sequence[int]] = []
    batch: list[int] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == size:
            batches.append(batch)
            batch = []
    if batch:
        batches.append(batch)
    return batches


def _hash_batch(
    manifest: Manifest, batch: Sequence[int], opener: Opener, stopping: Callable[[], bool]
) -> HashedPieces:
    found = HashedPieces()
    reader = _Reader(opener)
    check = _is_right_v2 if manifest.is_v2 else _is_right_v1
    buffer = bytearray(max(manifest.piece_size(piece) for piece in batch))
    try:
        for piece in batch:
            if stopping():
                break
            found.bytes_hashed += manifest.piece_size(piece)
            if check(manifest, piece, reader, memoryview(buffer)):
                found.good.add(piece)
    finally:
        found.unreadable = reader.errors
        reader.close()
    return found


def _is_right_v1(manifest: Manifest, piece: int, reader: _Reader, buffer: memoryview) -> bool:
    at = 0
    for segment in manifest.segments(piece):
        part = buffer[at : at + segment.length]
        if segment.file_index is None:
            part[:] = bytes(segment.length)
        elif not reader.fill(segment.file_index, segment.file_offset, part):
            return False
        at += segment.length
    return sha1(buffer[:at], usedforsecurity=False).digest() == manifest.v1_hash(piece)


def _is_right_v2(manifest: Manifest, piece: int, reader: _Reader, buffer: memoryview) -> bool:
    """Check the one file that has bytes in a v2 piece; padding is no content (BEP 52)."""
    for segment in manifest.segments(piece):
        if segment.file_index is None:
            continue
        part = buffer[: segment.length]
        if not reader.fill(segment.file_index, segment.file_offset, part):
            return False
        size = manifest.files[segment.file_index].size
        leaves = manifest.piece_length // BLOCK_SIZE if size > manifest.piece_length else 0
        expected = manifest.v2_hash(
            segment.file_index, segment.file_offset // manifest.piece_length
        )
        if merkle_root(block_hashes(part), leaves=leaves) != expected:
            return False
    return True


class _Reader:
    """Reads at offsets of files, keeping the last few open; remembers what failed."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._open: dict[int, int] = {}
        self.errors: dict[int, OSError] = {}

    def fill(self, file_index: int, offset: int, target: memoryview) -> bool:
        """Fill ``target`` from a file; False if it ends before, or could not be read."""
        if file_index in self.errors:
            return False
        try:
            fd = self._descriptor(file_index)
            done = 0
            while done < len(target):
                count = os.preadv(fd, [target[done:]], offset + done)
                if not count:
                    return False
                done += count
        except OSError as error:
            self.errors[file_index] = error
            return False
        return True

    def _descriptor(self, file_index: int) -> int:
        fd = self._open.get(file_index)
        if fd is None:
            fd = self._opener(file_index)
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[file_index] = fd
        return fd

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
