"""``torsync check-now`` and ``torsync plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.context import allowances
from torsync.cli.each import AT_ONCE, order_jobs, run_jobs, state_jobs
from torsync.model.errors import ExitCode
from torsync.model.orders import Check
from torsync.model.reports import CheckReport

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Report


def run_check(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Poll now, update, return when the trees are in sync; release what changed."""
    from torsync.cli.publications import release_jobs

    config = context.load_config()
    subscriptions, publications = context.chosen_of_both(config, arguments.names)
    order = Check(force=arguments.force, dry_run=arguments.dry_run)

    def tell(_config: SubscriptionConfig, report: Report) -> ExitCode:
        assert isinstance(report, CheckReport)
        context.renderer.check(report)
        return exit_code(report)

    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        again=("check-now",),
        told=config,
    ) as around:
        jobs = order_jobs(context, subscriptions, around, lambda _config: order, tell)
        jobs += release_jobs(context, publications, around, "check-now", dry_run=arguments.dry_run)
        return run_jobs(context, jobs, at_once=AT_ONCE)


def run_plan(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what an update to the release that was last polled, or a new release, would do."""
    from torsync.cli.publications import release_jobs

    config = context.load_config()
    subscriptions, publications = context.chosen_of_both(config, arguments.names)
    with context.surroundings(config.session) as around:

        def foretell(config: SubscriptionConfig, folder: Path) -> ExitCode:
            from torsync.subscribe.preview import preview

            report = preview(config, folder, around)
            context.renderer.check(report, "plan")
            return exit_code(report)

        jobs = state_jobs(context, subscriptions, foretell)
        jobs += release_jobs(context, publications, around, "plan", dry_run=True)
        return run_jobs(context, jobs)


def exit_code(report: CheckReport) -> ExitCode:
    """Decide the exit code from what was done, or would be."""
    if report.unreadable:
        return ExitCode.FAILED
    is_pending = report.dry_run and report.changed
    return ExitCode.DIFFERS if is_pending or report.locked else ExitCode.OK
