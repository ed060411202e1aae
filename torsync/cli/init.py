"""``torsync init``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_init(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Add a subscription; without ``--name`` the URL is asked for the torrent's name."""
    from torsync.service.config_file import write_subscription
    from torsync.subscribe.marker import adopt_folder
    from torsync.subscribe.remote.rules import mask_url

    name = arguments.name or _name_from_torrent(arguments.url)
    tree = _as_configured(arguments.path)
    config = write_subscription(
        context.config_path, name, arguments.url, tree, state_dir=context.state_dir
    )
    added = config.subscriptions[name]
    if arguments.adopt:
        adopt_folder(added.path)
    context.renderer.added(name, mask_url(added.url), str(added.path), str(context.config_path))
    return ExitCode.OK


def _as_configured(path: str) -> str:
    """Write a path as the configuration has it: absolute, a dollar sign doubled; ``~`` stays."""
    if path.startswith("~"):
        return path
    return os.path.abspath(path).replace("$", "$$")


def _name_from_torrent(url: str) -> str:
    from torsync.model.metainfo import parse_metainfo
    from torsync.subscribe.remote.poll import Fetched, Remote

    answer = Remote(url).poll()
    assert isinstance(answer, Fetched)
    label = parse_metainfo(answer.body).name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")[:64]
    if not name:
        raise UsageError(
            f"the torrent's name {label!r} gives no name for a subscription",
            hint="choose one with --name",
        )
    return name
