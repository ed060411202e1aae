"""The command line's grammar."""

from __future__ import annotations

import argparse
from pathlib import Path

from torsync import __version__
from torsync.model.units import parse_duration_s


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of ``torsync``."""
    parser = argparse.ArgumentParser(
        prog="torsync",
        description="Keep a folder equal to what a remote .torrent describes, over BitTorrent.",
    )
    parser.add_argument("--version", action="version", version=f"torsync {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration (default: the user's)"
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where torsync remembers things"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="only errors and warnings")
    volume.add_argument("-v", "--verbose", action="store_true", help="everything, every path")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    init = commands.add_parser("init", help="add a subscription to the configuration")
    init.add_argument("url", metavar="URL", help="of the .torrent: http, https or file")
    init.add_argument("path", metavar="PATH", help="the folder to keep equal to it")
    init.add_argument("--name", help="of the subscription (default: the torrent's name)")

    check = commands.add_parser(
        "check-now", help="poll now, update, return when the tree is in sync"
    )
    _add_names(check)
    check.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    check.add_argument(
        "--force", action="store_true", help="fetch the .torrent even if it seems unchanged"
    )
    _add_timeout(check)

    commands.add_parser("run", help="the service: poll, update and seed until stopped")

    verify = commands.add_parser(
        "verify", help="hash everything; report missing, damaged and unlisted files"
    )
    _add_names(verify)
    verify.add_argument("--repair", action="store_true", help="fetch what is missing or damaged")
    verify.add_argument(
        "--clean", action="store_true", help="move what the manifest doesn't list to the trash"
    )
    verify.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    _add_timeout(verify)

    status = commands.add_parser("status", help="what is going on")
    _add_names(status)

    demo = commands.add_parser(
        "demo", help="a publisher and a subscriber on this machine, with an update in between"
    )
    demo.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and leave it there")
    return parser


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="subscriptions (default: all)")


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=_duration,
        metavar="TIME",
        help="give up when nothing arrives for so long, such as 90s or 10m (default: never)",
    )


def _duration(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
