"""What was measured, with what it depends on, as JSON.

``sessions`` tell when, where and with which versions; each of ``rows`` names its session.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.benchmarks.table import Row

RESULTS = "tests/benchmarks/results.json"
"""What README shows, relative to the repository."""


def make_report(session: dict[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """All rows of one session, also those of contestants that could not take part."""
    return {"sessions": [session], "rows": [{"session": 0, **row.as_json()} for row in rows]}


def merge_reports(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new one, and the cases of the old one that it does not have."""
    again = {base_of(row["case"]) for row in new["rows"]}
    kept = [row for row in old["rows"] if base_of(row["case"]) not in again]
    numbers = sorted({row["session"] for row in kept})
    renumbered = {number: at for at, number in enumerate(numbers)}
    rows = [{**row, "session": renumbered[row["session"]]} for row in kept]
    rows += [{**row, "session": row["session"] + len(numbers)} for row in new["rows"]]
    return {"sessions": [*(old["sessions"][at] for at in numbers), *new["sessions"]], "rows": rows}


def base_of(case: str) -> str:
    """The name of a case without its sizes and variants."""
    return case.partition(",")[0]


def load_report(path: Path) -> dict[str, Any]:
    """Read one that ``write_report`` has written."""
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def write_report(path: Path, made: dict[str, Any]) -> None:
    """Write one, each row in a line of its own: so that a difference shows which have changed."""
    sessions = json.dumps(made["sessions"], indent=1)
    rows = ",\n".join(json.dumps(row) for row in made["rows"])
    path.write_text(f'{{"sessions": {sessions},\n"rows": [\n{rows}\n]}}\n')
