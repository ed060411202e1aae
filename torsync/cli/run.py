"""``torsync run``."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, VerifyReport
from torsync.model.trash_reports import TrashEmptied, TrashRestored

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.cli.render import Renderer
    from torsync.model.config import Config
    from torsync.model.errors import TorsyncError
    from torsync.model.orders import Report


def run_service(context: Context, arguments: argparse.Namespace) -> ExitCode:  # noqa: ARG001
    """Poll, update, publish and seed until a signal comes."""
    config = context.load_config()
    context.chosen_of_both(config, [])
    return serve(context, config)


def serve(context: Context, config: Config, *, one_off: bool = False) -> ExitCode:
    """Work on everything that a configuration names until a signal comes.

    Args:
        context: of the command.
        config: to begin with.
        one_off: whether it comes from a command line, and may run beside the service; otherwise
            it comes from the file, which is read anew when that is asked for.
    """
    from torsync.service.control.server import opener
    from torsync.service.hub import Hub
    from torsync.service.limits import allow_open_files
    from torsync.service.logbook import Logbook
    from torsync.service.supervisor import Supervisor, Ties
    from torsync.service.systemd.notify import Notifier

    allow_open_files()
    # The log is the service's, and one process writes it.
    with (
        context.hooks(config.notify, check=True) as hooks,
        nullcontext() if one_off else closing(Logbook(context.state_dir)) as logbook,
    ):

        def load() -> Config:
            found = context.load_config()
            if hooks.notifications is not None:
                hooks.notifications.configure(found.notify.urls)
            return found

        def on_report(report: Report, command: str) -> None:
            _show(context.renderer, report, command)
            if logbook is not None:
                logbook.report(report, command)

        def on_order_failed(name: str, error: TorsyncError) -> None:
            context.renderer.error(error, name)
            if logbook is not None:
                logbook.failed(name, error)

        ties = Ties(
            on_report=on_report,
            on_order_failed=on_order_failed,
            hooks=hooks,
            load=None if one_off else load,
            open_control=None if logbook is None else opener(context.state_dir, logbook),
            is_alone=not one_off,
            notifier=Notifier.from_environ(os.environ),
        )
        sinks = [context.renderer.event, *([logbook.sink] if logbook is not None else [])]
        hub = Hub(*sinks)
        service = Supervisor(config, context.state_dir, hub, ties)
        service.run(context.stop, context.reload)
    return ExitCode.OK


def _show(renderer: Renderer, report: Report, command: str) -> None:
    if isinstance(report, CheckReport):
        renderer.check(report, "check-now" if command == "run" else command)
    elif isinstance(report, PublishReport):
        renderer.publication(report, command)
    elif isinstance(report, VerifyReport):
        renderer.verify(report)
    elif isinstance(report, (TrashRestored, TrashEmptied)):
        renderer.trash(report)
