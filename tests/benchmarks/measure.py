"""Measure whole processes, make the trees they are measured on, and compare what they left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.trees import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]

_CHUNK = 4 * 1024**2
_SMALL_FILES_PER_FOLDER = 300
_SMALL_FILE = (2_000, 4_000)


class BenchmarkError(AssertionError):
    """A contestant failed, or did not do what was asked of it."""


@dataclass(frozen=True)
class Run:
    """One whole process.

    Attributes:
        seconds: from its start to its end.
        user_s, system_s: processor time of the process and those it waited for.
        peak_bytes: the largest resident set.
        fetched_bytes: what came over the wire; None if that is not known.
        output: what it printed.
    """

    seconds: float
    user_s: float
    system_s: float
    peak_bytes: int
    fetched_bytes: int | None
    output: str

    def fetching(self, fetched_bytes: int) -> Run:
        """The same run with what it has fetched."""
        return replace(self, fetched_bytes=fetched_bytes)


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


def write_mixed_tree(root: Path, *, files: int, total: int) -> None:
    """Write ``files`` files of very different sizes, ``total`` bytes in all."""
    chance = random.Random("mixed")
    weights = [chance.lognormvariate(0, 1.7) for _ in range(files)]
    left, weight_left = total, sum(weights)
    for number, weight in enumerate(weights):
        size = round(left * weight / weight_left) if number < files - 1 else left
        left, weight_left = left - size, weight_left - weight
        folder = root / f"part{number % 12:02}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"asset{number:04}.pak").open("wb") as file:
            for at in range(0, size, _CHUNK):
                file.write(chance.randbytes(min(_CHUNK, size - at)))


def write_small_tree(root: Path, *, files: int) -> None:
    """Write ``files`` files of about 3 kB, some hundred in a folder."""
    chance = random.Random("small")
    for number in range(files):
        folder = root / f"folder{number // _SMALL_FILES_PER_FOLDER:04}"
        if number % _SMALL_FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        content = chance.randbytes(chance.randint(*_SMALL_FILE))
        (folder / f"file{number:06}.bin").write_bytes(content)


def assert_equal_trees(actual: Path, expected: Path) -> None:
    """Compare names and every byte; torsync's own folder at the top is left out.

    Unlike the tests' own comparison it holds one block at a time.

    Raises:
        BenchmarkError: naming the first difference.
    """
    have, want = _files(actual), _files(expected)
    if have.keys() != want.keys():
        path = min(have.keys() ^ want.keys())
        raise BenchmarkError(f"{path} is {'missing' if path in want else 'too much'}")
    for path, size in want.items():
        if have[path] != size or not _same_content(actual / path, expected / path):
            raise BenchmarkError(f"{path} differs")


def read_tree(root: Path) -> None:
    """Read every file, so that all is in the page cache."""
    buffer = bytearray(_CHUNK)
    for path in _files(root):
        with (root / path).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _files(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root) and OWN_FOLDER in folders:
            folders.remove(OWN_FOLDER)
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
