"""Orders for one runner, and how whoever gave one learns what became of it."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from torsync.disk.clock import awake_or_not_s
from torsync.model.errors import ServiceStoppedError, TorsyncError
from torsync.model.orders import Pause, Terms, Verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.orders import Order, Report


class Pending:
    """An order that was given; its outcome is one report or one error.

    Attributes:
        order: what is to be done.
        terms: how.
        given_s: when, by the inbox's clock.
    """

    def __init__(self, order: Order, terms: Terms, given_s: float = 0.0) -> None:
        self.order = order
        self.terms = terms
        self.given_s = given_s
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._report: Report | None = None
        self._error: TorsyncError | None = None
        self._is_cancelled = False
        self._lock = threading.Lock()
        self._on_end: Callable[[], None] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether it is being carried out, or has been."""
        return self._begun.is_set()

    @property
    def is_ended(self) -> bool:
        """Whether there is an outcome."""
        return self._ended.is_set()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._is_cancelled

    def begin(self) -> None:
        """Note that it is being carried out."""
        self._begun.set()

    def fulfil(self, report: Report) -> None:
        """End it with what was done."""
        self._report = report
        self._begun.set()
        self._end()

    def fail(self, error: TorsyncError) -> None:
        """End it with why it was not done."""
        self._error = error
        self._end()

    def cancel(self) -> None:
        """Say that nobody waits for it any more: what only reports is given up."""
        self._is_cancelled = True

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have something called once there is an outcome, in the thread that brings it."""
        with self._lock:
            if not self._ended.is_set():
                self._on_end = call
                return
        call()

    def _end(self) -> None:
        with self._lock:
            self._ended.set()
        if self._on_end is not None:
            self._on_end()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the outcome; whether there is one."""
        return self._ended.wait(seconds)

    def outcome(self) -> Report:
        """What was done; only once it has ended.

        Raises:
            TorsyncError: why it was not done.
        """
        if self._error is not None:
            raise self._error
        assert self._report is not None, "the order has not ended"
        return self._report


class Inbox:
    """What a runner waits for: orders, and the end.

    ``put`` and ``stop`` may be called from any thread, all else by the runner.
    """

    def __init__(self, clock: Callable[[], float] = awake_or_not_s) -> None:
        """Prepare.

        Args:
            clock: gives seconds that only grow.
        """
        self._clock = clock
        self._changed = threading.Condition()
        self._orders: deque[Pending] = deque()
        self._current: Pending | None = None
        self._is_stopped = False
        self._is_rung = False

    @property
    def is_stopped(self) -> bool:
        """Whether the runner shall end."""
        return self._is_stopped

    @property
    def is_waiting(self) -> bool:
        """Whether there is an order to be taken."""
        return bool(self._orders)

    @property
    def terms(self) -> Terms:
        """Those of the order that is being carried out; between orders, those of its own work."""
        current = self._current
        return Terms(automatic=True) if current is None else current.terms

    def is_interrupted(self) -> bool:
        """Whether the work that is being done shall end, to go on later.

        The runner is to stop or to pause; or an order waits that is not put off until the
        runner's own work is done; or nobody waits any more for the report that is being made.
        """
        if self._is_stopped:
            return True
        waiting = tuple(self._orders)
        current = self._current
        if current is None:
            return any(pending.order.preempts for pending in waiting)
        if current.is_cancelled and isinstance(current.order, Verify):
            return True
        return any(isinstance(pending.order, Pause) for pending in waiting)

    def put(self, order: Order, terms: Terms | None = None) -> Pending:
        """Give an order."""
        pending = Pending(order, terms or Terms(), self._clock())
        with self._changed:
            if self._is_stopped:
                pending.fail(_stopped())
            else:
                self._orders.append(pending)
                self._changed.notify_all()
        return pending

    def take(self) -> Pending | None:
        """Take the next order that somebody waits for, if there is one; ``done`` ends it."""
        with self._changed:
            while self._orders:
                pending = self._orders.popleft()
                if not pending.is_cancelled:
                    self._current = pending
                    pending.begin()
                    return pending
                pending.fail(_stopped())
        return None

    def done(self) -> None:
        """Say that the order that was taken is no more being carried out.

        It has its outcome by now, unless something went wrong that nobody foresaw.
        """
        pending, self._current = self._current, None
        if pending is not None and not pending.is_ended:
            pending.fail(_stopped())

    def ring(self) -> None:
        """End ``rest`` early: there is something to see to."""
        with self._changed:
            self._is_rung = True
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Sleep until there is an order, somebody rings, or the runner shall stop."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopped or self._is_rung or bool(self._orders), seconds
            )
            self._is_rung = False

    def sleep(self, seconds: float) -> bool:
        """Sleep in the middle of work; True if that shall end."""
        with self._changed:
            return self._changed.wait_for(self.is_interrupted, seconds)

    def stop(self) -> None:
        """End the runner."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def refuse(self, error: TorsyncError | None = None) -> None:
        """Fail what waits, as nobody will carry it out.

        Args:
            error: that it fails with; None: the service stopped.
        """
        with self._changed:
            orders, self._orders = tuple(self._orders), deque()
        for pending in orders:
            pending.fail(error or _stopped())


def _stopped() -> ServiceStoppedError:
    return ServiceStoppedError(
        "the service stopped, or was reloaded, before it came to this",
        hint="give the command again",
    )
