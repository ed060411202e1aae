"""``torsync logs``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode
from torsync.model.events import Level, Notice
from torsync.model.log_records import chosen

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_logs(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Show what the service has logged, and with ``--follow`` goes on to."""
    from torsync.service.logbook import Following, log_folder, read_log

    if arguments.names:
        context.chosen_of_both(context.load_config(), arguments.names)
    names, level = arguments.names, Level(arguments.level)
    with closing(Following(context.state_dir)) as following:  # before: no line is missed
        shown = read_log(context.state_dir, names, arguments.number, level)
        for record in shown:
            context.renderer.log(record)
        if not log_folder(context.state_dir).is_dir():
            said = f"no service has worked with {str(context.state_dir)!r} yet"
            hint = "--state-dir DIR is for another service's log"
            context.renderer.event(Notice("", Level.INFO, "no_log", said, hint))
        if arguments.follow:
            before = set(shown)
            for record in chosen(following.records(context.stop.wait), names, level):
                if record not in before:
                    context.renderer.log(record)
    return ExitCode.OK
