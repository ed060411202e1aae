"""Servers that tests start: child processes in the foreground, on loopback, with a log."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
PAUSE_S = 0.01


def _ports() -> Iterator[int]:
    """Ports in random order, each once: those of this process among all that run the tests.

    They lie below the range that systems take ports from by themselves.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = list(range(10_240 + mine, 30_240, workers))
    secrets.SystemRandom().shuffle(own)
    return itertools.cycle(own)


_PORTS = _ports()


def free_port(*, udp: bool = False) -> int:
    """A port of 127.0.0.1 that nobody uses now, for TCP and, if asked, for UDP as well.

    No other test, in this process or beside it, is given the same one.
    """
    for port in _PORTS:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
                tcp.bind((HOST, port))
            if udp:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                    datagrams.bind((HOST, port))
        except OSError:
            continue
        return port
    raise AssertionError("the ports do not end")


def wait_until(done: Callable[[], bool], what: str, *, deadline_s: float = 15) -> None:
    """Ask again and again until something is so.

    Raises:
        TimeoutError: it was not so in time.
    """
    deadline = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {deadline_s} s until {what}")
        # Asked again soon; the deadline decides, not the pause.
        time.sleep(PAUSE_S)


def end(process: subprocess.Popen[bytes], *, patience_s: float = 0) -> None:
    """End a child process and wait for it: by itself in time, else SIGTERM, else SIGKILL."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class ServerProcess:
    """A program that serves until it is closed, with a folder of its own for what it writes.

    Attributes:
        folder: removed by ``close``.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="server-")
        self.folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, for tests that stop or kill it."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """All it has printed."""
        try:
            return (self.folder / "output.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """End the process, wait for it and remove its folder; harmless the second time."""
        self._stop()
        self._temporary.cleanup()

    def _start(self, command: Sequence[str]) -> None:
        assert self._process is None, "already running"
        with open(self.folder / "output.log", "ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder), "no_proxy": "*"},
            )

    def _stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def _wait(self, done: Callable[[], bool], what: str, *, deadline_s: float = 15) -> None:
        """``wait_until``, which also ends with the process.

        Raises:
            RuntimeError: the process ended, or time was up; the message holds its log.
        """
        process = self._process
        assert process is not None, "not running"

        def done_or_ended() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"ended with {process.returncode}:\n{self.log}")
            return done()

        try:
            wait_until(done_or_ended, what, deadline_s=deadline_s)
        except TimeoutError as error:
            raise RuntimeError(f"{error}:\n{self.log}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
