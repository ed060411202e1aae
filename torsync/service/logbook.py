"""The log of the service: its newest lines in files, for ``torsync logs``, whatever else is kept.

They are in ``STATE_DIR/log``, readable by their owner alone, and take at most 6 MiB: one line of
JSON each, see ``model.log_records``.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from itertools import islice
from logging.handlers import RotatingFileHandler
from typing import IO, TYPE_CHECKING

from torsync.model.errors import StateError, is_mistake
from torsync.model.events import Level
from torsync.model.history import record_of_release, record_of_update
from torsync.model.log_records import LogRecord, chosen, describe_record, record_of_event
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, PauseReport, VerifyReport
from torsync.service.clock import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event
    from torsync.model.orders import Report

_FILE = "torsync.log"
_FILE_BYTES = 1024**2
_OLD_FILES = 5
_LOOK_S = 0.2


class Logbook:
    """Writes the log. All methods may be called from any thread; a full disk loses lines only."""

    def __init__(
        self,
        state_dir: Path,
        *,
        file_bytes: int = _FILE_BYTES,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Open the newest file, or make it.

        Args:
            state_dir: of the service, the only one that writes there.
            file_bytes: when the next file is begun.
            now_s: gives Unix seconds.

        Raises:
            StateError: it cannot be made.
        """
        self._state_dir = state_dir
        self._now_s = now_s
        self._releases: dict[str, str] = {}
        folder = log_folder(state_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handler = _Rotating(folder / _FILE, file_bytes)
        except OSError as error:
            raise StateError(
                f"the log in {str(folder)!r} cannot be written: {error.strerror or error}",
                hint="check the disk and the permissions of the state directory",
            ) from error

    def close(self) -> None:
        """Close the file; what is said later is lost."""
        self._handler.close()

    def sink(self, event: Event) -> None:
        """Write what an event has to say; an ``EventSink``."""
        record = record_of_event(event, iso_time(self._now_s()))
        if record is None:
            return
        if record.release:
            self._releases[record.name] = record.release
        self._write(record)

    def report(self, report: Report, command: str) -> None:
        """Write what was done.

        Args:
            report: on it.
            command: that it was done for; ``run``: the service did it by itself.
        """
        at_s = self._now_s()
        release, code = getattr(report, "release", ""), command
        if isinstance(report, CheckReport):
            if report.dry_run:
                return
            code = "updated" if report.changed else "checked"
            said = describe_record(record_of_update(report, at_s)) if report.changed else "in sync"
        elif isinstance(report, PublishReport):
            if report.dry_run:
                return
            release = str(report.number)
            code = "released" if report.changed else "checked"
            said = describe_record(record_of_release(report, at_s))
            said = f"published: {said}" if report.changed else "nothing changed"
        elif isinstance(report, VerifyReport):
            wrong = len({*report.missing, *report.damaged, *report.wrong_size, *report.unreadable})
            said = f"verified: {report.ok:,} files right, {wrong:,} not"
            said += f"; {len(report.repaired):,} repaired" if report.repaired else ""
        elif isinstance(report, PauseReport):
            if not report.changed:
                return
            said = "paused" if report.paused else "resumed"
        else:
            said = f"`{command}` done"
        if release:
            self._releases[report.name] = release
        known = self._releases.get(report.name, "")
        self._write(LogRecord(iso_time(at_s), Level.INFO, report.name, known, code, said))

    def failed(self, name: str, error: TorsyncError) -> None:
        """Write why something that was asked for was not done."""
        time, known = iso_time(self._now_s()), self._releases.get(name, "")
        level = Level.INFO if is_mistake(error) else Level.ERROR
        self._write(LogRecord(time, level, name, known, error.code, error.message, error.hint))

    def lines(
        self, names: Collection[str] = (), last: int = 100, level: Level = Level.INFO
    ) -> list[LogRecord]:
        """See ``read_log``."""
        return read_log(self._state_dir, names, last, level)

    def _write(self, record: LogRecord) -> None:
        # ASCII only: names that are not UTF-8 on disk survive it.
        line = json.dumps(record.as_json())
        self._handler.handle(logging.makeLogRecord({"msg": line}))


class _Rotating(RotatingFileHandler):
    """Files of whole lines that only their owner reads."""

    def __init__(self, file: Path, file_bytes: int) -> None:
        super().__init__(file, maxBytes=file_bytes, backupCount=_OLD_FILES, encoding="ascii")
        with open(file, "rb+") as found:
            found.seek(0, os.SEEK_END)
            if found.tell():
                found.seek(-1, os.SEEK_END)
                if found.read(1) != b"\n":  # the last line was cut off
                    found.write(b"\n")

    def _open(self) -> IO[str]:  # type: ignore[override]
        return open(
            self.baseFilename,
            "a",
            encoding="ascii",
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Lose the line: the work that it tells of goes on."""


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"the log in {str(file)!r} cannot be read: {error.strerror or error}",
            hint="give the command as the user that the service runs as, or as root",
        ) from error


def log_folder(state_dir: Path) -> Path:
    """Where the files are."""
    return state_dir / "log"


def read_log(
    state_dir: Path, names: Collection[str] = (), last: int = 100, level: Level = Level.INFO
) -> list[LogRecord]:
    """Read the newest lines, the oldest of them first; whether or not the service runs.

    Args:
        state_dir: of the service.
        names: of subscriptions and publications; none: all, and what is about the service.
        last: how many.
        level: the least that matters.

    Raises:
        StateError: a file cannot be read.
    """
    found = list(islice(chosen(_backwards(state_dir), names, level), last))
    return found[::-1]


class Following:
    """Gives lines as they are written, from when it is made; whether or not the service runs."""

    def __init__(self, state_dir: Path) -> None:
        """Begin.

        Args:
            state_dir: of the service.

        Raises:
            StateError: a file cannot be read.
        """
        self._file = log_folder(state_dir) / _FILE
        self._stream = _opened(self._file)
        if self._stream is not None:
            self._stream.seek(0, os.SEEK_END)

    def close(self) -> None:
        """End."""
        if self._stream is not None:
            self._stream.close()

    def records(self, wait: Callable[[float], bool]) -> Iterator[LogRecord]:
        """Give all that is written.

        Args:
            wait: sleeps so many seconds, True if that shall end.

        Raises:
            StateError: a file cannot be read.
        """
        rest = b""
        while True:
            is_replaced = self._is_replaced()  # before its end is read
            if self._stream is not None:
                *lines, rest = (rest + self._stream.read()).split(b"\n")
                yield from filter(None, map(_parsed, lines))
            if is_replaced and (fresh := _opened(self._file)) is not None:
                self.close()
                self._stream, rest = fresh, b""
            elif wait(_LOOK_S):
                return

    def _is_replaced(self) -> bool:
        if self._stream is None:
            return True
        try:
            there = self._file.stat()
        except OSError:
            return False
        here = os.fstat(self._stream.fileno())
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)


def _backwards(state_dir: Path) -> Iterator[LogRecord]:
    file = log_folder(state_dir) / _FILE
    for path in (file, *(file.with_name(f"{_FILE}.{n}") for n in range(1, _OLD_FILES + 1))):
        with _in_words(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue
        for line in reversed(text.splitlines()):
            if (record := _parsed(line)) is not None:
                yield record


def _opened(file: Path) -> IO[bytes] | None:
    with _in_words(file):
        try:
            return open(file, "rb")
        except FileNotFoundError:
            return None


def _parsed(line: bytes) -> LogRecord | None:
    return LogRecord.load(line.decode("ascii", "replace"))
