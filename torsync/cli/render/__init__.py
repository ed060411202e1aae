"""How torsync speaks: bars and tables on a terminal, lines in a log, JSON for scripts.

Reports go to standard output; progress, notices and errors to standard error. With
``--json``, everything but errors is on standard output, as ``schema.json`` describes it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from torsync.model.checkup import Finding
    from torsync.model.errors import ExitCode, TorsyncError
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


class Renderer(Protocol):
    """What a command tells its results to. All methods may be called from any thread."""

    def event(self, event: Event) -> None:
        """Show what is going on; an ``EventSink``."""

    def check(self, report: CheckReport, command: str = "check-now") -> None:
        """Show what ``check-now`` or ``apply`` did to a subscription, or ``plan`` foretells."""

    def verify(self, report: VerifyReport) -> None:
        """Show what ``verify`` found in a subscription."""

    def status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus] = ()
    ) -> None:
        """Show what is known of the subscriptions and publications."""

    def watch(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        """Show the same as it is now, where it was shown before, or what has changed of it."""

    def history(self, report: HistoryReport) -> None:
        """Show what updates, or releases, have changed."""

    def log(self, record: LogRecord) -> None:
        """Show a line of the log."""

    def publication(self, report: PublishReport, command: str) -> None:
        """Show what a release of a publication did, or ``plan`` foretells."""

    def past(self, report: PastReport) -> None:
        """Show which releases a subscription can go back to."""

    def trash(self, report: TrashReport) -> None:
        """Show what is in the trash of a subscription, came back from it, or was removed."""

    def paused(self, report: PauseReport, kind: str) -> None:
        """Show that a ``kind``, subscription or publication, is paused, or not any more."""

    def reloaded(self, report: ReloadReport) -> None:
        """Show what a reload of the service's configuration led to."""

    def added(self, name: str, url: str, path: str, config: str) -> None:
        """Show that ``init`` added a subscription to the configuration file ``config``."""

    def key(self, report: KeyReport) -> None:
        """Show the keys that ``keygen`` made, and where they go."""

    def checkup(self, findings: Sequence[Finding]) -> None:
        """Show what ``doctor`` found."""

    def service(self, report: ServiceReport) -> None:
        """Show what ``service install`` or ``service uninstall`` did."""

    def error(self, error: TorsyncError, subscription: str = "") -> None:
        """Show a failure, of one subscription or of the whole command."""

    def result(self, exit_code: ExitCode, seconds: float) -> None:
        """Show how the whole command ended."""

    def close(self) -> None:
        """Leave the output in order: no bars, a visible cursor. May be called twice."""


def make_renderer(
    *, json: bool, quiet: bool, verbose: bool, stdout: TextIO, stderr: TextIO
) -> Renderer:
    """Decide how to speak on these streams; rich is imported only for a terminal.

    A terminal that cannot show bars (``TERM=dumb``, no Unicode) gets plain lines, as does
    ``quiet``, which has nothing to draw.
    """
    if json:
        from torsync.cli.render.json_lines import JsonRenderer

        return JsonRenderer(stdout, stderr, quiet=quiet, verbose=verbose)

    from torsync.cli.render.plain import PlainRenderer

    plain = PlainRenderer(stdout, stderr, quiet=quiet, verbose=verbose)
    stdout_draws, stderr_draws = _can_draw(stdout), _can_draw(stderr)
    if quiet or not (stdout_draws or stderr_draws):
        return plain

    from rich.console import Console

    from torsync.cli.render.rich_live import RichRenderer

    return RichRenderer(
        Console(file=stdout if stdout_draws else stderr),
        verbose=verbose,
        report_lines=None if stdout_draws else plain,
        message_lines=None if stderr_draws else plain,
    )


def _can_draw(stream: TextIO) -> bool:
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return (
        stream.isatty()
        and encoding.startswith("utf")
        and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    )
