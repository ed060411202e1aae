"""Lines for pipes, logs and journald: no colours, no control characters, no timestamps."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.cli.render.checkup import summarise_checkup, worth_showing
from torsync.cli.render.histories import history_lines, log_lines
from torsync.cli.render.order_lines import reload_lines, summarise_paused
from torsync.cli.render.output import LineWriter, Throttle, is_wanted, leads_to_journal
from torsync.cli.render.plans import plan_lines, plan_remarks, plan_rows
from torsync.cli.render.publications import (
    publication_remarks,
    publication_sections,
    summarise_publication,
    summarise_publication_status,
)
from torsync.cli.render.service_lines import service_lines
from torsync.cli.render.summaries import (
    Section,
    advice,
    check_sections,
    hint_added,
    hint_verify,
    key_lines,
    past_lines,
    summarise_added,
    summarise_check,
    summarise_status,
    summarise_verify,
    verify_sections,
)
from torsync.cli.render.text import (
    PATHS_SHOWN,
    counted,
    describe_progress,
    error_lines,
    printable,
    shortened,
)
from torsync.cli.render.trash_lines import summarise_trash, trash_lines
from torsync.model.errors import ExitCode
from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.reports import StatusReport
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from torsync.model.checkup import Finding
    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event, Progress
    from torsync.model.key_report import KeyReport
    from torsync.model.log_records import LogRecord
    from torsync.model.publish_reports import PublicationStatus, PublishReport
    from torsync.model.reports import (
        CheckReport,
        HistoryReport,
        PastReport,
        PauseReport,
        VerifyReport,
    )
    from torsync.model.service_report import ServiceReport
    from torsync.model.trash_reports import TrashReport
    from torsync.service.desk import ReloadReport

PROGRESS_INTERVAL_S = 10.0
_RELEASE_LENGTH = 40
# What every poll passes through, several times an hour, and what never ends.
_ROUTINE_STAGES = frozenset({Stage.WAITING, Stage.CHECKING_REMOTE, Stage.LOOKING})
_ENDLESS_STAGES = frozenset({Stage.WAITING, Stage.NEEDS_APPROVAL, Stage.POSTPONED, Stage.SEEDING})


class PlainRenderer:
    """Writes one line per event that matters, each led by the subscription's name.

    ``quiet`` leaves warnings and errors only; ``verbose`` adds debug notices, routine stages
    and every path behind a count.
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
        self._err = LineWriter(stderr, is_journal=leads_to_journal(stderr, os.environ))
        self._quiet = quiet
        self._verbose = verbose
        self._throttle = Throttle(PROGRESS_INTERVAL_S, clock)
        self._wall_clock = wall_clock
        self._told_stage: dict[str, Stage] = {}
        self._watched: dict[str, StatusReport | PublicationStatus] = {}

    def event(self, event: Event) -> None:
        """Write a line if the event is worth one."""
        if isinstance(event, Notice):
            if is_wanted(event.level, quiet=self._quiet, verbose=self._verbose):
                self._notice(event)
        elif self._quiet:
            return
        elif isinstance(event, StageStarted):
            self._stage(event)
        else:
            self._progress(event)

    def check(self, report: CheckReport, command: str = "check-now") -> None:  # noqa: ARG002
        """Write a line; the paths too of problems. Of a plan: all that it would do."""
        if report.dry_run:
            self._plan(report)
            return
        sections = [found for found in check_sections(report) if self._verbose or found.is_problem]
        self._report(report.name, summarise_check(report), sections)

    def verify(self, report: VerifyReport) -> None:
        """Write a line for the counts and one for each problem."""
        sections = verify_sections(report, all_pieces=self._verbose)
        self._report(report.name, summarise_verify(report), sections, hint_verify(report))

    def publication(self, report: PublishReport, command: str) -> None:  # noqa: ARG002
        """Write a line for the counts, one for each path and place."""
        if self._quiet:
            return
        shown = publication_sections(report)
        if not (self._verbose or report.dry_run):
            shown = [section for section in shown if section.is_problem]
        self._report(report.name, summarise_publication(report), shown)
        for label, text in publication_remarks(report):
            self._say(self._out, report.name, label, text)

    def status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus] = ()
    ) -> None:
        """Write a line for each subscription and publication, and its last error."""
        if self._quiet:
            return
        now_s = self._wall_clock()
        for report in reports:
            self._status(report, summarise_status(report, now_s))
        for publication in publications:
            self._status(publication, summarise_publication_status(publication, now_s))

    def _status(self, report: StatusReport | PublicationStatus, summary: str) -> None:
        self._say(self._out, report.name, summary)
        if report.last_error:
            self._say(self._out, report.name, "last error", printable(report.last_error))
        if hint := advice(report):
            self._say(self._out, report.name, "hint", hint)

    def watch(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        """Write a line for each that has changed; of mere progress, one now and then."""
        now_s = self._wall_clock()
        both: list[StatusReport | PublicationStatus] = [*reports, *publications]
        for report in both:
            seen = replace(report, progress=None, next_check_s=None)
            if isinstance(seen, StatusReport):
                seen.last_check_s = None
            key = (report.name, "watched")
            if self._watched.get(report.name) == seen:
                is_busy = report.progress and report.progress.stage not in _ENDLESS_STAGES
                if not is_busy or not self._throttle.allows(key):
                    continue
            self._watched[report.name] = seen
            self._throttle.begin(key)
            if isinstance(report, StatusReport):
                self._status(report, summarise_status(report, now_s))
            else:
                self._status(report, summarise_publication_status(report, now_s))

    def history(self, report: HistoryReport) -> None:
        """Write a line for each update; with ``verbose``, one for each path as well."""
        for line in history_lines(report, verbose=self._verbose):
            self._say(self._out, report.name, line)

    def log(self, record: LogRecord) -> None:
        """Write a line of the log."""
        for line in log_lines(record):
            self._out.line(line)

    def past(self, report: PastReport) -> None:
        """Write a line for each release."""
        for line in past_lines(report, self._wall_clock()):
            self._say(self._out, report.name, line)

    def trash(self, report: TrashReport) -> None:
        """Write a line for the counts and one for each file."""
        if not self._quiet:
            self._say(self._out, report.name, summarise_trash(report))
            for line in trash_lines(report, verbose=self._verbose):
                self._say(self._out, report.name, line)

    def paused(self, report: PauseReport, kind: str) -> None:  # noqa: ARG002
        """Write a line."""
        if not self._quiet:
            self._say(self._out, report.name, summarise_paused(report))

    def reloaded(self, report: ReloadReport) -> None:
        """Write a line for each thing that was done."""
        if not self._quiet:
            for line in reload_lines(report):
                self._say(self._out, "", line)

    def added(self, name: str, url: str, path: str, config: str) -> None:
        """Write what was added and what comes next."""
        if not self._quiet:
            self._say(self._out, name, summarise_added(url, path, config))
            self._say(self._out, name, "hint", hint_added(name))

    def key(self, report: KeyReport) -> None:
        """Write where the keys are, and the lines of configuration for both sides."""
        if not self._quiet:
            for label, text in key_lines(report):
                self._say(self._out, label, text)

    def checkup(self, findings: Sequence[Finding]) -> None:
        """Write a line for each, its hint, and how many there are."""
        for found in worth_showing(findings, quiet=self._quiet):
            words = (found.check, found.verdict.value, printable(found.message))
            self._say(self._out, found.name, *words)
            if found.hint:
                self._say(self._out, found.name, found.check, "hint", printable(found.hint))
        if not self._quiet:
            self._say(self._out, "", summarise_checkup(findings))

    def service(self, report: ServiceReport) -> None:
        """Write what was done, one step a line, and what is left to do; an example unchanged."""
        if not self._quiet:
            for label, text in service_lines(report):
                self._say(self._out, label, text)

    def error(self, error: TorsyncError, subscription: str = "") -> None:
        """Write the error, each of its problems and the hint on a line of its own."""
        for label, text in error_lines(error):
            if label:
                self._say(self._err, subscription, label, text, level=Level.ERROR)
            else:
                self._say(self._err, subscription, f"  {text}", level=Level.ERROR)

    def result(self, exit_code: ExitCode, seconds: float) -> None:
        """Write how the command ended, if asked to be verbose: the reports told the rest."""
        if self._verbose and not self._quiet:
            code = ExitCode(exit_code)
            self._say(self._err, "", f"exit code {code:d} after {format_duration(seconds)}")

    def close(self) -> None:
        """Do nothing: every line was flushed."""

    def _notice(self, notice: Notice) -> None:
        words = [printable(notice.message)]
        if notice.level is not Level.INFO:
            words.insert(0, notice.level.value)
        subject = _subject(notice)
        self._say(self._err, subject, *words, level=notice.level)
        if notice.hint:
            self._say(self._err, subject, "hint", printable(notice.hint), level=notice.level)

    def _stage(self, event: StageStarted) -> None:
        self._throttle.begin((event.subscription, event.stage))
        if event.stage in _ROUTINE_STAGES and not self._verbose:
            return
        is_told = self._told_stage.get(event.subscription) is event.stage
        self._told_stage[event.subscription] = event.stage
        if event.stage in _ENDLESS_STAGES and is_told and not self._verbose:
            return  # back to seeding after a poll that found nothing
        words = [event.stage.value, *([printable(event.detail)] if event.detail else [])]
        level = Level.ERROR if event.stage is Stage.FAILED else Level.INFO
        self._say(self._err, _subject(event), *words, level=level)

    def _progress(self, progress: Progress) -> None:
        key = (progress.subscription, progress.stage)
        if progress.stage in _ENDLESS_STAGES or not self._throttle.allows(key):
            return
        how_far = describe_progress(progress)
        if how_far:
            self._say(self._err, progress.subscription, progress.stage.value, how_far)

    def _plan(self, report: CheckReport) -> None:
        if self._quiet:
            return
        self._say(self._out, report.name, summarise_check(report))
        for row in plan_rows(report) if report.changed else ():
            files = f"{counted(row.files, 'file')}, {format_size(row.size_bytes)}"
            self._say(self._out, report.name, f"would {row.label}", files)
        for label, lines in plan_lines(report, None if self._verbose else PATHS_SHOWN).items():
            for line in lines:
                reason = f" ({line.reason})" if line.reason else ""
                self._say(self._out, report.name, label, f"{line.text}{reason}")
        for remark, _is_obstacle in plan_remarks(report):
            self._say(self._out, report.name, remark)

    def _report(self, name: str, summary: str, sections: Iterable[Section], hint: str = "") -> None:
        if self._quiet:
            return
        self._say(self._out, name, summary)
        for section in sections:
            for line in section.lines(None if self._verbose else PATHS_SHOWN):
                self._say(self._out, name, section.label, line)
        if hint:
            self._say(self._out, name, "hint", hint)

    @staticmethod
    def _say(writer: LineWriter, name: str, *words: str, level: Level = Level.INFO) -> None:
        writer.line(": ".join([printable(name), *words] if name else words), level)


def _subject(event: StageStarted | Notice) -> str:
    """What an event is about; a release that is called like its subscription says nothing more."""
    name, release = event.subscription, event.release
    if not (name and release) or release == name:
        return name
    return f"{name} ({shortened(release, _RELEASE_LENGTH)})"
