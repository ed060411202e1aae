"""``torsync check-now``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.each import for_each
from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.subscribe.subscription import Subscription


_AT_ONCE = 8  # one without peers must not keep the others waiting


def run_check(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Poll now, update, return when the trees are in sync."""
    config = context.load_config()
    chosen = context.chosen(config, arguments.names)

    def check(subscription: Subscription) -> ExitCode:
        report = subscription.check_now(force=arguments.force, dry_run=arguments.dry_run)
        context.renderer.check(report)
        if report.unreadable:
            return ExitCode.FAILED
        return ExitCode.DIFFERS if report.dry_run and report.changed else ExitCode.OK

    with context.surroundings(config.session, patience_s=arguments.timeout) as around:
        return for_each(context, chosen, around, "torsync check-now", check, at_once=_AT_ONCE)
