"""The service in this process: ``torsync run`` without a command line."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.processes import HOST, free_port, wait_until
from torsync.model.config import (
    Config,
    FeedConfig,
    PublicationConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.events import Event, Level, Notice, Stage, StageStarted
from torsync.model.orders import Order, Report, Terms
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport
from torsync.service.hub import Hub
from torsync.service.supervisor import Supervisor, Ties

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from torsync.swarm.session import SwarmPool


class Service:
    """Publications and subscriptions, each in a thread, with one session on loopback.

    Attributes:
        releases: reports of publications.
        checks: reports of subscriptions.
        events: what all told.
    """

    def __init__(self, scratch: Path, *, feed_port: int | None = None) -> None:
        scratch.mkdir(exist_ok=True)
        self.session = SessionConfig(
            listen=(f"{HOST}:{free_port(udp=True)}",), dht=False, lsd=False
        )
        self.state_dir = scratch / "state"
        self._feed = FeedConfig((HOST, feed_port)) if feed_port is not None else None
        self._publications: list[PublicationConfig] = []
        self._subscriptions: list[SubscriptionConfig] = []
        self.releases: list[PublishReport] = []
        self.checks: list[CheckReport] = []
        self.events: list[Event] = []
        self._crash: list[BaseException] = []

    def publish(self, folder: Path, **changes: Any) -> PublicationConfig:
        """Add a publication; its name is the folder's."""
        config = PublicationConfig(
            folder.name, folder, piece_size=16 * 1024, settle_s=0.2, interval_s=3600.0
        )
        self._publications.append(replace(config, **changes))
        return self._publications[-1]

    def subscribe(self, name: str, url: str, path: Path, **changes: Any) -> SubscriptionConfig:
        """Add a subscription."""
        config = SubscriptionConfig(name, url, path, interval_s=3600.0)
        self._subscriptions.append(replace(config, **changes))
        return self._subscriptions[-1]

    def __enter__(self) -> Self:
        self.stop = threading.Event()
        config = Config(
            self.session,
            {one.name: one for one in self._subscriptions},
            {one.name: one for one in self._publications},
            self._feed or FeedConfig(),
        )
        ties = Ties(on_report=self._on_report)
        supervisor = self.desk = Supervisor(config, self.state_dir, Hub(self.events.append), ties)
        self._thread = threading.Thread(target=self._run, args=(supervisor,))
        self._thread.start()
        return self

    def _on_report(self, report: Report, _command: str) -> None:
        if isinstance(report, PublishReport):
            if report.changed:
                self.releases.append(report)
        elif isinstance(report, CheckReport):
            self.checks.append(report)

    def _run(self, supervisor: Supervisor) -> None:
        try:
            supervisor.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - raised again at the end
            self._crash.append(error)

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "it did not stop"
        if self._crash:
            raise self._crash[0]

    @property
    def pool(self) -> SwarmPool:
        """The sessions."""
        return self.desk._pool.get()

    def order(self, name: str, order: Order, terms: Terms | None = None) -> Report:
        """Give an order, and wait until it is carried out; gives, or raises, what came of it."""
        pending = self.desk.give(name, order, terms or Terms())
        self.wait(lambda: pending.is_ended, f"{order} is carried out")
        return pending.outcome()

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Wait until something is so; fail if the service ends before."""

        def is_done() -> bool:
            assert self._thread.is_alive(), self._crash
            return done()

        wait_until(is_done, what)

    def wait_for_release(self, number: int, name: str = "pack") -> PublishReport:
        """Wait until a publication has made its release of that number."""

        def found() -> list[PublishReport]:
            return [one for one in self.releases if (one.name, one.number) == (name, number)]

        self.wait(lambda: bool(found()), f"release {number} of {name} is reported")
        return found()[0]

    def wait_for_stage(self, name: str, stage: Stage) -> None:
        """Wait until it has said that it enters a stage."""
        wanted = (name, stage)
        self.wait(
            lambda: any(
                isinstance(one, StageStarted) and (one.subscription, one.stage) == wanted
                for one in self.events
            ),
            f"{name} is {stage.value}",
        )

    def notices(self, name: str, *levels: Level) -> list[str]:
        """Codes of what was told of a subscription or publication."""
        return [
            one.code
            for one in self.events
            if isinstance(one, Notice) and one.subscription == name and one.level in levels
        ]
