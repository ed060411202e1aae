"""Update windows: the service updates by itself in their hours only; people at any time."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot
from tests.support.processes import HOST, free_port, wait_until
from tests.support.trees import assert_same_tree, tree_bytes
from tests.support.updates import publish
from torsync.model.config import ApplyMode, SessionConfig, SubscriptionConfig, UpdateMode
from torsync.model.errors import PostponedError, TreeError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.orders import Terms
from torsync.model.window import DAY_S, DailyWindow
from torsync.subscribe.subscription import Subscription
from torsync.subscribe.surroundings import Surroundings
from torsync.swarm.session import SwarmPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Json
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content
    from torsync.model.events import Event

KIB = 1024
MIB = 1024 * KIB
HOUR_S = 3600.0
NIGHT = DailyWindow(2 * 3600, 5 * 3600)
FIRST: dict[str, Content] = {"a": 40_000, "same": 500}
SECOND: dict[str, Content] = {"a": 41_000, "same": 500, "new": 50}


@dataclass
class Subscriber:
    """A subscription as the service opens it, at a time of day that the test decides.

    Attributes:
        now_s: the time, in UTC, which is local.
        is_automatic: whether it works by itself; else a person has asked for it.
    """

    config: SubscriptionConfig
    state: Path
    pool: SwarmPool
    now_s: float = 100 * DAY_S + 12 * HOUR_S
    is_automatic: bool = True
    events: list[Event] = field(default_factory=list)
    on_event: Callable[[Event], None] = lambda _event: None

    def hear(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    @contextmanager
    def opened(self) -> Iterator[Subscription]:
        around = Surroundings(
            pool=lambda: self.pool,
            sink=self.hear,
            stopping=lambda: False,
            wait=threading.Event().wait,
            seed=True,
            now_s=lambda: self.now_s,
            day_s=lambda moment_s: moment_s % DAY_S,
            terms=lambda: Terms(patience_s=20.0, automatic=self.is_automatic),
        )
        subscription = Subscription(self.config, self.state, around)
        try:
            yield subscription
        finally:
            subscription.close()

    def at(self, hour: float) -> None:
        self.now_s = 100 * DAY_S + hour * HOUR_S

    def codes(self) -> list[str]:
        return [
            one.code for one in self.events if isinstance(one, Notice) and one.level is Level.INFO
        ]

    def assert_postponed(self, subscription: Subscription) -> PostponedError:
        with pytest.raises(PostponedError) as caught:
            subscription.check_now()
        subscription.rest()
        return caught.value


@pytest.fixture
def subscriber(
    tmp_path: Path, seeder: LibtorrentSeeder, publisher: Publisher
) -> Iterator[Subscriber]:
    pool = SwarmPool(SessionConfig(listen=(f"{HOST}:{free_port(udp=True)}",), dht=False, lsd=False))
    config = SubscriptionConfig(
        "pack",
        publisher.url,
        tmp_path / "subscriber",
        peers=((HOST, seeder.port),),
        update_window=NIGHT,
    )
    yield Subscriber(config, tmp_path / "state of subscriber", pool)
    pool.close()


def test_a_release_waits_for_the_hours_and_is_told_of_once(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    with subscriber.opened() as subscription:
        error = subscriber.assert_postponed(subscription)
        assert error.message == "the update waits for 02:00-05:00, in 14 h"
        assert (error.reason, error.is_timed) == ("waits for 02:00-05:00", True)
        assert subscription.opens_in_s == 14 * HOUR_S
        last = subscriber.events[-1]
        assert last == StageStarted("pack", Stage.POSTPONED, "waits for 02:00-05:00")
        assert tree_bytes(subscriber.config.path) == {}

        subscriber.at(26)
        assert subscription.opens_in_s == 0.0
        assert subscription.check_now().changed
        subscription.rest()
        assert subscription.opens_in_s is None
        assert StageStarted("pack", Stage.WAITING) in subscriber.events[-2:], "and that it seeds"
        assert_same_tree(subscriber.config.path, tmp_path / "one")

        subscriber.at(29)
        assert not subscription.check_now().changed, "nothing is new"
        publish(publisher, tmp_path / "two", SECOND)
        before = snapshot(subscriber.config.path)
        for _ in range(2):
            subscriber.assert_postponed(subscription)
        assert snapshot(subscriber.config.path) == before
    with subscriber.opened() as subscription:  # and after a restart
        subscriber.assert_postponed(subscription)
    assert subscriber.codes() == ["postponed", "postponed"], "of each release once"


def test_what_a_person_asks_for_is_done_at_once(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    subscriber.is_automatic = False
    with subscriber.opened() as subscription:
        subscription.check_now()
        publish(publisher, tmp_path / "two", SECOND)
        subscriber.is_automatic = True
        subscriber.assert_postponed(subscription)
        subscriber.is_automatic = False
        subscription.apply()
        assert_same_tree(subscriber.config.path, tmp_path / "two")
        subscription.rollback()
        subscriber.is_automatic = True
        (subscriber.config.path / "a").unlink()
        subscription.check_now()
        assert_same_tree(subscriber.config.path, tmp_path / "one")


def test_an_approved_release_is_what_a_person_asked_for(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path, seeder: LibtorrentSeeder
) -> None:
    """Also if it is tried again by itself, as it failed at first."""
    subscriber.config = replace(subscriber.config, update=UpdateMode.ASK)
    publish(publisher, tmp_path / "one", FIRST)
    with subscriber.opened() as subscription:
        assert subscription.check_now().dry_run
        subscriber.is_automatic = False
        trash = subscriber.config.path / ".torsync" / "stage"
        trash.write_bytes(b"in the way")
        with pytest.raises(TreeError, match="stage"):
            subscription.apply(lasting=True)
        trash.unlink()
        subscriber.is_automatic = True
        assert subscription.check_now().changed
    assert_same_tree(subscriber.config.path, tmp_path / "one")


def test_the_synced_release_is_mended_while_another_one_waits(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    with subscriber.opened() as subscription:
        subscriber.at(3)
        subscription.check_now()
        publish(publisher, tmp_path / "two", SECOND)
        subscriber.at(6)
        (subscriber.config.path / "a").write_bytes(b"edited")
        subscriber.assert_postponed(subscription)
        assert_same_tree(subscriber.config.path, tmp_path / "one")
        assert subscriber.codes()[-2:] == ["postponed", "mended"]


def test_mending_that_gets_nowhere_ends_when_the_hours_begin(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    old = publish(publisher, tmp_path / "one", FIRST)
    with subscriber.opened() as subscription:
        subscriber.at(3)
        subscription.check_now()
        publisher.seeder.remove(old)
        publish(publisher, tmp_path / "two", SECOND)
        (subscriber.config.path / "a").unlink()
        subscriber.at(6)

        def begin_hours(event: Event) -> None:
            if isinstance(event, Progress) and event.stage is Stage.DOWNLOADING:
                subscriber.at(26)

        subscriber.on_event = begin_hours
        subscription.check_now()
    assert_same_tree(subscriber.config.path, tmp_path / "two")


@pytest.mark.parametrize("apply", [ApplyMode.STAGED, ApplyMode.IN_PLACE])
def test_a_fetch_ends_with_the_hours_and_goes_on_in_the_next_ones(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path, apply: ApplyMode
) -> None:
    """One in place is finished: until then the tree is of no release."""
    subscriber.config = replace(subscriber.config, apply=apply)
    size = 3 * MIB
    old = bytes(range(256)) * (size // 256)
    publish(publisher, tmp_path / "one", {"big": old, "same": 7})
    subscriber.at(4)
    with subscriber.opened() as subscription:
        subscription.check_now()
        two: dict[str, Content] = {"big": old[:MIB] + os.urandom(size - MIB), "same": 7}
        torrent = publish(publisher, tmp_path / "two", two, upload_limit=MIB)

        def end_hours(event: Event) -> None:
            if (
                isinstance(event, Progress)
                and event.stage is Stage.DOWNLOADING
                and event.bytes_done >= size // 4
            ):
                subscriber.at(5)

        subscriber.on_event = end_hours
        if apply is ApplyMode.IN_PLACE:
            subscription.check_now()
            assert subscriber.now_s % DAY_S == 5 * HOUR_S
        else:
            error = subscriber.assert_postponed(subscription)
            assert "in 21 h" in error.message
            assert_same_tree(subscriber.config.path, tmp_path / "one")
            sent = publisher.seeder.uploaded(torrent)
            assert sent < size - MIB
            subscriber.on_event = lambda _event: None
            subscriber.at(27)
            report = subscription.check_now()
            assert sent + report.bytes_fetched <= size - MIB + 16 * 16 * KIB
    assert_same_tree(subscriber.config.path, tmp_path / "two")


def test_the_hours_may_end_while_what_was_fetched_is_read_back_but_not_in_a_commit(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    hours_end_in = [Stage.REREADING]

    def end_hours(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage in hours_end_in:
            subscriber.at(5)

    subscriber.on_event = end_hours
    subscriber.at(4)
    with subscriber.opened() as subscription:
        subscriber.assert_postponed(subscription)
        assert tree_bytes(subscriber.config.path) == {}
        hours_end_in[:] = [Stage.COMMITTING]
        subscriber.at(28)
        report = subscription.check_now()
        assert report.changed
        assert report.bytes_fetched == 0, "what was staged stays"
    assert_same_tree(subscriber.config.path, tmp_path / "one")


def test_a_clock_that_jumps_is_heeded(
    subscriber: Subscriber, publisher: Publisher, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    with subscriber.opened() as subscription:
        subscriber.at(1)
        subscriber.assert_postponed(subscription)
        assert subscription.opens_in_s == HOUR_S
        subscriber.at(-400 * 24 + 1.5)
        assert subscription.opens_in_s == 0.5 * HOUR_S
        subscriber.at(500 * 24 + 4)
        assert subscription.opens_in_s == 0.0
        assert subscription.check_now().changed


def closed_now() -> str:
    """A window that opens in about twelve hours."""
    hour = (time.localtime().tm_hour + 12) % 24
    return f"{hour:02}:00-{hour:02}:30"


def test_the_running_service_heeds_the_hours_and_does_what_it_is_told(
    torsync: Torsync, publisher: Publisher, tmp_path: Path
) -> None:
    torsync.subscribe(interval="1s", update_window=closed_now())
    publish(publisher, tmp_path / "one", FIRST)
    service = torsync.start("run")
    told = service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "postponed", "it is told"
    )
    assert "the update waits for" in told["message"]

    def status() -> Json:
        return torsync.run("status").assert_ok().subscription

    wait_until(lambda: status()["stage"] == "postponed", "status tells, between two checks")
    assert status()["last_error"] == ""
    assert tree_bytes(torsync.tree) == {}
    assert torsync.run("check-now").assert_ok().subscription["changed"]
    assert_same_tree(torsync.tree, tmp_path / "one")
