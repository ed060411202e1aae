"""``status`` on a terminal: a table where there is room for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from torsync.cli.render.publications import summarise_publication_status
from torsync.cli.render.summaries import activity, advice, ago, newer, release_of, summarise_status
from torsync.cli.render.text import printable
from torsync.model.reports import StatusReport
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from torsync.model.publish_reports import PublicationStatus

_TABLE_WIDTH = 72


def both_view(
    reports: Sequence[StatusReport],
    publications: Sequence[PublicationStatus],
    width: int,
    now_s: float,
) -> list[RenderableType]:
    """Lay out subscriptions, then publications, for a terminal of ``width`` cells."""
    view: list[RenderableType] = []
    if reports or not publications:
        view += status_view(reports, width, now_s)
    if publications:
        view += publications_view(publications, width, now_s)
    return view


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
        else:
            view += _activity(report, now_s)
        view += _last_error(report)
    return view


def publications_view(
    reports: Sequence[PublicationStatus], width: int, now_s: float
) -> list[RenderableType]:
    """Lay out the publications likewise."""
    view: list[RenderableType] = []
    if width >= _TABLE_WIDTH:
        view.append(_publications(reports, now_s))
    for report in reports:
        if width < _TABLE_WIDTH:
            name = (printable(report.name), "bold")
            view.append(Text.assemble(name, "  ", summarise_publication_status(report, now_s)))
        else:
            view += _activity(report, now_s)
        view += _last_error(report)
    return view


def _last_error(report: StatusReport | PublicationStatus) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if report.last_error:
        said = ("last error: ", "red"), printable(report.last_error)
        lines.append(Text.assemble((printable(report.name), "bold"), ": ", *said))
    if hint := advice(report):
        lines.append(Text.assemble(("hint: ", "cyan"), hint))
    return lines


def _activity(report: StatusReport | PublicationStatus, now_s: float) -> list[RenderableType]:
    """What a table has no column for."""
    parts = [printable(report.detail)] if report.detail else []
    parts += activity(report, now_s)
    if isinstance(report, StatusReport) and report.newest and not report.between:
        parts.append(newer(report))
    if not parts:
        return []
    name = (printable(report.name), "bold")
    return [Text.assemble(name, ": ", (" · ".join(parts), "dim"))]


def _new_table(name: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(name, max_width=24, overflow="fold")
    table.add_column("state")
    table.add_column("release", overflow="ellipsis", no_wrap=True)
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    return table


def _publications(reports: Sequence[PublicationStatus], now_s: float) -> Table:
    table = _new_table("publication")
    table.add_column("published", no_wrap=True)
    for report in reports:
        table.add_row(
            Text(printable(report.name), style="bold"),
            Text(printable(report.stage), style="red" if report.last_error else ""),
            Text(f"{report.number:,}" if report.number else "-"),
            Text(f"{report.files:,}"),
            Text(format_size(report.bytes_total)),
            Text(ago(report.last_release_s, now_s)),
        )
    return table


def _table(reports: Sequence[StatusReport], now_s: float) -> Table:
    table = _new_table("name")
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
