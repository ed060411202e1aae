"""Cut files into chunks: one job after the other, here or in a worker process.

As workers import it, it stands on little.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Union

from torsync.disk.chunking import Cutter
from torsync.model.hints.chunks import SEGMENT_BYTES, average_for, cells_of
from torsync.model.hints.format import key_of, write_entry
from torsync.model.merkle import BLOCK_SIZE, merkle_root

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGED = -1
"""Instead of an error number: the file is not what it was, or was changed while it was read."""

Cut = tuple[str, tuple[int, int, int, int], int, int]
"""Path; size, mtime_ns, ctime_ns and inode that it is to have; first byte; how many bytes: all of
the file, or a segment of one that is longer than that."""

Whole = tuple[bytes, int, int, bytes]
"""Of a whole file: its pieces root (BEP 52), how many groups and chunks, its entry."""

Part = tuple[bytes, bytes, bytes, bytes]
"""Of a segment: the root over as many blocks as a segment has, the chunks' lengths (as
``array("I")`` gives them), their hashes, and the cells."""

CutResult = Union[Whole, Part, int]
"""An integer is the number of an error."""

SEGMENT_BLOCKS = SEGMENT_BYTES // BLOCK_SIZE


class CutKernel:
    """Cuts in one thread."""

    def __init__(
        self, opener: Callable[[str], int], heed: Callable[[], None] = lambda: None
    ) -> None:
        """Make one.

        Args:
            opener: opens a regular file by its path, without following links.
            heed: called often; may raise to end the work.
        """
        self._open = opener
        self._heed = heed
        self._cutters: dict[int, Cutter] = {}

    def run(self, job: list[Cut]) -> list[CutResult]:
        """Do a job."""
        found: list[CutResult] = []
        for cut in job:
            self._heed()
            try:
                found.append(self._file(cut))
            except OSError as error:
                found.append(error.errno or errno.EIO)
        return found

    def _file(self, cut: Cut) -> CutResult:
        path, stamp, start, length = cut
        fd = self._open(path)
        try:
            if _stamp(fd) != stamp:
                return CHANGED
            average = average_for(stamp[0])
            chunks, blocks = self._cutter(average).cut_with_blocks(fd, start, length)
            if _stamp(fd) != stamp or sum(chunks.lengths) != length:
                return CHANGED
        finally:
            os.close(fd)
        cells = cells_of(blocks)
        if length < stamp[0]:
            root = merkle_root(blocks, leaves=SEGMENT_BLOCKS)
            return root, chunks.lengths.tobytes(), chunks.hashes, cells
        root = merkle_root(blocks)
        entry = write_entry(key_of(root), average, chunks, cells)
        return root, entry.groups, entry.chunks, entry.data

    def _cutter(self, average: int) -> Cutter:
        found = self._cutters.get(average)
        if found is None:
            found = self._cutters[average] = Cutter(average)
        return found


def _stamp(fd: int) -> tuple[int, int, int, int] | None:
    """What a file is like; None if it is no regular one."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
