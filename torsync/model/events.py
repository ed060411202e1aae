"""What torsync says while it works: values that renderers turn into bars, lines or JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union


class Stage(str, Enum):
    """The step of a cycle that a subscription or publication is in."""

    WAITING = "waiting"
    NEEDS_APPROVAL = "needs approval"
    POSTPONED = "postponed"
    PAUSED = "paused"
    FAILED = "error"
    CHECKING_REMOTE = "checking remote"
    LOOKING = "looking"
    VERIFYING = "verifying"
    LOOKING_FOR_SHIFTS = "finding moved content"
    STAGING = "staging"
    DOWNLOADING = "downloading"
    REREADING = "re-reading"
    COMMITTING = "committing"
    SEEDING = "seeding"
    SCANNING = "scanning"
    HASHING = "hashing"
    HINTING = "making hints"
    CHECKING_RELEASE = "checking release"


IDLE_STAGES = frozenset(
    {Stage.WAITING, Stage.NEEDS_APPROVAL, Stage.POSTPONED, Stage.PAUSED, Stage.FAILED}
)
"""Those in which nothing is done but seeding."""


class Level(str, Enum):
    """How much a notice matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A subscription entered a stage.

    ``detail`` says more in a few words; ``release`` is the one that the work is about, if that is
    known: the number of a publication's.
    """

    subscription: str
    stage: Stage
    detail: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is.

    ``bytes_*`` and ``files_*`` count this stage's work only; rates are bytes per second, and
    ``rate`` is that of ``bytes_done``, where nothing is sent or received; ``eta_s`` is seconds
    left, or None while unknown; ``path`` is the file that the work is at, where there is one.
    ``bytes_received`` and ``bytes_sent`` are payload since the torrent entered the session.
    """

    subscription: str
    stage: Stage
    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    download_rate: int = 0
    upload_rate: int = 0
    peers: int = 0
    eta_s: float | None = None
    rate: int = 0
    path: str = ""
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person may want to know; ``code`` is stable, for scripts."""

    subscription: str
    level: Level
    code: str
    message: str
    hint: str = ""
    release: str = ""


Event = Union[StageStarted, Progress, Notice]
EventSink = Callable[[Event], None]


def event_as_json(event: Event) -> dict[str, Any]:
    """Give what ``event_from_json`` reads; ``type`` is ``stage``, ``progress`` or ``notice``."""
    found: dict[str, Any] = {"type": _TYPES[type(event)]}
    for name in event.__slots__:
        value = getattr(event, name)
        if isinstance(value, Enum):
            value = value.value
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        found["name" if name == "subscription" else name] = value
    return found


def event_from_json(found: Mapping[str, Any]) -> Event | None:
    """Read what ``event_as_json`` gave; None for what another version of torsync says besides."""
    values = {"subscription" if key == "name" else key: value for key, value in found.items()}
    kind = _KINDS.get(values.pop("type", ""))
    if kind is None:
        return None
    try:
        if "stage" in values:
            values["stage"] = Stage(values["stage"])
        if "level" in values:
            values["level"] = Level(values["level"])
        return kind(**{name: values[name] for name in kind.__slots__})
    except (KeyError, ValueError):
        return None


_TYPES: dict[type[Event], str] = {StageStarted: "stage", Progress: "progress", Notice: "notice"}
_KINDS: dict[str, type[Event]] = {name: kind for kind, name in _TYPES.items()}


def discard(event: Event) -> None:
    """Be an ``EventSink`` that nobody listens to."""
