"""Lines of the log as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from torsync.model.events import Event
    from torsync.model.history import UpdateRecord

LEVELS = (Level.DEBUG, Level.INFO, Level.WARNING, Level.ERROR)
SYSLOG_PRIORITIES = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
# What every check passes through, several times an hour.
_ROUTINE_STAGES = frozenset({Stage.WAITING, Stage.CHECKING_REMOTE, Stage.LOOKING, Stage.SCANNING})


class LogRecord(NamedTuple):
    """One line of the log.

    Attributes:
        time: ISO 8601, UTC.
        level: how much it matters.
        name: of the subscription or publication; empty: it is about the service.
        release: that it is about, if that is known; the number of a publication's.
        code: of the notice or error; ``stage`` where one began, ``updated`` and ``released``
            where something was done.
        message: in words.
        hint: what to do; may be empty.
    """

    time: str
    level: Level
    name: str
    release: str
    code: str
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {**self._asdict(), "level": self.level.value}

    @classmethod
    def load(cls, line: str) -> LogRecord | None:
        """Read a line of JSON; None if it is something else, or was cut off."""
        try:
            found = json.loads(line)
            time, level, *texts = (str(found[name]) for name in cls._fields)
            return cls(time, Level(level), *texts)
        except (ValueError, KeyError, TypeError):
            return None


def record_of_event(event: Event, time: str) -> LogRecord | None:
    """What to log of an event; None for what never ends and what every check says."""
    if isinstance(event, Notice):
        return LogRecord(
            time,
            event.level,
            event.subscription,
            event.release,
            event.code,
            event.message,
            event.hint,
        )
    if isinstance(event, StageStarted) and event.stage not in _ROUTINE_STAGES:
        said = f"{event.stage.value}: {event.detail}" if event.detail else event.stage.value
        level = Level.ERROR if event.stage is Stage.FAILED else Level.DEBUG
        return LogRecord(time, level, event.subscription, event.release, "stage", said)
    return None


def chosen(
    records: Iterable[LogRecord], names: Collection[str], level: Level
) -> Iterator[LogRecord]:
    """Those of some names (none: all) that matter at least so much."""
    least = LEVELS.index(level)
    for record in records:
        if LEVELS.index(record.level) >= least and (not names or record.name in names):
            yield record


def describe_record(record: UpdateRecord) -> str:
    """Say in one line what an update or a release changed, and what it cost."""
    counts = [
        f"{number:,} {kind}"
        for kind in ("added", "changed", "moved", "removed")
        if (number := getattr(record, kind))
    ]
    what = ", ".join(counts) or "attributes only"
    parts = [f"files: {what}" if counts else what]
    if not record.number:
        parts.append(f"{format_size(record.bytes_fetched)} fetched")
        if record.bytes_reused:
            parts.append(f"{format_size(record.bytes_reused)} reused")
    parts.append(f"{format_size(record.bytes_hashed)} hashed")
    return f"{' · '.join(parts)} in {format_duration(record.seconds)}"
