"""One subscription in the service: checked again and again, seeded in between."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from torsync.model.errors import (
    InterruptedByUserError,
    PostponedError,
    StateError,
    TorsyncError,
    is_same_failure,
)
from torsync.model.orders import Apply, Check
from torsync.model.reports import CheckReport
from torsync.service.runner import Runner, retry_delay_s
from torsync.subscribe.failing import unreadable_error
from torsync.subscribe.ordered import carry_out, is_paused, note_paused
from torsync.subscribe.presence import place_of
from torsync.subscribe.remote.long_poll import LongPoll
from torsync.subscribe.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Pause, Report, Resume
    from torsync.model.reports import PauseReport
    from torsync.service.inbox import Inbox, Pending
    from torsync.service.runner import OnOrderFailed, OnReport
    from torsync.subscribe.surroundings import Surroundings

_JITTER = 0.1
_HEED_S = 3.0


class SubscriptionRunner(Runner):
    """Runs one subscription until its inbox is stopped; after a failure it is tried again later."""

    def __init__(
        self,
        config: SubscriptionConfig,
        folder: Path,
        around: Surroundings,
        inbox: Inbox,
        *,
        on_report: OnReport,
        on_order_failed: OnOrderFailed,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription.
            folder: where its state is.
            around: what it needs; ``stopping`` and ``wait`` are the inbox's.
            inbox: of orders.
            on_report: told what was done; see ``Runner``.
            on_order_failed: told of orders that were not carried out.
            jitter: gives numbers in [0, 1), so that subscribers don't poll in step.
            clock: gives seconds that only grow.
        """
        super().__init__(
            config.name,
            inbox,
            around.sink,
            on_report=on_report,
            on_order_failed=on_order_failed,
            clock=clock,
            now_s=around.now_s,
        )
        self._config = config
        self._folder = folder
        self._around = around
        self._jitter = jitter
        self._news: LongPoll | None = None
        self._subscription: Subscription | None = None
        self._failures = 0
        self._told = ""
        self._alarms = 0
        self._heeds_s = 0.0
        self._place = place_of(config.path)
        self._is_back = False
        self._last: tuple[float, CheckReport] | None = None

    # --- its own work -----------------------------------------------------------------------

    def _work(self) -> None:
        try:
            is_new = self._subscription is None
            subscription = self._opened()
            if is_new or self._is_back:
                self._is_back = False
                self._resume(subscription, is_told=is_new)
            report = subscription.check_now()
            self._last = (self._clock(), report)
            self._tell(report, "run")
        except InterruptedByUserError:
            return  # still due, once the order is carried out
        except PostponedError as error:
            self._failures = 0 if error.is_timed else self._failures + 1
        except TorsyncError as error:
            self._failures += 1
            self._tell_failure(error)
            self._tell_hooks(error)
        else:
            self._failures = 0
            self._told = ""
        self._await_next()

    def _tell_hooks(self, error: TorsyncError) -> None:
        """Tell of a state that cannot be used, once in a row; the rest is told already."""
        if isinstance(error, StateError) and self._subscription is None:
            if not is_same_failure(self._told, error.message):
                self._around.hooks.failed(self._config, error)
            self._told = error.message

    def _opened(self) -> Subscription:
        if self._subscription is None:
            news = LongPoll(self._config.url, self._config.headers, on_news=self._inbox.ring)
            self._subscription = Subscription(self._config, self._folder, self._around, news=news)
            self._news = news
        return self._subscription

    def _resume(self, subscription: Subscription, *, is_told: bool) -> None:
        try:
            subscription.resume_seeding()
        except InterruptedByUserError:
            raise
        except TorsyncError as error:  # the check that follows may mend it, or tells it
            if is_told:
                self._tell_failure(error)

    def _tell(self, report: CheckReport, command: str) -> None:
        """Report a check that changed something.

        Raises:
            TreeError: not everything could be read.
        """
        if not report.dry_run and (report.changed or report.unreadable):
            self._on_report(report, command)
        unreadable = unreadable_error(report)
        if unreadable is not None:
            raise unreadable

    def _await_next(self) -> None:
        if self._subscription is not None:
            self._subscription.rest()
        now_s = self._clock()
        self._due_s = now_s + self._delay_s()
        self._see_to_hours(now_s)
        self._heeds_s = now_s + (retry_delay_s(self._alarms) if self._alarms else 0.0)

    def _see_to_hours(self, now_s: float) -> None:
        """Have the next check when the hours begin for which an update waits, if one does."""
        opens_in_s = None if self._subscription is None else self._subscription.opens_in_s
        if opens_in_s is not None:
            self._due_s = min(self._due_s, now_s + opens_in_s)

    def _delay_s(self) -> float:
        """The interval, give or take a tenth; after a failure less, growing with each."""
        delay = self._config.interval_s
        if self._failures:
            delay = min(delay, retry_delay_s(self._failures))
        return delay * (1 + _JITTER * (2 * self._jitter() - 1))

    # --- between checks ---------------------------------------------------------------------

    def _rest_s(self) -> float:
        return _HEED_S

    def _heed(self) -> None:
        now_s = self._clock()
        self._see_to_hours(now_s)
        is_new = self._news is not None and self._news.take_news()
        if is_new or self._is_place_another():
            self._due_s, self._alarms = now_s, 0
        elif now_s >= self._due_s:
            self._alarms = 0
        elif self._subscription is not None and now_s >= self._heeds_s:
            try:
                self._subscription.heed()
            except InterruptedByUserError:
                return
            except TorsyncError as error:
                # Alarms in a row are answered ever later.
                self._alarms += 1
                self._due_s = now_s
                self._tell_failure(error)

    def _is_place_another(self) -> bool:
        """Whether another folder or disk is at the path than when the last check failed."""
        before, self._place = self._place, place_of(self._config.path)
        if not self._failures or self._place in {before, None}:
            return False
        self._is_back = True
        return True

    # --- orders -----------------------------------------------------------------------------

    def _carry_out(self, pending: Pending) -> Report:
        order = pending.order
        try:
            report = carry_out(order, self._opened())
        except TorsyncError:
            if isinstance(order, Apply):  # it stays approved, and is tried again soon
                self._failures = max(self._failures, 1)
                self._await_next()
            elif self._subscription is not None:  # what it was at is not told for ever
                self._subscription.rest()
            raise
        if isinstance(report, CheckReport):
            if not report.dry_run:
                self._failures = self._alarms = 0
                self._await_next()
            if isinstance(order, Check) and not order.dry_run:
                return self._with_last(pending, report)
        elif self._subscription is not None:
            self._subscription.rest()
        return report

    def _with_last(self, pending: Pending, report: CheckReport) -> CheckReport:
        """Tell what the service's own check did while an order waited for its end."""
        if self._last is None or report.changed or report.unreadable:
            return report
        ended_s, last = self._last
        is_waited_for = ended_s >= pending.given_s and not last.dry_run
        return last if is_waited_for and last.info_hash == report.info_hash else report

    # --- the rest ---------------------------------------------------------------------------

    def _load_paused(self) -> bool:
        return is_paused(self._folder)

    def _note_paused(self, order: Pause | Resume) -> PauseReport:
        return note_paused(order, self.name, self._folder)

    def _close(self) -> None:
        if self._news is not None:
            news, self._news = self._news, None
            news.close()
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            subscription.close()
