"""The service: each subscription and publication in a thread of its own, until it shall stop."""

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

    from torsync.model.config import FeedConfig, PublicationConfig, SubscriptionConfig
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import CheckReport
    from torsync.publish.feed import Feed
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


def _say_nothing(_report: PublishReport) -> None:
    pass


class Supervisor:
    """Runs them all; one that fails tries again later, and the others go on."""

    def __init__(
        self,
        subscriptions: Sequence[SubscriptionConfig],
        state_dir: Path,
        around: Surroundings,
        *,
        on_report: Callable[[CheckReport], None],
        publications: Sequence[PublicationConfig] = (),
        feed: FeedConfig | None = None,
        on_release: Callable[[PublishReport], None] = _say_nothing,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            subscriptions: to run.
            state_dir: where their states are.
            around: what they need; ``stopping`` ends them.
            on_report: told what each check that changed something did.
            publications: to run.
            feed: that serves the publications, if it has an address to listen on.
            on_release: told of each release of a publication.
            jitter: gives numbers in [0, 1), so that subscribers don't poll in step.
            clock: gives seconds that only grow.
        """
        self._subscriptions = subscriptions
        self._publications = publications
        self._state_dir = state_dir
        self._around = around
        self._feed_config = feed
        self._on_report = on_report
        self._on_release = on_release
        self._jitter = jitter
        self._clock = clock
        self._crashes: list[BaseException] = []

    def run(self, stop: threading.Event) -> None:
        """Hold all trees, and work on them until ``stop`` is set.

        A thread that fails in a way that nobody foresaw ends the service: better restarted
        than half alive.

        Raises:
            BusyError: another process holds one of the trees; none is worked on then.
            FeedError: the feed cannot listen; nothing is worked on then.
            TorsyncError: a state directory cannot be used.
        """
        with ExitStack() as held:
            works = self._subscription_works()
            if self._publications:
                works += self._publication_works(self._start_feed(held))
            threads = []
            for work in works:
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

    def _start_feed(self, held: ExitStack) -> Feed | None:
        if self._feed_config is None or self._feed_config.listen is None:
            return None
        from torsync.publish.feed import Feed  # noqa: PLC0415 - costs start-up time

        awaited = [publication.name for publication in self._publications]
        feed = Feed(self._feed_config, self._around.sink, awaited)
        feed.start()
        held.callback(feed.close)
        return feed

    def _subscription_works(self) -> list[Work]:
        works = []
        for config in self._subscriptions:
            folder = state_folder(self._state_dir, config.path)
            runner = SubscriptionRunner(
                config,
                folder,
                self._around,
                on_report=self._on_report,
                jitter=self._jitter,
                clock=self._clock,
            )
            works.append(Work(config.name, folder, runner.run))
        return works

    def _publication_works(self, feed: Feed | None) -> list[Work]:
        from torsync.publish.state import publication_folder  # noqa: PLC0415 - costs start-up time
        from torsync.service.publication_runner import PublicationRunner  # noqa: PLC0415 - the same

        works = []
        for config in self._publications:
            folder = publication_folder(self._state_dir, config.path)
            runner = PublicationRunner(
                config,
                folder,
                self._around,
                feed=feed,
                on_report=self._on_release,
                clock=self._clock,
            )
            works.append(Work(config.name, folder, runner.run))
        return works

    def _guarded(self, work: Work, stop: threading.Event) -> None:
        try:
            work.run()
        except BaseException as error:  # noqa: BLE001 - raised again by ``run``
            self._crashes.append(error)
            stop.set()
