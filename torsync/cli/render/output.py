"""Writing lines that several threads have to say, and not saying the same too often."""

from __future__ import annotations

import os
import time
from threading import RLock
from typing import TYPE_CHECKING

from torsync.model.events import Level
from torsync.model.log_records import SYSLOG_PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import TextIO


def is_wanted(level: Level, *, quiet: bool, verbose: bool) -> bool:
    """Decide whether a notice of this level is shown."""
    if level is Level.DEBUG:
        return verbose and not quiet
    return level is not Level.INFO or not quiet


def leads_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is the one that systemd connects with its journal (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is no file, or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineWriter:
    """Writes whole lines to a stream, each flushed.

    A reader that went away ends the output silently. Any other failure to write (a log on a
    full disk) loses output but not the work that the line tells of: the next line is tried
    again, and Python itself complains at exit if something is left in the buffer.
    """

    def __init__(self, stream: TextIO, *, is_journal: bool = False) -> None:
        """Prepare.

        Args:
            stream: to write to.
            is_journal: whether it leads to systemd's journal, which is told each line's level.
        """
        self._stream = stream
        self._is_journal = is_journal
        # Reentrant: a signal handler may have something to say while a line is being written.
        self._lock = RLock()
        self._reader_gone = False

    def line(self, text: str, level: Level = Level.INFO) -> None:
        """Write ``text`` and a newline; what the stream cannot encode is escaped."""
        if self._is_journal:
            text = f"<{SYSLOG_PRIORITIES[level]}>{text}"
        with self._lock:
            if self._reader_gone:
                return
            try:
                try:
                    self._stream.write(text + "\n")
                except UnicodeEncodeError as problem:
                    escaped = text.encode(problem.encoding, "backslashreplace")
                    self._stream.write(escaped.decode(problem.encoding) + "\n")
                self._stream.flush()
            except BrokenPipeError:
                self._reader_gone = True
                self._discard_the_rest()
            except OSError:
                pass

    def _discard_the_rest(self) -> None:
        """Let the interpreter's flush at exit succeed, as Python's ``signal`` page advises."""
        try:
            descriptor = self._stream.fileno()
        except OSError:  # not a file: nothing is flushed at exit
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, descriptor)
        finally:
            os.close(nowhere)


class Throttle:
    """Allows one thing per key and interval."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._last_s: dict[Hashable, float] = {}
        self._lock = RLock()

    def allows(self, key: Hashable) -> bool:
        """Whether the interval has passed since ``key`` was last allowed or begun."""
        with self._lock:
            now_s = self._clock()
            last_s = self._last_s.get(key)
            if last_s is not None and now_s - last_s < self._interval_s:
                return False
            self._last_s[key] = now_s
            return True

    def begin(self, key: Hashable) -> None:
        """Start an interval for ``key`` now."""
        with self._lock:
            self._last_s[key] = self._clock()
