"""``torsync init``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context


def run_init(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Add a subscription; without ``--name`` the URL is asked for the torrent's name."""
    from torsync.service.config_file import write_subscription
    from torsync.subscribe.remote_rules import mask_url

    name = arguments.name or _name_from_torrent(arguments.url)
    config = write_subscription(
        context.config_path, name, arguments.url, arguments.path, state_dir=context.state_dir
    )
    added = config.subscriptions[name]
    context.renderer.added(name, mask_url(added.url), str(added.path), str(context.config_path))
    return ExitCode.OK


def _name_from_torrent(url: str) -> str:
    from torsync.model.metainfo import parse_metainfo
    from torsync.subscribe.remote import Fetched, Remote

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
