"""The command line's grammar."""

from __future__ import annotations

import argparse
from pathlib import Path

from torsync import __version__
from torsync.model.events import Level
from torsync.model.guard import ALLOWABLE, Allowance
from torsync.model.units import parse_duration_s

_ADOPT = "the folder may hold files that are not in the release; they stay"


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of ``torsync``."""
    parser = argparse.ArgumentParser(
        prog="torsync",
        description="Keep a folder equal to what a remote .torrent describes, over BitTorrent.",
    )
    parser.add_argument("--version", action="version", version=f"torsync {__version__}")
    _add_globals(parser, with_defaults=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    anywhere = argparse.ArgumentParser(add_help=False)
    _add_globals(anywhere, with_defaults=False)

    def add_command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[anywhere])

    init = add_command("init", "add a subscription to the configuration")
    init.add_argument("url", metavar="URL", help="of the .torrent: http, https or file")
    init.add_argument("path", metavar="PATH", help="the folder to keep equal to it")
    init.add_argument("--name", help="of the subscription (default: the torrent's name)")
    init.add_argument(
        "--public-key",
        dest="public_keys",
        action="append",
        default=[],
        metavar="KEY",
        help="that releases must be signed with: a minisign key, or its .pub file (repeatable)",
    )
    init.add_argument("--adopt", action="store_true", help=_ADOPT)

    check = add_command("check-now", "poll now, update, return when the tree is in sync")
    _add_names(check, "subscriptions or publications")
    check.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    check.add_argument(
        "--force", action="store_true", help="fetch the .torrent even if it seems unchanged"
    )
    _add_allowances(check)
    check.add_argument("--adopt", action="store_true", help=_ADOPT)
    _add_timeout(check)

    plan = add_command(
        "plan", "what an update to the release that was last polled, or a new release, would do"
    )
    _add_names(plan, "subscriptions or publications")

    apply = add_command("apply", "update to the release that was last polled, as planned")
    apply.add_argument("names", nargs="+", metavar="NAME", help="subscriptions")
    _add_allowances(apply)
    apply.add_argument("--adopt", action="store_true", help=_ADOPT)
    _add_timeout(apply)

    rollback = add_command(
        "rollback", "go back to an earlier release, and stay there until `apply`"
    )
    rollback.add_argument("name", metavar="NAME", help="of the subscription")
    rollback.add_argument(
        "release",
        nargs="?",
        default="",
        metavar="RELEASE",
        help="its name, or the beginning of its info-hash (default: the one before)",
    )
    rollback.add_argument("--list", action="store_true", help="only tell which ones are kept")
    _add_allowances(rollback)
    _add_timeout(rollback)

    add_command("run", "the service: poll, update, publish and seed until stopped")

    pause = add_command("pause", "have the service leave trees alone, until they are resumed")
    _add_names(pause, "subscriptions or publications")
    resume = add_command("resume", "have the service work on paused trees again")
    _add_names(resume, "subscriptions or publications")
    add_command("reload", "have the service read its configuration again")

    publish = add_command("publish", "make a .torrent of a folder, without configuration")
    _add_publish(publish)

    verify = add_command("verify", "hash everything; report missing, damaged and unlisted files")
    _add_names(verify)
    verify.add_argument(
        "--quick", action="store_true", help="compare sizes and times only; read nothing"
    )
    verify.add_argument("--repair", action="store_true", help="fetch what is missing or damaged")
    verify.add_argument(
        "--clean", action="store_true", help="move what the manifest doesn't list to the trash"
    )
    verify.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    _add_allowances(verify)
    _add_timeout(verify)

    status = add_command("status", "what is going on")
    _add_names(status, "subscriptions or publications")
    status.add_argument(
        "-w", "--watch", action="store_true", help="go on, each second, until Ctrl-C"
    )

    history = add_command("history", "what updates and releases have changed")
    _add_names(history, "subscriptions or publications")
    _add_number(history, 10, "updates of each")

    logs = add_command("logs", "what the service has said")
    _add_names(logs, "subscriptions or publications")
    _add_number(logs, 100, "lines")
    logs.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")
    logs.add_argument(
        "--level",
        choices=[level.value for level in Level],
        default=Level.INFO.value,
        help="leave out what matters less (default: info)",
    )

    doctor = add_command("doctor", "find out why nothing moves; nothing is changed")
    _add_names(doctor, "subscriptions or publications")

    trash = add_command("trash", "see, restore and remove what was replaced or removed")
    _add_trash(trash, anywhere)

    _add_keygen(add_command("keygen", "make minisign keys for signing releases"))

    _add_service(add_command("service", "have systemd run `torsync run`"), anywhere)

    demo = add_command(
        "demo", "a publisher and two subscribers on this machine, with an update in between"
    )
    demo.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and leave it there")
    return parser


def _add_globals(parser: argparse.ArgumentParser, *, with_defaults: bool) -> None:
    """Add the options that may stand before or after the command.

    Behind a command they have no defaults, so as not to undo what stood before it.
    """
    none = None if with_defaults else argparse.SUPPRESS
    false = False if with_defaults else argparse.SUPPRESS
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=none, help="default: the user's own"
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", default=none, help="where torsync remembers things"
    )
    parser.add_argument(
        "--json", action="store_true", default=false, help="one JSON object per line"
    )
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument(
        "-q", "--quiet", action="store_true", default=false, help="only errors and warnings"
    )
    volume.add_argument(
        "-v", "--verbose", action="store_true", default=false, help="everything, every path"
    )


def _add_publish(publish: argparse.ArgumentParser) -> None:
    publish.add_argument("path", metavar="PATH", help="the folder")
    publish.add_argument(
        "-o", "--output", metavar="FILE", help="the .torrent (default: NAME.torrent, here)"
    )
    publish.add_argument("--name", help="the torrent's root name (default: the folder's name)")
    publish.add_argument(
        "--tracker",
        action="append",
        dest="trackers",
        default=[],
        metavar="URL",
        help="announce URL (repeatable)",
    )
    publish.add_argument(
        "--web-seed",
        action="append",
        dest="web_seeds",
        default=[],
        metavar="URL",
        help="where a web server has the content (repeatable)",
    )
    publish.add_argument("--format", default="v1", help="v1 (default), v2 or hybrid")
    publish.add_argument(
        "--piece-size", default="auto", metavar="SIZE", help="such as '256 KiB' (default: auto)"
    )
    publish.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="gitignore pattern of what is left out (repeatable)",
    )
    publish.add_argument("--comment", default="", help="for people")
    publish.add_argument(
        "--private", action="store_true", help="only trackers make peers known (BEP 27)"
    )
    publish.add_argument(
        "--secret-key", default="", metavar="FILE", help="sign with it; see `torsync keygen`"
    )
    publish.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out what cannot be published, instead of publishing nothing",
    )
    publish.add_argument(
        "--no-hints",
        action="store_true",
        help="make no hints file, with which subscribers find what has moved inside a file",
    )
    publish.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    publish.add_argument("--seed", action="store_true", help="then seed it, until stopped")


def _add_trash(trash: argparse.ArgumentParser, anywhere: argparse.ArgumentParser) -> None:
    commands = trash.add_subparsers(dest="trash_command", metavar="COMMAND", required=True)

    def add_command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[anywhere])

    _add_names(add_command("list", "what is in the trash, newest first"))

    restore = add_command("restore", "bring back a file or folder; what is there goes to the trash")
    restore.add_argument("name", metavar="NAME", help="a subscription")
    restore.add_argument("path", metavar="PATH", help="in its folder")
    restore.add_argument(
        "--from",
        dest="stamp",
        metavar="WHEN",
        default="",
        help="as `trash list` has it, or its beginning, such as 2026-01-31 (default: the newest)",
    )

    empty = add_command("empty", "remove for good what is in the trash")
    _add_names(empty)
    empty.add_argument(
        "--older-than",
        type=_duration,
        metavar="TIME",
        default=0.0,
        help="only what has been there for so long, such as 7d",
    )


def _add_service(service: argparse.ArgumentParser, anywhere: argparse.ArgumentParser) -> None:
    commands = service.add_subparsers(dest="service_command", metavar="COMMAND", required=True)

    def add_command(name: str, text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text, parents=[anywhere])
        scope = parser.add_mutually_exclusive_group()
        scope.add_argument(
            "--system",
            dest="scope",
            action="store_const",
            const="system",
            default="",
            help="the machine's service (default for root)",
        )
        scope.add_argument(
            "--user",
            dest="scope",
            action="store_const",
            const="user",
            help="this user's service (default for other users)",
        )
        parser.add_argument(
            "--name", default="torsync", metavar="UNIT", help="of the unit (default: torsync)"
        )
        parser.add_argument(
            "--force", action="store_true", help="even if the unit was edited, or not torsync's"
        )
        return parser

    install = add_command("install", "write a unit for this installation, enable and start it")
    install.add_argument(
        "--run-as",
        default="",
        metavar="ACCOUNT",
        help="that the system service runs as (default: torsync, which is made)",
    )
    install.add_argument("--no-start", action="store_true", help="enable it only")
    add_command("uninstall", "stop and remove it; configuration, state and folders stay")


def _add_keygen(keygen: argparse.ArgumentParser) -> None:
    keygen.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the secret key; the public one is FILE.pub (default: minisign.key beside the "
        "configuration)",
    )
    keygen.add_argument(
        "--encrypt",
        action="store_true",
        help="with the password in TORSYNC_KEY_PASSWORD, or in the file that "
        "TORSYNC_KEY_PASSWORD_FILE names (default: not, so that a service can sign)",
    )
    keygen.add_argument("--force", action="store_true", help="overwrite keys that are there")


def _add_names(parser: argparse.ArgumentParser, what: str = "subscriptions") -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{what} (default: all)")


def _add_number(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    parser.add_argument(
        "-n",
        dest="number",
        type=_number,
        default=default,
        metavar="N",
        help=f"the newest N {what} (default: {default})",
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number such as 20, found {text!r}")
    return int(text)


def _add_allowances(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        action="append",
        choices=[name for name, allowance in ALLOWABLE.items() if allowance is not Allowance.ADOPT],
        default=[],
        metavar="WHAT",
        help="say that it is meant: deletes, more than max_delete; space, that may not suffice; "
        "marker, a folder without its marker; empty, a release without content (repeatable)",
    )


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
