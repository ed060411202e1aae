"""``torsync logs``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode
from torsync.model.events import Level, Notice
from torsync.model.log_records import chosen

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context


def run_logs(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Show what the service has logged, and with ``--follow`` goes on to."""
    from torsync.service.logbook import Following, log_folder, read_log

    if arguments.names:
        context.chosen_of_both(context.load_config(), arguments.names)
    names, level = arguments.names, Level(arguments.level)
    with closing(Following(context.state_dir)) as following:  # before: no line is missed
        shown = read_log(context.state_dir, names, arguments.number, level)
        if not shown:
            context.renderer.event(_nothing_logged(context.state_dir, is_chosen=bool(names)))
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


def _nothing_logged(state_dir: Path, *, is_chosen: bool) -> Notice:
    what = "of that" if is_chosen else "yet"
    said = f"nothing is logged {what} in {str(state_dir)!r}"
    hint = "the service logs, that is `torsync run`; --level debug shows more, if it has run"
    return Notice("", Level.INFO, "nothing_logged", said, hint)
