"""``torsync publish``: a ``.torrent`` of a folder, without configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from torsync.model.config import Config, PublicationConfig, SessionConfig
from torsync.model.errors import ExitCode, UsageError
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from torsync.cli.context import Context

_T = TypeVar("_T")


def run_publish(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Write the ``.torrent``; with ``--seed`` go on seeding until a signal comes.

    Raises:
        UsageError: the command line says something that makes no sense.
    """
    from torsync.cli.each import run_jobs
    from torsync.cli.publications import release_jobs

    publication = _publication(arguments)
    config = Config(_session(context), {}, {publication.name: publication})
    if arguments.seed and not arguments.dry_run:
        from torsync.cli.run import serve

        return serve(context, config, one_off=True)
    with context.surroundings(config.session) as around:
        jobs = release_jobs(context, [publication], around, "publish", dry_run=arguments.dry_run)
        code = run_jobs(context, jobs)
    if code is ExitCode.OK and not (arguments.dry_run or publication.web_seeds):
        context.renderer.event(_not_seeded(publication.name))
    return code


def _session(context: Context) -> SessionConfig:
    """The session as it is configured, if there is a configuration at all."""
    return context.load_config().session if context.config_path.exists() else SessionConfig()


def _not_seeded(name: str) -> Notice:
    return Notice(
        name,
        Level.INFO,
        "not_seeded",
        "nobody seeds it yet",
        "open the .torrent in a client that has the folder, or give the command with --seed",
    )


def _publication(arguments: argparse.Namespace) -> PublicationConfig:
    from torsync.model import config_values as values

    folder = os.path.abspath(arguments.path)
    name = arguments.name
    if name is None:
        name = os.path.basename(os.path.realpath(folder))
    _check_name(name)
    torrent = Path(os.path.abspath(arguments.output or f"{name}.torrent"))
    for option, file in (("-o", str(torrent)), ("--secret-key", arguments.secret_key)):
        if file and Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents:
            raise UsageError(
                f"{option}: {file!r} is inside the folder that is published",
                hint="name a file elsewhere",
            )
    return PublicationConfig(
        name=name,
        path=Path(folder),
        torrent=torrent,
        trackers=_each("--tracker", values.to_tracker, arguments.trackers),
        web_seeds=_each("--web-seed", values.to_web_seed, arguments.web_seeds),
        format=_one("--format", values.to_torrent_format, arguments.format),
        piece_size=_one("--piece-size", values.to_piece_size, arguments.piece_size),
        ignore=_each("--ignore", values.to_pattern, arguments.ignore),
        comment=arguments.comment,
        private=arguments.private,
        secret_key=Path(arguments.secret_key).absolute() if arguments.secret_key else None,
        hints=not arguments.no_hints,
        skip_unreadable=arguments.skip_unreadable,
        is_one_off=True,
    )


def _check_name(name: str) -> None:
    """See that subscribers could have the root name on disk (it is one name, no path)."""
    is_utf8 = not re.search("[\ud800-\udfff]", name)
    if not is_utf8 or name in {"", ".", ".."} or re.search(r"[/\\\0]", name):
        raise UsageError(
            f"{name!r} cannot be the root name of a torrent: expected one name in UTF-8, no path",
            hint="choose another with --name",
        )


def _each(option: str, convert: Callable[[object], _T], texts: list[str]) -> tuple[_T, ...]:
    return tuple(_one(option, convert, text) for text in texts)


def _one(option: str, convert: Callable[[object], _T], text: str) -> _T:
    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint="see `torsync publish --help`") from None
