"""One subscription in the service: checked again and again, seeded in between."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, TorsyncError, TreeError
from torsync.model.events import Level, Notice
from torsync.subscribe.approval import is_approved
from torsync.subscribe.remote.long_poll import LongPoll
from torsync.subscribe.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.surroundings import Surroundings

_FIRST_RETRY_S = 10.0
_JITTER = 0.1
_HEED_S = 1.0
_LISTEN_S = 0.1


class SubscriptionRunner:
    """Runs one subscription until the service stops; after a failure it is tried again later."""

    def __init__(
        self,
        config: SubscriptionConfig,
        folder: Path,
        around: Surroundings,
        *,
        on_report: Callable[[CheckReport], None],
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription.
            folder: where its state is.
            around: what it needs; ``stopping`` ends it.
            on_report: told what each check that changed something did.
            jitter: gives numbers in [0, 1), so that subscribers don't poll in step.
            clock: gives seconds that only grow.
        """
        self._config = config
        self._folder = folder
        self._around = around
        self._on_report = on_report
        self._jitter = jitter
        self._clock = clock
        self._news = LongPoll(config.url, config.headers)

    def run(self) -> None:
        """Work until the service stops."""
        failures = 0
        while not self._around.stopping():
            try:
                subscription = Subscription(
                    self._config, self._folder, self._around, news=self._news
                )
            except TorsyncError as error:
                self._report(error)
                failures += 1
                self._wait_to_open(self._delay_s(failures))
                continue
            try:
                self._loop(subscription)
            finally:
                self._news.close()
                subscription.close()
            return

    def _wait_to_open(self, delay_s: float) -> None:
        """Wait before another try to open a subscription; an approval ends the wait."""
        ends = self._clock() + delay_s
        while (left := ends - self._clock()) > 0 and not self._around.wait(min(left, _HEED_S)):
            with suppress(TorsyncError):  # a state that cannot be read is told of by the next try
                if is_approved(self._folder):
                    return

    def _loop(self, subscription: Subscription) -> None:
        failures = alarms = 0
        self._attempt(subscription.resume_seeding)
        while not self._around.stopping():
            if self._attempt(lambda: self._check(subscription)):
                failures = 0
            else:
                failures += 1
            subscription.rest()
            alarmed = self._wait(subscription, self._delay_s(failures), alarms)
            alarms = alarms + 1 if alarmed else 0

    def _wait(self, subscription: Subscription, delay_s: float, alarms: int) -> bool:
        """Wait for the next check; True if what is seeded changed or failed before.

        An approval or a new release ends the wait. Alarms in a row are answered ever later.
        """
        ends = self._clock() + delay_s
        heeds = self._clock() + (_FIRST_RETRY_S * 2.0 ** min(alarms - 1, 10) if alarms else 0.0)
        while (left := ends - self._clock()) > 0:
            if self._doze(min(left, _HEED_S)):
                return False
            if self._is_approved(subscription):
                return False
            if self._clock() >= heeds and not self._attempt(subscription.heed):
                return True
        return False

    def _doze(self, seconds: float) -> bool:
        """Sleep; True if the work shall stop, or there is a new release."""
        ends = self._clock() + seconds
        while (left := ends - self._clock()) > 0:
            is_listening = self._news.is_listening
            if self._news.take_news():
                return True
            if self._around.wait(min(left, _LISTEN_S) if is_listening else left):
                return True
        return False

    @staticmethod
    def _is_approved(subscription: Subscription) -> bool:
        try:
            return subscription.is_approved
        except TorsyncError:
            return False  # a state that cannot be read is told of by the next check

    def _check(self, subscription: Subscription) -> None:
        approved = subscription.is_approved
        report = subscription.apply_approved() if approved else subscription.check_now()
        if not report.dry_run and (report.changed or report.unreadable):
            self._on_report(report)
        if report.unreadable:
            paths = ", ".join(repr(path) for path in report.unreadable[:3])
            raise TreeError(
                f"{len(report.unreadable)} files or folders could not be read, the first: {paths}",
                path=report.unreadable[0],
                hint="make them readable; they are left alone until then",
            )

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except InterruptedByUserError:
            return True
        except TorsyncError as error:
            self._report(error)
            return False
        return True

    def _delay_s(self, failures: int) -> float:
        """The interval, give or take a tenth; after a failure less, growing with each."""
        delay = self._config.interval_s
        if failures:
            delay = min(delay, _FIRST_RETRY_S * 2.0 ** min(failures - 1, 10))
        return delay * (1 + _JITTER * (2 * self._jitter() - 1))

    def _report(self, error: TorsyncError) -> None:
        self._around.sink(
            Notice(self._config.name, Level.ERROR, error.code, error.message, error.hint)
        )
