"""Measure whole processes, and compare what they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.trees import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]

_CHUNK = 4 * 1024**2
_SAMPLE_S = 0.002


class BenchmarkError(AssertionError):
    """A contestant failed, or did not do what was asked of it."""


@dataclass(frozen=True)
class Run:
    """One whole process.

    Attributes:
        seconds: from its start to its end.
        user_s, system_s: processor time of the process and those it waited for.
        peak_bytes: the largest resident set.
        fetched_bytes: what came over the wire, hints included; None if that is not known.
        hint_bytes: how much of it were hints; None for those who know none.
        output: what it printed.
        hashed_bytes: what it says that it has hashed; None if it does not say.
        counts: how many files it says that it kept, moved, fetched and so on.
        extra_bytes: what its file system had less room for at its fullest; None if not watched.
        cpu_percent: of a core, while it had nothing to do; None if that was not measured.
    """

    seconds: float
    user_s: float
    system_s: float
    peak_bytes: int
    fetched_bytes: int | None
    output: str
    hashed_bytes: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    extra_bytes: int | None = None
    hint_bytes: int | None = None
    cpu_percent: float | None = None

    def telling(
        self,
        *,
        fetched: int,
        hashed: int | None = None,
        hints: int | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> Run:
        """The same run with what it has done."""
        return replace(
            self,
            fetched_bytes=fetched,
            hashed_bytes=hashed,
            hint_bytes=hints,
            counts=counts or {},
        )


def run_process(command: Sequence[str], scratch: Path, *, timeout_s: float = 600) -> Run:
    """Run a command from its start to its end.

    Args:
        command: the program and its arguments.
        scratch: a folder for its output; its home folder, too.
        timeout_s: it is killed after so long.

    Raises:
        BenchmarkError: it ended with something else than 0.
    """
    log = scratch / "output.log"
    stopwatch = Path(__file__).with_name("stopwatch.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(stopwatch), str(log), str(timeout_s), *command],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(scratch), "no_proxy": "*"},
    )
    used = json.loads(done.stdout)
    output = log.read_text(errors="replace")
    if exit_code := used.pop("exit_code"):
        how = "was killed after" if exit_code < 0 else f"ended with {exit_code} after"
        raise BenchmarkError(f"{command[0]} {how} {used['seconds']:.1f} s: {output[-2000:]}")
    return Run(**used, fetched_bytes=None, output=output)


class DiskMeter:
    """Watches, inside a ``with`` block, how full a file system gets that nobody else uses.

    Attributes:
        extra_bytes: what it had less room for at its fullest than at the beginning.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="disk meter")
        self._before = _used_bytes(folder)
        self.extra_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._done.wait(_SAMPLE_S)
            extra = _used_bytes(self._folder) - self._before
            self.extra_bytes = max(self.extra_bytes, extra)


def _used_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def assert_equal_trees(
    actual: Path, expected: Path, *, without: str = "", contents: Iterable[str] | None = None
) -> None:
    """Compare names, sizes and every byte; torsync's own folder at the top is left out.

    Unlike the tests' own comparison it holds one block at a time.

    Args:
        actual: the folder that is judged.
        expected: what it has to be equal to.
        without: another folder at the top of ``actual`` that is left out.
        contents: only the bytes of these paths, where both have them; None for all.

    Raises:
        BenchmarkError: naming the first difference.
    """
    have, want = file_sizes(actual, without=without), file_sizes(expected)
    if have.keys() != want.keys():
        path = min(have.keys() ^ want.keys())
        raise BenchmarkError(f"{path} is {'missing' if path in want else 'too much'}")
    read = want.keys() if contents is None else want.keys() & set(contents)
    for path, size in want.items():
        if have[path] != size or (
            path in read and not _same_content(actual / path, expected / path)
        ):
            raise BenchmarkError(f"{path} differs")


def read_tree(root: Path, paths: Iterable[str] | None = None) -> None:
    """Read every file (or those that are there of ``paths``) into the page cache."""
    buffer = bytearray(_CHUNK)
    present = file_sizes(root)
    for path in present if paths is None else present.keys() & set(paths):
        with (root / path).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def file_sizes(root: Path, *, without: str = "") -> dict[str, int]:
    """Relative path → size of every file; torsync's own folder at the top is left out."""
    found: dict[str, int] = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in {OWN_FOLDER, without}]
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = os.lstat(path).st_size
    return found


def _same_content(one: Path, other: Path) -> bool:
    with one.open("rb", buffering=0) as first, other.open("rb", buffering=0) as second:
        while block := first.read(_CHUNK):
            if block != second.read(_CHUNK):
                return False
        return not second.read(1)
