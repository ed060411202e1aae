"""The live lines of a terminal: which columns fit, and how wide they are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from torsync.cli.render.text import percent_done, printable, time_left
from torsync.model.events import Stage
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.events import Progress

_IDLE = frozenset({Stage.WAITING, Stage.NEEDS_APPROVAL, Stage.SEEDING})
_BAR_MIN, _BAR_MAX = 8, 30
_PATH_MIN = 16


@dataclass(slots=True)
class Row:
    """What is known of one active subscription."""

    name: str
    stage: Stage
    detail: str = ""
    progress: Progress | None = None


class _Column(NamedTuple):
    """A column; its least width keeps its neighbours still while numbers change."""

    key: str
    least_width: int
    style: str
    align_right: bool = True


# In the order of the line; the bar, then the path, takes what is left.
_COLUMNS = (
    _Column("bar", _BAR_MIN, ""),
    _Column("percent", 4, "bold"),
    _Column("bytes", 15, ""),
    _Column("files", 0, ""),
    _Column("down", 10, "green"),
    _Column("up", 10, "blue"),
    _Column("rate", 9, "green"),
    _Column("peers", 7, "", align_right=False),
    _Column("left", 9, "cyan", align_right=False),
    _Column("path", _PATH_MIN, "dim", align_right=False),
)
# What is given a place first where the terminal is narrow.
_BY_WORTH = ("percent", "down", "left", "bytes", "bar", "peers", "up", "rate", "files", "path")


def live_lines(rows: Sequence[Row], width: int, height: int) -> list[Text]:
    """Lay out one line per row, none wider than ``width`` cells, at most ``height`` lines."""
    if len(rows) > height:
        busy_first = sorted(rows, key=lambda row: row.stage in _IDLE)
        hidden = len(rows) - max(height - 1, 0)
        more = Text(f"and {hidden:,} more"[:width], style="dim")
        return [*_lines(busy_first[: max(height - 1, 0)], width), more][:height]
    return _lines(rows, width)


def _lines(rows: Sequence[Row], width: int) -> list[Text]:
    cells = [_cells(row) for row in rows]
    names = [printable(row.name) for row in rows]
    name_width = min(max(map(cell_len, names), default=0), max(8, width // 4))
    stage_width = max((len(row.stage.value) for row in rows), default=0)
    room = width - name_width - 1 - stage_width
    widths = {
        column.key: column.least_width
        if column.key == "path"
        else max(column.least_width, *(cell_len(found.get(column.key, "")) for found in cells))
        for column in _COLUMNS
        if any(column.key in found for found in cells)
    }
    chosen: set[str] = set()
    for key in _BY_WORTH:
        if key in widths and widths[key] + 1 <= room:
            chosen.add(key)
            room -= widths[key] + 1
    if "bar" in chosen:
        wider = min(_BAR_MAX - widths["bar"], room)
        widths["bar"] += wider
        room -= wider
    if "path" in chosen:
        widths["path"] += room

    lines = []
    for row, name, found in zip(rows, names, cells, strict=True):
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(_fitted(name, name_width), style="bold")
        line.append(
            f" {row.stage.value.ljust(stage_width)}", style="dim" if row.stage in _IDLE else ""
        )
        if found:
            for column in _COLUMNS:
                if column.key in chosen:
                    line.append(" ")
                    line.append_text(_column_text(column, found, widths[column.key]))
        elif row.detail:
            line.append(f" {printable(row.detail)}", style="dim")
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def _cells(row: Row) -> dict[str, str]:
    """The columns that have something to show, as plain text."""
    progress = row.progress
    if progress is None:
        return {}
    found: dict[str, str] = {}
    percent = percent_done(progress)
    if percent is not None:
        found["bar"] = ""
        found["percent"] = f"{percent}%"
    if progress.bytes_total:
        done, total = format_size(progress.bytes_done), format_size(progress.bytes_total)
        found["bytes"] = f"{done}/{total}"
    if progress.files_total:
        found["files"] = f"{progress.files_done:,}/{progress.files_total:,} files"
    if progress.download_rate or progress.stage is Stage.DOWNLOADING:
        found["down"] = f"↓{format_size(progress.download_rate)}/s"
    if progress.upload_rate or progress.stage is Stage.SEEDING:
        found["up"] = f"↑{format_size(progress.upload_rate)}/s"
    if progress.peers or progress.stage is Stage.DOWNLOADING:
        found["peers"] = "1 peer" if progress.peers == 1 else f"{progress.peers:,} peers"
    if progress.rate:
        found["rate"] = f"{format_size(progress.rate)}/s"
    if progress.path:
        found["path"] = printable(progress.path)
    if progress.eta_s is not None and progress.eta_s < float("inf"):
        found["left"] = time_left(progress.eta_s)
    return found


def _column_text(column: _Column, found: dict[str, str], width: int) -> Text:
    text = found.get(column.key)
    if text is None:
        return Text(" " * width)
    if column.key == "bar":
        return _bar(int(found["percent"][:-1]), width)
    if column.key == "path":
        return Text(_end_of(text, width), style=column.style)
    return Text(text.rjust(width) if column.align_right else text.ljust(width), style=column.style)


def _bar(percent: int, width: int) -> Text:
    """A bar that can be read without colours too."""
    done = width * percent // 100
    return Text.assemble(("━" * done, "green"), ("─" * (width - done), "dim"))


def _end_of(path: str, width: int) -> str:
    """The end of a path, which tells more than its beginning, in at most ``width`` cells."""
    if cell_len(path) <= width:
        return path
    end = path[-width:]
    while cell_len(end) >= width:
        end = end[1:]
    return "…" + end


def _fitted(name: str, width: int) -> str:
    return (
        set_cell_size(name, width)
        if cell_len(name) <= width
        else set_cell_size(name, width - 1) + "…"
    )
