"""``torsync run``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.config import Config


def run_service(context: Context, arguments: argparse.Namespace) -> ExitCode:  # noqa: ARG001
    """Poll, update, publish and seed until a signal comes."""
    config = context.load_config()
    context.chosen_of_both(config, [])
    return serve(context, config)


def serve(context: Context, config: Config) -> ExitCode:
    """Work on everything that a configuration names until a signal comes."""
    from torsync.service.supervisor import Supervisor

    with context.surroundings(config.session, seed=True) as around:
        Supervisor(
            list(config.subscriptions.values()),
            context.state_dir,
            around,
            on_report=context.renderer.check,
            publications=list(config.publications.values()),
            feed=config.feed,
            on_release=partial(context.renderer.publication, command="run"),
        ).run(context.stop)
    return ExitCode.OK
