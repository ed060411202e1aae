"""Have work done: here where there is little of it, by processes on all cores else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from torsync.disk.tree import Tree
    from torsync.publish.hashing.pool import SizedT, WorkerPool

HASHING = "torsync.publish.hashing.worker"
"""The module whose ``main`` hashes in a worker process."""


class Spread:
    """Work on the files of one tree."""

    def __init__(
        self,
        tree: Tree,
        run: Callable[[Any], Any],
        module: str,
        workers: int,
        *,
        alone_bytes: int,
        places: Sequence[str] = (),
    ) -> None:
        """Prepare.

        Args:
            tree: the folder that the paths of jobs are in.
            run: does a job here.
            module: whose ``main`` does jobs in a worker process.
            workers: processes; 0 for one per core.
            alone_bytes: so much is done here before worker processes are well on their way.
            places: where the module finds what it imports, see ``WorkerPool``.
        """
        self._tree = tree
        self._run = run
        self._module = module
        self._workers = workers or os.cpu_count() or 1
        self._alone_bytes = alone_bytes
        self._places = places

    def do(
        self, works: Sequence[SizedT], heed: Callable[[], None]
    ) -> Generator[tuple[SizedT, Any], None, None]:
        """Do the work; give each with its result, in the order in which they are done.

        Args:
            works: what is to be done.
            heed: called several times a second; may raise to end it.

        Raises:
            HashingError: a worker has ended.
        """
        pool = self._pool(works)
        if pool is not None:
            with pool:
                yield from pool.run(iter(works), heed)
            return
        for work in works:
            heed()
            yield work, self._run(work.job)

    def _pool(self, works: Sequence[SizedT]) -> WorkerPool | None:
        """Start worker processes if they are worth it, and can be had."""
        count = min(self._workers, len(works))
        is_little = sum(work.cost_bytes for work in works) <= self._alone_bytes
        if count < 2 or is_little or getattr(sys, "frozen", False) or not sys.executable:
            return None
        from torsync.publish.hashing.pool import WorkerPool  # noqa: PLC0415 - seldom needed

        try:
            return WorkerPool(self._tree.folder_fd(""), count, self._module, self._places)
        except OSError:  # too many processes or files, or none may be started: slower is enough
            return None
