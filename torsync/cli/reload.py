"""``torsync reload``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import ControlError, ExitCode

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_reload(context: Context, arguments: argparse.Namespace) -> ExitCode:  # noqa: ARG001
    """Have the service read its configuration again, and tell what that led to.

    Raises:
        ControlError: there is no service, or it takes no orders.
        ConfigError: the configuration is wrong; the service goes on as before.
    """
    from torsync.disk.lock import holder_pid
    from torsync.service.control.client import find_service

    service = find_service(context.state_dir, context.stop.wait)
    if service is None:
        pid = holder_pid(context.state_dir / "service")
        if pid is None:
            raise ControlError(
                f"no service works with {str(context.state_dir)!r}",
                hint="start it with `torsync run`: it reads the configuration then",
            )
        raise ControlError(
            f"the service, process {pid}, takes no orders: its control API is not there",
            hint=f"`kill -HUP {pid}` has it read its configuration again",
        )
    context.renderer.reloaded(service.reload())
    return ExitCode.OK
