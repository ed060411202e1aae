"""``torsync apply``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.check import AT_ONCE, exit_code
from torsync.cli.context import allowances
from torsync.cli.each import for_each_state
from torsync.model.errors import BusyError, ExitCode
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.surroundings import Surroundings

SERVICE = "torsync run"


def run_apply(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Carry out what ``plan`` shows: here, or by the service if that holds the tree."""
    config = context.load_config()
    chosen = context.chosen(config, arguments.names)
    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        notify=config.notify,
    ) as around:

        def apply(config: SubscriptionConfig, folder: Path) -> ExitCode:
            report = _apply(config, folder, around)
            if not report.changed and not report.unreadable:
                said = f"nothing is pending: {report.release} is in place"
                around.sink(Notice(config.name, Level.INFO, "nothing_pending", said))
            context.renderer.check(report, "apply")
            return exit_code(report)

        return for_each_state(context, chosen, apply, at_once=AT_ONCE)


def _apply(config: SubscriptionConfig, folder: Path, around: Surroundings) -> CheckReport:
    from torsync.disk.lock import hold_tree, holder_command
    from torsync.subscribe.subscription import Subscription

    while True:
        try:
            with hold_tree(folder, name=config.name, command="torsync apply"):
                subscription = Subscription(config, folder, around)
                try:
                    return subscription.apply()
                finally:
                    subscription.close()
        except BusyError:
            if holder_command(folder) != SERVICE:
                raise
        report = _have_applied(config, folder, around)
        if report is not None:
            return report


def _have_applied(
    config: SubscriptionConfig, folder: Path, around: Surroundings
) -> CheckReport | None:
    """Leave it to the service, and wait; None if the service ends before it has done it."""
    from torsync.subscribe.approval import approve_and_wait
    from torsync.subscribe.preview import polled_digest, preview

    digest = polled_digest(folder)
    pending = preview(config, folder, around)  # of a newer one, if the service has just polled
    if not (pending.changed or pending.unreadable or around.terms().allowed):
        pending.dry_run = False
        return pending
    said = "the service does it; waiting for that"
    around.sink(Notice(config.name, Level.INFO, "left_to_service", said))
    return approve_and_wait(folder, digest, around.wait, around.terms().allowed)
