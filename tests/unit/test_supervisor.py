"""The supervisor: one that fails does not end the others; reload restarts only what changed."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import HOST, free_port, wait_until
from torsync.disk.lock import hold_tree, holder_command
from torsync.model.config import (
    Config,
    FeedConfig,
    NotifyConfig,
    PublicationConfig,
    ServiceConfig,
    SessionConfig,
    SubscriptionConfig,
)
from torsync.model.errors import (
    BusyError,
    ConfigError,
    ControlError,
    FeedError,
    ServiceStoppedError,
    TorsyncError,
    UsageError,
)
from torsync.model.events import Event, Level, Notice
from torsync.model.orders import Check, MakeRelease, Pause, Terms
from torsync.model.reports import CheckReport
from torsync.service import (
    publication_runner,
    subscription_runner,
    supervisor,
    worker_thread,
)
from torsync.service.desk import ReloadReport
from torsync.service.hub import Hub
from torsync.service.supervisor import Supervisor, Ties
from torsync.service.systemd.notify import Notifier
from torsync.subscribe.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torsync.service.inbox import Inbox, Pending
    from torsync.service.runner import Runner
    from torsync.subscribe.surroundings import Surroundings

SESSION = SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False)


@dataclass
class World:
    """Subscriptions and publications that do as they are told.

    Attributes:
        check: what a check of one does, by its name.
        opened: how often each was.
        alive: those that are open.
    """

    check: dict[str, Callable[[], CheckReport]] = field(default_factory=dict)
    opened: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    alive: set[str] = field(default_factory=set)
    arounds: dict[str, Surroundings] = field(default_factory=dict)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    class Subscription:
        """Stands in for the real one."""

        opens_in_s = None

        def __init__(
            self,
            config: SubscriptionConfig,
            _folder: Path,
            around: Surroundings,
            **_options: object,
        ) -> None:
            self.name = config.name
            world.opened[self.name] += 1
            world.alive.add(self.name)
            world.arounds[self.name] = around

        def resume_seeding(self) -> None:
            pass

        def check_now(self, *, force: bool = False) -> CheckReport:  # noqa: ARG002
            return world.check.get(self.name, lambda: CheckReport(self.name))()

        def rest(self) -> None:
            pass

        def heed(self) -> None:
            pass

        def close(self) -> None:
            world.alive.discard(self.name)

    class Publication(Subscription):
        """Stands in for the real one."""

        def __init__(
            self, config: PublicationConfig, folder: Path, around: Surroundings, _feed: object
        ) -> None:
            super().__init__(config, folder, around)  # type: ignore[arg-type]
            self.hinting = self

        def resume(self) -> None:
            pass

        def release_now(self, **_options: bool) -> None:
            raise TorsyncError("nothing is released here")

    monkeypatch.setattr(subscription_runner, "Subscription", Subscription)
    monkeypatch.setattr(publication_runner, "Publication", Publication)
    monkeypatch.setattr(worker_thread, "_BUSY_RETRY_S", 0.05)
    return world


class Running:
    """A supervisor in a thread."""

    def __init__(self, config: Config, state_dir: Path, **ties: object) -> None:
        self.events: list[Event] = []
        self.stop, self.asked = threading.Event(), threading.Event()
        self.failure: list[BaseException] = []
        self.desk = Supervisor(config, state_dir, Hub(self.events.append), Ties(**ties))  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        wait_until(lambda: bool(self.desk.workers() or self.failure), "it has begun")

    def _run(self) -> None:
        try:
            self.desk.run(self.stop, self.asked)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.failure.append(error)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def check(self, name: str) -> CheckReport:
        pending = self.desk.give(name, Check(), Terms())
        assert pending.wait(30)
        report = pending.outcome()
        assert isinstance(report, CheckReport)
        return report

    def codes(self, name: str, *levels: Level) -> list[str]:
        return [
            event.code
            for event in tuple(self.events)
            if isinstance(event, Notice) and event.subscription == name and event.level in levels
        ]


@contextmanager
def running(config: Config, state_dir: Path, **ties: object) -> Iterator[Running]:
    service = Running(config, state_dir, **ties)
    try:
        yield service
    finally:
        service.end()
    if service.failure:
        raise service.failure[0]


def subscriptions(tmp_path: Path, *names: str) -> Config:
    url = "https://example.org/x.torrent"
    return Config(SESSION, {name: SubscriptionConfig(name, url, tmp_path / name) for name in names})


def crash() -> CheckReport:
    raise ZeroDivisionError("oh")


def test_one_that_crashes_is_begun_again_later_and_the_others_go_on(
    tmp_path: Path, world: World
) -> None:
    world.check["bad"] = crash
    now_s = [0.0]
    with running(
        subscriptions(tmp_path, "good", "bad"), tmp_path / "state", clock=lambda: now_s[0]
    ) as service:
        wait_until(lambda: service.codes("bad", Level.ERROR) == ["crashed"], "the crash is told")
        assert service.check("good").name == "good"
        assert world.alive == {"good"}
        assert [worker.restarts for worker in service.desk.workers()] == [0, 1]
        with pytest.raises(TorsyncError, match="nobody foresaw"):
            service.check("bad")
        del world.check["bad"]
        now_s[0] = 10.5
        service.desk.give("bad", Check(), Terms())  # wakes it
        wait_until(lambda: "bad" in world.alive, "it is begun again")
        assert world.opened == {"good": 1, "bad": 2}
    traceback = [one for one in service.events if isinstance(one, Notice) and "oh" in one.message]
    assert traceback[0].hint == "it is tried again in 10 s; please report this"
    assert world.alive == set()


def test_one_that_went_on_for_long_before_it_crashed_is_begun_again_soon(
    tmp_path: Path, world: World
) -> None:
    now_s = [0.0]
    world.check["bad"] = crash
    with running(
        subscriptions(tmp_path, "bad"), tmp_path / "state", clock=lambda: now_s[0]
    ) as service:

        def crashes(count: int) -> list[str]:
            told = [one for one in service.events if isinstance(one, Notice)]
            hints = [one.hint for one in told if one.code == "crashed"]
            if len(hints) < count:
                now_s[0] += 1
                service.desk.give("bad", Check(), Terms())  # wakes it
            return hints

        wait_until(lambda: len(crashes(3)) >= 3, "it crashes in a row")
        del world.check["bad"]
        wait_until(lambda: crashes(99) and "bad" in world.alive, "it works again")
        now_s[0] += 3600
        world.check["bad"] = crash
        wait_until(lambda: len(crashes(4)) >= 4, "it crashes again")
        waits = [hint.partition(";")[0] for hint in crashes(4)]
    assert waits == [f"it is tried again in {wait}" for wait in ("10 s", "20 s", "40 s", "10 s")]


def test_a_tree_that_another_command_holds_is_waited_for(tmp_path: Path, world: World) -> None:
    config = subscriptions(tmp_path, "one", "two")
    folder = state_folder(tmp_path / "state", tmp_path / "one")
    with hold_tree(folder, name="one", command="torsync verify"):
        service = Running(config, tmp_path / "state")
        wait_until(lambda: "two" in world.alive, "the other one works")
        wait_until(lambda: bool(service.codes("one", Level.WARNING)), "it is told")
        with pytest.raises(BusyError, match="torsync verify"):
            service.check("one")
    wait_until(lambda: "one" in world.alive, "it works, too")
    assert service.codes("one", Level.WARNING) == ["busy"], "it is told once"
    assert holder_command(folder) == "torsync run"
    service.end()
    assert service.failure == []


def test_its_begin_and_end_are_told(tmp_path: Path, world: World) -> None:
    with running(subscriptions(tmp_path, "one", "two"), tmp_path / "state") as service:
        wait_until(lambda: world.alive == {"one", "two"}, "it works")
        wait_until(lambda: service.codes("", Level.INFO) == ["started"], "its begin is told")
    assert service.codes("", Level.INFO) == ["started", "stopping"]
    said = next(one for one in service.events if isinstance(one, Notice) and not one.subscription)
    assert said.message.endswith(f"runs: 2 subscriptions, as process {os.getpid()}")


def test_what_runs_beside_the_service_tells_no_begin(tmp_path: Path, world: World) -> None:
    with running(subscriptions(tmp_path, "one"), tmp_path / "state", is_alone=False) as service:
        wait_until(lambda: "one" in world.alive, "it works")
    assert service.codes("", Level.INFO) == []


def test_there_is_one_service_for_a_state_directory(tmp_path: Path, world: World) -> None:
    with running(subscriptions(tmp_path, "one"), tmp_path / "state"):
        wait_until(lambda: "one" in world.alive, "it works")
        second = Running(subscriptions(tmp_path, "two"), tmp_path / "state")
        second.thread.join(30)
        assert isinstance(second.failure[0], BusyError)
        assert "the service runs already" in second.failure[0].message
        assert world.opened == {"one": 1}


def test_reload_restarts_only_what_changed(tmp_path: Path, world: World) -> None:
    old = subscriptions(tmp_path, "same", "other", "gone")
    new = subscriptions(tmp_path, "same", "new")
    changed = replace(old.subscriptions["other"], interval_s=5.0)
    new = replace(new, subscriptions={**new.subscriptions, "other": changed})
    with running(old, tmp_path / "state", load=lambda: new) as service:
        wait_until(lambda: world.alive == {"same", "other", "gone"}, "they work")
        assert service.desk.reload() == ReloadReport(("new",), ("gone",), ("other",), ("same",))
        wait_until(lambda: world.alive == {"same", "other", "new"}, "the new ones work")
        assert world.opened == {"same": 1, "other": 2, "gone": 1, "new": 1}
        assert [worker.config.name for worker in service.desk.workers()] == ["same", "new", "other"]
        with pytest.raises(UsageError, match="no subscription or publication 'gone'"):
            service.check("gone")
        assert service.desk.reload() == ReloadReport(unchanged=("same", "new", "other"))


def test_a_reload_that_comes_with_the_end_leaves_nothing_running(
    tmp_path: Path, world: World
) -> None:
    old, new = subscriptions(tmp_path, "one"), subscriptions(tmp_path, "one", "new")
    begun, may_end = threading.Event(), threading.Event()

    def load() -> Config:
        begun.set()
        assert may_end.wait(30)
        return new

    service = Running(old, tmp_path / "state", load=load)
    wait_until(lambda: world.alive == {"one"}, "it works")
    service.asked.set()
    assert begun.wait(30)
    service.stop.set()
    wait_until(lambda: not world.alive, "all end, whatever the reload does")
    may_end.set()
    service.end()
    for thread in threading.enumerate():
        if thread.name == "reload":
            thread.join(30)
    assert world.alive == set()
    assert service.failure == []
    with pytest.raises(ServiceStoppedError):
        service.desk.reload()


def test_an_api_that_cannot_be_opened_at_the_start_is_the_end_before_anything_is_worked_on(
    tmp_path: Path, world: World
) -> None:
    def open_control(_desk: object, _config: ServiceConfig) -> World:
        raise ControlError("the port is taken")

    service = Running(subscriptions(tmp_path, "one"), tmp_path / "state", open_control=open_control)
    service.thread.join(30)
    assert [type(failure) for failure in service.failure] == [ControlError]
    assert world.opened == {}


def test_what_is_being_restarted_is_still_there_and_refuses_orders_for_a_while(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = subscriptions(tmp_path, "one")
    new = replace(old, session=replace(SESSION, upload_limit=1000))
    names: list[list[str]] = []
    outcomes: list[Pending] = []

    class Pool(supervisor.LazyPool):
        def close(self) -> None:
            names.append([worker.config.name for worker in service.desk.workers()])
            if not service.stop.is_set():
                outcomes.append(service.desk.give("one", Check(), Terms()))
            super().close()

    monkeypatch.setattr(supervisor, "LazyPool", Pool)
    with running(old, tmp_path / "state", load=lambda: new) as service:
        assert service.desk.reload().restarted == ("one",)
        assert names == [["one"]]
        assert outcomes[0].wait(30)
        with pytest.raises(ServiceStoppedError, match="reloaded"):
            outcomes[0].outcome()
        assert service.check("one").name == "one"


def test_a_reload_that_fails_in_a_way_that_nobody_foresaw_is_over_for_systemd(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    notifier = Noting()
    with running(
        subscriptions(tmp_path, "one"), tmp_path / "state", load=crash, notifier=notifier
    ) as service:
        service.asked.set()
        wait_until(lambda: "RELOADING" in notifier.said, "it is reloaded")
        wait_until(lambda: notifier.said[-1] == "READY", "that is over")


class Noting(Notifier):
    """Notes what is told when that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("READY")

    def reloading(self) -> None:
        self.said.append("RELOADING")


def test_an_order_that_nobody_comes_to_any_more_has_an_end(tmp_path: Path, world: World) -> None:
    (config,) = subscriptions(tmp_path, "one").subscriptions.values()

    def no_runner(_inbox: Inbox) -> Runner:
        raise AssertionError("it was stopped before")

    thread = worker_thread.WorkerThread(
        config, tmp_path / "state", no_runner, lambda _event: None, time.monotonic
    )
    pending = thread.inbox.put(Check())
    thread.stop()
    thread.start()
    thread.join()
    with pytest.raises(ServiceStoppedError):
        pending.outcome()


def test_another_session_restarts_everything(tmp_path: Path, world: World) -> None:
    old = subscriptions(tmp_path, "one", "two")
    new = replace(old, session=replace(SESSION, upload_limit=1000))
    with running(old, tmp_path / "state", load=lambda: new) as service:
        wait_until(lambda: world.alive == {"one", "two"}, "they work")
        report = service.desk.reload()
        assert (report.restarted, report.sections) == (("one", "two"), ("session",))
        wait_until(lambda: world.opened == {"one": 2, "two": 2}, "they work again")


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_broken_configuration_leaves_all_as_it_is(
    tmp_path: Path, world: World, *, by_signal: bool
) -> None:
    def load() -> Config:
        raise ConfigError("2 problems", problems=("c.toml:1: x", "c.toml:2: y"), hint="correct it")

    with running(subscriptions(tmp_path, "one"), tmp_path / "state", load=load) as service:
        wait_until(lambda: world.alive == {"one"}, "it works")
        if by_signal:
            service.asked.set()
            wait_until(lambda: len(service.codes("", Level.ERROR)) == 3, "it is told")
            told = [one for one in service.events if isinstance(one, Notice)]
            messages = [one.message for one in told if one.level is Level.ERROR]
            assert messages == [
                "the configuration was not reloaded: 2 problems",
                "c.toml:1: x",
                "c.toml:2: y",
            ]
        else:
            with pytest.raises(ConfigError, match="2 problems"):
                service.desk.reload()
        assert world.opened == {"one": 1}
        assert service.check("one").name == "one"


def test_a_configuration_that_became_empty_is_refused(tmp_path: Path, world: World) -> None:
    with running(
        subscriptions(tmp_path, "one"), tmp_path / "state", load=lambda: Config(SESSION, {})
    ) as service:
        with pytest.raises(ConfigError, match="no subscription and no publication any more"):
            service.desk.reload()
        assert service.check("one").name == "one"


def test_a_feed_that_cannot_listen_is_refused_and_the_old_one_goes_on(
    tmp_path: Path, world: World
) -> None:
    publications = {"pack": PublicationConfig("pack", tmp_path / "pack", watch=False)}
    old_port, taken = free_port(), free_port()
    old = Config(SESSION, {}, publications, FeedConfig((HOST, old_port)))
    other = Config(SESSION, {}, publications, FeedConfig((HOST, taken)))
    with running(old, tmp_path / "a", load=lambda: other) as service:
        wait_until(lambda: world.alive == {"pack"}, "it works")
        with running(replace(other), tmp_path / "b"):
            wait_until(lambda: world.opened["pack"] == 2, "the other one works")
            with pytest.raises(FeedError):
                service.desk.reload()
        assert service.desk.reload().restarted == ("pack",)


def test_the_control_api_moves_to_where_it_is_configured(tmp_path: Path, world: World) -> None:
    opened: list[ServiceConfig] = []
    closed: list[ServiceConfig] = []

    class Control:
        def __init__(self, _desk: object, config: ServiceConfig) -> None:
            self._config = config
            opened.append(config)

        def close(self) -> None:
            closed.append(self._config)

    old = subscriptions(tmp_path, "one")
    new = [
        replace(old, service=ServiceConfig((HOST, 5))),
        replace(old, service=ServiceConfig(None)),
    ]
    with running(old, tmp_path / "state", open_control=Control, load=lambda: new[0]) as service:
        wait_until(lambda: opened == [old.service], "it is open")
        assert service.desk.reload().unchanged == ("one",)
        wait_until(lambda: opened == [old.service, new[0].service], "it has moved")
        assert closed == [old.service]
        del new[0]
        service.desk.reload()
        wait_until(lambda: len(closed) == 2, "it is closed")
    assert opened == [old.service, closed[1]]


def test_orders_are_for_what_can_carry_them_out(tmp_path: Path, world: World) -> None:
    config = replace(
        subscriptions(tmp_path, "one"),
        publications={"pack": PublicationConfig("pack", tmp_path / "pack", watch=False)},
    )
    with running(config, tmp_path / "state") as service:
        wait_until(lambda: world.alive == {"one", "pack"}, "they work")
        with pytest.raises(UsageError, match="'one' is a subscription"):
            service.desk.give("one", MakeRelease(), Terms())
        with pytest.raises(UsageError, match="'pack' is a publication"):
            service.desk.give("pack", Check(), Terms())
        assert service.desk.give("pack", Pause(), Terms()).wait(30)
        wait_until(lambda: world.alive == {"one"}, "it is closed")
        assert [worker.paused for worker in service.desk.workers()] == [False, True]
    with pytest.raises(ServiceStoppedError):
        service.desk.give("one", Check(), Terms())


def test_terms_of_an_order_are_those_of_its_surroundings_while_it_is_carried_out(
    tmp_path: Path, world: World
) -> None:
    seen: list[float | None] = []

    def check() -> CheckReport:
        seen.append(world.arounds["one"].terms().patience_s)
        return CheckReport("one")

    world.check["one"] = check
    with running(subscriptions(tmp_path, "one"), tmp_path / "state") as service:
        assert service.desk.give("one", Check(), Terms(patience_s=7.0)).wait(30)
        service.check("one")
    assert [patience for patience in seen if patience is not None] == [7.0]
    assert seen[-1] is None


def test_when_the_next_check_is_due_is_told(tmp_path: Path, world: World) -> None:
    with running(subscriptions(tmp_path, "one"), tmp_path / "state") as service:
        service.check("one")
        wait_until(
            lambda: (service.desk.workers()[0].next_check_s or 0.0) > time.time() + 300,
            "the next check is in ten minutes",
        )


def test_only_a_configuration_that_is_taken_up_is_told(tmp_path: Path, world: World) -> None:
    old, empty = subscriptions(tmp_path, "one"), Config(SESSION, {})
    new = [empty, replace(old, notify=NotifyConfig(("json://localhost",)))]
    told: list[Config] = []
    with running(old, tmp_path / "state", load=lambda: new[0], on_reloaded=told.append) as service:
        with pytest.raises(ConfigError):
            service.desk.reload()
        assert told == []
        del new[0]
        assert service.desk.reload() == ReloadReport(unchanged=("one",), sections=("notify",))
        assert told == new
