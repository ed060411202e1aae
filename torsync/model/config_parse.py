"""How the TOML of a configuration file becomes a :class:`~torsync.model.config.Config`.

All problems are found in one pass and reported together, each with the line of its key.
"""

from __future__ import annotations

import ipaddress
import json
import re
import warnings
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from torsync.model.config import (
    DEFAULT_MAX_TORRENT_BYTES,
    CleanMode,
    Config,
    SessionConfig,
    SettingValue,
    SubscriptionConfig,
)
from torsync.model.errors import ConfigError
from torsync.model.toml_lines import key_lines, parse_toml
from torsync.model.units import parse_duration_s, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_Key = tuple[str, ...]
_T = TypeVar("_T")

_MAX_NAME_LENGTH = 64
_MIN_INTERVAL_S = 1
_MAX_INTERVAL_S = 36500 * 86400  # beyond some 292 years, Python's timers overflow
_MAX_INT32 = 2**31 - 1  # libtorrent's numbers are C ints
_SHOWN_CHARS = 80

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ENDPOINT = re.compile(r"(?:\[([^\[\]\s,]+)\]|([^\[\]\s,:/@]+)):([0-9]{1,5})")
_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([^{}]*)\})")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?!\s)[\t\x20-\x7e\x80-\xff]*")


def parse_config(
    text: str,
    *,
    source: str,
    home: str,
    environ: Mapping[str, str],
    setting_types: Mapping[str, type] | None = None,
    resolve: Callable[[str], str] = str,
    protected: tuple[str, ...] = (),
) -> Config:
    """Turn the text of a configuration file into values.

    Args:
        text: TOML.
        source: the file's name, for messages.
        home: the home folder: what ``~`` in a path stands for.
        environ: what ``$VAR`` and ``${VAR}`` in a path stand for (``$$`` is a dollar sign).
        setting_types: libtorrent's settings by name, with ``bool``, ``int`` or ``str``; None
            where the library is not asked.
        resolve: makes paths comparable; ``os.path.realpath`` where there is a disk.
        protected: paths that no tree may contain: the state directory, the configuration.

    Raises:
        ConfigError: with one problem for each thing to mend, in the order of the lines, each
            ``SOURCE:LINE: KEY: what was expected, what was found, what to do``.
    """
    problems = _Problems(source, key_lines(text))
    root = _Table((), parse_toml(text, source=source), problems)
    session = _read_session(root.table("session"), setting_types)
    subscriptions = {
        table.key[-1]: _read_subscription(table, home, environ)
        for table in root.table("subscriptions").tables()
    }
    root.report_unknown()
    _check_trees(subscriptions.values(), problems, home, resolve, protected)
    problems.raise_if_any()
    return Config(session=session, subscriptions=subscriptions)


class _Problems:
    """What is wrong so far, each with the line of its key."""

    def __init__(self, source: str, lines: Mapping[_Key, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[tuple[int, str]] = []

    def add(self, key: _Key, message: str) -> None:
        dotted = ".".join(part if _BARE_KEY.fullmatch(part) else _show(part) for part in key)
        line = self._lines[key]
        self._found.append((line, _one_line(f"{self._source}:{line}: {dotted}: {message}")))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        count = len(self._found)
        raise ConfigError(
            f"the configuration {self._source} has {count} problem{'s' if count > 1 else ''}",
            problems=tuple(problem for _, problem in sorted(self._found, key=lambda at: at[0])),
            hint="Correct the lines above, then run the command again.",
        )


class _Table:
    """One table while it is read: it knows which keys were asked for, the others are unknown."""

    def __init__(self, key: _Key, values: Mapping[str, object], problems: _Problems) -> None:
        self.key = key
        self.problems = problems
        self._values = values
        self._known: list[str] = []

    def value(self, name: str, convert: Callable[[object], _T], default: _T) -> _T:
        """Convert a key's value; the default where it is missing or wrong."""
        self._known.append(name)
        if name not in self._values:
            return default
        return self._convert(name, self._values[name], convert, default)

    def required(self, name: str, convert: Callable[[object], _T], default: _T, what: str) -> _T:
        """Convert a key's value; where it is missing, that is a problem."""
        if name not in self._values:
            missing = (*self.key, name)
            message = f"expected {what}, found no such key; add {name} = "
            self.problems.add_at(self.key, missing, message)
        return self.value(name, convert, default)

    def items(
        self, name: str, convert: Callable[[object], _T], default: tuple[_T, ...] = ()
    ) -> tuple[_T, ...]:
        """Convert each item of an array."""
        values = self.value(name, _array, None)
        if values is None:
            return default
        converted = (self._convert(name, value, convert, None) for value in values)
        return tuple(value for value in converted if value is not None)

    def table(self, name: str) -> _Table:
        """Give the table under a key; an empty one where it is missing or wrong."""
        return _Table((*self.key, name), self.value(name, _as_table, {}), self.problems)

    def tables(self) -> list[_Table]:
        """Give all that is in this table, as tables."""
        return [self.table(name) for name in self._values]

    def entries(self, convert: Callable[[str, object], _T]) -> dict[str, _T]:
        """Convert all that is in this table, by name and value."""

    def report_unknown(self) -> None: ...
