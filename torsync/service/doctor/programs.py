"""Whether the commands and notifications that the configuration names can be had."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from torsync.model.checkup import Finding, failed, ok, skipped
from torsync.model.errors import ConfigError
from torsync.model.events import discard
from torsync.service.notify import Notifications

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torsync.model.config import Command, NotifyConfig


def check_hooks(hooks: Mapping[str, Command], folder: Path) -> list[Finding]:
    """See that the program of each command is there.

    Args:
        hooks: commands by their key in the configuration; empty ones are none.
        folder: that they are run in.
    """
    set_up = {key: command for key, command in hooks.items() if command}
    if not set_up:
        return [skipped("hooks.programs", "no command is configured")]
    return [_check_program(key, command[0], folder) for key, command in set_up.items()]


def _check_program(key: str, program: str, folder: Path) -> Finding:
    check = f"hooks.{key}"
    if "/" not in program:
        found = shutil.which(program)
        if found is None:
            said = f"there is no program {program!r} on the search path {os.environ.get('PATH')!r}"
            return failed(check, said, f"install it, or write its full path in {key}")
        said = f"{program!r} is {found!r}"
        return ok(check, f"{said}; a service may have another search path")
    path = os.path.join(folder, program)
    if not os.path.isfile(path):
        return failed(check, f"there is no program {path!r}", f"correct {key}, or put it there")
    if not os.access(path, os.X_OK):
        return failed(check, f"{path!r} is not executable", f"run `chmod +x {path}`")
    return ok(check, f"{path!r} is there")


def check_notify(notify: NotifyConfig) -> list[Finding]:
    """See that what sends notifications is installed and knows the URLs; nothing is sent."""
    check = "notify.urls"
    if not notify.urls:
        return [skipped(check, "urls in [notify] is empty: nobody is told of updates and errors")]
    try:
        notifications = Notifications(notify.urls, discard)
        notifications.check()
    except ConfigError as error:
        said = "; ".join((error.message, *error.problems))
        return [failed(check, said, error.hint or "correct urls in [notify]")]
    which = "the URL" if len(notify.urls) == 1 else f"all {len(notify.urls)} URLs"
    return [ok(check, f"apprise knows {which}; nothing was sent")]
