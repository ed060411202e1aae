"""Staged files that begin as copies of others: blocks are shared, or copied beside other work.

What a fetch brings goes to other places in the same files, so neither waits for the other.
"""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.copying import copy_runs, share_blocks
from torsync.disk.tree import doing
from torsync.model.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from torsync.disk.tree import Tree
    from torsync.model.tree_index import DiskEntry

UNFINISHED = ".part"
"""What the name of a file ends in that says that its neighbour is no whole clone yet."""


class Clone(NamedTuple):
    """A staged file whose content is yet to be copied.

    Attributes:
        number: of the file in the manifest.
        source: path of the file that it is a copy of.
        expected: what ``source`` was when it was looked at.
        target: path of the staged file.
        runs: offset and length of what is to be copied.
    """

    number: int
    source: str
    expected: DiskEntry
    target: str
    runs: tuple[tuple[int, int], ...]


def begin_clone(tree: Tree, source: str, expected: DiskEntry, target: str, size: int) -> bool:
    """Make a file of ``size`` bytes that shares its blocks with another, or is empty as yet.

    Returns:
        Whether it is whole; else it is marked as unfinished until ``finish_clone``.

    Raises:
        TreeError: that was not possible, or ``source`` is no longer what it was.
    """
    with doing("copy", source):
        os.close(tree.open(target + UNFINISHED, os.O_WRONLY | os.O_CREAT))
        source_fd = tree.open(source)
        try:
            target_fd = tree.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                is_shared = share_blocks(source_fd, target_fd)
                os.ftruncate(target_fd, size)
                os.fchmod(target_fd, stat.S_IMODE(os.fstat(source_fd).st_mode) | 0o200)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)
        if is_shared:
            _end_clone(tree, source, expected, target)
        return is_shared


def finish_clone(
    tree: Tree, clone: Clone, stopping: Callable[[], bool], on_bytes: Callable[[int], None]
) -> None:
    """Copy what a clone lacks.

    Raises:
        TreeError: that was not possible, or the source is no longer what it was.
        InterruptedByUserError: ``stopping`` said so.
    """
    with doing("copy", clone.source):
        source_fd = tree.open(clone.source)
        try:
            target_fd = tree.open(clone.target, os.O_RDWR)
            try:
                copy_runs(source_fd, target_fd, clone.runs, stopping, on_bytes)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)
        _end_clone(tree, clone.source, clone.expected, clone.target)


def _end_clone(tree: Tree, source: str, expected: DiskEntry, target: str) -> None:
    check_untouched(source, tree.stat(source), expected)
    folder_fd, name = tree.locate(target + UNFINISHED)
    os.unlink(name, dir_fd=folder_fd)


def check_untouched(path: str, seen: DiskEntry | None, expected: DiskEntry) -> None:
    """See that a file is as it was.

    Raises:
        TreeError: it is not.
    """
    if seen != expected:
        raise TreeError(f"{path!r} changed while it was being copied", path=path, hint="try again")


class Copying:
    """Finishes clones in a thread of its own, and has the disk take them.

    It ends with its ``with`` block, also where that ends early.

    Attributes:
        clones: that are being finished, or are by now.
    """

    def __init__(
        self,
        tree: Tree,
        clones: Sequence[Clone],
        *,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        """Begin.

        Args:
            tree: that source and stage are in.
            clones: to finish.
            stopping: whether the work shall stop.
            on_bytes: told how many bytes were copied since the last call, while ``finish`` waits.
        """
        self.clones = clones
        self._stopping = stopping
        self._on_bytes = on_bytes
        self._untold_bytes = 0
        self._is_awaited = False
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy")
        self._done = self._pool.submit(self._copy, tree.twin())
        self._stored = self._pool.submit(tree.sync)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()

    def check(self) -> None:
        """Raise what the copying ended with, if it failed."""
        if self._done.done():
            self._done.result()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._done.done()

    def finish(self) -> None:
        """Wait until all is copied.

        Raises:
            TorsyncError: that was not possible.
        """
        self._is_awaited = True
        self._done.result()
        self._on_bytes(self._untold_bytes)

    def check_stored(self) -> None:
        """Wait until the disk has what was copied, and everything else that was written before.

        Raises:
            TreeError: it did not take something.
        """
        self._stored.result()

    def _copy(self, tree: Tree) -> None:
        with closing(tree):
            for clone in self.clones:
                finish_clone(tree, clone, self._is_over, self._count)

    def _is_over(self) -> bool:
        return self._ended.is_set() or self._stopping()

    def _count(self, count: int) -> None:
        self._untold_bytes += count
        if self._is_awaited:
            self._on_bytes(self._untold_bytes)
            self._untold_bytes = 0
