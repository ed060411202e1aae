"""Reports on what is going on, as JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsync.model.events import event_as_json, event_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.publish_reports import PublicationStatus
    from torsync.model.reports import StatusReport

_OF_THE_REPORT = ("type", "name")


def status_as_json(report: StatusReport | PublicationStatus) -> dict[str, Any]:
    """Give the object that ``--json`` prints: of the progress, what the report has not."""
    found = {name: getattr(report, name) for name in report.__slots__}
    if report.progress is not None:
        progress = event_as_json(report.progress)
        found["progress"] = {
            name: round(value, 1) if isinstance(value, float) else value
            for name, value in progress.items()
            if name not in _OF_THE_REPORT
        }
    return found


def status_values(
    kind: type[StatusReport | PublicationStatus], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Read what ``status_as_json`` gave, as far as this torsync knows it."""
    values = {name: found[name] for name in kind.__slots__ if name in found}
    if values.get("progress"):
        whole = {"type": "progress", "name": values["name"], **values["progress"]}
        values["progress"] = event_from_json(whole)
    return values
