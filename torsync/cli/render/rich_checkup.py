"""What ``doctor`` found, on a terminal: a table with marks for each name."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from torsync.cli.render.checkup import summarise_checkup
from torsync.cli.render.text import printable
from torsync.model.checkup import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from torsync.model.checkup import Finding

_MARKS = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILED: ("✗", "bold red"),
    Verdict.SKIPPED: ("-", "dim"),
}
_TABLE_WIDTH = 60


def checkup_view(findings: Sequence[Finding], width: int) -> list[RenderableType]:
    """Lay out findings for a terminal of ``width`` cells."""
    view: list[RenderableType] = []
    for name, grouped in groupby(findings, key=lambda found: found.name):
        group = list(grouped)
        view.append(Text(printable(name) or "torsync", style="bold"))
        view += [_table(group)] if width >= _TABLE_WIDTH else _lines(group)
    verdicts = {found.verdict for found in findings}
    worst = next((one for one in (Verdict.FAILED, Verdict.WARNING) if one in verdicts), Verdict.OK)
    view.append(Text(summarise_checkup(findings), style=_MARKS[worst][1]))
    return view


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for found in findings:
        mark, style = _MARKS[found.verdict]
        quiet = "dim" if found.verdict is Verdict.SKIPPED else ""
        said = Text(printable(found.message), style=quiet)
        if found.hint:
            said.append("\n").append("hint: ", style="cyan").append(printable(found.hint))
        table.add_row(Text(f"  {mark}", style=style), Text(found.check, style="dim"), said)
    return table


def _lines(findings: Iterable[Finding]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for found in findings:
        mark, style = _MARKS[found.verdict]
        lines.append(
            Text.assemble((f"{mark} ", style), (f"{found.check} ", "dim"), printable(found.message))
        )
        if found.hint:
            lines.append(Text.assemble(("  hint: ", "cyan"), printable(found.hint)))
    return lines
