"""What an update would do, in words: what the plain and the terminal renderer both say. Pure.

Every text given is ``printable`` already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.cli.render.text import PATHS_SHOWN, counted, printable
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.reports import CheckReport, PlannedAction

_LABELS = {
    "fetch": "fetch",
    "patch": "patch",
    "copy": "copy",
    "move": "move",
    "link": "link",
    "trash": "remove",
    "kept_local": "leave",
    "unreadable": "skip",
}


class PlanRow(NamedTuple):
    """A line of the table: how many files meet with an action, and what they hold."""

    label: str
    files: int
    size_bytes: int


class PlanLine(NamedTuple):
    """One path, ``old → new`` where it comes from elsewhere, and why; no reason: a remark."""

    text: str
    reason: str = ""


def plan_rows(report: CheckReport) -> list[PlanRow]:
    """Count and weigh the files by action, what is kept last."""
    rows = [
        PlanRow(label, len(found), sum(action.size for action in found))
        for label, found in _by_label(report)
    ]
    if report.kept:
        told = sum(action.size for action in report.actions if action.action != "trash")
        rows.append(PlanRow("keep", report.kept, max(0, report.bytes_total - told)))
    return rows


def plan_lines(report: CheckReport, limit: int | None = PATHS_SHOWN) -> dict[str, list[PlanLine]]:
    """The paths of each action, at most ``limit`` of each (None: all), with the reasons."""
    shown = {}
    for label, found in _by_label(report):
        lines = [_line(action) for action in found[:limit]]
        if len(found) > len(lines):
            lines.append(PlanLine(f"and {len(found) - len(lines):,} more (-v: all)"))
        shown[label] = lines
    return shown


def plan_remarks(report: CheckReport) -> list[tuple[str, bool]]:
    """What else to know before saying yes, and whether it stands in the way."""
    if not report.changed:
        return []
    remarks = [(f"content: {describe_content(report)}", False)]
    gone = {action.path for action in report.actions if action.action == "trash"}
    replaced = sum(path not in gone for path in report.trashed)
    if replaced:
        versions = "the old version" if replaced == 1 else "the old versions"
        files = counted(replaced, "replaced file")
        remarks.append((f"{versions} of {files} would go to the trash", False))
    needed, free = format_size(report.space_needed), format_size(report.space_free)
    if report.space_needed > report.space_free:
        remarks.append((f"space: {needed} needed, only {free} free", True))
    else:
        remarks.append((f"space: {needed} needed, {free} free", False))
    return remarks


def describe_content(report: CheckReport) -> str:
    """Say where the release's bytes come from; hints are named where some were read."""
    reused = report.bytes_reused
    parts = [
        (reused.kept, "kept"),
        (reused.moved, "moved"),
        (reused.same_place, "at the same place"),
        (reused.shifted, "shifted"),
    ]
    told = [f"{format_size(count)} {what}" for count, what in parts if count]
    hints = f" (and {format_size(report.bytes_hints)} of hints)" if report.bytes_hints else ""
    return ", ".join([*told, f"{format_size(report.bytes_to_fetch)} to fetch{hints}"])


def _by_label(report: CheckReport) -> list[tuple[str, Sequence[PlannedAction]]]:
    found: dict[str, list[PlannedAction]] = {action: [] for action in _LABELS}
    for action in report.actions:
        found[action.action].append(action)
    return [(_LABELS[action], actions) for action, actions in found.items() if actions]


def _line(action: PlannedAction) -> PlanLine:
    path = printable(action.path)
    if action.source and action.source != action.path:
        path = f"{printable(action.source)} → {path}"
        if action.reason == f"the content of {action.source}":
            return PlanLine(path)  # that is said already
    return PlanLine(path, printable(action.reason))
