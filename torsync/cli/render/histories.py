"""Histories and logs in words: what all renderers for people say. Pure but for the time zone.

Every text given is ``printable`` already.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from torsync.cli.render.text import printable, shortened
from torsync.model.events import Level
from torsync.model.history import KINDS
from torsync.model.log_records import describe_record

if TYPE_CHECKING:
    from torsync.model.history import UpdateRecord
    from torsync.model.log_records import LogRecord
    from torsync.model.reports import HistoryReport

_RELEASE_LENGTH = 40


def history_lines(report: HistoryReport, *, verbose: bool) -> list[str]:
    """One line for each update, the newest first; with ``verbose`` one for each path as well."""
    if not report.updates:
        return ["nothing was published yet" if report.is_publication else "nothing changed yet"]
    lines = []
    for update in report.updates:
        lines.append(_update_line(update))
        if verbose:
            lines += _path_lines(update)
    return lines


def _update_line(update: UpdateRecord) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(update.at_s))
    return f"{at}  {_releases(update)}: {describe_record(update)}"


def _releases(update: UpdateRecord) -> str:
    release = shortened(update.release, _RELEASE_LENGTH)
    if update.number:
        return f"release {update.number}"
    if not update.from_release:
        return release
    if update.from_info_hash == update.info_hash:
        return f"{release}, mended"
    before = shortened(update.from_release, _RELEASE_LENGTH)
    if before == release:  # publications often keep the name
        return f"{release} {update.from_info_hash[:8]} to {update.info_hash[:8]}"
    return f"{before} to {release}"


def _path_lines(update: UpdateRecord) -> list[str]:
    lines = []
    for kind in KINDS:
        paths, count = getattr(update.paths, kind), getattr(update, kind)
        lines += [f"  {kind}: {printable(path)}" for path in paths]
        if paths and count > len(paths):
            lines.append(f"  {kind}: and {count - len(paths):,} more")
    return lines


def log_lines(record: LogRecord) -> list[str]:
    """A line of the log, and one for what to do, if there is something."""
    parts = [] if record.level is Level.INFO else [record.level.value]
    name = printable(record.name)
    release = shortened(record.release, _RELEASE_LENGTH) if record.release else ""
    if release and release != name:
        name += f" ({release})"
    if name:
        parts.append(name)
    lines = [f"{record.time} {': '.join([*parts, printable(record.message)])}"]
    if record.hint:
        lines.append(f"{record.time} {': '.join([*parts[-1:], 'hint', printable(record.hint)])}")
    return lines
