"""``torsync run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_service(context: Context, arguments: argparse.Namespace) -> ExitCode:  # noqa: ARG001
    """Poll, update and seed until a signal comes."""
    from torsync.service.supervisor import Supervisor

    config = context.load_config()
    chosen = context.chosen(config, [])
    with context.surroundings(config.session, seed=True) as around:
        Supervisor(chosen, context.state_dir, around, on_report=context.renderer.check).run(
            context.stop
        )
    return ExitCode.OK
