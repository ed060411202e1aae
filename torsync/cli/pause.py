"""``torsync pause`` and ``torsync resume``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torsync.cli.each import (
    AT_ONCE,
    Job,
    have_done,
    publication_target,
    run_jobs,
    subscription_target,
)
from torsync.model.errors import ExitCode
from torsync.model.orders import Pause, Resume
from torsync.model.reports import PauseReport

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.cli.each import Target
    from torsync.subscribe.surroundings import Surroundings


def run_pause(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Have the service leave trees alone, also after it is started again."""
    return _run(context, arguments.names, Pause())


def run_resume(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Have the service work on trees again."""
    return _run(context, arguments.names, Resume())


def _run(context: Context, names: list[str], order: Pause | Resume) -> ExitCode:
    config = context.load_config()
    subscriptions, publications = context.chosen_of_both(config, names)
    with context.surroundings(config.session) as around:
        targets = [
            *(("subscription", subscription_target(context, one, around)) for one in subscriptions),
            *(("publication", publication_target(context, one, around)) for one in publications),
        ]
        jobs = [
            Job(target.name, partial(_give, context, kind, target, order, around))
            for kind, target in targets
        ]
        return run_jobs(context, jobs, at_once=AT_ONCE)


def _give(
    context: Context, kind: str, target: Target, order: Pause | Resume, around: Surroundings
) -> ExitCode:
    report = have_done(context, target, order, around)
    assert isinstance(report, PauseReport)
    context.renderer.paused(report, kind)
    return ExitCode.OK
