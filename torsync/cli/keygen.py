"""``torsync keygen``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_keygen(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Make a key pair for signing releases, and tell where it goes."""
    from torsync.publish.keys import PASSWORD, PASSWORD_FILE, find_password, generate_keys

    path = arguments.output or context.config_path.with_name("minisign.key")
    password = ""
    if arguments.encrypt:
        password = find_password(os.environ)
        if not password:
            raise UsageError(
                "--encrypt wants a password, and found none",
                hint=f"put it into the environment variable {PASSWORD}, or into a file that "
                f"{PASSWORD_FILE} names; who signs needs it there, too",
            )
    report = generate_keys(Path(os.path.abspath(path)), password=password, force=arguments.force)
    context.renderer.key(report)
    return ExitCode.OK
