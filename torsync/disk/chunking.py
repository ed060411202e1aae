"""Cut the content of open files into content-defined chunks; see ``torsync.model.hints.chunks``."""

from __future__ import annotations

import os
from array import array
from hashlib import sha256
from typing import TYPE_CHECKING

from torsync.model.hints.chunks import (
    HASH_BYTES,
    NORMALIZATION,
    SEGMENT_BYTES,
    Chunks,
)
from torsync.model.merkle import block_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cutter:
    """Cuts and hashes; it has one buffer, and is used by one thread."""

    def __init__(self, average: int) -> None:
        """Prepare; ``average`` is the size of a chunk in bytes, a power of two from 256 on."""
        from pyfastcdc import FastCDC  # noqa: PLC0415 - costs start-up time

        self._cutter = FastCDC(average, normalized_chunking=NORMALIZATION)
        self._buffer = bytearray()

    def cut(self, fd: int, start: int, length: int) -> Chunks:
        """Cut the bytes of a file from ``start`` on: fewer if it ends before.

        Cutting begins anew at each multiple of ``SEGMENT_BYTES`` of the file.

        Raises:
            OSError: the file cannot be read.
        """
        return self._cut(fd, start, length, lambda _part: None)

    def cut_with_blocks(self, fd: int, start: int, length: int) -> tuple[Chunks, bytes]:
        """Cut as ``cut`` does, and hash blocks as well; ``start`` is where a block begins.

        Returns:
            The chunks, and the SHA-256 of each 16 KiB, the leaves of BEP 52's hash tree.

        Raises:
            OSError: the file cannot be read.
        """
        blocks: list[bytes] = []
        chunks = self._cut(fd, start, length, lambda part: blocks.append(block_hashes(part)))
        return chunks, b"".join(blocks)

    def _cut(
        self, fd: int, start: int, length: int, on_part: Callable[[memoryview], None]
    ) -> Chunks:
        lengths: array[int] = array("I")
        hashes: list[bytes] = []
        for part in self._segments(fd, start, length):
            for chunk in self._cutter.cut_buf(part):
                lengths.append(chunk.length)
                hashes.append(sha256(chunk.data).digest()[:HASH_BYTES])
            on_part(part)
        return Chunks(lengths, b"".join(hashes))

    def _segments(self, fd: int, start: int, length: int) -> Iterator[memoryview]:
        """Read up to the next multiple of the segment size, again and again."""
        end = start + length
        while start < end:
            upto = min(end, (start // SEGMENT_BYTES + 1) * SEGMENT_BYTES)
            part = self._read(fd, start, upto - start)
            if part:
                yield part
            if len(part) < upto - start:
                break
            start = upto

    def _read(self, fd: int, start: int, count: int) -> memoryview:
        if len(self._buffer) < count:
            self._buffer = bytearray(count)
        view = memoryview(self._buffer)[:count]
        done = 0
        while done < count:
            got = os.preadv(fd, [view[done:]], start + done)
            if not got:
                break
            done += got
        return view[:done]
