"""A table of a configuration while it is read, and what is found to be wrong with it."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from torsync.model.config_values import show, suggest, to_array, to_table
from torsync.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Key = tuple[str, ...]
_T = TypeVar("_T")
_D = TypeVar("_D")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Problems:
    """What is wrong so far, each with its line."""

    def __init__(self, source: str, lines: Mapping[Key, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[tuple[int, str]] = []

    def add(self, key: Key, message: str, *, at: Key | None = None) -> None:
        """Add a problem of a key; ``at`` is the key whose line it has, if that is another."""
        line = self._lines.get(at or key, 1)
        dotted = ".".join(part if _BARE_KEY.fullmatch(part) else show(part) for part in key)
        problem = f"{self._source}:{line}: {dotted}: {message}"
        self._found.append((line, "".join(map(_printable, problem))))

    def raise_if_any(self) -> None:
        """Report them all.

        Raises:
            ConfigError: if there is one.
        """
        if not self._found:
            return
        count = f"{len(self._found)} problem{'s' if len(self._found) > 1 else ''}"
        in_order = sorted(self._found, key=lambda found: found[0])
        raise ConfigError(
            f"the configuration {self._source} has {count}",
            problems=tuple(problem for _, problem in in_order),
            hint="correct the lines above, then run the command again",
        )


class Table:
    """A table while it is read: a key that nobody asked for is unknown."""

    def __init__(self, key: Key, values: Mapping[str, object], problems: Problems) -> None:
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

    def table(self, name: str) -> Table:
        """Give the table of a key; an empty one where it is missing or no table."""
        return Table((*self.key, name), self.value(name, to_table, {}), self.problems)

    def tables(self) -> Iterator[Table]:
        """Give the tables in a table that holds nothing else."""
        for name in self._values:
            values = self.value(name, to_table, None)
            if values is not None:
                yield Table((*self.key, name), values, self.problems)

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


def _printable(char: str) -> str:
    """Escape what would break a message's line or a terminal."""
    return char if char.isprintable() else char.encode("unicode_escape").decode()
