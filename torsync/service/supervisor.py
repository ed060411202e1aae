"""The service: each subscription in a thread of its own, until it is told to stop."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from torsync.disk.lock import hold_tree
from torsync.model.errors import InterruptedByUserError, TorsyncError, TreeError
from torsync.model.events import Level, Notice
from torsync.subscribe.approval import is_approved
from torsync.subscribe.state import state_folder
from torsync.subscribe.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.surroundings import Surroundings

_FIRST_RETRY_S = 10.0
_JITTER = 0.1
_HEED_S = 1.0


class Supervisor:
    """Runs subscriptions; one that fails tries again later, and the others go on."""

    def __init__(
        self,
        subscriptions: Sequence[SubscriptionConfig],
        state_dir: Path,
        around: Surroundings,
        *,
        on_report: Callable[[CheckReport], None],
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            subscriptions: to run.
            state_dir: where their states are.
            around: what they need; ``stopping`` ends them.
            on_report: told what each check that changed something did.
            jitter: gives numbers in [0, 1), so that subscribers don't poll in step.
            clock: gives seconds that only grow.
        """
        self._subscriptions = subscriptions
        self._state_dir = state_dir
        self._around = around
        self._on_report = on_report
        self._jitter = jitter
        self._clock = clock
        self._crashes: list[BaseException] = []

    def run(self, stop: threading.Event) -> None:
        """Hold all trees, and work on them until ``stop`` is set.

        A thread that fails in a way that nobody foresaw ends the service: better restarted
        than half alive.

        Raises:
            BusyError: another process holds one of the trees; none is worked on then.
            TorsyncError: a state directory cannot be used.
        """
        with ExitStack() as held:
            threads = []
            for config in self._subscriptions:
                folder = state_folder(self._state_dir, config.path)
                held.enter_context(hold_tree(folder, name=config.name, command="torsync run"))
                threads.append(
                    threading.Thread(
                        target=self._guarded,
                        args=(config, folder, stop),
                        name=config.name,
                        daemon=True,
                    )
                )
            for thread in threads:
                thread.start()
            stop.wait()
            for thread in threads:
                thread.join()  # its tree is not given up while it works
            if self._crashes:
                raise self._crashes[0]

    def _guarded(self, config: SubscriptionConfig, folder: Path, stop: threading.Event) -> None:
        try:
            self._keep_in_sync(config, folder)
        except BaseException as error:  # noqa: BLE001 - raised again by ``run``
            self._crashes.append(error)
            stop.set()

    def _keep_in_sync(self, config: SubscriptionConfig, folder: Path) -> None:
        failures = 0
        while not self._around.stopping():
            try:
                subscription = Subscription(config, folder, self._around)
            except TorsyncError as error:
                self._report(config, error)
                failures += 1
                self._wait_to_open(folder, self._delay_s(config, failures))
                continue
            try:
                self._loop(config, subscription)
            finally:
                subscription.close()
            return

    def _wait_to_open(self, folder: Path, delay_s: float) -> None:
        """Wait before another try to open a subscription; an approval ends the wait."""
        ends = self._clock() + delay_s
        while (left := ends - self._clock()) > 0 and not self._around.wait(min(left, _HEED_S)):
            with suppress(TorsyncError):  # a state that cannot be read is told of by the next try
                if is_approved(folder):
                    return

    def _loop(self, config: SubscriptionConfig, subscription: Subscription) -> None:
        failures = alarms = 0
        self._attempt(config, subscription.resume_seeding)
        while not self._around.stopping():
            if self._attempt(config, lambda: self._check(subscription)):
                failures = 0
            else:
                failures += 1
            subscription.rest()
            alarmed = self._wait(config, subscription, self._delay_s(config, failures), alarms)
            alarms = alarms + 1 if alarmed else 0

    def _wait(
        self, config: SubscriptionConfig, subscription: Subscription, delay_s: float, alarms: int
    ) -> bool:
        """Wait for the next check; True if what is seeded changed or failed before.

        An approval ends the wait. Alarms in a row are answered ever later.
        """
        ends = self._clock() + delay_s
        heeds = self._clock() + (_FIRST_RETRY_S * 2.0 ** min(alarms - 1, 10) if alarms else 0.0)
        while (left := ends - self._clock()) > 0:
            if self._around.wait(min(left, _HEED_S)):
                return False
            if self._is_approved(subscription):
                return False
            if self._clock() >= heeds and not self._attempt(config, subscription.heed):
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

    def _attempt(self, config: SubscriptionConfig, action: Callable[[], None]) -> bool:
        try:
            action()
        except InterruptedByUserError:
            return True
        except TorsyncError as error:
            self._report(config, error)
            return False
        return True

    def _delay_s(self, config: SubscriptionConfig, failures: int) -> float:
        """The interval, give or take a tenth; after a failure less, growing with each."""
        delay = config.interval_s
        if failures:
            delay = min(delay, _FIRST_RETRY_S * 2.0 ** min(failures - 1, 10))
        return delay * (1 + _JITTER * (2 * self._jitter() - 1))

    def _report(self, config: SubscriptionConfig, error: TorsyncError) -> None:
        self._around.sink(Notice(config.name, Level.ERROR, error.code, error.message, error.hint))
