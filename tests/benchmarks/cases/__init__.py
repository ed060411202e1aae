"""What is measured: each case lets its contestants take turns, several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.cases import (
    edits,
    hints,
    parsing,
    publishing,
    service,
    several,
    shifted,
    updates,
    whole_trees,
)
from tests.benchmarks.cases.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.table import Row

__all__ = ["CASES", "TOGETHER", "Options", "default_cases", "run_cases"]

TOGETHER = (
    ("update-large", "verify", "update-8g", "staged-in-place"),
    ("first-sync", "nothing-changed", "verify-many"),
    ("one-of-many",),
    ("first-release", "next-release"),
    ("four-subscribers",),
    ("package-updates",),
    ("insert-1g",),
    ("zip", "sqlite", "log"),
    ("edit-to-sync",),
    ("parse",),
    ("hints",),
    ("service-200",),
)
"""All cases, the most telling first; those that share trees are measured together."""

CASES = tuple(name for group in TOGETHER for name in group)
_FOR_ALL = {"update-8g", "staged-in-place", "hints"}
"""Left out where not all is asked for, and none of them by name."""


def default_cases(options: Options) -> list[str]:
    """What is measured where no case is named."""
    return [name for name in CASES if options.all or name not in _FOR_ALL]


def run_cases(
    names: Sequence[str], options: Options, done: Callable[[list[Row]], None] = lambda _: None
) -> list[Row]:
    """Measure the named cases (``default_cases`` if none is) and give their rows, in order.

    Args:
        names: of ``CASES``.
        options: how much is measured; what it has no time for is left out.
        done: is told the rows of each group of cases when they are measured.
    """
    wanted = set(names or default_cases(options))
    rows: list[Row] = []
    for group in TOGETHER:
        if not wanted & set(group) or options.is_late:
            continue
        made = _measure(frozenset(wanted & set(group)), options)
        done(made)
        rows += made
    order = {name: number for number, name in enumerate(CASES)}
    return sorted(rows, key=lambda row: order[row.case.partition(",")[0]])


def _measure(wanted: frozenset[str], options: Options) -> list[Row]:
    return [
        *whole_trees.run_cases(wanted, options),
        *updates.run_cases(wanted, options),
        *edits.run_cases(wanted, options),
        *parsing.run_cases(wanted, options),
        *several.run_cases(wanted, options),
        *publishing.run_cases(wanted, options),
        *shifted.run_cases(wanted, options),
        *hints.run_cases(wanted, options),
        *service.run_cases(wanted, options),
    ]
