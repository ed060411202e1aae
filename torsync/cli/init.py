"""``torsync init``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context

_MAX_KEY_CHARS = 4096


def run_init(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Add a subscription; without ``--name`` the URL is asked for the torrent's name."""
    from torsync.service.config_file import write_subscription
    from torsync.subscribe.marker import adopt_folder
    from torsync.subscribe.remote.rules import mask_url

    keys = list(dict.fromkeys(map(_public_key, arguments.public_keys)))
    name = arguments.name or _name_from_torrent(context, arguments.url, keys)
    tree = _as_configured(arguments.path)
    config = write_subscription(
        context.config_path,
        name,
        arguments.url,
        tree,
        state_dir=context.state_dir,
        public_keys=keys,
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


def _public_key(given: str) -> str:
    """Take a public key, or the path of a file that minisign or ``keygen`` wrote it to."""
    from torsync.model.config_values import to_public_key

    text = given
    if os.path.isfile(given):
        try:
            with open(given, encoding="utf-8", errors="replace") as file:
                lines = file.read(_MAX_KEY_CHARS).split("\n")
        except OSError as error:
            raise UsageError(
                f"the public key {given!r} cannot be read: {error.strerror or error}",
                hint="check the file's permissions",
            ) from error
        text = next((line for line in lines[1:] if line.strip()), lines[0])
    try:
        return to_public_key(text)
    except ValueError as error:
        raise UsageError(
            f"--public-key: {error}", hint="give the key itself, or the path of its .pub file"
        ) from None


def _name_from_torrent(context: Context, url: str, keys: list[str]) -> str:
    from torsync.model.metainfo import parse_metainfo

    body = _fetch(context, url, keys)
    label = parse_metainfo(body).name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")[:64]
    if not name:
        raise UsageError(
            f"the torrent's name {label!r} gives no name for a subscription",
            hint="choose one with --name",
        )
    return name


def _fetch(context: Context, url: str, keys: list[str]) -> bytes:
    """Fetch the ``.torrent``; with keys, only if it is signed with one of them."""
    from torsync.subscribe.remote.poll import Fetched, Remote, Timeouts

    remote = Remote(url, wait=context.stop.wait)

    def fetch(*, uncached: bool = True) -> Fetched:
        answer = remote.poll(uncached=uncached)
        assert isinstance(answer, Fetched)
        return answer

    found = fetch(uncached=False)
    if keys:
        from torsync.model.events import Level, Notice
        from torsync.subscribe.trust import NoFacts, Patience, Trust

        def tell(message: str, hint: str) -> None:
            context.renderer.event(Notice("", Level.INFO, "signature_awaited", message, hint))

        patience = Patience(context.stop.wait, tell)
        trust = Trust(url, keys, NoFacts(), patience, headers={})
        found, _ = trust.accept(found, timeouts=Timeouts(), again=fetch)
    return found.body
