"""``torsync doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.events import Stage, StageStarted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from torsync.cli.context import Context
    from torsync.model.config import Config, PublicationConfig, SubscriptionConfig
    from torsync.model.errors import ExitCode


def run_doctor(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Look at everything that has to work, and tell what does not, and what to do about it."""
    from torsync.model.checkup import exit_code
    from torsync.service.doctor.examine import examine

    def choose(
        config: Config,
    ) -> tuple[Sequence[SubscriptionConfig], Sequence[PublicationConfig]]:
        chosen = context.chosen_of_both(config, arguments.names)
        for name in (*(one.name for one in chosen[0]), *(one.name for one in chosen[1])):
            context.renderer.event(StageStarted(name, Stage.CHECKING_REMOTE, "and all else"))
        return chosen

    findings = examine(
        context.config_path, context.state_dir, context.load_config, choose, context.stop.is_set
    )
    context.renderer.checkup(findings)
    return exit_code(findings)
