"""The ``trash`` commands' reports in words: what all renderers for people say. Pure.

Every text given is ``printable`` already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.render.text import PATHS_SHOWN, counted, printable
from torsync.model.retention import freed_bytes
from torsync.model.trash_reports import TrashEmptied, TrashListed, TrashRestored, kind_of
from torsync.model.units import format_size

if TYPE_CHECKING:
    from torsync.model.trash_reports import TrashReport


def summarise_trash(report: TrashReport) -> str:
    """Say in one line what is in the trash, came back from it, or was removed."""
    if isinstance(report, TrashListed):
        return _summarise_listed(report)
    if isinstance(report, TrashRestored):
        replaced = f" · {len(report.trashed):,} to the trash instead" if report.trashed else ""
        restored = counted(len(report.restored), "file")
        return f"{restored} restored from {printable(report.stamp)}{replaced}"
    left = f" · {len(report.left):,} could not be removed" if report.left else ""
    freed = format_size(report.bytes_freed)
    return f"{counted(report.removed, 'file')} removed from the trash, {freed} freed{left}"


def _summarise_listed(report: TrashListed) -> str:
    if not report.files:
        return "nothing in the trash"
    released = sum(file.released for file in report.files)
    kinds = [(len(report.files) - released, "edited"), (released, "of old releases")]
    parts = ", ".join(f"{number:,} {what}" for number, what in kinds if number)
    total = format_size(freed_bytes(report.files))
    return f"{counted(len(report.files), 'file')} in the trash ({total}): {parts}"


def trash_lines(report: TrashReport, *, verbose: bool) -> list[str]:
    """One line for each thing: of a list all of them, else the first ones unless ``verbose``."""
    if isinstance(report, TrashListed):
        found = [
            f"{printable(file.stamp)}  {kind_of(file):<11}  {format_size(file.size):>8}  "
            f"{printable(file.path)}"
            for file in report.files
        ]
        return found + [f"unreadable: {printable(path)}" for path in report.unreadable]
    if isinstance(report, TrashEmptied):
        return [f"left: {printable(path)}" for path in _first(report.left, verbose=verbose)]
    return [printable(path) for path in _first(report.restored, verbose=verbose)]


def _first(paths: list[str], *, verbose: bool) -> list[str]:
    if verbose or len(paths) <= PATHS_SHOWN:
        return paths
    return [*paths[:PATHS_SHOWN], f"and {len(paths) - PATHS_SHOWN:,} more (-v: all)"]
