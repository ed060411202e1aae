"""For a terminal: live progress, colours and tables.

All text is put on the screen as rich's ``Text``, so that brackets in a name are never markup,
and has been made ``printable``, so that no name steers the terminal.
"""

from __future__ import annotations

import time
from threading import Event as ThreadEvent
from threading import RLock, Thread
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from torsync.cli.render.histories import history_lines, log_lines
from torsync.cli.render.output import is_wanted
from torsync.cli.render.publications import (
    publication_remarks,
    publication_sections,
    summarise_publication,
)
from torsync.cli.render.rich_checkup import checkup_view
from torsync.cli.render.rich_orders import RichOrders
from torsync.cli.render.rich_plan import plan_view
from torsync.cli.render.rich_rows import Row, live_lines
from torsync.cli.render.rich_status import both_view
from torsync.cli.render.rich_watch import Screen
from torsync.cli.render.rich_words import (
    LEVEL_STYLES,
    error_view,
    hint_line,
    notice_view,
    summary_line,
    unbroken,
)
from torsync.cli.render.service_lines import service_lines
from torsync.cli.render.summaries import (
    Section,
    check_sections,
    hint_added,
    hint_verify,
    key_lines,
    past_lines,
    summarise_added,
    summarise_check,
    summarise_verify,
    verify_sections,
)
from torsync.cli.render.text import PATHS_SHOWN, printable
from torsync.cli.render.trash_lines import summarise_trash, trash_lines
from torsync.model.errors import ExitCode
from torsync.model.events import IDLE_STAGES, Notice, Stage, StageStarted
from torsync.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, RenderableType

    from torsync.cli.render import Renderer
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
        StatusReport,
        VerifyReport,
    )
    from torsync.model.service_report import ServiceReport
    from torsync.model.trash_reports import TrashReport

REFRESH_S = 0.25
_TELLING_STAGES = IDLE_STAGES - {Stage.WAITING}  # they say more than that it seeds as well


class RichRenderer(RichOrders):
    """Draws on a terminal.

    One lock guards the rows and everything that is drawn: rich's own refreshing is not used,
    so nothing else draws, and only what differs from the last time is drawn (no flicker).
    Bars appear with the first refresh: a command that is done before never shows any.

    Args:
        console: the terminal.
        verbose: show debug notices and every path behind a count.
        report_lines: takes the reports instead, where standard output is not a terminal.
        message_lines: takes notices and errors instead, where standard error is not one.
        refresh_s: seconds between drawings; None: only ``draw`` draws.
        wall_clock: gives Unix seconds.
    """

    def __init__(
        self,
        console: Console,
        *,
        verbose: bool = False,
        report_lines: Renderer | None = None,
        message_lines: Renderer | None = None,
        refresh_s: float | None = REFRESH_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._console = console
        self._verbose = verbose
        self._report_lines = report_lines
        self._message_lines = message_lines
        self._refresh_s = refresh_s
        self._wall_clock = wall_clock
        # Reentrant: a signal handler may have something to say while a bar is being drawn.
        self._lock = RLock()
        self._rows: dict[str, Row] = {}
        self._live: Live | None = None
        self._drawn: list[Text] = []
        self._screen: Screen | None = None
        self._closing = ThreadEvent()
        self._refresher: Thread | None = None

    def event(self, event: Event) -> None:
        """Note how far a subscription is, or print a notice above the bars."""
        if isinstance(event, Notice):
            self._notice(event)
            return
        with self._lock:
            row = self._rows.get(event.subscription)
            if isinstance(event, StageStarted):
                self._rows[event.subscription] = Row(
                    event.subscription, event.stage, detail=event.detail
                )
            elif event.stage is Stage.SEEDING and row is not None and row.stage in _TELLING_STAGES:
                return
            elif row is None or row.stage is not event.stage:
                self._rows[event.subscription] = Row(
                    event.subscription, event.stage, progress=event
                )
            else:
                row.progress = event
            self._start_refresher()

    def check(self, report: CheckReport, command: str = "check-now") -> None:
        """Print the summary and the first paths of each kind; of a plan, a table too."""
        self._end_row(report.name)
        if self._report_lines is not None:
            self._report_lines.check(report, command)
            return
        summary = summarise_check(report)
        if report.dry_run:
            self._print(
                summary_line(report.name, summary, "yellow"),
                *plan_view(report, verbose=self._verbose),
            )
            return
        self._report(report.name, summary, "red", check_sections(report))

    def verify(self, report: VerifyReport) -> None:
        """Print the counts, then each problem."""
        self._end_row(report.name)
        if self._report_lines is not None:
            self._report_lines.verify(report)
            return
        sections = verify_sections(report, all_pieces=self._verbose)
        hint = hint_verify(report)
        self._report(report.name, summarise_verify(report), "red", sections, hint)

    def publication(self, report: PublishReport, command: str) -> None:
        """Print the counts, the first paths of each kind, and where the release is."""
        self._end_row(report.name)
        if self._report_lines is not None:
            self._report_lines.publication(report, command)
            return
        sections, style = publication_sections(report), "yellow" if report.dry_run else "green"
        self._report(report.name, summarise_publication(report), style, sections)
        for label, text in publication_remarks(report):
            self._print(unbroken(Text(f"  {label}: {text}", style="dim")))

    def status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus] = ()
    ) -> None:
        """Print tables, or a paragraph each where it is narrow."""
        if self._report_lines is not None:
            self._report_lines.status(reports, publications)
            return
        width, now_s = self._console.width, self._wall_clock()
        self._print(*both_view(reports, publications, width, now_s))

    def watch(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        """Draw the tables anew in their place."""
        if self._report_lines is not None:
            self._report_lines.watch(reports, publications)
            return
        with self._lock:
            if self._screen is None:
                self._screen = Screen(self._console)
            try:
                width, now_s = self._console.width, self._wall_clock()
                self._screen.show(both_view(reports, publications, width, now_s))
            except OSError:  # the terminal is gone
                self._closing.set()

    def history(self, report: HistoryReport) -> None:
        """Print a line for each update, and with ``verbose`` one for each path."""
        if self._report_lines is not None:
            self._report_lines.history(report)
            return
        self._print(Text(printable(report.name), "bold"))
        for line in history_lines(report, verbose=self._verbose):
            self._print(unbroken(Text(f"  {line}")))

    def log(self, record: LogRecord) -> None:
        """Print a line of the log."""
        if self._report_lines is not None:
            self._report_lines.log(record)
            return
        style = LEVEL_STYLES[record.level.value]
        self._print(*(unbroken(Text(line, style)) for line in log_lines(record)))

    def past(self, report: PastReport) -> None:
        """Print a line for each release."""
        if self._report_lines is not None:
            self._report_lines.past(report)
            return
        lines = past_lines(report, self._wall_clock())
        self._print(
            Text(printable(report.name), "bold"), *(unbroken(Text(f"  {line}")) for line in lines)
        )

    def trash(self, report: TrashReport) -> None:
        """Print the counts, then a line for each file."""
        if self._report_lines is not None:
            self._report_lines.trash(report)
            return
        lines = trash_lines(report, verbose=self._verbose)
        self._print(
            Text.assemble((printable(report.name), "bold"), "  ", summarise_trash(report)),
            *(unbroken(Text(f"  {line}")) for line in lines),
        )

    def added(self, name: str, url: str, path: str, config: str) -> None:
        """Print what was added and what comes next."""
        if self._report_lines is not None:
            self._report_lines.added(name, url, path, config)
            return
        self._print(
            Text.assemble((printable(name), "bold"), "  ", summarise_added(url, path, config)),
            hint_line(hint_added(name)),
        )

    def key(self, report: KeyReport) -> None:
        """Print where the keys are, and the lines of configuration for both sides."""
        if self._report_lines is not None:
            self._report_lines.key(report)
            return
        self._print(
            *(
                unbroken(Text.assemble((label, "bold"), f"  {text}"))
                for label, text in key_lines(report)
            )
        )

    def checkup(self, findings: Sequence[Finding]) -> None:
        """Print a table with a mark for each, and how many there are."""
        if self._report_lines is not None:
            self._report_lines.checkup(findings)
            return
        self._print(*checkup_view(findings, self._console.width))

    def service(self, report: ServiceReport) -> None:
        """Print what was done, and what is left to do; an example unchanged."""
        if self._report_lines is not None:
            self._report_lines.service(report)
            return
        lines = []
        for label, text in service_lines(report):
            if label == "hint":
                lines.append(hint_line(text))
            else:
                lines.append(unbroken(Text.assemble((label, "bold"), "  " if label else "", text)))
        self._print(*lines)

    def error(self, error: TorsyncError, subscription: str = "") -> None:
        """Print the error, each of its problems and the hint."""
        if subscription:
            self._end_row(subscription)
        if self._message_lines is not None:
            self._message_lines.error(error, subscription)
            return
        self._print(*error_view(error, subscription))

    def result(self, exit_code: ExitCode, seconds: float) -> None:
        """Clear the bars; print how the command ended if asked to be verbose."""
        with self._lock:
            self._rows.clear()
            self.draw()
        if self._verbose:
            code = ExitCode(exit_code)
            text = f"exit code {code:d} after {format_duration(seconds)}"
            if self._message_lines is not None:
                self._message_lines.result(exit_code, seconds)
            else:
                self._print(Text(text, style="dim"))

    def close(self) -> None:
        """Clear the bars and give the cursor back."""
        self._closing.set()
        refresher = self._refresher
        if refresher is not None:
            refresher.join(timeout=1)  # it may wait for a lock that an interrupted draw holds
        with self._lock:
            self._rows.clear()
            self.draw()
            if self._screen is not None:
                self._screen.close()
                self._screen = None

    def draw(self) -> None:
        """Bring the bars on the screen up to date."""
        with self._lock:
            try:
                self._draw()
            except OSError:  # the terminal is gone; the work goes on
                self._closing.set()

    def _draw(self) -> None:
        width, height = self._console.size
        lines = live_lines(list(self._rows.values()), width, max(1, height - 2))
        if not lines:
            if self._live is not None:
                live, self._live = self._live, None
                live.stop()
        elif self._live is None:
            self._live = Live(
                Group(*lines),
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
        elif lines != self._drawn:
            self._live.update(Group(*lines), refresh=True)
        self._drawn = lines

    def _start_refresher(self) -> None:
        if self._refresher is None and self._refresh_s is not None and not self._closing.is_set():
            self._refresher = Thread(target=self._refresh, name="terminal", daemon=True)
            self._refresher.start()

    def _refresh(self) -> None:
        while not self._closing.wait(self._refresh_s):
            self.draw()

    def _end_row(self, name: str) -> None:
        with self._lock:
            if self._rows.pop(name, None) is not None and self._live is not None:
                self.draw()

    def _notice(self, notice: Notice) -> None:
        if not is_wanted(notice.level, quiet=False, verbose=self._verbose):
            return
        if self._message_lines is not None:
            self._message_lines.event(notice)
            return
        self._print(*notice_view(notice))

    def _report(
        self,
        name: str,
        summary: str,
        style_of_differences: str,
        sections: Iterable[Section],
        hint: str = "",
    ) -> None:
        lines = [summary_line(name, summary, style_of_differences)]
        for section in sections:
            lines.append(Text(f"  {section.label}", style="red" if section.is_problem else ""))
            paths = section.lines(None if self._verbose else PATHS_SHOWN)
            lines += [unbroken(Text(f"    {path}", style="dim")) for path in paths]
        if hint:
            lines.append(hint_line(hint))
        self._print(*lines)

    def _print(self, *lines: RenderableType) -> None:
        """Print all at once, so that the bars below are drawn but once."""
        with self._lock:
            try:
                self._console.print(Group(*lines), crop=False)
            except OSError:  # the terminal is gone; the work goes on
                self._closing.set()
