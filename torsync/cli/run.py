"""``torsync run``."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, is_mistake
from torsync.model.events import Level, Notice
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, VerifyReport
from torsync.model.trash_reports import TrashEmptied, TrashRestored

if TYPE_CHECKING:
    import argparse

    from starlette.routing import Route

    from torsync.cli.context import Context
    from torsync.cli.render import Renderer
    from torsync.model.config import Config, ServiceConfig
    from torsync.model.errors import TorsyncError
    from torsync.model.orders import Report
    from torsync.service.control.server import ControlServer
    from torsync.service.desk import Desk
    from torsync.service.logbook import Logbook


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
    from torsync.service.control.server import open_control
    from torsync.service.hooks.notify import Notifications
    from torsync.service.hub import Hub
    from torsync.service.limits import allow_open_files
    from torsync.service.logbook import Logbook
    from torsync.service.repeats import Repeats
    from torsync.service.supervisor import Supervisor, Ties
    from torsync.service.systemd.notify import Notifier

    allow_open_files()
    with ExitStack() as opened:
        logbook = None
        if not one_off:  # the log is the service's, and one process writes it
            logbook = opened.enter_context(closing(Logbook(context.state_dir)))
        sinks = [context.renderer.event, *([logbook.sink] if logbook is not None else [])]
        hub = Hub(*(Repeats(sink).sink for sink in sinks), edit=context.redactor.event)
        hooks = opened.enter_context(context.hooks(config, check=True, sink=hub.sink))

        def load() -> Config:
            found = context.load_config()
            Notifications(found.notify.urls, hub.sink).check()
            return found

        def take_up(accepted: Config) -> None:
            if hooks.notifications is not None:
                hooks.notifications.configure(accepted.notify.urls)
            hooks.withhold(accepted)

        def on_report(report: Report, command: str) -> None:
            _show(context.renderer, report, command)
            if logbook is not None:
                logbook.report(report, command)

        def on_order_failed(name: str, error: TorsyncError) -> None:
            context.redactor.hide_in(error)
            if is_mistake(error):
                said = Notice(name, Level.INFO, error.code, error.message, error.hint)
                context.renderer.event(said)
            else:
                context.renderer.error(error, name)
            if logbook is not None:
                logbook.failed(name, error)

        routes: list[Route] = []

        def open_api(logbook: Logbook, desk: Desk, config: ServiceConfig) -> ControlServer:
            from torsync.service.control.reading import routes_for

            if not routes:  # the metrics count on, should the API be opened elsewhere
                routes.extend(routes_for(desk, context.state_dir, logbook))
            return open_control(context.state_dir, desk, config, routes)

        ties = Ties(
            on_report=on_report,
            on_order_failed=on_order_failed,
            hooks=hooks,
            load=None if one_off else load,
            on_reloaded=take_up,
            open_control=None if logbook is None else partial(open_api, logbook),
            is_alone=not one_off,
            notifier=Notifier.from_environ(os.environ),
        )
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
