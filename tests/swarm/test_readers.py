"""Readers in other processes, while one update follows another: each read is of one release."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tests.support
from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import PIECE, overwritten
from tests.unit.test_tree import mounted, tmpfs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from tests.support.updates import Updates

READERS = 2
LARGE = random_bytes(40 * PIECE + 5, "large")
ONE, TWO, THREE = (random_bytes(6 * PIECE + number, f"{number}") for number in range(3))
FIRST = {
    "a/patched.bin": LARGE,
    "a/kept.bin": random_bytes(3 * PIECE, "kept"),
    "cycle/1": ONE,
    "cycle/2": TWO,
    "cycle/3": THREE,
    "empty": b"",
    "log": random_bytes(5000, "log"),
    "replaced.bin": random_bytes(9 * PIECE, "replaced"),
    "small/1": b"first",
    "small/2": b"the same",
}
SECOND = {
    **FIRST,
    "a/patched.bin": overwritten(LARGE, 7 * PIECE, b"patched")[: 37 * PIECE],
    "cycle/1": THREE,
    "cycle/2": ONE,
    "cycle/3": TWO,
    "empty": b"not empty",
    "log": random_bytes(6000, "new log"),
    "log.1": FIRST["log"],
    "replaced.bin": random_bytes(9 * PIECE, "by this"),
    "small/1": b"second",
}
BOTH = sorted(FIRST.keys() & SECOND.keys())


class Reader:
    """A process that reads some paths of a tree in a loop."""

    def __init__(self, root: Path, allowed: Mapping[str, list[str]]) -> None:
        script = Path(tests.support.__file__).with_name("reader_process.py")
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps({"root": str(root), "allowed": allowed}))

    def ask(self) -> dict[str, Any]:
        """What it has read, after it has read everything at least once since the last answer."""
        self._say("?")
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.mark.parametrize("disk", ["where tests are", "tmpfs"])
def test_readers_see_whole_files_of_either_release_at_every_path_that_both_have(
    updates: Updates, disk: str
) -> None:
    with ExitStack() as stack:
        if disk == "tmpfs":
            stack.enter_context(mounted(updates.tree, *tmpfs("size=50m")))
        second = updates.publish(SECOND, "packed")
        first = updates.publish(FIRST, "packed")
        updates.torsync.run("check-now").assert_ok()
        allowed = {path: [digest(FIRST[path]), digest(SECOND[path])] for path in BOTH}
        readers = [stack.enter_context(Reader(updates.tree, allowed)) for _ in range(READERS)]
        for torrent, entries in [(second, SECOND), (first, FIRST)]:
            for reader in readers:
                reader.ask()
            updates.publisher.announce(torrent)
            updates.torsync.run("check-now").assert_ok()
            assert tree_bytes(updates.tree) == entries
        for reader in readers:
            told = reader.ask()
            assert told["wrong"] == []
            assert told["reads"] > 20 * len(BOTH)
            assert {path: set(seen) for path, seen in told["seen"].items()} == {
                path: set(digests) for path, digests in allowed.items()
            }
