"""Where all that the service says comes together: who wants to hear it, and what was said last."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torsync.model.events import IDLE_STAGES, Progress, Stage, StageStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from torsync.model.events import Event, EventSink

_MOST_UNHEARD = 1000


@dataclass(frozen=True)
class Live:
    """What one subscription or publication is doing now.

    Attributes:
        stage: that it is in; None before its first one.
        detail: what was said with it.
        progress: how far the stage is; None if that was not said.
        release: that it was about last; empty if that was never said.
        since_s: when the stage began, by the hub's clock.
        moved_s: when ``bytes_done`` or ``files_done`` grew last, or the stage began.
    """

    stage: Stage | None = None
    detail: str = ""
    progress: Progress | None = None
    release: str = ""
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

    def __init__(
        self,
        *sinks: EventSink,
        clock: Callable[[], float] = time.monotonic,
        edit: Callable[[Event], Event] | None = None,
    ) -> None:
        """Prepare.

        Args:
            sinks: that hear everything, in the thread that says it.
            clock: gives seconds that only grow.
            edit: changes what is said before anybody hears it: takes secrets out of it.
        """
        self._sinks = sinks
        self._edit = edit
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._listeners: tuple[Listener, ...] = ()

    def sink(self, event: Event) -> None:
        """Tell everyone; what names no release is about the one that was named last."""
        event = self._note(event if self._edit is None else self._edit(event))
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

    def add_sink(self, sink: EventSink) -> None:
        """Tell one more from now on, in the thread that says it."""
        with self._lock:
            self._sinks = (*self._sinks, sink)

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

    def _note(self, event: Event) -> Event:
        name = event.subscription
        if not name:
            return event
        with self._lock:
            before = self._live.get(name) or Live()
            if isinstance(event, Progress):
                self._live[name] = _advanced(before, event, self._clock())
                return event
            if before.release and not event.release:
                event = replace(event, release=before.release)
            if isinstance(event, StageStarted):
                now_s = self._clock()
                self._live[name] = Live(
                    event.stage, event.detail, None, event.release, now_s, now_s
                )
            elif event.release != before.release:
                self._live[name] = replace(before, release=event.release)
        return event


def _advanced(before: Live, progress: Progress, now_s: float) -> Live:
    is_idle = before.stage is None or before.stage in IDLE_STAGES
    if progress.stage is Stage.SEEDING and is_idle:
        return replace(before, progress=progress)  # it seeds, whatever it waits for
    if before.stage is not progress.stage:
        before = Live(progress.stage, "", None, before.release, now_s, now_s)
    known = before.progress
    moved = known is None or (
        known.bytes_done < progress.bytes_done or known.files_done < progress.files_done
    )
    return replace(before, progress=progress, moved_s=now_s if moved else before.moved_s)
