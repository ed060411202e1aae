"""torsync in forks of a process that has imported it: a child of its own, without the start-up.

Most of what a short command takes is importing. A fork has arguments, environment, output files
and exit code like a program that was started; nothing has run in it before. Its user, limits,
umask and mounts are those of the first use: where a test changes them, it has to start torsync.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class WarmStart:
    """The process that forks, one child at a time; it ends with the one that started it."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", "from tests.support.warm_start import serve; serve()"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what select does not see must not be read
        )
        self._lock = threading.Lock()
        atexit.register(self.close)

    def run(
        self,
        arguments: Sequence[str],
        *,
        stdout: Path,
        stderr: Path,
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> int:
        """Run torsync to its end.

        Args:
            arguments: of its command line.
            stdout: a file to be written.
            stderr: another one.
            environment: all variables.
            timeout_s: how long it may take.

        Returns:
            Its exit code; negative for the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was killed.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = [list(arguments), os.getcwd(), str(stdout), str(stderr), dict(environment)]
        with self._lock:
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            pid = int(self._server.stdout.readline())
            in_time = bool(select.select([self._server.stdout], [], [], timeout_s)[0])
            if not in_time:
                os.kill(pid, signal.SIGKILL)
            exit_code = int(self._server.stdout.readline())
        if not in_time:
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        return exit_code

    def close(self) -> None:
        """End it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@functools.cache
def warm_start() -> WarmStart:
    """The one of this process."""
    return WarmStart()


def serve() -> None:
    """Import torsync; for each request fork, tell the child's process id, then its exit code."""
    import torsync

    # The interrupt key is for the tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in pkgutil.walk_packages(torsync.__path__, "torsync."):
        if not module.name.endswith(".__main__"):
            import_module(module.name)
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become_torsync(*json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become_torsync(
    arguments: list[str], folder: str, stdout: str, stderr: str, environment: dict[str, str]
) -> NoReturn:
    from torsync.cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path in enumerate([os.devnull, stdout, stderr]):
        opened = os.open(path, flags if number else os.O_RDONLY, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.exit(main(arguments))
