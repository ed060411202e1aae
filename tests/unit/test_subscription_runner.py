"""A subscription in the service: when it is checked, what it heeds meanwhile, and its orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from torsync.model.config import SubscriptionConfig
from torsync.model.errors import (
    BusyError,
    InterruptedByUserError,
    NoPeersError,
    PostponedError,
    ServiceStoppedError,
    StateError,
    TorsyncError,
    TreeError,
)
from torsync.model.events import Level, Notice
from torsync.model.orders import Apply, Check, Pause, Report, Resume, Verify
from torsync.model.reports import CheckReport, PauseReport, VerifyReport
from torsync.service import subscription_runner
from torsync.service.inbox import Inbox, Pending
from torsync.service.subscription_runner import SubscriptionRunner
from torsync.subscribe.remote.poll import Validators
from torsync.subscribe.surroundings import NoHooks, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.subscribe.remote.long_poll import LongPoll
    from torsync.subscribe.surroundings import Hooks
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
        apply: what carrying out an order to apply does.
        opens_s: when the hours begin that an update waits for; None if none does.
        checked_s, heeded_s, opened_s, applied_s: when that was.
        is_back: whether the tree had gone, and is there again.
    """

    checks: list[Callable[[], CheckReport]]
    heed: Callable[[], None] = lambda: None
    open: Callable[[], None] = lambda: None
    apply: Callable[[], CheckReport] = fine
    opens_s: float | None = None
    now_s: float = 0.0
    checked_s: list[float] = field(default_factory=list)
    heeded_s: list[float] = field(default_factory=list)
    opened_s: list[float] = field(default_factory=list)
    applied_s: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    refused: list[TorsyncError] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    closed: int = 0
    is_back: bool = False
    rested: int = 0
    news: list[LongPoll] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox: Inbox = Waiting(self)

    def gaps_s(self) -> list[float]:
        return [after - before for before, after in pairwise(self.checked_s)]

    def errors(self) -> list[str]:
        return [
            event.code
            for event in self.events
            if isinstance(event, Notice) and event.level is Level.ERROR
        ]


class Waiting(Inbox):
    """Resting makes the clock go on."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.now_s)
        self._world = world

    def rest(self, seconds: float) -> None:
        if not self.is_waiting:
            self._world.now_s += seconds


class FakeSubscription:
    """Stands in for ``Subscription``."""

    world: World
    is_checked = False

    def __init__(
        self, _config: SubscriptionConfig, _folder: Path, _around: Surroundings, *, news: LongPoll
    ) -> None:
        assert not news.is_listening, "nothing was polled yet"
        self.world.news.append(news)
        self.world.opened_s.append(self.world.now_s)
        self.world.open()

    @property
    def opens_in_s(self) -> float | None:
        opens_s = self.world.opens_s
        return None if opens_s is None else max(opens_s - self.world.now_s, 0.0)

    def resume_seeding(self) -> None:
        assert not self.is_checked or self.world.is_back, "it comes first"

    def check_now(self, *, force: bool = False) -> CheckReport:
        self.world.forced.append(force)
        self.is_checked = True
        world = self.world
        world.checked_s.append(world.now_s)
        check = world.checks.pop(0)
        if not world.checks:
            world.inbox.stop()
        return check()

    def rest(self) -> None:
        self.world.rested += 1

    def verify(self, **options: bool) -> VerifyReport:
        assert not any(options.values())
        self.world.applied_s.append(self.world.now_s)
        return VerifyReport("pack")

    def apply(self, *, lasting: bool) -> CheckReport:
        assert lasting, "the service tries again"
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
        world: World,
        *,
        interval_s: float = HOUR_S,
        jitter: Callable[[], float] | None = None,
        hooks: Hooks | None = None,
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
            stopping=world.inbox.is_interrupted,
            wait=world.inbox.sleep,
            seed=True,
            hooks=hooks or NoHooks(),
        )
        SubscriptionRunner(
            config,
            tmp_path / "state",
            around,
            world.inbox,
            on_report=lambda report, _command: world.reports.append(report),
            on_order_failed=lambda _name, error: world.refused.append(error),
            jitter=jitter or (lambda: NO_JITTER),
            clock=lambda: world.now_s,
        ).run()

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


def test_what_became_due_while_the_machine_slept_is_done_once_and_at_once(
    run: Callable[..., None],
) -> None:
    """Whatever the wall clock says: it is not asked."""
    world = World([fine] * 3)
    slept_s: list[float] = []
    rest = world.inbox.rest

    def rest_or_sleep(seconds: float) -> None:
        if world.now_s >= 100 and not slept_s:
            slept_s.append(world.now_s)
            world.now_s += 30 * HOUR_S
        rest(seconds)

    world.inbox.rest = rest_or_sleep  # type: ignore[method-assign]
    run(world)
    first, second = world.gaps_s()
    assert first == pytest.approx(slept_s[0] + 30 * HOUR_S, abs=4)
    assert second == pytest.approx(HOUR_S, abs=4)


def test_another_disk_at_the_path_of_one_that_failed_has_it_tried_at_once(
    run: Callable[..., None], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"

    def mount() -> CheckReport:
        tree.mkdir()
        world.is_back = True
        raise TreeError("not this one either")

    def missing() -> CheckReport:
        raise TreeError("its disk is not mounted")

    world = World([missing, missing, missing, mount, fine])
    run(world)
    assert world.gaps_s() == pytest.approx([10, 20, 40, 0], abs=4)


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
    assert len(within) >= 15
    assert within[0] < 5


def test_an_alarm_leads_to_a_check_at_once(run: Callable[..., None]) -> None:
    alarms = iter([True])

    def heed() -> None:
        if world.now_s > 5 and next(alarms, False):
            changed()

    world = World([fine] * 3, heed=heed)
    run(world)
    assert world.gaps_s() == pytest.approx([6, HOUR_S], abs=3)
    assert world.errors() == ["tree"]


def test_alarms_in_a_row_are_answered_ever_later_but_checks_are_not_delayed(
    run: Callable[..., None],
) -> None:
    world = World([fine] * 7, heed=changed)
    run(world, interval_s=100.0)
    assert world.gaps_s() == pytest.approx([3, 10, 20, 40, 80, 100], abs=3.5)


def test_an_alarm_after_a_quiet_wait_is_the_first_again(run: Callable[..., None]) -> None:
    def heed() -> None:
        if len(world.checked_s) != 3:
            changed()

    world = World([fine] * 5, heed=heed)
    run(world)
    assert world.gaps_s() == pytest.approx([3, 10, HOUR_S, 3], abs=3.5)


def test_what_waits_for_approval_is_not_reported_as_done(run: Callable[..., None]) -> None:
    world = World([lambda: CheckReport("pack", dry_run=True, changed=True)])
    run(world)
    assert world.reports == []


def test_an_order_is_carried_out_at_once_and_the_next_check_is_an_interval_later(
    run: Callable[..., None],
) -> None:
    given: list[Pending] = []

    def heed() -> None:
        if world.now_s >= 100 and not given:
            given.append(world.inbox.put(Apply()))

    world = World([fine] * 2, apply=lambda: CheckReport("pack", changed=True), heed=heed)
    run(world)
    assert world.applied_s == pytest.approx([100], abs=4)
    assert world.checked_s == pytest.approx([0, 100 + HOUR_S], abs=4)
    assert given[0].outcome() == CheckReport("pack", changed=True)
    assert world.reports == [CheckReport("pack", changed=True)]


def test_an_order_that_fails_tells_whoever_gave_it_and_the_log(run: Callable[..., None]) -> None:
    def apply() -> CheckReport:
        raise NoPeersError("nobody is there")

    world = World([fine], apply=apply)
    pending = world.inbox.put(Apply())
    run(world)
    with pytest.raises(NoPeersError):
        pending.outcome()
    assert [error.code for error in world.refused] == ["no_peers"]
    assert world.errors() == [], "it is told once"


@pytest.mark.parametrize("failure", [NoPeersError, InterruptedByUserError])
def test_after_an_order_that_failed_nothing_is_going_on_any_more(
    run: Callable[..., None], failure: type[TorsyncError]
) -> None:
    def apply() -> CheckReport:
        raise failure("it ends here")

    world = World([], apply=apply)
    world.inbox.rest = lambda _seconds: world.inbox.stop()  # type: ignore[method-assign]
    world.inbox.put(Pause())  # so that nothing else is done
    world.inbox.put(Apply())
    run(world)
    assert (len(world.checked_s), world.rested) == (0, 1)


def test_an_update_that_is_approved_and_fails_is_tried_again_soon(run: Callable[..., None]) -> None:
    def apply() -> CheckReport:
        raise NoPeersError("nobody is there")

    def heed() -> None:
        if world.now_s >= 100 and not world.applied_s:
            world.inbox.put(Apply())

    world = World([fine] * 2, apply=apply, heed=heed)
    run(world)
    assert world.checked_s == pytest.approx([0, 110], abs=4)


def test_an_order_interrupts_the_service_s_own_check_which_goes_on_after_it(
    run: Callable[..., None],
) -> None:
    def long_check() -> CheckReport:
        world.inbox.put(Verify())
        assert world.inbox.is_interrupted()
        raise InterruptedByUserError("stopped")

    world = World([long_check, fine])
    run(world)
    assert (world.applied_s, world.checked_s) == ([0], [0, 0])
    assert world.errors() == []


def test_a_check_that_is_asked_for_lets_the_service_s_own_one_end_and_tells_what_that_did(
    run: Callable[..., None],
) -> None:
    given: list[Pending] = []

    def long_check() -> CheckReport:
        given.append(world.inbox.put(Check(force=True)))
        assert not world.inbox.is_interrupted()
        return CheckReport("pack", info_hash="ab", changed=True)

    world = World([long_check, lambda: CheckReport("pack", info_hash="ab")])
    run(world)
    assert given[0].outcome() == CheckReport("pack", info_hash="ab", changed=True)
    assert world.forced == [False, True]


def test_an_order_to_a_tree_that_cannot_be_opened_has_it_tried_at_once(
    run: Callable[..., None],
) -> None:
    def refuse() -> None:
        if len(world.opened_s) == 3:
            given.append(world.inbox.put(Check()))
        if len(world.opened_s) < 5:
            raise BusyError("another process has it")

    given: list[Pending] = []
    world = World([fine], open=refuse)
    run(world)
    assert world.opened_s == pytest.approx([0, 10, 30, 30, 70])
    with pytest.raises(BusyError):
        given[0].outcome()


def test_what_is_postponed_is_no_failure_and_asked_again_soon(run: Callable[..., None]) -> None:
    def postpone() -> CheckReport:
        raise PostponedError("the game runs")

    world = World([postpone, postpone, fine])
    run(world)
    assert world.gaps_s() == pytest.approx([10, 20])
    assert world.errors() == []


def waits_for_hours() -> CheckReport:
    raise PostponedError("the update waits for 02:00-05:00", is_timed=True)


def test_what_waits_for_its_hours_goes_on_polling_and_is_checked_when_they_begin(
    run: Callable[..., None],
) -> None:
    def begin() -> CheckReport:
        world.opens_s = None
        return fine()

    world = World([waits_for_hours, waits_for_hours, begin, fine], opens_s=1.5 * HOUR_S)
    run(world)
    assert world.gaps_s() == pytest.approx([HOUR_S, HOUR_S / 2, HOUR_S])


def test_hours_that_begin_earlier_as_the_clock_was_put_forward_are_not_missed(
    run: Callable[..., None],
) -> None:
    """What is waited for is the clock on the wall, and not a time that once was right."""

    def begin() -> CheckReport:
        world.opens_s = None
        return fine()

    def put_forward() -> None:
        if world.now_s > 100:
            world.opens_s = world.now_s

    world = World([waits_for_hours, begin], opens_s=20 * HOUR_S, heed=put_forward)
    run(world)
    assert world.gaps_s()[0] == pytest.approx(102, abs=3)


def test_a_paused_one_does_nothing_by_itself_until_it_is_resumed(
    run: Callable[..., None],
) -> None:
    def pause() -> None:
        if len(world.heeded_s) == 10:
            asked.append(world.inbox.put(Pause()))

    asked: list[Pending] = []
    world = World([fine] * 3, heed=pause)
    paused_rest = world.inbox.rest

    def rest(seconds: float) -> None:
        if seconds >= HOUR_S and asked and not world.inbox.is_waiting:
            world.now_s += 5 * HOUR_S
            asked.append(world.inbox.put(Resume()))
        else:
            paused_rest(seconds)

    world.inbox.rest = rest  # type: ignore[method-assign]
    run(world)
    assert asked[0].outcome() == PauseReport("pack", paused=True)
    assert asked[1].outcome() == PauseReport("pack", paused=False)
    assert world.gaps_s() == pytest.approx([30 + 5 * HOUR_S, HOUR_S], abs=4)
    assert len(world.opened_s) == world.closed == 2, "it leaves the swarm meanwhile"


def test_it_stays_paused_when_it_is_started_again(run: Callable[..., None]) -> None:
    world = World([])
    world.inbox.put(Pause())
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        world.inbox.stop()

    world.inbox.rest = rest  # type: ignore[method-assign]
    run(world)
    again = World([])
    again.inbox.rest = lambda _seconds: again.inbox.stop()  # type: ignore[method-assign]
    run(again)
    assert (again.opened_s, again.checked_s) == ([], [])


def test_an_order_that_the_end_of_the_service_cuts_off_says_so(run: Callable[..., None]) -> None:
    def stop() -> CheckReport:
        world.inbox.stop()
        raise InterruptedByUserError("stopped")

    world = World([], apply=stop)
    pending = world.inbox.put(Apply())
    run(world)
    with pytest.raises(ServiceStoppedError, match="while it did this"):
        pending.outcome()


def test_a_pause_ends_the_order_that_is_carried_out(run: Callable[..., None]) -> None:
    def apply() -> CheckReport:
        world.inbox.put(Pause())
        assert world.inbox.is_interrupted()
        raise InterruptedByUserError("stopped")

    world = World([], apply=apply)
    world.inbox.rest = lambda _seconds: world.inbox.stop()  # type: ignore[method-assign]
    pending = world.inbox.put(Apply())
    run(world)
    with pytest.raises(BusyError, match="paused"):
        pending.outcome()


def test_a_failure_that_nobody_foresaw_is_told_to_whoever_waits(run: Callable[..., None]) -> None:
    def crash() -> CheckReport:
        raise ZeroDivisionError("oh")

    world = World([], apply=crash)
    pending = world.inbox.put(Apply())
    with pytest.raises(ZeroDivisionError):
        run(world)
    with pytest.raises(TorsyncError, match=r"nobody foresaw.*ZeroDivisionError"):
        pending.outcome()
    assert world.closed == 1


def test_an_order_that_was_carried_out_has_an_end_even_if_that_cannot_be_told(
    run: Callable[..., None],
) -> None:
    world = World([])
    pending = world.inbox.put(Apply())
    world.reports = Untellable()
    with pytest.raises(ZeroDivisionError):
        run(world)
    assert pending.is_ended


class Untellable(list[Report]):
    """Fails when something is told."""

    def append(self, _report: Report) -> None:
        raise ZeroDivisionError("oh")


def test_nothing_waits_for_news_of_what_is_paused_or_has_crashed(
    run: Callable[..., None],
) -> None:
    def crash() -> CheckReport:
        raise ZeroDivisionError("oh")

    def pause() -> CheckReport:
        world.inbox.put(Pause())
        world.inbox.put(Resume())
        return fine()

    world = World([pause, crash, fine])
    with pytest.raises(ZeroDivisionError):
        run(world)
    assert len(world.news) == 2, "another one each time that it is opened"
    for news in world.news:
        news.arm(Validators('"etag"', ""), "digest")
        assert not news.is_listening, "it is closed for good"


class Told(NoHooks):
    """Hears of failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def failed(self, config: SubscriptionConfig, error: TorsyncError) -> None:
        self.failures.append(f"{config.name}: {error.message}")


def test_a_state_that_cannot_be_used_is_told_to_hooks_once_in_a_row(
    run: Callable[..., None],
) -> None:
    refusals = iter(["full", "full", "", "full"])

    def refuse() -> None:
        if why := next(refusals):
            raise StateError(f"its disk is {why}")

    def leave() -> CheckReport:
        raise StateError("its disk is full")

    hooks = Told()
    world = World([leave, fine], open=refuse)
    run(world, hooks=hooks)
    assert hooks.failures == ["pack: its disk is full"], "of a check, the subscription tells them"
    assert world.errors() == ["state"] * 3


def test_what_keeps_it_from_seeding_at_the_start_is_left_to_the_check(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: FakeSubscription) -> None:
        raise TreeError("could not read it")

    monkeypatch.setattr(FakeSubscription, "resume_seeding", fail)
    world = World([fine] * 2)
    run(world)
    assert len(world.checked_s) == 2
