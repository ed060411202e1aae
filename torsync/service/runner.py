"""What runs one subscription or publication: orders first, then its own work, rest in between."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.clock import awake_or_not_s
from torsync.model.errors import (
    BusyError,
    InterruptedByUserError,
    ServiceStoppedError,
    TorsyncError,
)
from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.orders import Pause, Resume

if TYPE_CHECKING:
    from torsync.model.events import EventSink
    from torsync.model.orders import Report
    from torsync.model.reports import PauseReport
    from torsync.service.inbox import Inbox, Pending

OnReport = Callable[["Report", str], None]
OnOrderFailed = Callable[[str, TorsyncError], None]

_FIRST_RETRY_S = 10.0
_PAUSED_REST_S = 3600.0
_MOST_DOUBLINGS = 10


def retry_delay_s(failures: int) -> float:
    """How long to wait after so many failures in a row: at first 10 s, and ever longer."""
    return _FIRST_RETRY_S * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)


class Runner(ABC):
    """Works until its inbox is stopped. One thread calls ``run``; all else is for any thread."""

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        sink: EventSink,
        *,
        on_report: OnReport,
        on_order_failed: OnOrderFailed,
        clock: Callable[[], float] = awake_or_not_s,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            name: of the subscription or publication.
            inbox: of orders.
            sink: for events.
            on_report: told what was done that changed something, and by which command
                (``run`` for its own work).
            on_order_failed: told the name and why an order was not carried out.
            clock: gives seconds that only grow.
            now_s: the time in Unix seconds.
        """
        self.name = name
        self._inbox = inbox
        self._sink = sink
        self._on_report = on_report
        self._on_order_failed = on_order_failed
        self._clock = clock
        self._now_s = now_s
        self._due_s = clock()
        self._is_paused = False
        self._is_working = False

    @property
    def is_paused(self) -> bool:
        """Whether it does nothing by itself."""
        return self._is_paused

    @property
    def next_check_s(self) -> float | None:
        """When its own work is due, in Unix seconds; None while that goes on, or is paused."""
        if self._is_paused or self._is_working:
            return None
        return self._now_s() + max(self._due_s - self._clock(), 0.0)

    def run(self) -> None:
        """Work until the inbox is stopped.

        Raises:
            Exception: something that nobody foresaw; whoever waits for an order is told.
        """
        try:
            with suppress(TorsyncError):  # a state that cannot be read is told of by the work
                self._is_paused = self._load_paused()
            if self._is_paused:
                self._sink(StageStarted(self.name, Stage.PAUSED))
            while not self._inbox.is_stopped:
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        pending = self._inbox.take()
        if pending is not None:
            try:
                self._answer(pending)
            finally:
                self._inbox.done()
        elif self._is_paused:
            self._inbox.rest(_PAUSED_REST_S)
        elif self._clock() >= self._due_s:
            self._is_working = True
            try:
                self._work()
            finally:
                self._is_working = False
        else:
            self._inbox.rest(min(self._rest_s(), max(self._due_s - self._clock(), 0.001)))
            if not (self._inbox.is_waiting or self._inbox.is_stopped):
                self._heed()

    # --- orders -----------------------------------------------------------------------------

    def _answer(self, pending: Pending) -> None:
        order = pending.order
        try:
            if isinstance(order, (Pause, Resume)):
                report: Report = self._pause_or_resume(order)
            else:
                report = self._carry_out(pending)
        except InterruptedByUserError:
            pending.fail(self._interrupted())
        except TorsyncError as error:
            self._on_order_failed(self.name, error)  # takes secrets out of it, too
            pending.fail(error)
        except BaseException as error:
            pending.fail(
                TorsyncError(f"the service failed in a way that nobody foresaw: {error!r}")
            )
            raise
        else:
            if not getattr(order, "dry_run", False):
                self._on_report(report, order.command)
            pending.fulfil(report)
        if self._is_paused:
            self._close()
            self._sink(StageStarted(self.name, Stage.PAUSED))

    def _interrupted(self) -> TorsyncError:
        if self._inbox.is_stopped:
            return ServiceStoppedError(
                "the service stopped, or was reloaded, while it did this",
                hint="give the command again",
            )
        return BusyError(
            f"{self.name!r} was paused while this was done",
            hint=f"`torsync resume {self.name}` goes on",
        )

    def _pause_or_resume(self, order: Pause | Resume) -> PauseReport:
        report = self._note_paused(order)
        self._is_paused = report.paused
        if report.changed and not report.paused:
            self._due_s = self._clock()
        return report

    # --- what subscriptions and publications do ---------------------------------------------

    @abstractmethod
    def _load_paused(self) -> bool:
        """Whether it was paused, also in an earlier life of the service."""

    @abstractmethod
    def _note_paused(self, order: Pause | Resume) -> PauseReport:
        """Remember whether it is paused."""

    @abstractmethod
    def _carry_out(self, pending: Pending) -> Report:
        """Do what somebody asks for.

        Raises:
            TorsyncError: it could not be done.
        """

    @abstractmethod
    def _work(self) -> None:
        """Do what is due, and set ``_due_s``. Failures are told."""

    @abstractmethod
    def _rest_s(self) -> float:
        """How long to rest before ``_heed``."""

    @abstractmethod
    def _heed(self) -> None:
        """See to things between the times when work is due; may set ``_due_s``."""

    @abstractmethod
    def _close(self) -> None:
        """Leave the swarm, close everything; harmless when repeated."""

    def _tell_failure(self, error: TorsyncError) -> None:
        self._sink(Notice(self.name, Level.ERROR, error.code, error.message, error.hint))
