"""How the TOML of a configuration file becomes a :class:`~torsync.model.config.Config`.

All problems are found in one pass and reported together, each with the line of its key.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar

from torsync.model.config import Config, SessionConfig, SettingValue, SubscriptionConfig
from torsync.model.config_values import (
    show,
    suggest,
    to_age_s,
    to_apply_mode,
    to_array,
    to_boolean,
    to_clean_mode,
    to_header,
    to_interval_s,
    to_listen_address,
    to_locked_mode,
    to_max_delete,
    to_pattern,
    to_peer,
    to_poll_url,
    to_rate,
    to_setting,
    to_size_bytes,
    to_size_limit,
    to_table,
    to_tree,
    to_update_mode,
    to_web_seed,
)
from torsync.model.errors import ConfigError
from torsync.model.toml_lines import key_lines, parse_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_Key = tuple[str, ...]
_T = TypeVar("_T")
_D = TypeVar("_D")

_SESSION_DEFAULTS = SessionConfig()
_DEFAULTS = SubscriptionConfig(name="", url="", path=Path())
_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


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
            where the library was not asked.
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
    """What is wrong so far, each with its line."""

    def __init__(self, source: str, lines: Mapping[_Key, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[tuple[int, str]] = []

    def add(self, key: _Key, message: str, *, at: _Key | None = None) -> None:
        """Add a problem of a key; ``at`` is the key whose line it has, if that is another."""
        line = self._lines.get(at or key, 1)
        dotted = ".".join(part if _BARE_KEY.fullmatch(part) else show(part) for part in key)
        problem = f"{self._source}:{line}: {dotted}: {message}"
        self._found.append((line, "".join(map(_printable, problem))))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        count = f"{len(self._found)} problem{'s' if len(self._found) > 1 else ''}"
        in_order = sorted(self._found, key=lambda found: found[0])
        raise ConfigError(
            f"the configuration {self._source} has {count}",
            problems=tuple(problem for _, problem in in_order),
            hint="correct the lines above, then run the command again",
        )


class _Table:
    """A table while it is read: a key that nobody asked for is unknown."""

    def __init__(self, key: _Key, values: Mapping[str, object], problems: _Problems) -> None:
        self.key = key
        self.problems = problems
        self._values = values
        self._known: list[str] = []

    def value(self, name: str, convert: Callable[[object], _T], default: _D) -> _T | _D:
        """Convert a key's value; the default where it is missing or wrong."""
        self._known.append(name)
        if name not in self._values:
            return default
        return self._convert(name, convert, self._values[name], default)

    def required(self, name: str, convert: Callable[[object], _T], default: _T, example: str) -> _T:
        """Convert a key's value; a problem where it is missing."""
        if name not in self._values:
            message = f"expected this key, found none; add {name} = {show(example)}"
            self.problems.add((*self.key, name), message, at=self.key)
        return self.value(name, convert, default)

    def items(
        self, name: str, convert: Callable[[object], _T], default: tuple[_T, ...] = ()
    ) -> tuple[_T, ...]:
        """Convert the items of an array; the default where it is missing or no array."""
        values = self.value(name, to_array, None)
        if values is None:
            return default
        converted = [self._convert(name, convert, value, None) for value in values]
        return tuple(item for item in converted if item is not None)

    def entries(self, convert: Callable[[str, object], _T]) -> dict[str, _T]:
        """Convert all entries of a table whose keys are not torsync's."""
        converted = {name: self.value(name, partial(convert, name), None) for name in self._values}
        return {name: item for name, item in converted.items() if item is not None}

    def table(self, name: str) -> _Table:
        """Give the table of a key; an empty one where it is missing or no table."""
        return _Table((*self.key, name), self.value(name, to_table, {}), self.problems)

    def tables(self) -> Iterator[_Table]:
        """Give the tables in a table that holds nothing else."""
        for name in self._values:
            values = self.value(name, to_table, None)
            if values is not None:
                yield _Table((*self.key, name), values, self.problems)

    def report_unknown(self) -> None:
        """Report the keys that were not asked for."""
        expected = f"expected one of {', '.join(self._known)}, found an unknown key"
        for name, value in self._values.items():
            if name not in self._known:
                advice = suggest(name, self._known) or "remove it"
                if self.key and isinstance(value, dict):
                    advice += ", or put quotes around a name with dots"
                self.problems.add((*self.key, name), f"{expected}; {advice}")

    def _convert(
        self, name: str, convert: Callable[[object], _T], value: object, default: _D
    ) -> _T | _D:
        try:
            return convert(value)
        except ValueError as error:
            self.problems.add((*self.key, name), str(error))
            return default


def _read_session(table: _Table, setting_types: Mapping[str, type] | None) -> SessionConfig:
    def setting(name: str, value: object) -> SettingValue:
        return to_setting(name, value, setting_types)

    session = SessionConfig(
        listen=table.items("listen", to_listen_address, _SESSION_DEFAULTS.listen),
        dht=table.value("dht", to_boolean, _SESSION_DEFAULTS.dht),
        lsd=table.value("lsd", to_boolean, _SESSION_DEFAULTS.lsd),
        upnp=table.value("upnp", to_boolean, _SESSION_DEFAULTS.upnp),
        download_limit=table.value("download_limit", to_rate, _SESSION_DEFAULTS.download_limit),
        upload_limit=table.value("upload_limit", to_rate, _SESSION_DEFAULTS.upload_limit),
        settings=table.table("settings").entries(setting),
    )
    table.report_unknown()
    return session


def _read_subscription(table: _Table, home: str, environ: Mapping[str, str]) -> SubscriptionConfig:
    def tree(value: object) -> Path:
        return to_tree(value, home, environ)

    name = table.key[-1]
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARS:
        table.problems.add(
            table.key,
            f"expected a name of at most {_MAX_NAME_CHARS} letters, digits, dots, dashes and "
            f"underscores that begins with a letter or digit, found {show(name)}; rename it",
        )
    subscription = SubscriptionConfig(
        name=name,
        url=table.required("url", to_poll_url, _DEFAULTS.url, "https://HOST/NAME.torrent"),
        path=table.required("path", tree, _DEFAULTS.path, "/PATH/OF/A/FOLDER"),
        interval_s=table.value("interval", to_interval_s, _DEFAULTS.interval_s),
        update=table.value("update", to_update_mode, _DEFAULTS.update),
        apply=table.value("apply", to_apply_mode, _DEFAULTS.apply),
        on_locked=table.value("on_locked", to_locked_mode, _DEFAULTS.on_locked),
        clean=table.value("clean", to_clean_mode, _DEFAULTS.clean),
        keep=table.items("keep", to_pattern),
        select=table.items("select", to_pattern),
        peers=table.items("peers", to_peer),
        web_seeds=table.items("web_seeds", to_web_seed),
        headers=table.table("headers").entries(to_header),
        seed=table.value("seed", to_boolean, _DEFAULTS.seed),
        max_torrent_bytes=table.value(
            "max_torrent_size", to_size_bytes, _DEFAULTS.max_torrent_bytes
        ),
        max_delete=table.value("max_delete", to_max_delete, _DEFAULTS.max_delete),
        trash_age_s=table.value("trash", to_age_s, _DEFAULTS.trash_age_s),
        trash_limit=table.value("trash_size", to_size_limit, _DEFAULTS.trash_limit),
    )
    table.report_unknown()
    return subscription


def _check_trees(
    subscriptions: Iterable[SubscriptionConfig],
    problems: _Problems,
    home: str,
    resolve: Callable[[str], str],
    protected: tuple[str, ...],
) -> None:
    """Report trees in which an update or a clean could do harm outside the subscription."""

    def parts(path: str) -> _Key:
        found = PurePath(resolve(path)).parts
        return ("/", *found[1:]) if found[0] == "//" else found  # POSIX keeps two slashes

    paths = {s.name: str(s.path) for s in subscriptions if s.path.is_absolute()}
    trees = {name: parts(path) for name, path in paths.items()}
    own = {path: parts(path) for path in protected}
    home_parts = parts(home) if os.path.isabs(home) else ()
    first_owner = {tree: name for name, tree in reversed(trees.items())}
    for name, tree in trees.items():
        harms = []
        if len(tree) == 1:
            harms.append("the root of the file system; choose a folder in it")
        elif tree == home_parts[: len(tree)]:
            harms.append(f"which is or contains the home folder {show(home)}; choose one inside")
        else:
            harms += [
                f"which contains torsync's own {show(path)}; choose another folder"
                for path, own_parts in own.items()
                if tree == own_parts[: len(tree)]
            ]
        for length in range(1, len(tree) + 1):
            other = first_owner.get(tree[:length], name)
            if other != name:
                relation = "the same as" if length == len(tree) else "inside"
                harms.append(
                    f"which is {relation} the tree {show(paths[other])} of subscription "
                    f"{show(other)}; choose another folder"
                )
        for harm in harms:
            expected = "expected a folder for this subscription alone"
            problems.add(
                ("subscriptions", name, "path"), f"{expected}, found {show(paths[name])}, {harm}"
            )


def _printable(char: str) -> str:
    """Escape what would break a message's line or a terminal."""
    return char if char.isprintable() else char.encode("unicode_escape").decode()
