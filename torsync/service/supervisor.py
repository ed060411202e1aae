"""The service: each subscription in a thread of its own, until it is told to stop."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.lock import hold_tree
from torsync.service.subscription_runner import SubscriptionRunner
from torsync.subscribe.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.reports import CheckReport
    from torsync.subscribe.surroundings import Surroundings


class Work(NamedTuple):
    """What one thread of the service does.

    Attributes:
        name: of the subscription or publication.
        folder: of its state; its lock is held meanwhile.
        run: returns when the service stops.
    """

    name: str
    folder: Path
    run: Callable[[], None]


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
        self._works = []
        for config in subscriptions:
            folder = state_folder(state_dir, config.path)
            runner = SubscriptionRunner(
                config, folder, around, on_report=on_report, jitter=jitter, clock=clock
            )
            self._works.append(Work(config.name, folder, runner.run))
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
            for work in self._works:
                held.enter_context(hold_tree(work.folder, name=work.name, command="torsync run"))
                threads.append(
                    threading.Thread(
                        target=self._guarded, args=(work, stop), name=work.name, daemon=True
                    )
                )
            for thread in threads:
                thread.start()
            stop.wait()
            for thread in threads:
                thread.join()  # its tree is not given up while it works
            if self._crashes:
                raise self._crashes[0]

    def _guarded(self, work: Work, stop: threading.Event) -> None:
        try:
            work.run()
        except BaseException as error:  # noqa: BLE001 - raised again by ``run``
            self._crashes.append(error)
            stop.set()
