"""``torsync history``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.each import Job, run_jobs
from torsync.model.errors import ExitCode
from torsync.service.overview import Overview

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig, SubscriptionConfig


def run_history(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what updates and releases have changed; nothing is held for it."""
    subscriptions, publications = context.chosen_of_both(context.load_config(), arguments.names)
    overview = Overview(context.state_dir)

    def job(config: SubscriptionConfig | PublicationConfig) -> Job:
        def tell() -> ExitCode:
            for report in overview.history([config], arguments.number):
                context.renderer.history(report)
            return ExitCode.OK

        return Job(config.name, tell)

    return run_jobs(context, [*map(job, subscriptions), *map(job, publications)])
