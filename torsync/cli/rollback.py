"""``torsync rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.check import exit_code
from torsync.cli.context import allowances
from torsync.cli.each import for_each_state, order_jobs, run_jobs
from torsync.model.errors import ExitCode
from torsync.model.orders import Rollback
from torsync.model.reports import CheckReport, PastReport

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Report


def run_rollback(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Bring a tree to an earlier release; or tell which ones are kept."""
    config = context.load_config()
    chosen = context.chosen(config, [arguments.name])
    if arguments.list:
        return _list(context, chosen)
    with context.surroundings(
        config.session,
        patience_s=arguments.timeout,
        allowed=allowances(arguments),
        again=("rollback", *([arguments.release] if arguments.release else [])),
        told=config,
    ) as around:

        def tell(_config: SubscriptionConfig, report: Report) -> ExitCode:
            assert isinstance(report, CheckReport)
            context.renderer.check(report, "rollback")
            return exit_code(report)

        order = Rollback(arguments.release)
        return run_jobs(context, order_jobs(context, chosen, around, lambda _config: order, tell))


def _list(context: Context, chosen: list[SubscriptionConfig]) -> ExitCode:
    """Tell which releases a tree can go back to; nothing is held for that."""
    from torsync.subscribe.state import TreeState

    def show(config: SubscriptionConfig, folder: Path) -> ExitCode:
        report = PastReport(config.name)
        if (folder / "state.sqlite").exists():
            state = TreeState(folder, read_only=True)
            try:
                report.current, report.pinned = state.synced, bool(state.pinned)
                report.releases = state.past_releases()
            finally:
                state.close()
        context.renderer.past(report)
        return ExitCode.OK

    return for_each_state(context, chosen, show)
