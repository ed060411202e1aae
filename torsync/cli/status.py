"""``torsync status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, InterruptedByUserError, TorsyncError
from torsync.model.events import Level, Notice
from torsync.model.publish_reports import PublicationStatus
from torsync.model.reports import StatusReport
from torsync.service.overview import Overview

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig, SubscriptionConfig

    Reports = tuple[list[StatusReport], list[PublicationStatus]]

_EVERY_S = 1.0
_SILENCE_S = 5.0


def run_status(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what each subscription and publication does, once or until it is stopped."""
    subscriptions, publications = context.chosen_of_both(context.load_config(), arguments.names)
    looking = Looking(context, subscriptions, publications)
    if not arguments.watch:
        context.renderer.status(*looking.look())
        return ExitCode.OK
    try:
        while not context.stop.is_set():
            context.renderer.watch(*looking.look())
            context.stop.wait(_EVERY_S)
    except InterruptedByUserError:
        pass  # that is how one ends it
    return ExitCode.OK


class Looking:
    """Asks the service, and reads the states of what that does not tell of."""

    def __init__(
        self,
        context: Context,
        subscriptions: Sequence[SubscriptionConfig],
        publications: Sequence[PublicationConfig],
    ) -> None:
        self._context = context
        self._subscriptions = subscriptions
        self._publications = publications
        self._overview = Overview(context.state_dir)
        self._is_silence_told = False

    def look(self) -> Reports:
        """Give a report on each.

        Raises:
            InterruptedByUserError: a signal came while the service was asked.
        """
        told = self._ask()
        subscriptions, publications = self._overview.status(
            [one for one in self._subscriptions if (one.name, str(one.path)) not in told],
            [one for one in self._publications if (one.name, str(one.path)) not in told],
        )
        for report in _both(subscriptions, publications):
            told[report.name, report.path] = report
        found = [told[one.name, str(one.path)] for one in self._subscriptions]
        published = [told[one.name, str(one.path)] for one in self._publications]
        return (
            [report for report in found if isinstance(report, StatusReport)],
            [report for report in published if isinstance(report, PublicationStatus)],
        )

    def _ask(self) -> dict[tuple[str, str], StatusReport | PublicationStatus]:
        """What the service tells, by name and path; nothing if there is none, or it is silent."""
        from torsync.service.control.client import find_service

        try:
            service = find_service(self._context.state_dir, self._context.stop.wait)
            if service is None:
                return {}
            found = service.ask("GET", "/api/v1/status", silence_s=_SILENCE_S)
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            self._tell_silence(error)
            return {}
        self._is_silence_told = False
        reports = _both(
            [StatusReport.from_json(one) for one in found["subscriptions"]],
            [PublicationStatus.from_json(one) for one in found["publications"]],
        )
        return {(report.name, report.path): report for report in reports}

    def _tell_silence(self, error: TorsyncError) -> None:
        if self._is_silence_told:
            return
        self._is_silence_told = True
        said = f"{error.message}; what follows is from its files"
        self._context.renderer.event(Notice("", Level.WARNING, error.code, said, error.hint))


def _both(
    subscriptions: list[StatusReport], publications: list[PublicationStatus]
) -> list[StatusReport | PublicationStatus]:
    return [*subscriptions, *publications]
