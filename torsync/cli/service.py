"""``torsync service install`` and ``service uninstall``."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import Config
    from torsync.service.systemd.install import Installer


def run_service_command(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Install a systemd unit, or remove it; say what else there is where systemd is not."""
    if not sys.platform.startswith("linux") or not os.path.isdir("/run/systemd/system"):
        _tell_what_else(context, arguments)
    installer = _installer(arguments)
    installs = arguments.service_command == "install"
    context.renderer.service(installer.install() if installs else installer.uninstall())
    return ExitCode.OK


def own_program() -> list[str]:
    """Find what starts this installation: its script, or its Python."""
    script = os.path.join(os.path.dirname(sys.executable), "torsync")
    if os.access(script, os.X_OK):
        return [script]
    found = sys.argv[0] if os.path.basename(sys.argv[0]) == "torsync" else ""
    path = shutil.which(found) if found else None
    return [os.path.abspath(path)] if path else [sys.executable, "-m", "torsync"]


def _tell_what_else(context: Context, arguments: argparse.Namespace) -> None:
    from torsync.model.service_report import ServiceReport
    from torsync.service.systemd.elsewhere import instead_of_systemd

    files = ["--config", str(context.config_path), "--state-dir", str(context.state_dir)]
    instead = instead_of_systemd(
        sys.platform,
        [*own_program(), *files, "run"],
        in_container=any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))),
    )
    command = f"service {arguments.service_command}"
    context.renderer.service(ServiceReport(command, example=instead.example))
    raise instead.error


def _installer(arguments: argparse.Namespace) -> Installer:
    from torsync.service.config_file import default_config_path, default_state_dir
    from torsync.service.systemd.install import Installer, Wanted
    from torsync.service.systemd.machine import Machine
    from torsync.service.systemd.units import Scope

    wanted = Wanted(
        own_program(),
        scope=Scope(arguments.scope) if arguments.scope else None,
        name=arguments.name,
        config=arguments.config,
        state_dir=arguments.state_dir,
        account=getattr(arguments, "run_as", ""),
        force=arguments.force,
        start=not getattr(arguments, "no_start", False),
    )
    return Installer(
        wanted,
        Machine(),
        user_config=default_config_path(),
        user_state=default_state_dir(),
        load=_load,
    )


def _load(path: Path, state_dir: Path) -> Config:
    from torsync.service.config_file import LibtorrentSettings, load_config

    return load_config(path, state_dir=state_dir, setting_types=LibtorrentSettings())
