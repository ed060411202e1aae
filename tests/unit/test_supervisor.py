"""The service's rhythm: when it checks again, what it heeds meanwhile, and how it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from torsync.model.config import SubscriptionConfig
from torsync.model.errors import BusyError, NoPeersError, RefusedError, StateError, TreeError
from torsync.model.events import Level, Notice
from torsync.model.reports import CheckReport
from torsync.service import subscription_runner
from torsync.service.supervisor import Supervisor
from torsync.subscribe.approval import Approvals
from torsync.subscribe.state import TreeState, state_folder
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.subscribe.remote.long_poll import LongPoll
    from torsync.swarm.session import SwarmPool

HOUR_S = 3600.0
NO_JITTER = 0.5


def no_pool() -> SwarmPool:
    raise AssertionError("nothing is seeded here")


def fine() -> CheckReport:
    return CheckReport("pack")


def unreachable() -> CheckReport:
    raise NoPeersError("nobody is there")


def changed() -> None:
    raise TreeError("a file changed")


@dataclass
class World:
    """A clock that goes on by waiting alone, and a subscription that does as it is told.

    Attributes:
        checks: what each check does; the service is stopped when there is none left.
        heed: what is done at each look at what is seeded.
        open: what is done when the subscription is opened.
        is_approved: whether another process has approved an update.
        apply: what carrying that out does.
        checked_s, heeded_s, opened_s, applied_s: when that was.
    """

    checks: list[Callable[[], CheckReport]]
    heed: Callable[[], None] = lambda: None
    open: Callable[[], None] = lambda: None
    is_approved: Callable[[], bool] = lambda: False
    apply: Callable[[], CheckReport] = fine
    stop: threading.Event = field(default_factory=threading.Event)
    now_s: float = 0.0
    checked_s: list[float] = field(default_factory=list)
    heeded_s: list[float] = field(default_factory=list)
    opened_s: list[float] = field(default_factory=list)
    applied_s: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reports: list[CheckReport] = field(default_factory=list)
    closed: int = 0

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        return self.stop.is_set()

    def gaps_s(self) -> list[float]:
        return [after - before for before, after in pairwise(self.checked_s)]

    def errors(self) -> list[str]:
        return [
            event.code
            for event in self.events
            if isinstance(event, Notice) and event.level is Level.ERROR
        ]


class FakeSubscription:
    """Stands in for ``Subscription``."""

    world: World

    def __init__(
        self, _config: SubscriptionConfig, _folder: Path, _around: Surroundings, *, news: LongPoll
    ) -> None:
        assert not news.is_listening, "nothing was polled yet"
        self.world.opened_s.append(self.world.now_s)
        self.world.open()

    def resume_seeding(self) -> None:
        assert not self.world.checked_s, "it comes first"

    def check_now(self) -> CheckReport:
        world = self.world
        world.checked_s.append(world.now_s)
        check = world.checks.pop(0)
        if not world.checks:
            world.stop.set()
        return check()

    def rest(self) -> None:
        pass

    @property
    def is_approved(self) -> bool:
        return self.world.is_approved()

    def apply_approved(self) -> CheckReport:
        self.world.applied_s.append(self.world.now_s)
        return self.world.apply()

    def heed(self) -> None:
        self.world.heeded_s.append(self.world.now_s)
        self.world.heed()

    def close(self) -> None:
        self.world.closed += 1


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a service with one subscription in a world until it is stopped."""

    def run_it(
        world: World, *, interval_s: float = HOUR_S, jitter: Callable[[], float] | None = None
    ) -> None:
        class Subscription(FakeSubscription):
            pass

        Subscription.world = world
        monkeypatch.setattr(subscription_runner, "Subscription", Subscription)
        url = "https://example.org/x.torrent"
        config = SubscriptionConfig("pack", url, tmp_path / "tree", interval_s=interval_s)
        around = Surroundings(
            pool=no_pool,
            sink=world.events.append,
            stopping=world.stop.is_set,
            wait=world.wait,
            seed=True,
        )
        service = Supervisor(
            [config],
            tmp_path / "state",
            around,
            on_report=world.reports.append,
            jitter=jitter or (lambda: NO_JITTER),
            clock=lambda: world.now_s,
        )
        service.run(world.stop)

    return run_it


def test_it_checks_at_the_interval(run: Callable[..., None]) -> None:
    world = World([fine] * 4)
    run(world)
    assert world.gaps_s() == pytest.approx([HOUR_S] * 3)
    assert world.closed == 1
    assert world.errors() == []


@pytest.mark.parametrize(("drawn", "factor"), [(0.0, 0.9), (0.5, 1.0), (0.999999, 1.1)])
def test_the_interval_varies_by_a_tenth(
    run: Callable[..., None], drawn: float, factor: float
) -> None:
    world = World([fine] * 2)
    run(world, jitter=lambda: drawn)
    assert world.gaps_s() == pytest.approx([HOUR_S * factor], rel=1e-5)


def test_jitter_is_drawn_anew_for_each_wait(run: Callable[..., None]) -> None:
    drawn = iter([0.0, 0.5, 1.0])
    world = World([fine, fine, unreachable])
    run(world, jitter=lambda: next(drawn))
    assert world.gaps_s() == pytest.approx([HOUR_S * 0.9, HOUR_S])


def test_failures_are_tried_again_ever_later_but_never_later_than_at_the_interval(
    run: Callable[..., None],
) -> None:
    world = World([unreachable] * 7)
    run(world, interval_s=100.0)
    assert world.gaps_s() == pytest.approx([10, 20, 40, 80, 100, 100])
    assert world.errors() == ["no_peers"] * 7
    world = World([unreachable] * 40)  # no number grows too large
    run(world, interval_s=HOUR_S)
    assert world.gaps_s()[-1] == pytest.approx(HOUR_S)


def test_a_success_makes_the_next_failure_the_first(run: Callable[..., None]) -> None:
    world = World([unreachable, unreachable, fine, unreachable, fine])
    run(world)
    assert world.gaps_s() == pytest.approx([10, 20, HOUR_S, 10])


def test_a_back_off_varies_as_well(run: Callable[..., None]) -> None:
    world = World([unreachable] * 2)
    run(world, jitter=lambda: 0.0)
    assert world.gaps_s() == pytest.approx([9])


def test_a_check_that_could_not_read_everything_is_told_and_made_again_soon(
    run: Callable[..., None],
) -> None:
    def partly() -> CheckReport:
        return CheckReport("pack", unreadable=["closed"])

    world = World([partly, partly, fine])
    run(world)
    assert world.gaps_s() == pytest.approx([10, 20])
    assert world.errors() == ["tree", "tree"]
    assert [report.unreadable for report in world.reports] == [["closed"]] * 2


def test_a_tree_that_cannot_be_opened_is_tried_again_ever_later(run: Callable[..., None]) -> None:
    refusals = iter([True, True, True, False])

    def refuse() -> None:
        if next(refusals):
            raise BusyError("another process has it")

    world = World([fine], open=refuse)
    run(world)
    assert world.opened_s == pytest.approx([0, 10, 30, 70])
    assert world.errors() == ["busy"] * 3
    assert world.closed == 1


def test_what_is_seeded_is_heeded_between_checks(run: Callable[..., None]) -> None:
    world = World([fine] * 2)
    run(world, interval_s=60.0)
    within = [time_s for time_s in world.heeded_s if time_s <= 60.0]
    assert len(within) >= 30
    assert within[0] < 3


def test_an_alarm_leads_to_a_check_at_once(run: Callable[..., None]) -> None:
    alarms = iter([True])

    def heed() -> None:
        if world.now_s > 5 and next(alarms, False):
            changed()

    world = World([fine] * 3, heed=heed)
    run(world)
    assert world.gaps_s() == pytest.approx([6, HOUR_S])
    assert world.errors() == ["tree"]


def test_alarms_in_a_row_are_answered_ever_later_but_checks_are_not_delayed(
    run: Callable[..., None],
) -> None:
    world = World([fine] * 7, heed=changed)
    run(world, interval_s=100.0)
    assert world.gaps_s() == pytest.approx([1, 10, 20, 40, 80, 100], abs=1.5)


def test_an_alarm_after_a_quiet_wait_is_the_first_again(run: Callable[..., None]) -> None:
    def heed() -> None:
        if len(world.checked_s) != 3:
            changed()

    world = World([fine] * 5, heed=heed)
    run(world)
    assert world.gaps_s() == pytest.approx([1, 10, HOUR_S, 1], abs=1.5)


def test_an_approval_is_acted_on_within_seconds_and_without_a_poll(
    run: Callable[..., None],
) -> None:
    def apply() -> CheckReport:
        world.is_approved = lambda: False
        return CheckReport("pack", changed=True)

    world = World([fine] * 2, apply=apply)
    world.is_approved = lambda: world.now_s >= 100
    run(world)
    assert world.applied_s == pytest.approx([100], abs=2)
    assert world.checked_s == pytest.approx([0, 100 + HOUR_S], abs=2)
    assert [report.changed for report in world.reports] == [True]


def test_an_approval_that_is_there_at_the_start_is_acted_on_at_once(
    run: Callable[..., None],
) -> None:
    def apply() -> CheckReport:
        world.is_approved = lambda: False
        raise NoPeersError("nobody is there")

    world = World([fine], apply=apply, is_approved=lambda: True)
    run(world)
    assert (world.applied_s, world.errors()) == ([0], ["no_peers"])
    assert world.checked_s == pytest.approx([10]), "what failed is tried again soon"


def test_a_state_that_cannot_be_read_is_no_approval(run: Callable[..., None]) -> None:
    def unreadable() -> bool:
        if 5 < world.now_s < HOUR_S:
            raise StateError("damaged")
        return False

    world = World([fine] * 2, is_approved=unreadable)
    run(world)
    assert world.gaps_s() == pytest.approx([HOUR_S], abs=2)


def test_what_waits_for_approval_is_not_reported_as_done(run: Callable[..., None]) -> None:
    world = World([lambda: CheckReport("pack", dry_run=True, changed=True)])
    run(world)
    assert world.reports == []


@pytest.mark.parametrize("where", ["check", "heed", "open"])
def test_an_exception_that_nobody_foresaw_ends_the_service_with_it(
    run: Callable[..., None], where: str
) -> None:
    def crash() -> CheckReport:
        raise ZeroDivisionError(where)

    def crash_too() -> None:
        crash()

    world = World([fine] * 9)
    if where == "check":
        world.checks = [fine, crash, fine]
    elif where == "heed":
        world.heed = crash_too
    else:
        world.open = crash_too
    with pytest.raises(ZeroDivisionError, match=where):
        run(world)
    assert world.stop.is_set()
    assert world.checks, "nothing is done after it"
    assert world.closed == (0 if where == "open" else 1)


def test_the_others_end_in_order_when_one_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    waits = threading.Event()
    closed = []

    class Subscription:
        def __init__(
            self, config: SubscriptionConfig, _folder: Path, _around: object, *, news: LongPoll
        ) -> None:
            assert not news.is_listening
            self.name = config.name

        def resume_seeding(self) -> None:
            pass

        def check_now(self) -> CheckReport:
            if self.name == "bad":
                assert waits.wait(20)
                raise ZeroDivisionError
            return CheckReport(self.name)

        def rest(self) -> None:
            pass

        is_approved = False

        def heed(self) -> None:
            pass

        def close(self) -> None:
            closed.append(self.name)

    def wait(seconds: float) -> bool:
        waits.set()
        return stop.wait(seconds)

    monkeypatch.setattr(subscription_runner, "Subscription", Subscription)
    around = Surroundings(
        pool=no_pool, sink=lambda _event: None, stopping=stop.is_set, wait=wait, seed=True
    )
    configs = [
        SubscriptionConfig(name, "https://example.org/x.torrent", tmp_path / name)
        for name in ("good", "bad")
    ]
    service = Supervisor(configs, tmp_path / "state", around, on_report=lambda _report: None)
    with pytest.raises(ZeroDivisionError):
        service.run(stop)
    assert sorted(closed) == ["bad", "good"]


def test_an_approval_ends_the_wait_for_a_subscription_that_cannot_be_opened(
    run: Callable[..., None], tmp_path: Path
) -> None:
    folder = state_folder(tmp_path / "state", tmp_path / "tree")

    def refuse() -> None:
        if len(world.opened_s) == 4:
            approve(folder)
        if len(world.opened_s) < 6:
            raise RefusedError("is its disk not mounted?")

    def approve(folder: Path) -> None:
        state = TreeState(folder)
        Approvals(state).give("ab" * 32)
        state.close()

    world = World([fine], open=refuse)
    run(world)
    waited = [after - before for before, after in pairwise(world.opened_s)]
    assert waited == pytest.approx([10, 20, 40, 1, 1])
    assert world.errors() == ["refused"] * 5
