"""The program, killed at some moment of its commit: after the journal was written, before its end.

Run as ``python -m tests.support.killed_commit MOMENT ARGUMENTS``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tests.faults.test_fail_everywhere import calls_told_to
from torsync.cli.main import main

if TYPE_CHECKING:
    from tests.support.cli import Argument, Torsync

# The journal is all there is; one file is placed; all are; nothing is recorded yet.
MOMENTS = ("journal", "placed", "record")


def kill_in_commit(torsync: Torsync, moment: str, *arguments: Argument) -> None:
    """Run a command until some moment of its commit.

    Raises:
        AssertionError: it ended in another way.
    """
    command = torsync.command(*arguments)
    at = command.index("torsync")
    done = subprocess.run(
        [*command[:at], "tests.support.killed_commit", moment, *command[at + 1 :]],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=torsync.environment(),
    )
    assert done.returncode == -signal.SIGKILL, (done.returncode, done.stdout, done.stderr)


class _Killer:
    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._is_journal = self._is_written = False
        self._renames = 0

    def __call__(self, name: str, arguments: tuple[Any, ...], _options: dict[str, Any]) -> None:
        statement = str(arguments[0]) if name == "database" else ""
        if not self._is_written:
            self._is_journal |= statement.startswith("INSERT INTO journal")
            self._is_written = self._is_journal and statement == "COMMIT"
            return
        self._renames += name == "rename"
        reached = {
            "journal": True,
            "placed": self._renames == 2,
            "record": statement == "COMMIT",
        }
        if reached[self._moment]:
            os.kill(os.getpid(), signal.SIGKILL)


def _run() -> NoReturn:
    moment, *arguments = sys.argv[1:]
    with calls_told_to(_Killer(moment)):
        sys.exit(main(arguments))


if __name__ == "__main__":
    _run()
