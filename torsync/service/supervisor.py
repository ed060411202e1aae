"""The service: a thread for each subscription and publication, the feed, and the control API."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torsync import __version__
from torsync.disk.clock import awake_or_not_s
from torsync.model.errors import (
    ConfigError,
    FeedError,
    ServiceStoppedError,
    TorsyncError,
    UsageError,
)
from torsync.model.events import Level, Notice
from torsync.model.orders import FOR_PUBLICATIONS, FOR_SUBSCRIPTIONS
from torsync.model.reload import plan_reload
from torsync.service.alone import held_alone
from torsync.service.control_keeper import ControlKeeper
from torsync.service.desk import ReloadReport
from torsync.service.lazy_pool import LazyPool
from torsync.service.subscription_runner import SubscriptionRunner
from torsync.service.systemd.notify import Notifier
from torsync.service.words import summary_of, what_runs
from torsync.service.worker_thread import WorkerThread
from torsync.subscribe.state import state_folder
from torsync.subscribe.surroundings import Hooks, NoHooks, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torsync.model.config import Config, PublicationConfig, ServiceConfig, SubscriptionConfig
    from torsync.model.orders import Order, Report, Terms
    from torsync.publish.feed import Feed
    from torsync.service.control_keeper import Closable
    from torsync.service.desk import Desk, Worker
    from torsync.service.hub import Hub
    from torsync.service.inbox import Inbox, Pending
    from torsync.service.runner import Runner

_TICK_S = 1.0


def _stopped() -> ServiceStoppedError:
    return ServiceStoppedError("the service has stopped", hint="start it again")


def _say_nothing(_report: Report, _command: str) -> None:
    pass


def _take_up(_config: Config) -> None:
    pass


def _ignore_failure(_name: str, _error: TorsyncError) -> None:
    pass


@dataclass(frozen=True)
class Ties:
    """What ties the service to the program around it.

    Attributes:
        on_report: told what was done that changed something, and by which command (``run`` for
            the service's own work).
        on_order_failed: told the name and why an order was not carried out.
        hooks: asked before updates, and told of them.
        load: reads the configuration anew; None: it never changes.
        on_reloaded: told the configuration that is taken up.
        open_control: opens the control API; None: there is none.
        notifier: tells systemd.
        is_alone: whether there is to be one such service for a state directory.
        jitter: gives numbers in [0, 1), so that subscribers don't poll in step.
        clock: gives seconds that only grow.
        now_s: the time in Unix seconds.
    """

    on_report: Callable[[Report, str], None] = _say_nothing
    on_order_failed: Callable[[str, TorsyncError], None] = _ignore_failure
    hooks: Hooks = NoHooks()  # noqa: RUF009 - it has no state
    load: Callable[[], Config] | None = None
    on_reloaded: Callable[[Config], None] = _take_up
    open_control: Callable[[Desk, ServiceConfig], Closable] | None = None
    is_alone: bool = True
    notifier: Notifier = Notifier()  # noqa: RUF009 - it tells nobody
    jitter: Callable[[], float] = random.random
    clock: Callable[[], float] = awake_or_not_s
    now_s: Callable[[], float] = time.time


class Supervisor:
    """Runs them all, each on its own; a ``Desk``.

    Attributes:
        hub: takes all events.
    """

    def __init__(self, config: Config, state_dir: Path, hub: Hub, ties: Ties | None = None) -> None:
        """Prepare.

        Args:
            config: to begin with.
            state_dir: where the states are.
            hub: for all events.
            ties: to the program around it.
        """
        self.hub = hub
        self._config = config
        self._state_dir = state_dir
        self._ties = ties or Ties()
        self._changing = threading.RLock()
        self._threads: dict[str, WorkerThread] = {}
        self._is_closed = False
        self._feed: Feed | None = None
        self._pool = LazyPool(config.session, hub.sink)
        self._control: ControlKeeper | None = None
        if self._ties.open_control is not None:
            opened = partial(self._ties.open_control, self)
            self._control = ControlKeeper(opened, hub.sink, self._ties.clock)

    def run(self, stop: threading.Event, reload: threading.Event | None = None) -> None:
        """Work on everything until ``stop`` is set.

        Args:
            stop: ends it.
            reload: when set, the configuration is read anew; then it is cleared.

        Raises:
            BusyError: another service works with this state directory.
            FeedError: the feed cannot listen; nothing is worked on then.
            TorsyncError: the state directory cannot be used, or the control API not opened.
        """
        with ExitStack() as opened:
            if self._ties.is_alone:
                opened.enter_context(held_alone(self._state_dir))
            opened.callback(self._close)
            with self._changing:
                self._feed = self._start_feed(self._config)
                threads = self._works(self._config)
                self._threads = {thread.config.name: thread for thread in threads}
                if self._control is not None:
                    self._control.open(self._config.service)  # orders may come from now on
                for thread in threads:
                    thread.start()
            self._ties.notifier.ready()
            self._tell_life("started", f"torsync {__version__} runs: {what_runs(self._config)}")
            while not stop.wait(_TICK_S):
                if reload is not None and reload.is_set():
                    reload.clear()
                    threading.Thread(
                        target=self._reload_and_tell, name="reload", daemon=True
                    ).start()
                self._see_to_control()
                if self._ties.notifier.is_heard:
                    self._ties.notifier.status(summary_of(self._threads, self.hub))
                self._ties.notifier.watchdog()
            self._ties.notifier.stopping()
            self._tell_life("stopping", "torsync stops")

    # --- desk -------------------------------------------------------------------------------

    def workers(self) -> Sequence[Worker]:
        """All that the service works on: subscriptions, then publications, as configured."""
        threads = self._threads
        names = [*self._config.subscriptions, *self._config.publications]
        return [threads[name].worker for name in names if name in threads]

    def give(self, name: str, order: Order, terms: Terms) -> Pending:
        """Give an order to the one of this name.

        Raises:
            UsageError: there is none, or it cannot do that.
            ServiceStoppedError: the service has stopped.
        """
        thread = self._threads.get(name)
        if thread is None and self._is_closed:
            raise _stopped()
        if thread is None:
            raise UsageError(
                f"the service has no subscription or publication {name!r}",
                hint="`torsync reload` has it read the configuration anew",
            )
        is_publication = name in self._config.publications
        if not isinstance(order, FOR_PUBLICATIONS if is_publication else FOR_SUBSCRIPTIONS):
            what = "publication" if is_publication else "subscription"
            raise UsageError(
                f"{name!r} is a {what}, which cannot be asked to {order.command!r}",
                hint="name another one",
            )
        return thread.inbox.put(order, terms)

    def reload(self) -> ReloadReport:
        """Read the configuration anew, and restart what has changed.

        Raises:
            ConfigError: it is wrong; all goes on as before.
            FeedError: the feed cannot listen where it is to; all goes on as before.
        """
        if self._ties.load is None:
            return ReloadReport(unchanged=tuple(self._threads))
        with self._changing:
            if self._is_closed:
                raise _stopped()
            new = self._ties.load()
            plan = plan_reload(self._config, new)
            if not (new.subscriptions or new.publications):
                raise ConfigError(
                    "the configuration has no subscription and no publication any more",
                    hint="stop the service if that is meant; it goes on as before",
                )
            feed = self._feed
            if "feed" in plan.sections and self._listens_elsewhere(new):
                feed = self._start_feed(new)  # fails before anything else has changed
            self._stop([*plan.stopped, *plan.restarted])
            if "feed" in plan.sections:
                is_elsewhere = feed is not self._feed
                self._close_feed()
                self._feed = feed if is_elsewhere else self._start_feed_or_tell(new)
            elif self._feed is not None:
                self._feed.expect(new.publications)
            if "session" in plan.sections:
                self._pool.close()
                self._pool = LazyPool(new.session, self.hub.sink)
            self._config = new
            self._ties.on_reloaded(new)
            names = {*plan.started, *plan.restarted}
            begun = {t.config.name: t for t in self._works(new) if t.config.name in names}
            stay = {n: thread for n, thread in self._threads.items() if n not in plan.stopped}
            self._threads = {**stay, **begun}
            for thread in begun.values():
                thread.start()
        for name in plan.stopped:
            self.hub.forget(name)
        told = (plan.started, plan.stopped, plan.restarted, plan.unchanged, plan.sections)
        return ReloadReport(*told)

    # --- parts ------------------------------------------------------------------------------

    def _listens_elsewhere(self, new: Config) -> bool:
        return new.feed.listen is not None and new.feed.listen != self._config.feed.listen

    def _start_feed(self, config: Config) -> Feed | None:
        if config.feed.listen is None or not config.publications:
            return None
        from torsync.publish.feed import Feed  # noqa: PLC0415 - costs start-up time

        feed = Feed(config.feed, self.hub.sink, [*config.publications])
        feed.start()
        return feed

    def _start_feed_or_tell(self, config: Config) -> Feed | None:
        """Start the feed where it has just listened, which only bad luck can keep it from."""
        try:
            return self._start_feed(config)
        except FeedError as error:
            self._tell(Level.ERROR, error.code, error.message, error.hint)
            return None

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _see_to_control(self) -> None:
        """Open the control API where the configuration says, which a reload may have changed.

        Not while a reload, which it may have been asked for, goes on.
        """
        if self._control is not None and self._changing.acquire(blocking=False):
            try:
                self._control.follow(self._config.service)
            finally:
                self._changing.release()

    def _stop(self, names: Iterable[str]) -> None:
        """End some; orders for them are refused until others take their places."""
        stopped = [self._threads[name] for name in names if name in self._threads]
        for thread in stopped:
            thread.stop()
        for thread in stopped:
            thread.join()

    def _close(self) -> None:
        for thread in [*self._threads.values()]:
            thread.stop()
        with self._changing:  # a reload that goes on ends first
            self._is_closed = True
            self._stop([*self._threads])
            self._threads = {}
            if self._control is not None:
                self._control.close()
            self._close_feed()
            self._pool.close()

    def _works(self, config: Config) -> list[WorkerThread]:
        threads = [self._subscription(one) for one in config.subscriptions.values()]
        return threads + [self._publication(one) for one in config.publications.values()]

    def _subscription(self, config: SubscriptionConfig) -> WorkerThread:
        folder = state_folder(self._state_dir, config.path)

        def make(inbox: Inbox) -> Runner:
            return SubscriptionRunner(
                config,
                folder,
                self._around(inbox),
                inbox,
                on_report=self._ties.on_report,
                on_order_failed=self._ties.on_order_failed,
                jitter=self._ties.jitter,
                clock=self._ties.clock,
            )

        return WorkerThread(config, folder, make, self.hub.sink, self._ties.clock)

    def _publication(self, config: PublicationConfig) -> WorkerThread:
        from torsync.publish.state import publication_folder  # noqa: PLC0415 - costs start-up time

        folder = publication_folder(self._state_dir, config.path)

        def make(inbox: Inbox) -> Runner:
            from torsync.service.publication_runner import (  # noqa: PLC0415 - the same
                PublicationRunner,
            )

            return PublicationRunner(
                config,
                folder,
                self._around(inbox),
                inbox,
                feed=self._feed,
                on_report=self._ties.on_report,
                on_order_failed=self._ties.on_order_failed,
                clock=self._ties.clock,
            )

        return WorkerThread(config, folder, make, self.hub.sink, self._ties.clock)

    def _around(self, inbox: Inbox) -> Surroundings:
        return Surroundings(
            pool=self._pool.get,
            sink=self.hub.sink,
            stopping=inbox.is_interrupted,
            wait=inbox.sleep,
            seed=True,
            now_s=self._ties.now_s,
            terms=lambda: inbox.terms,
            hooks=self._ties.hooks.interruptible(inbox.is_interrupted),
        )

    # --- what is told -----------------------------------------------------------------------

    def _reload_and_tell(self) -> None:
        notifier = self._ties.notifier
        notifier.reloading()
        try:
            report = self.reload()
        except TorsyncError as error:
            said = f"the configuration was not reloaded: {error.message}"
            problems = error.problems if isinstance(error, ConfigError) else ()
            *before, last = (said, *problems)
            for message in before:
                self._tell(Level.ERROR, error.code, message)
            self._tell(Level.ERROR, error.code, last, error.hint)
        else:
            sections = [f"[{name}]" for name in report.sections]
            changed = [*sections, *report.started, *report.stopped, *report.restarted]
            what = f"changed: {', '.join(changed)}" if changed else "nothing changed"
            self._tell(Level.INFO, "reloaded", f"the configuration was reloaded; {what}")
        finally:  # else systemd would take it for reloading for ever
            notifier.ready()

    def _tell_life(self, code: str, message: str) -> None:
        if self._ties.is_alone:  # else a command tells of its own work
            self._tell(Level.INFO, code, message)

    def _tell(self, level: Level, code: str, message: str, hint: str = "") -> None:
        self.hub.sink(Notice("", level, code, message, hint))
