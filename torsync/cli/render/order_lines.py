"""What the running service was asked for, in words: what all renderers for people say. Pure.

Every text given is ``printable`` already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.render.text import counted, printable

if TYPE_CHECKING:
    from torsync.model.reports import PauseReport
    from torsync.service.desk import ReloadReport


def summarise_paused(report: PauseReport) -> str:
    """Say in a few words whether the service leaves a tree alone, and did before."""
    if report.paused:
        return "paused" if report.changed else "was paused already"
    return "resumed" if report.changed else "was not paused"


def reload_lines(report: ReloadReport) -> list[str]:
    """Say what a reload led to: a line for each thing that was done, or that nothing was."""
    done = {
        "stopped": report.stopped,
        "restarted": report.restarted,
        "started": report.started,
    }
    sections = [f"changed: {', '.join(f'[{name}]' for name in report.sections)}"]
    lines = sections if report.sections else []
    lines += [
        f"{what}: {', '.join(map(printable, names))}" for what, names in done.items() if names
    ]
    if not lines:
        return ["reloaded: nothing has changed"]
    others = counted(len(report.unchanged), "other")
    return [*lines, f"reloaded; {others} left alone" if report.unchanged else "reloaded"]
