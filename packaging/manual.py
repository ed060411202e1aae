"""Writes the manual pages: torsync(1) from the parser, torsync.toml(5) from the example.

argparse-manpage was tried: it repeats the options of all commands under each, and cannot say what
belongs together.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from torsync import __version__
from torsync.cli.parser import make_parser
from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODES = {
    ExitCode.OK: "Done, and in sync. The service stopped by SIGTERM ends like this, too.",
    ExitCode.FAILED: "Failed: the message says what, and what to do.",
    ExitCode.USAGE: "The command line or the configuration is wrong. systemd does not restart "
    "the service then: a person has to mend it.",
    ExitCode.REMOTE: "The remote could not be reached, or what it sent is invalid or not trusted.",
    ExitCode.DIFFERS: "Differences or a pending update remain.",
    ExitCode.REFUSED: "A guard refused; --allow and --adopt say that it is meant.",
    ExitCode.BUSY: "Another process holds the folder.",
    ExitCode.INTERRUPTED: "Stopped by a signal; what was done so far is kept.",
}

DESCRIPTION = """\
A publisher points one URL at the newest .torrent. Every subscriber polls that URL, fetches only
what changed from the swarm, puts it in place once it is complete and checked, and moves what the
new release no longer lists to a trash.

If the service runs, a command that needs one of its folders goes through it, with the same output
and exit code as when it does the work itself."""

SIGNALS = {
    "SIGTERM": "Stop: the service saves its state and ends with 0, other commands with 130.",
    "SIGINT": "The same; a second one ends it at once, and nothing is lost by that.",
    "SIGHUP": "The service reads its configuration anew, and restarts what has changed. A broken "
    "one is refused, and the running one kept.",
}

ENVIRONMENT = {
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "Where the default configuration and state are.",
    "NO_PROXY, HTTP_PROXY, HTTPS_PROXY": "As usual, for polls.",
    "TORSYNC_KEY_PASSWORD, TORSYNC_KEY_PASSWORD_FILE": "The password of a secret key, or the file "
    "that has it.",
    "NOTIFY_SOCKET, WATCHDOG_USEC": "Set by systemd: where the service tells how it is doing.",
}

FILES = {
    "~/.config/torsync/config.toml": "The configuration; see torsync.toml(5).",
    "~/.local/state/torsync/": "The state directory: what was installed, releases, history, and "
    "the control API's token.",
    "/etc/torsync/config.toml, /var/lib/torsync/": "The same of the system service.",
    "TREE/.torsync/": "In each folder: its marker, the stage and the trash.",
}


def torsync_1() -> str:
    """Write torsync(1)."""
    parser = make_parser()
    anywhere = [action for action in parser._actions if action.option_strings]  # noqa: SLF001
    common = {action.dest for action in anywhere}
    lines = [
        f'.TH TORSYNC 1 "" "torsync {__version__}" "User Commands"',
        ".SH NAME",
        rf"torsync \- {_text(_lower_first(parser.description or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        *_synopsis("torsync", anywhere, "COMMAND ..."),
        ".SH DESCRIPTION",
        *_paragraphs(DESCRIPTION),
        ".SH OPTIONS",
        "They go before or after the command.",
    ]
    for action in anywhere:
        lines += _entry(action)
    lines.append(".SH COMMANDS")
    for name, text, command in _leaves(parser):
        own = [action for action in command._actions if action.dest not in common]  # noqa: SLF001
        lines += [f".SS {_text(name)}", *_synopsis(name, own), ".PP", f"{_sentence(text)}"]
        for action in own:
            lines += _entry(action)
    lines += [".SH EXIT STATUS", *_table({str(int(code)): EXIT_CODES[code] for code in ExitCode})]
    lines.append("Over several subscriptions the most severe one counts: 2, 1, 3, 5, 6, 4.")
    for title, table in (("SIGNALS", SIGNALS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines += [f".SH {title}", *_table(table)]
    lines += [".SH SEE ALSO", ".BR torsync.toml (5),", ".BR systemctl (1),", ".BR minisign (1)"]
    return "\n".join(lines) + "\n"


def torsync_toml_5(example: str) -> str:
    """Write torsync.toml(5): the example configuration, which explains every key."""
    body = [rf"\&{_literal(line)}" for line in example.splitlines()]
    return "\n".join(
        [
            f'.TH TORSYNC.TOML 5 "" "torsync {__version__}" "File Formats"',
            ".SH NAME",
            r"torsync.toml \- configuration of torsync",
            ".SH DESCRIPTION",
            "A TOML file, by default",
            r".IR \(ti/.config/torsync/config.toml ;",
            "the system service has",
            ".IR /etc/torsync/config.toml .",
            "Unknown keys, wrong types and folders inside one another are reported all at once,",
            "with line and key. This example has every key:",
            ".PP",
            ".nf",
            *body,
            ".fi",
            ".SH SEE ALSO",
            ".BR torsync (1)",
            "",
        ]
    )


def _leaves(
    parser: argparse.ArgumentParser, prefix: str = "torsync", text: str = ""
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every command that has no commands of its own, with its name and what it does."""
    groups = [
        action
        for action in parser._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]
    if not groups:
        yield prefix, text, parser
    for group in groups:
        for choice in group._choices_actions:  # noqa: SLF001
            found = group.choices[choice.dest]
            yield from _leaves(found, f"{prefix} {choice.dest}", choice.help or "")


def _synopsis(name: str, actions: list[argparse.Action], rest: str = "") -> list[str]:
    words = [rf"\fB{_text(name)}\fR"]
    for action in actions:
        if not action.option_strings:
            words.append(_positional(action))
        elif action.dest != "help":
            value = f" {_value(action)}" if _takes_value(action) else ""
            words.append(rf"[\fB{_text(action.option_strings[-1])}\fR{value}]")
    return [".nh", ".ad l", " ".join([*words, rest]).rstrip(), ".ad b", ".hy"]


def _entry(action: argparse.Action) -> list[str]:
    if action.option_strings:
        value = f" {_value(action)}" if _takes_value(action) else ""
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in action.option_strings)
        return [".TP", f"{names}{value}", _sentence(action.help or "")]
    return [".TP", _positional(action), _sentence(action.help or "")]


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _positional(action: argparse.Action) -> str:
    value = _value(action)
    shapes = {"*": f"[{value} ...]", "+": f"{value} ...", "?": f"[{value}]"}
    return shapes.get(str(action.nargs), value)


def _value(action: argparse.Action) -> str:
    name = action.metavar or action.dest.upper()
    return rf"\fI{_text(name if isinstance(name, str) else ' '.join(name))}\fR"


def _table(rows: dict[str, str]) -> Iterator[str]:
    for name, text in rows.items():
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(text))
    yield ".PP"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (".PP", _text(" ".join(paragraph.split())))


def _sentence(text: str) -> str:
    """Make a sentence of a help text; a default in brackets stays as it is."""
    text = text.strip().replace("%%", "%")
    if not text:
        return r"\&"
    shown = text[0].upper() + text[1:]
    return _text(shown if shown.endswith((".", ")")) else f"{shown}.")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(text: str) -> str:
    """Write text so that roff prints it as it is, hyphens such that they can be copied."""
    shown = _literal(text)
    return rf"\&{shown}" if shown[:1] in (".", "'") else shown


def _literal(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti")
    return escaped.replace("^", r"\(ha").replace("`", r"\(ga").replace("'", r"\(aq")
