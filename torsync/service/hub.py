"""Where all that the service says comes together: who wants to hear it, and what was said last."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torsync.model.events import Notice, Progress, StageStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from torsync.model.events import Event, EventSink, Stage

_MOST_UNHEARD = 1000


@dataclass(frozen=True)
class Live:
    """What one subscription or publication is doing now.

    Attributes:
        stage: that it is in; None before its first one.
        detail: what was said with it.
        progress: how far the stage is; None if that was not said.
        since_s: when the stage began, by the hub's clock.
        moved_s: when ``bytes_done`` or ``files_done`` grew last, or the stage began.
    """

    stage: Stage | None = None
    detail: str = ""
    progress: Progress | None = None
    since_s: float = 0.0
    moved_s: float = 0.0


class Listener:
    """Hears events, in order; the oldest are lost to one that does not keep up.

    Attributes:
        lost: how many were.
    """

    def __init__(self, names: Collection[str] | None, on_event: Callable[[], None]) -> None:
        self.lost = 0
        self._names = None if names is None else frozenset(names)
        self._on_event = on_event
        self._events: deque[Event] = deque(maxlen=_MOST_UNHEARD)
        self._changed = threading.Condition()

    def get(self, timeout_s: float = 0.0) -> Event | None:
        """The next event; None if there is none in so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout_s)
            return self._events.popleft() if self._events else None

    def hear(self, event: Event) -> None:
        """Take an event, if it is of a name that is listened to."""
        if self._names is not None and event.subscription not in self._names:
            return
        with self._changed:
            self.lost += len(self._events) == _MOST_UNHEARD
            self._events.append(event)
            self._changed.notify()
        self._on_event()


def _ignore() -> None:
    pass


class Hub:
    """An ``EventSink`` that many can listen to. All methods may be called from any thread."""

    def __init__(self, *sinks: EventSink, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            sinks: that hear everything, in the thread that says it.
            clock: gives seconds that only grow.
        """
        self._sinks = sinks
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._listeners: tuple[Listener, ...] = ()

    def sink(self, event: Event) -> None:
        """Tell everyone."""
        self._note(event)
        for sink in self._sinks:
            sink(event)
        for listener in self._listeners:
            listener.hear(event)

    @contextmanager
    def listening(
        self, names: Collection[str] | None = None, on_event: Callable[[], None] = _ignore
    ) -> Iterator[Listener]:
        """Listen while the block lasts.

        Args:
            names: of subscriptions and publications; None: all, and what is said of none.
            on_event: called whenever there is something to ``get``, in the thread that said it.
        """
        listener = Listener(names, on_event)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

    def live(self, name: str) -> Live:
        """What a subscription or publication is doing."""
        return self._live.get(name, Live())

    def stalled_s(self, name: str) -> float:
        """For how long the work of a subscription or publication has not advanced, in seconds."""
        return self._clock() - self.live(name).moved_s

    def forget(self, name: str) -> None:
        """Forget one that is gone."""
        with self._lock:
            self._live.pop(name, None)

    def _note(self, event: Event) -> None:
        if isinstance(event, Notice) or not event.subscription:
            return
        now_s = self._clock()
        with self._lock:
            before = self._live.get(event.subscription)
            if isinstance(event, StageStarted):
                self._live[event.subscription] = Live(event.stage, event.detail, None, now_s, now_s)
                return
            if before is None or before.stage is not event.stage:
                before = Live(event.stage, "", None, now_s, now_s)
            known = before.progress
            moved = known is None or (
                known.bytes_done < event.bytes_done or known.files_done < event.files_done
            )
            self._live[event.subscription] = replace(
                before, progress=event, moved_s=now_s if moved else before.moved_s
            )
