"""TOML, with the lines that its keys are on: for messages that point into the file."""

from __future__ import annotations

import re
import sys
from typing import Any

from torsync.model.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - which of the two runs depends on the Python
    import tomli as tomllib

_BYTE_ORDER_MARK = "\ufeff"
_ERROR_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LEXEME = re.compile(
    r"""
    (?P<name> \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5}   # a multi-line string
            | \" (?:\\.|[^\"\\\n])* \" | ' [^'\n]* '            # a string
            | [^\s\"'\#\[\]{}=,.]+ )                            # a bare key, a number, a date
    | [\[\]{}=,\n]
    | \#[^\n]* | [^\S\n]+ | .                                   # says nothing about keys
    """,
    re.VERBOSE | re.DOTALL,
)


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML; a byte order mark at the start is ignored.

    Args:
        text: the content of the file.
        source: the file's name, for the error.

    Raises:
        ConfigError: the text is no TOML; its one problem says on which line.
    """
    try:
        parsed: dict[str, Any] = tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except RecursionError:
        line, reason = 1, "arrays or tables nested too deeply"
    except ValueError as error:  # besides TOMLDecodeError: integers of thousands of digits
        place = _ERROR_PLACE.search(str(error))
        at_line = place[1] if place else None
        line = int(at_line) if at_line else text.rstrip().count("\n") + 1
        reason = _ERROR_PLACE.sub("", str(error))
    else:
        return parsed
    problem = f"{source}:{line}: syntax: expected TOML, found: {reason}; see https://toml.io"
    raise ConfigError(
        f"the configuration {source} is not valid TOML",
        problems=(problem,),
        hint="correct the line above, then run the command again",
    )


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Find the line of every table and key, counted from 1.

    Keys are the parts of the dotted key from the root: ``("subscriptions", "skyrim", "url")``.
    A table has the line of its own header, or else of the first key that implies it. What is
    inside an array has the array's key in front; of several elements the first counts.

    Args:
        text: valid TOML. Of other text, what can be made out is given.
    """
    named: dict[tuple[str, ...], int] = {}
    implied: dict[tuple[str, ...], int] = {}
    line = 1
    header: tuple[str, ...] = ()
    base: tuple[str, ...] = ()  # the table that the next key belongs to
    value: tuple[str, ...] = ()  # the key whose value is being read
    parts: list[str] = []
    brackets: list[tuple[str, tuple[str, ...]]] = []  # open ones, with the key of their value
    in_header = in_value = False

    def note(key: tuple[str, ...]) -> None:
        named.setdefault(key, line)
        for length in range(len(base) + 1, len(key)):
            implied.setdefault(key[:length], line)

    for match in _LEXEME.finditer(text.removeprefix(_BYTE_ORDER_MARK) + "\n"):
        lexeme = match[0]
        if lexeme == "\n" and not brackets:
            if in_header:
                base, header = (), tuple(parts)
                note(header)
            base, parts, in_header, in_value = header, [], False, False
        elif match["name"] and not in_value:
            parts.append(_plain_key(lexeme))
        elif lexeme == "=" and not in_value:
            value, in_value = (*base, *parts), True
            note(value)
        elif lexeme == "[" and not in_value:
            in_header = True
        elif lexeme in ("[", "{"):
            brackets.append((lexeme, value))
            if lexeme == "{":
                base, parts, in_value = value, [], False
        elif lexeme in ("]", "}") and brackets:
            value, in_value = brackets.pop()[1], True
        elif lexeme == "," and brackets and brackets[-1][0] == "{":
            base, parts, in_value = brackets[-1][1], [], False
        line += lexeme.count("\n")
    return implied | named


def _plain_key(lexeme: str) -> str:
    """Take the quotes and escapes off a key."""
    if not lexeme.startswith(('"', "'")):
        return lexeme
    try:
        return str(tomllib.loads(f"key = {lexeme}")["key"])
    except ValueError:
        return lexeme
