"""The rhythm of a publication in the service: when it is released, looked at, and tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from torsync.model.config import PublicationConfig
from torsync.model.errors import (
    InterruptedByUserError,
    RefusedError,
    StateError,
    TorsyncError,
)
from torsync.model.events import Event, Level, Notice
from torsync.model.orders import MakeRelease, Pause, Report, Resume
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import PauseReport
from torsync.service import publication_runner
from torsync.service.inbox import Inbox, Pending
from torsync.service.publication_runner import PublicationRunner
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.swarm.session import SwarmPool

HOUR_S = 3600.0


def no_pool() -> SwarmPool:
    raise AssertionError("nothing is seeded here")


@dataclass
class World:
    """A clock that goes on by waiting alone, and a publication that does as it is told.

    Attributes:
        folder: of the state.
        release: what each release does.
        open: what is done when the publication is opened.
        heed: whether something was edited, each time that it is looked at.
        end_s: when the service is stopped.
    """

    folder: Path
    release: Callable[[], PublishReport] = lambda: PublishReport("pack", changed=True)
    open: Callable[[], None] = lambda: None
    heed: Callable[[], bool] = lambda: False
    end_s: float = HOUR_S
    now_s: float = 0.0
    opened_s: list[float] = field(default_factory=list)
    released_s: list[float] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    refused: list[TorsyncError] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    closed: int = 0
    hinting: SimpleNamespace = field(default_factory=SimpleNamespace)

    def __post_init__(self) -> None:
        self.inbox: Inbox = Waiting(self)

    def rest(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self.end_s:
            self.inbox.stop()

    def errors(self) -> list[str]:
        return [
            event.code
            for event in self.events
            if isinstance(event, Notice) and event.level is Level.ERROR
        ]

    def run(self, **changes: object) -> None:
        """Run the service in it until it is stopped."""
        values = {"watch": False, "interval_s": 600.0, **changes}
        runner = PublicationRunner(
            PublicationConfig("pack", self.folder / "pack", **values),  # type: ignore[arg-type]
            self.folder,
            Surroundings(
                pool=no_pool,
                sink=self.events.append,
                stopping=self.inbox.is_interrupted,
                wait=self.inbox.sleep,
            ),
            self.inbox,
            feed=None,
            on_report=lambda report, _command: self.reports.append(report),
            on_order_failed=lambda _name, error: self.refused.append(error),
            clock=lambda: self.now_s,
        )
        runner.run()


class Waiting(Inbox):
    """Resting makes the clock go on."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.now_s)
        self._world = world

    def rest(self, seconds: float) -> None:
        if not self.is_waiting:
            self._world.rest(seconds)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)

    class Publication:
        """Stands in for the real one."""

        def __init__(self, *_arguments: object) -> None:
            world.opened_s.append(world.now_s)
            world.open()
            self.hinting = world.hinting

        def resume(self) -> None:
            assert not world.released_s, "it comes first"

        def release_now(self, *, dry_run: bool = False, unsettled: bool = False) -> PublishReport:  # noqa: ARG002
            world.released_s.append(world.now_s)
            return world.release()

        def heed(self) -> bool:
            return world.heed()

        def edited(self, _paths: object) -> bool:
            return True

        def rest(self) -> None:
            pass

        def close(self) -> None:
            world.closed += 1

    monkeypatch.setattr(publication_runner, "Publication", Publication)
    monkeypatch.setattr(PublicationRunner, "_begin_watch", lambda _self: None)
    return world


def test_it_is_released_at_the_start_and_at_each_interval(world: World) -> None:
    world.run()
    assert world.released_s[0] == 0.0
    gaps = [b - a for a, b in zip(world.released_s, world.released_s[1:], strict=False)]
    assert gaps == [600.0] * 5
    assert len(world.reports) == 6
    assert world.closed == 1


def test_what_has_not_changed_is_not_reported(world: World) -> None:
    world.release = lambda: PublishReport("pack")
    world.run()
    assert world.reports == []


def test_an_edit_that_a_look_finds_is_released_after_the_settle_time(world: World) -> None:
    world.end_s = 300.0
    edits = [100.0]

    def heed() -> bool:
        return bool(edits) and world.now_s >= edits[0] and bool(edits.pop())

    world.heed = heed
    world.run(settle_s=2.0, watch=True)
    assert world.released_s[0] == 0.0
    assert 102.0 <= world.released_s[1] <= 103.5
    assert len(world.released_s) == 2


def test_an_edit_while_a_public_release_gets_its_hints_leads_to_another_release(
    world: World,
) -> None:
    world.end_s = 300.0
    edits = [True]

    def release() -> PublishReport:
        world.now_s += 1.0
        world.hinting.meanwhile()
        return PublishReport("pack", changed=True)

    world.release = release
    world.heed = lambda: world.now_s == 1.0 and bool(edits) and edits.pop()
    world.run(settle_s=2.0, watch=True)
    assert edits == []
    assert world.released_s[0] == 0.0
    assert 3.0 <= world.released_s[1] <= 4.5
    assert len(world.released_s) == 2


def test_without_watching_it_waits_for_the_interval(world: World) -> None:
    world.end_s = 300.0
    world.heed = lambda: True
    world.run()
    assert world.released_s == [0.0]


def test_a_failure_is_told_once_and_tried_again_ever_later(world: World) -> None:
    def refuse() -> PublishReport:
        raise RefusedError("it is empty")

    world.release = refuse
    world.run(interval_s=86400.0)
    gaps = [b - a for a, b in zip(world.released_s, world.released_s[1:], strict=False)]
    assert gaps[:7] == [10, 20, 40, 80, 160, 320, 600]
    assert world.errors() == ["refused"]


def test_an_order_is_carried_out_at_once(world: World) -> None:
    world.end_s = 300.0
    asked: list[Pending] = []

    def ask() -> bool:
        if world.now_s >= 100.0 and not asked:
            asked.append(world.inbox.put(MakeRelease()))
        return False

    world.heed = ask
    world.run()
    assert world.released_s[0] == 0.0
    assert 100.0 <= world.released_s[1] <= 101.0
    assert asked[0].outcome() == PublishReport("pack", changed=True)


def test_an_order_is_told_why_it_cannot_be_opened_and_has_it_tried_at_once(world: World) -> None:
    world.end_s = 30.0

    def fail() -> None:
        if len(world.opened_s) < 3:
            raise StateError("the disk fails")

    world.open = fail
    asked = [world.inbox.put(MakeRelease())]
    rest = world.rest

    def ask_again(seconds: float) -> None:
        if len(asked) == 1:
            asked.append(world.inbox.put(MakeRelease()))
        else:
            rest(seconds)

    world.rest = ask_again  # type: ignore[method-assign]
    world.run()
    with pytest.raises(StateError, match="the disk fails"):
        asked[0].outcome()
    assert asked[1].outcome() == PublishReport("pack", changed=True)
    assert [error.message for error in world.refused] == ["the disk fails"]
    assert world.opened_s == [0, 0, 0], "each order and the start have it tried at once"


def test_a_paused_one_does_nothing_by_itself_also_after_a_restart(world: World) -> None:
    asked = world.inbox.put(Pause())
    world.run()
    assert asked.outcome() == PauseReport("pack", paused=True)
    assert (world.opened_s, world.released_s) == ([], [])
    world.now_s, world.inbox = 0.0, Waiting(world)
    world.run()
    assert (world.opened_s, world.released_s) == ([], [])
    world.now_s, world.inbox, world.end_s = 0.0, Waiting(world), 100.0
    asked = world.inbox.put(Resume())
    world.run()
    assert asked.outcome() == PauseReport("pack", paused=False)
    assert world.released_s == [0.0]


def test_a_paused_one_makes_the_release_that_it_is_asked_for_and_closes_again(
    world: World,
) -> None:
    world.inbox.put(Pause())
    asked = world.inbox.put(MakeRelease())
    world.run()
    assert asked.outcome() == PublishReport("pack", changed=True)
    assert world.released_s == [0.0]
    assert (len(world.opened_s), world.closed) == (1, 1)


def test_a_release_that_is_only_planned_leaves_the_rhythm_as_it_is(world: World) -> None:
    world.end_s = 700.0
    fails = [False]

    def plan() -> PublishReport:
        if fails[0]:
            raise RefusedError("it is empty")
        return PublishReport("pack", dry_run=True)

    asked: list[Pending] = []

    def ask() -> bool:
        if len(asked) < 2 and world.now_s >= 100.0 * (len(asked) + 1):
            fails[0] = bool(asked)
            world.release = plan
            asked.append(world.inbox.put(MakeRelease(dry_run=True)))
        elif len(world.released_s) == 3:
            world.release = lambda: PublishReport("pack", changed=True)
        return False

    world.heed = ask
    world.run()
    assert asked[0].outcome() == PublishReport("pack", dry_run=True)
    with pytest.raises(RefusedError):
        asked[1].outcome()
    assert [time_s // 100 for time_s in world.released_s] == [0, 1, 2, 6], "by itself at 600 s"


def test_what_a_look_fails_with_is_told_and_a_release_tried(world: World) -> None:
    world.end_s = 60.0
    failures = iter([StateError("the disk fails"), InterruptedByUserError("an order waits")])

    def fail() -> bool:
        error = next(failures, None)
        if error is not None:
            raise error
        return False

    world.heed = fail
    world.run()
    assert world.errors() == ["state"]
    assert len(world.released_s) == 2, "a release shows what is wrong, or mends it"
    assert world.released_s[1] <= 20.0
