"""What a process takes, and whether that grows."""

from __future__ import annotations

import gc
import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from torsync.swarm.memory import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KIB = 1024
_Cache = type(lru_cache(lambda: None))


class Sample(NamedTuple):
    """What there is at one moment.

    Attributes:
        polls, releases: so far.
        rss_bytes: resident memory.
        blocks: that Python's allocator has handed out: one for each small object.
        objects: that the garbage collector knows.
        threads, descriptors: of the process.
        files, file_bytes: of state and trash; SQLite's logs are left out, which are cut at 4 MiB.
    """

    polls: int
    releases: int
    rss_bytes: int
    blocks: int
    objects: int
    threads: int
    descriptors: int
    files: int
    file_bytes: int


def take_sample(polls: int, releases: int, folders: Iterable[Path]) -> Sample:
    """Look at this process, and at folders, once what is unused is given back.

    Caches that have a limit are emptied: else they grow until they are full.
    """
    for found in gc.get_objects():
        if type(found) is _Cache and found.cache_info().maxsize is not None:
            found.cache_clear()
    gc.collect()
    return_freed_memory()
    files = [file for folder in folders for file in _files_in(folder)]
    return Sample(
        polls,
        releases,
        rss_bytes=_status("VmRSS") * _KIB,
        blocks=sys.getallocatedblocks(),
        objects=len(gc.get_objects()),
        threads=_status("Threads"),
        descriptors=len(os.listdir("/proc/self/fd")),
        files=len(files),
        file_bytes=sum(file.stat().st_size for file in files),
    )


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise AssertionError(f"there is no {name} in /proc/self/status")


def _files_in(folder: Path) -> list[Path]:
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.endswith(("-wal", "-shm", "-journal"))
    ]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """How much y grows with x: the median of the slopes between all points (Theil and Sen).

    A few points that lie far off change nothing.
    """
    pairs = [
        (ys[after] - ys[before]) / (xs[after] - xs[before])
        for before in range(len(xs))
        for after in range(before + 1, len(xs))
    ]
    return median(pairs)


def thread_names() -> list[str]:
    """Names of Python's threads, for those who look what there is too much of."""
    return sorted(thread.name for thread in threading.enumerate())
