"""What runs the service on machines without systemd."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import ExitCode, TorsyncError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoSystemdError(TorsyncError):
    """This machine is not run by systemd."""

    code = "no_systemd"


class Instead(NamedTuple):
    """What to use where there is no systemd.

    Attributes:
        error: says where this is, and what to do.
        example: the file, or command, to do it with.
    """

    error: NoSystemdError
    example: str


def instead_of_systemd(platform: str, command: Sequence[str], *, in_container: bool) -> Instead:
    """Decide what to use instead.

    Args:
        platform: as ``sys.platform``.
        command: that runs the service.
        in_container: whether this is a container.
    """
    line = shlex.join(command)
    if in_container:
        found, hint = (
            "this is a container, which runs no services besides its command",
            ("make this its command, with an init such as `docker run --init` before it"),
        )
        return Instead(NoSystemdError(found, hint=hint), line)
    if platform == "darwin":
        found, hint = (
            "this is macOS, where launchd starts services",
            (
                "save this as ~/Library/LaunchAgents/torsync.plist and run "
                "`launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/torsync.plist`"
            ),
        )
        return Instead(NoSystemdError(found, hint=hint), launchd_plist(command))
    if platform == "win32":
        task = subprocess.list2cmdline(command).replace('"', '\\"')
        found, hint = (
            "this is Windows, where the Task Scheduler starts torsync",
            ("run this, and switch the task's limit of three days off in its settings"),
        )
        example = f'schtasks /Create /TN torsync /SC ONLOGON /TR "{task}"'
        return Instead(NoSystemdError(found, hint=hint), example)
    found, hint = (
        "systemd does not run this machine",
        (
            "let what does (OpenRC, runit, s6, supervisord) run `torsync run` in the foreground: "
            "SIGHUP reloads, SIGTERM stops, exit code 2 is for a person to mend; or use cron"
        ),
    )
    return Instead(
        NoSystemdError(found, hint=hint),
        f"# supervisord\n{supervisord_program(line)}# or cron: crontab -e\n"
        f"@reboot {_for_cron(line)}",
    )


def launchd_plist(command: Sequence[str]) -> str:
    """Write the agent for macOS: kept alive, but for an end that was meant."""
    import plistlib  # noqa: PLC0415 - costs start-up time

    agent = {
        "Label": "torsync",
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 60,
        "ProcessType": "Background",
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def supervisord_program(line: str) -> str:
    """Write the section of supervisord's configuration; it ends with a newline."""
    return (
        "[program:torsync]\n"
        f"command={line.replace('%', '%%')}\n"
        "autorestart=unexpected\n"
        f"exitcodes={ExitCode.OK:d},{ExitCode.USAGE:d},{ExitCode.INTERRUPTED:d}\n"
        "stopwaitsecs=60\n"
    )


def _for_cron(line: str) -> str:
    return line.replace("%", "\\%")
