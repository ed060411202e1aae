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
    from collections.abc import Sequence

    from tests.benchmarks.table import Row

__all__ = ["CASES", "Options", "run_cases"]

CASES = (
    "first-sync",
    "nothing-changed",
    "verify-many",
    "update-large",
    "update-8g",
    "staged-in-place",
    "one-of-many",
    "verify",
    "edit-to-sync",
    "parse",
    "first-release",
    "next-release",
    "four-subscribers",
    "package-updates",
    "insert-1g",
    "zip",
    "sqlite",
    "log",
    "hints",
    "service-200",
)


def run_cases(names: Sequence[str], options: Options) -> list[Row]:
    """Measure the named cases (all if none is named) and give their rows, in order."""
    wanted = frozenset(names or CASES)
    rows = [
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
    order = {name: number for number, name in enumerate(CASES)}
    return sorted(rows, key=lambda row: order[row.case.partition(",")[0]])
