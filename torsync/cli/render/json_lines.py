"""``--json``: one object per line, as ``schema.json`` describes them."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from torsync.cli.render.output import LineWriter, Throttle, is_wanted
from torsync.model.errors import ConfigError, ExitCode
from torsync.model.events import Notice, Progress, Stage, StageStarted
from torsync.service.clock import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from torsync.model.checkup import Finding
    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event
    from torsync.model.key_report import KeyReport
    from torsync.model.log_records import LogRecord
    from torsync.model.publish_reports import PublicationStatus, PublishReport
    from torsync.model.reports import (
        CheckReport,
        HistoryReport,
        PastReport,
        PauseReport,
        StatusReport,
        VerifyReport,
    )
    from torsync.model.service_report import ServiceReport
    from torsync.model.trash_reports import TrashReport
    from torsync.service.desk import ReloadReport

PROGRESS_INTERVAL_S = 0.5


class JsonRenderer:
    """Writes objects for scripts; errors to standard error, all else to standard output.

    ``quiet`` leaves out progress and notices below a warning, ``verbose`` adds debug notices.
    """

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        quiet: bool = False,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._out = LineWriter(stdout)
        self._err = LineWriter(stderr)
        self._quiet = quiet
        self._verbose = verbose
        self._wall_clock = wall_clock
        self._watched: dict[str, dict[str, Any]] = {}
        self._throttle = Throttle(PROGRESS_INTERVAL_S, clock)

    def event(self, event: Event) -> None:
        """Write a ``progress`` or ``notice`` object."""
        if isinstance(event, Notice):
            self._notice(event)
        elif self._quiet:
            return
        elif isinstance(event, StageStarted):
            self._progress(Progress(event.subscription, event.stage), event.detail)
        elif event.stage is Stage.SEEDING:
            return  # it never ends; `status` tells
        elif self._throttle.allows((event.subscription, event.stage)):
            self._progress(event, "")

    def check(self, report: CheckReport, command: str = "check-now") -> None:
        """Write a ``subscription`` object."""
        self._subscription(command, report.as_json())

    def verify(self, report: VerifyReport) -> None:
        """Write a ``subscription`` object."""
        self._subscription("verify", report.as_json())

    def status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus] = ()
    ) -> None:
        """Write a ``subscription`` or ``publication`` object for each report."""
        for report in reports:
            self._subscription("status", report.as_json())
        for publication in publications:
            self._publication("status", publication.as_json())

    def watch(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        """Write the same for each that has changed."""
        for report in reports:
            if self._has_changed(report.name, found := report.as_json()):
                self._subscription("status", found)
        for publication in publications:
            if self._has_changed(publication.name, found := publication.as_json()):
                self._publication("status", found)

    def _has_changed(self, name: str, found: dict[str, Any]) -> bool:
        before, self._watched[name] = self._watched.get(name), found
        return before != found

    def history(self, report: HistoryReport) -> None:
        """Write a ``subscription`` or ``publication`` object."""
        write = self._publication if report.is_publication else self._subscription
        write("history", report.as_json())

    def log(self, record: LogRecord) -> None:
        """Write a ``log`` object."""
        self._write(self._out, {"type": "log", **record.as_json()})

    def publication(self, report: PublishReport, command: str) -> None:
        """Write a ``publication`` object."""
        self._publication(command, report.as_json())

    def past(self, report: PastReport) -> None:
        """Write a ``subscription`` object."""
        self._subscription("rollback --list", report.as_json())

    def trash(self, report: TrashReport) -> None:
        """Write a ``subscription`` object."""
        self._subscription(report.command, report.as_json())

    def paused(self, report: PauseReport, kind: str) -> None:
        """Write a ``subscription`` or ``publication`` object."""
        command = "pause" if report.paused else "resume"
        self._write(self._out, {"type": kind, "command": command, **report.as_json()})

    def reloaded(self, report: ReloadReport) -> None:
        """Write a ``reload`` object."""
        self._write(self._out, {"type": "reload", **report.as_json()})

    def added(self, name: str, url: str, path: str, config: str) -> None:
        """Write a ``subscription`` object."""
        self._subscription("init", {"name": name, "url": url, "path": path, "config": config})

    def key(self, report: KeyReport) -> None:
        """Write a ``key`` object."""
        self._write(self._out, {"type": "key", "command": "keygen", **report.as_json()})

    def checkup(self, findings: Sequence[Finding]) -> None:
        """Write a ``check`` object for each."""
        for found in findings:
            self._write(self._out, {"type": "check", "command": "doctor", **found.as_json()})

    def service(self, report: ServiceReport) -> None:
        """Write a ``service`` object."""
        self._write(self._out, {"type": "service", **report.as_json()})

    def error(self, error: TorsyncError, subscription: str = "") -> None:
        """Write an ``error`` object, to standard error."""
        found: dict[str, Any] = {
            "type": "error",
            "name": subscription,
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
        }
        if isinstance(error, ConfigError):
            found["problems"] = list(error.problems)
        self._write(self._err, found)

    def result(self, exit_code: ExitCode, seconds: float) -> None:
        """Write the ``result`` object, the last one."""
        found = {
            "type": "result",
            "ok": exit_code is ExitCode.OK,
            "exit_code": int(exit_code),
            "seconds": round(seconds, 3),
        }
        self._write(self._out, found)

    def close(self) -> None:
        """Do nothing: every line was flushed."""

    def _notice(self, notice: Notice) -> None:
        if not is_wanted(notice.level, quiet=self._quiet, verbose=self._verbose):
            return
        found = {
            "type": "notice",
            "time": iso_time(self._wall_clock()),
            "name": notice.subscription,
            "release": notice.release,
            "level": notice.level.value,
            "code": notice.code,
            "message": notice.message,
            "hint": notice.hint,
        }
        self._write(self._out, found)

    def _progress(self, progress: Progress, detail: str) -> None:
        eta_s = progress.eta_s
        found = {
            "type": "progress",
            "name": progress.subscription,
            "stage": progress.stage.value,
            "detail": detail,
            "files_done": progress.files_done,
            "files_total": progress.files_total,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
            "download_rate": progress.download_rate,
            "upload_rate": progress.upload_rate,
            "peers": progress.peers,
            "eta_s": None if eta_s is None or not math.isfinite(eta_s) else round(eta_s, 1),
            "rate": progress.rate,
            "path": progress.path,
            "bytes_received": progress.bytes_received,
            "bytes_sent": progress.bytes_sent,
        }
        self._write(self._out, found)

    def _subscription(self, command: str, found: dict[str, Any]) -> None:
        self._write(self._out, {"type": "subscription", "command": command, **found})

    def _publication(self, command: str, found: dict[str, Any]) -> None:
        self._write(self._out, {"type": "publication", "command": command, **found})

    def _write(self, writer: LineWriter, found: dict[str, Any]) -> None:
        # ASCII only: it survives every locale, and names that are not UTF-8 on disk too.
        writer.line(json.dumps(found, allow_nan=False))
