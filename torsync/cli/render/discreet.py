"""The last thing that is said passes through here: without what is secret."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.cli.render import Renderer
    from torsync.model.checkup import Finding
    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event
    from torsync.model.log_records import LogRecord
    from torsync.model.publish_reports import PublicationStatus
    from torsync.model.reports import StatusReport
    from torsync.model.secrets import Redactor


class DiscreetRenderer:
    """Hands all to another renderer; texts that others may have put something into, redacted."""

    def __init__(self, renderer: Renderer, redactor: Redactor) -> None:
        """Prepare.

        Args:
            renderer: that shows it.
            redactor: that learns what is secret.
        """
        self._renderer = renderer
        self._redactor = redactor

    def __getattr__(self, name: str) -> Any:
        """What has no such texts is the renderer's own."""
        return getattr(self._renderer, name)

    def event(self, event: Event) -> None:
        """Show what is going on; an ``EventSink``."""
        self._renderer.event(self._redactor.event(event))

    def error(self, error: TorsyncError, subscription: str = "") -> None:
        """Show a failure, of one subscription or of the whole command."""
        self._redactor.hide_in(error)
        self._renderer.error(error, subscription)

    def status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus] = ()
    ) -> None:
        """Show what is known of the subscriptions and publications."""
        self._hide_in_status(reports, publications)
        self._renderer.status(reports, publications)

    def watch(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        """Show the same as it is now."""
        self._hide_in_status(reports, publications)
        self._renderer.watch(reports, publications)

    def checkup(self, findings: Sequence[Finding]) -> None:
        """Show what ``doctor`` found."""
        text = self._redactor.text
        self._renderer.checkup(
            [replace(one, message=text(one.message), hint=text(one.hint)) for one in findings]
        )

    def log(self, record: LogRecord) -> None:
        """Show a line of the log."""
        text = self._redactor.text
        hidden = record._replace(message=text(record.message), hint=text(record.hint))
        self._renderer.log(hidden)

    def _hide_in_status(
        self, reports: Sequence[StatusReport], publications: Sequence[PublicationStatus]
    ) -> None:
        both: list[StatusReport | PublicationStatus] = [*reports, *publications]
        for report in both:
            report.detail = self._redactor.text(report.detail)
            report.last_error = self._redactor.text(report.last_error)
            report.last_error_hint = self._redactor.text(report.last_error_hint)


def discreet(renderer: Renderer, redactor: Redactor) -> Renderer:
    """Give a renderer that shows what another one does, without what a redactor hides."""
    return cast("Renderer", DiscreetRenderer(renderer, redactor))
