"""How contestants take turns, and how their rows are judged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.benchmarks.measure import BenchmarkError
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.base import Contestant
    from tests.benchmarks.publisher import Published

Turn = Callable[[bool], None]
"""Adds a run to a row; told whether it is the first one of that row."""


def chosen(contestants: Sequence[Contestant], options: Options) -> list[Contestant]:
    """Those that are asked for."""
    return [one for one in contestants if not options.only or one.name in options.only]


def start_row(case: str, contestant: Contestant, published: Published, note: str) -> Row:
    """An empty row: with the reason, where the contestant cannot take part."""
    obstacle = contestant.obstacle(published)
    return Row(case, contestant.name, obstacle or note, takes_part=not obstacle)


def take_turns(turns: Sequence[tuple[Row, Turn]], rounds: int, options: Options) -> None:
    """Let each that takes part have a turn, and more of them while it is quick.

    A peer that fails takes part no longer, and its row says so.

    Raises:
        BenchmarkError: torsync has failed.
    """
    able = [(row, turn) for row, turn in turns if row.takes_part]
    for number in range(rounds):
        first = number % len(able) if able else 0  # nobody always follows the same one
        for row, turn in (*able[first:], *able[:first]):
            late = number and sum(run.seconds for run in row.runs) >= options.patience_s
            if late or not row.takes_part:
                continue
            try:
                turn(number == 0)
            except BenchmarkError as error:
                if row.contestant.startswith("torsync"):
                    raise
                row.takes_part, row.note = False, f"failed: {str(error).splitlines()[-1]}"
                row.runs.clear()
                sys.stderr.write(f"{row.case}: {row.contestant}: {row.note}\n")
                continue
            tell(row)


def judge(rows: Sequence[Row], *, reference: str, goals: Mapping[str, Mapping[str, float]]) -> None:
    """Relate all rows of a case to one of them, and set goals by contestant."""
    found = next((row for row in rows if row.contestant == reference and row.takes_part), None)
    for row in rows:
        row.is_reference = row.contestant == reference
        row.reference = found if found is not row else None
        row.goals = dict(goals.get(row.contestant, {}))


def tell(row: Row) -> None:
    """Say how far it is."""
    run = row.runs[-1]
    fetched = "" if run.fetched_bytes is None else f", {run.fetched_bytes / 1e6:,.3f} MB"
    sys.stderr.write(f"{row.case}: {row.contestant}: {run.seconds:.3f} s{fetched}\n")
