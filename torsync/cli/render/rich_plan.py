"""What an update would do, on a terminal: a table by action, then the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from torsync.cli.render.plans import plan_lines, plan_remarks, plan_rows
from torsync.cli.render.text import PATHS_SHOWN
from torsync.model.units import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torsync.model.reports import CheckReport

_STYLES = {"remove": "red", "skip": "red"}


def plan_view(report: CheckReport, *, verbose: bool) -> list[RenderableType]:
    """Lay out a plan, below its summary; nothing if it would change nothing."""
    view: list[RenderableType] = []
    if report.changed:
        view.append(Padding(_table(report), (0, 0, 0, 2)))
    for remark, is_obstacle in plan_remarks(report):
        view.append(Text(f"  {remark}", style="bold yellow" if is_obstacle else ""))
    for label, lines in plan_lines(report, None if verbose else PATHS_SHOWN).items():
        view.append(Text(f"  {label}", style=_STYLES.get(label, "")))
        for line in lines:
            text = Text.assemble("    ", line.text, style="" if line.reason else "dim")
            if line.reason:
                text.append(f"  {line.reason}", style="dim")
            text.no_wrap, text.overflow = True, "ignore"  # to be copied whole
            view.append(text)
    return view


def _table(report: CheckReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("would")
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for row in plan_rows(report):
        table.add_row(
            Text(row.label, style=_STYLES.get(row.label, "")),
            Text(f"{row.files:,}"),
            Text(format_size(row.size_bytes)),
        )
    return table
