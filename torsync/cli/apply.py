"""``torsync apply``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.check import exit_code
from torsync.cli.context import allowances
from torsync.cli.each import AT_ONCE, order_jobs, run_jobs
from torsync.model.events import Level, Notice
from torsync.model.orders import Apply
from torsync.model.reports import CheckReport

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.errors import ExitCode
    from torsync.model.orders import Report


def run_apply(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Carry out what ``plan`` shows."""
    config = context.load_config()
    chosen = context.chosen(config, arguments.names)
    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        told=config,
    ) as around:

        def tell(config: SubscriptionConfig, report: Report) -> ExitCode:
            assert isinstance(report, CheckReport)
            if not report.changed and not report.unreadable:
                said = f"nothing is pending: {report.release} is in place"
                around.sink(Notice(config.name, Level.INFO, "nothing_pending", said))
            context.renderer.check(report, "apply")
            return exit_code(report)

        jobs = order_jobs(context, chosen, around, lambda _config: Apply(), tell)
        return run_jobs(context, jobs, at_once=AT_ONCE)
