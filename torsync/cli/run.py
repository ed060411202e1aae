"""``torsync run``."""

from __future__ import annotations

import os
from functools import partial
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
    from torsync.model.orders import Report


def run_service(context: Context, arguments: argparse.Namespace) -> ExitCode:  # noqa: ARG001
    """Poll, update, publish and seed until a signal comes."""
    config = context.load_config()
    context.chosen_of_both(config, [])
    return serve(context, config, reloads=True)


def serve(context: Context, config: Config, *, reloads: bool = False) -> ExitCode:
    """Work on everything that a configuration names until a signal comes.

    Args:
        context: of the command.
        config: to begin with.
        reloads: whether it comes from the file, which is read anew when that is asked for.
    """
    from torsync.service.control.server import open_control
    from torsync.service.hub import Hub
    from torsync.service.limits import allow_open_files
    from torsync.service.supervisor import Supervisor, Ties
    from torsync.service.systemd.notify import Notifier

    allow_open_files()
    with context.hooks(config.notify, check=True) as hooks:

        def load() -> Config:
            found = context.load_config()
            if hooks.notifications is not None:
                hooks.notifications.configure(found.notify.urls)
            return found

        ties = Ties(
            on_report=partial(_show, context.renderer),
            on_order_failed=lambda name, error: context.renderer.error(error, name),
            hooks=hooks,
            load=load if reloads else None,
            open_control=partial(open_control, context.state_dir),
            notifier=Notifier.from_environ(os.environ),
        )
        service = Supervisor(config, context.state_dir, Hub(context.renderer.event), ties)
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
