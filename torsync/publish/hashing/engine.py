"""Know the hashes of all files of a layout: from the cache, and by reading the rest."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import InterruptedByUserError
from torsync.publish.hashing.findings import Findings
from torsync.publish.hashing.kernel import Kernel
from torsync.publish.hashing.progress import Meter
from torsync.publish.hashing.spread import HASHING, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torsync.disk.stamps import FileStamp
    from torsync.disk.tree import Tree
    from torsync.model.authoring.content import FileHashes
    from torsync.model.authoring.layout import Layout
    from torsync.publish.hashing.jobs import Work
    from torsync.publish.hashing.memory import Memory
    from torsync.publish.hashing.progress import HashProgress

_ALONE_BYTES = 64 * 1024**2  # less is done before worker processes are well on their way
_WRITE_EVERY_S = 0.2
_WRITE_SHARE = 10  # writing may take a tenth of the time


class Hashes(NamedTuple):
    """What a layout needs: of each file, and the SHA-1 of each packed piece."""

    files: list[FileHashes]
    packed: list[bytes]


class Hasher:
    """Hashes the files of one publication, several times if they change meanwhile.

    Attributes:
        bytes_hashed: what was read to be hashed, in all.
        changed: files that were not as they were seen when they were hashed last.
        unreadable: path → the number of the error that reading it gave.
        packed_used: the keys of all packed pieces of the last layout.
    """

    def __init__(
        self,
        tree: Tree,
        memory: Memory,
        *,
        progress: Callable[[HashProgress], None],
        stopping: Callable[[], bool],
        workers: int = 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            tree: the folder.
            memory: of its publication.
            progress: told several times a second how far it is.
            stopping: asked several times a second.
            workers: processes; 0 for one per core.
            clock_s: any that does not go back.
        """
        self._memory = memory
        self._progress = progress
        self._stopping = stopping
        kernel = Kernel(tree.open, self._heed)
        self._spread = Spread(tree, kernel.run, HASHING, workers, alone_bytes=_ALONE_BYTES)
        self._clock_s = clock_s
        self.bytes_hashed = 0
        self.changed: set[str] = set()
        self.unreadable: dict[str, int] = {}
        self.packed_used: list[bytes] = []

    def hash(
        self,
        layout: Layout,
        stamps: Mapping[str, FileStamp],
        unknown: Collection[str],
        clock_ns: int,
    ) -> Hashes | None:
        """Give the hashes of each file and of each packed piece of a layout.

        Args:
            layout: where the files lie.
            stamps: what each was like when it was looked at.
            unknown: those with bytes of which nothing is known any more.
            clock_ns: what the file system's clock said before that.

        Returns:
            None if some files have changed or could not be read: ``changed``, ``unreadable``.

        Raises:
            InterruptedByUserError: ``stopping`` said so; what was hashed is in the cache.
            HashingError: a worker has ended; what was hashed is in the cache.
        """
        findings = Findings(self._memory, layout, stamps, unknown)
        works = findings.plan()
        try:
            if works:
                self._do(findings, works, clock_ns)
        finally:
            findings.name_pieces()
            self._memory.store(clock_ns)
        self.changed, self.unreadable = findings.changed, findings.unreadable
        if self.changed or self.unreadable:
            return None
        result = Hashes(*findings.result())
        self.packed_used = findings.packed_used
        return result

    def _do(self, findings: Findings, works: list[Work], clock_ns: int) -> None:
        meter = Meter(works, self._progress, self._clock_s)
        write_s = self._clock_s() + _WRITE_EVERY_S
        with closing(self._spread.do(works, self._heed)) as results:
            for work, result in results:
                self.bytes_hashed += work.content_bytes
                findings.take(work, result)
                meter.add(work)
                if (began_s := self._clock_s()) >= write_s:
                    findings.name_pieces()
                    self._memory.store(clock_ns)
                    now_s = self._clock_s()
                    write_s = now_s + max(_WRITE_EVERY_S, _WRITE_SHARE * (now_s - began_s))

    def _heed(self) -> None:
        if self._stopping():
            raise InterruptedByUserError("stopped while hashing; what was hashed is kept")
