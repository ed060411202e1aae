"""The same trouble again and again: told at once, then now and then."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.clock import awake_or_not_s
from torsync.model.errors import is_same_failure
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.events import Event, EventSink

_AGAIN_S = 3600.0
_TROUBLE = frozenset({Level.WARNING, Level.ERROR})


class _Told(NamedTuple):
    message: str
    at_s: float


class Repeats:
    """An ``EventSink`` before another: what was told within the hour is for debugging only.

    A server that is away for a day is so in two dozen lines. Warnings and errors are compared
    with the last one of the same name and code; any thread may tell them.
    """

    def __init__(self, sink: EventSink, clock: Callable[[], float] = awake_or_not_s) -> None:
        """Prepare.

        Args:
            sink: takes all events, those that repeat as ``Level.DEBUG``.
            clock: gives seconds that only grow.
        """
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], _Told] = {}

    def sink(self, event: Event) -> None:
        """Tell an event."""
        if isinstance(event, Notice) and event.level in _TROUBLE and self._is_repeated(event):
            event = replace(event, level=Level.DEBUG)
        self._sink(event)

    def _is_repeated(self, notice: Notice) -> bool:
        key, now_s = (notice.subscription, notice.code), self._clock()
        with self._lock:
            told = self._told.get(key)
            if (
                told is not None
                and now_s - told.at_s < _AGAIN_S
                and is_same_failure(told.message, notice.message)
            ):
                return True
            self._told[key] = _Told(notice.message, now_s)
            return False
