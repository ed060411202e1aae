"""``status`` on a terminal: a table where there is room for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from torsync.cli.render.summaries import ago, release_of, summarise_status
from torsync.cli.render.text import printable
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from torsync.model.reports import StatusReport

_TABLE_WIDTH = 72


def status_view(reports: Sequence[StatusReport], width: int, now_s: float) -> list[RenderableType]:
    """Lay out the reports for a terminal of ``width`` cells; ``now_s`` in Unix seconds."""
    if not reports:
        return [Text("no subscriptions")]
    view: list[RenderableType] = []
    if width >= _TABLE_WIDTH:
        view.append(_table(reports, now_s))
    for report in reports:
        name = (printable(report.name), "bold")
        if width < _TABLE_WIDTH:
            view.append(Text.assemble(name, "  ", summarise_status(report, now_s)))
        if report.last_error:
            view.append(
                Text.assemble(name, ": ", ("last error: ", "red"), printable(report.last_error))
            )
        if report.last_error_hint:
            view.append(Text.assemble(("hint: ", "cyan"), printable(report.last_error_hint)))
    return view


def _table(reports: Sequence[StatusReport], now_s: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("name", max_width=24, overflow="fold")
    table.add_column("state")
    table.add_column("release", overflow="ellipsis", no_wrap=True)
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("checked", no_wrap=True)
    table.add_column("updated", no_wrap=True)
    for report in reports:
        table.add_row(
            Text(printable(report.name), style="bold"),
            Text(printable(report.stage), style="red" if report.last_error else ""),
            Text(release_of(report)),
            Text(f"{report.files:,}"),
            Text(format_size(report.bytes_total)),
            Text(ago(report.last_check_s, now_s)),
            Text(ago(report.last_update_s, now_s)),
        )
    return table
