"""Whose files a command would write."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WRITING = frozenset(
    {"apply", "check-now", "pause", "publish", "resume", "rollback", "run", "trash", "verify"}
)
"""Commands that write into the state directory."""


def refuse_root(state_dir: Path, command: str, environ: Mapping[str, str], uid: int) -> None:
    """See that a command given with sudo does not make root's files in an account's state.

    The service that runs as that account could not write them any more.

    Args:
        state_dir: which may belong to another account.
        command: that is given.
        environ: tells whether sudo runs it: a container's root may be meant.
        uid: that it runs as.

    Raises:
        UsageError: it would.
    """
    if uid != 0 or "SUDO_UID" not in environ or command not in WRITING:
        return
    try:
        owner = os.stat(state_dir).st_uid
    except OSError:
        return
    if owner == 0:
        return
    name = f"#{owner}"
    with suppress(KeyError, ImportError):
        import pwd

        name = pwd.getpwuid(owner).pw_name
    raise UsageError(
        f"the state directory {str(state_dir)!r} belongs to {name!r}, who could not write what "
        "root writes there",
        hint=f"give the command as that account: `sudo -u {name!r} torsync …`"
        if name.startswith("#")
        else f"give the command as that account: `sudo -u {name} torsync …`",
    )
