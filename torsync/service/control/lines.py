"""What the control API sends, and how its client reads that: JSON objects with a ``type``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from torsync.model.errors import ConfigError, ExitCode, RelayedError
from torsync.model.events import Notice, Progress, event_as_json
from torsync.service.clock import iso_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.errors import TorsyncError
    from torsync.model.events import Event
    from torsync.model.orders import Report

BEGUN = {"type": "begun"}


def event_line(event: Event) -> dict[str, Any]:
    """Give what is sent of an event."""
    found = event_as_json(event)
    if isinstance(event, Progress):
        found["detail"] = ""  # as ``--json`` has it
    elif isinstance(event, Notice):
        found["time"] = iso_time(time.time())
    return found


def report_line(report: Report) -> dict[str, Any]:
    """Give what is sent of a report."""
    return {"type": "report", "report": report.as_json()}


def error_line(error: TorsyncError) -> dict[str, Any]:
    """Give what is sent of an error."""
    found: dict[str, Any] = {
        "type": "error",
        "code": error.code,
        "exit_code": int(ExitCode(error.exit_code)),
        "message": error.message,
        "hint": error.hint,
    }
    if isinstance(error, ConfigError):
        found["problems"] = list(error.problems)
    return found


def error_from_line(found: Mapping[str, Any]) -> TorsyncError:
    """Read what ``error_line`` gave."""
    if "problems" in found:
        problems = tuple(map(str, found["problems"]))
        return ConfigError(found["message"], problems=problems, hint=found["hint"])
    return RelayedError(found["code"], found["exit_code"], found["message"], found["hint"])


def dump(found: Mapping[str, Any]) -> bytes:
    """Give one line; in ASCII only, so that names that are not UTF-8 on disk survive."""
    return json.dumps(found, allow_nan=False).encode("ascii") + b"\n"
