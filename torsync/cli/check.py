"""``torsync check-now`` and ``torsync plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.context import allowances
from torsync.cli.each import for_each, for_each_state
from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.subscription import Subscription


AT_ONCE = 8  # one without peers must not keep the others waiting


def run_check(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Poll now, update, return when the trees are in sync."""
    from torsync.disk.lock import hold_tree
    from torsync.subscribe.preview import poll_and_preview

    config = context.load_config()
    chosen = context.chosen(config, arguments.names)

    def check(subscription: Subscription) -> ExitCode:
        report = subscription.check_now(force=arguments.force)
        context.renderer.check(report)
        return exit_code(report)

    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        again=("check-now",),
    ) as around:

        def foretell(config: SubscriptionConfig, folder: Path) -> ExitCode:
            with hold_tree(folder, name=config.name, command="torsync check-now --dry-run"):
                report = poll_and_preview(config, folder, around, force=arguments.force)
            context.renderer.check(report)
            return exit_code(report)

        if arguments.dry_run:
            return for_each_state(context, chosen, foretell, at_once=AT_ONCE)
        return for_each(context, chosen, around, "torsync check-now", check, at_once=AT_ONCE)


def run_plan(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what an update to the release that was last polled would do."""
    from torsync.subscribe.preview import preview

    config = context.load_config()
    chosen = context.chosen(config, arguments.names)
    with context.surroundings(config.session) as around:

        def foretell(config: SubscriptionConfig, folder: Path) -> ExitCode:
            report = preview(config, folder, around)
            context.renderer.check(report, "plan")
            return exit_code(report)

        return for_each_state(context, chosen, foretell)


def exit_code(report: CheckReport) -> ExitCode:
    """Decide the exit code from what was done, or would be."""
    if report.unreadable:
        return ExitCode.FAILED
    is_pending = report.dry_run and report.changed
    return ExitCode.DIFFERS if is_pending or report.locked else ExitCode.OK
