"""Runs a command of the configuration: bounded in time and output, with all it has started."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.printable import printable
from torsync.service.hooks.outcome import HookOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

_LOOK_EVERY_S = 0.05
_GRACE_S = 1.0
_MOST_OUTPUT_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_LINE_SHOWN = 300
# Begins the command as if nobody had changed its signals: the thread that calls this may have
# blocked some, which a child would inherit for good, and Python ignores SIGPIPE. That cannot be
# undone in a process with threads, between fork and exec. Why it could not begin goes to a
# descriptor that exec closes.
_BEGIN = """
import os, signal, sys
report = int(sys.argv[1])
os.set_inheritable(report, False)
for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    os.write(report, str(error.errno).encode())
    os._exit(127)
"""


def run_command(
    command: Sequence[str],
    details: Mapping[str, object],
    *,
    folder: str,
    environment: Mapping[str, str],
    timeout_s: float,
    stopping: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> HookOutcome:
    """Run a program to its end; no shell has to do with it.

    It gets a process group of its own, which is ended with it should it take too long. What it
    leaves running after it has ended by itself is left alone.

    Args:
        command: the program and its arguments.
        details: JSON of them is its standard input.
        folder: that it runs in; the root of the file system if that is not there.
        environment: all of its variables.
        timeout_s: it may take so long.
        stopping: whether it shall be ended before that.
        clock: gives seconds that only grow.
    """
    try:
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(details).encode() + b"\n")
            given.seek(0)
            reading, writing = os.pipe()
            try:
                process = subprocess.Popen(  # noqa: S603 - it is what the configuration says
                    [sys.executable, "-ISc", _BEGIN, str(writing), *command],
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=folder if os.path.isdir(folder) else os.sep,
                    env=dict(environment),
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            except BaseException:
                os.close(reading)
                raise
            finally:
                os.close(writing)
    except (OSError, ValueError) as error:
        return HookOutcome(None, problem=f"could not be begun: {error}")
    with os.fdopen(reading, "rb") as begun, process:
        problem = begun.read()  # ends when the command has begun
        if problem:
            process.wait()
            return HookOutcome(None, problem=f"could not be begun: {os.strerror(int(problem))}")
        return _attend(process, clock() + timeout_s, timeout_s, stopping, clock)


def _attend(
    process: subprocess.Popen[bytes],
    ends_s: float,
    timeout_s: float,
    stopping: Callable[[], bool],
    clock: Callable[[], float],
) -> HookOutcome:
    """Read what a process prints until it ends, or has to."""
    output = _Output(process)
    with output:
        while not _has_ended(process):
            if clock() >= ends_s:
                _end(process, output, clock)
                said = f"was ended as it took longer than {timeout_s:g} s"
                return HookOutcome(None, output.last_line(), said)
            if stopping():
                _end(process, output, clock)
                said = "was ended as the work shall stop"
                return HookOutcome(None, output.last_line(), said, is_cut_off=True)
            output.read(min(_LOOK_EVERY_S, max(ends_s - clock(), 0.0)))
        output.read_rest()
    return HookOutcome(process.wait(), output.last_line())


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has; its id stays its own until it is waited for, where systems can do that."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _end(process: subprocess.Popen[bytes], output: _Output, clock: Callable[[], float]) -> None:
    """End a process with all of its group: at first they are asked."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    ends_s = clock() + _GRACE_S
    while not _has_ended(process) and clock() < ends_s:
        output.read(_LOOK_EVERY_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    output.read_rest()
    process.wait()


class _Output:
    """The end of what a process prints; the rest is read and forgotten."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None, "it is a pipe"
        self._stream = process.stdout
        os.set_blocking(self._stream.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stream, selectors.EVENT_READ)
        self._is_open = True
        self._kept = b""

    def read(self, seconds: float) -> None:
        """Take what is printed within so many seconds, at most a little."""
        if not self._is_open:
            time.sleep(seconds)
        elif self._selector.select(seconds):
            self._take()

    def read_rest(self) -> None:
        """Take what was printed so far, and no more than that: others may go on."""
        for _ in range(2 * _MOST_OUTPUT_BYTES // _READ_BYTES + 2):
            if not (self._is_open and self._selector.select(0)):
                return
            self._take()

    def last_line(self) -> str:
        """The last line that says something."""
        lines = self._kept.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        shown = printable(last[:_LINE_SHOWN])
        return shown + "…" if len(last) > _LINE_SHOWN else shown

    def _take(self) -> None:
        try:
            data = os.read(self._stream.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._is_open = False
            self._selector.unregister(self._stream)
        self._kept = (self._kept + data)[-_MOST_OUTPUT_BYTES:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._selector.close()
