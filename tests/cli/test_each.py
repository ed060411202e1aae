"""Who carries an order out: the command, or the service that holds the tree."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from tests.support.control import DEADLINE_S, in_thread, running_api
from tests.support.processes import wait_until
from torsync.cli import each
from torsync.cli.context import Context
from torsync.cli.each import Target, have_done
from torsync.cli.render import make_renderer
from torsync.disk.lock import hold_tree
from torsync.model.errors import BusyError, InterruptedByUserError, ServiceStoppedError
from torsync.model.events import Level, Notice
from torsync.model.orders import Check, MakeRelease, Order, Report, Restore, Rollback, Terms
from torsync.model.reports import CheckReport
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.control import Api
    from torsync.model.events import Event
    from torsync.swarm.session import SwarmPool

BY_SERVICE = CheckReport("pack", release="by the service")
BY_COMMAND = CheckReport("pack", release="by the command")


def no_pool() -> SwarmPool:
    raise AssertionError("nothing is fetched here")


class Site:
    """A tree, a command that wants it, and a service that may hold it."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder
        self.folder = folder / "trees" / "pack"
        self.said = StringIO()
        renderer = make_renderer(
            json=True, quiet=False, verbose=False, stdout=self.said, stderr=self.said
        )
        self.context = Context(folder / "config.toml", folder, renderer)
        self.events: list[Event] = []
        self.terms = Terms()
        self.done: list[Order] = []

    def alone(self, order: Order) -> Report:
        self.done.append(order)
        return BY_COMMAND

    def held(self) -> ExitStack:
        """Hold the tree as the service does."""
        opened = ExitStack()
        opened.enter_context(hold_tree(self.folder, name="pack", command="torsync run"))
        return opened

    def give(self, order: Order, *, by_service: bool = True) -> Callable[[], Report]:
        stop = self.context.stop
        around = Surroundings(no_pool, self.events.append, stop.is_set, stop.wait)
        around = replace(around, terms=lambda: self.terms)
        target = Target("pack", self.folder, self.alone)
        return in_thread(
            partial(have_done, self.context, target, order, around, by_service=by_service)
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def begin(site: Site, api: Api, number: int = 0) -> None:
    """Begin an order, and wait until the command knows that."""
    api.desk.order(number).begin()
    for text in ("one", "two"):  # what comes in a later part comes after "begun"
        api.desk.hub.sink(Notice("pack", Level.INFO, "code", text))
        wait_until(
            lambda: any(one.message == text for one in site.events if isinstance(one, Notice)),  # noqa: B023
            "it is heard",
            deadline_s=DEADLINE_S,
        )


def test_a_tree_that_nobody_holds_is_worked_on_by_the_command(site: Site) -> None:
    assert site.give(Check())() == BY_COMMAND


def test_one_that_the_service_holds_is_left_to_it(site: Site) -> None:
    site.terms = Terms(9.0)
    with site.held(), running_api(site.state_dir) as api:
        wait = site.give(Check(force=True))
        pending = api.desk.order()
        assert (pending.order, pending.terms) == (Check(force=True), Terms(9.0))
        pending.fulfil(BY_SERVICE)
        assert wait() == BY_SERVICE
    assert site.done == []


def test_one_that_another_command_holds_is_busy(site: Site) -> None:
    with (
        running_api(site.state_dir),
        hold_tree(site.folder, name="pack", command="torsync verify"),
        pytest.raises(BusyError, match="torsync verify"),
    ):
        site.give(Check())()


def test_what_is_none_of_the_services_business_is_not_left_to_it(site: Site) -> None:
    with site.held(), running_api(site.state_dir) as api:
        with pytest.raises(BusyError, match="torsync run"):
            site.give(MakeRelease(), by_service=False)()
        assert api.desk.given == []


def test_a_service_without_control_api_is_given_a_moment_and_then_busy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(each, "_NO_API_GRACE_S", 0.0)
    with site.held(), pytest.raises(BusyError, match="control API is not there") as caught:
        site.give(Check())()
    assert 'control = ""' in caught.value.hint


def test_a_control_api_that_comes_a_moment_later_is_found(site: Site) -> None:
    with site.held():
        wait = site.give(Check())
        with running_api(site.state_dir) as api:
            api.desk.order().fulfil(BY_SERVICE)
            assert wait() == BY_SERVICE


@pytest.mark.parametrize("begun", [False, True])
def test_what_the_service_leaves_is_done_by_the_command(site: Site, begun: bool) -> None:
    with ExitStack() as service:
        service.enter_context(site.held())
        api = service.enter_context(running_api(site.state_dir))
        wait = site.give(Check())
        if begun:
            begin(site, api)
        api.desk.order().fail(ServiceStoppedError("the service stopped"))
    assert wait() == BY_COMMAND


def test_what_a_reload_cut_off_is_given_again(site: Site) -> None:
    with site.held(), running_api(site.state_dir) as api:
        wait = site.give(Check())
        api.desk.order().fail(ServiceStoppedError("the service was reloaded"))
        api.desk.order(1).fulfil(BY_SERVICE)
        assert wait() == BY_SERVICE


@pytest.mark.parametrize("order", [Rollback(), Restore("a", ("a",))], ids=lambda one: one.command)
def test_what_may_be_done_already_is_not_done_twice(site: Site, order: Order) -> None:
    with site.held(), running_api(site.state_dir) as api:
        wait = site.give(order)
        begin(site, api)
        api.server.close()
        with pytest.raises(BusyError, match="may have done it") as caught:
            wait()
    assert "torsync status pack" in caught.value.hint
    assert site.done == []


def test_what_was_not_begun_is_done_whatever_it_is(site: Site) -> None:
    with ExitStack() as service:
        service.enter_context(site.held())
        api = service.enter_context(running_api(site.state_dir))
        wait = site.give(Rollback())
        api.desk.order().fail(ServiceStoppedError("the service stopped"))
    assert wait() == BY_COMMAND
    assert site.done == [Rollback()]


def test_a_service_that_stays_silent_is_told_of_in_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(each, "_GONE_GRACE_S", 0.0)
    with site.held(), running_api(site.state_dir) as api:
        wait = site.give(Check())
        api.desk.order().fail(ServiceStoppedError("the service stopped"))
        api.desk.order(1).fail(ServiceStoppedError("the service stopped"))
        with pytest.raises(BusyError, match="does not answer"):
            wait()


def test_whoever_waits_for_a_service_may_stop(site: Site) -> None:
    with site.held():
        wait = site.give(Check())
        site.context.stop.set()
        with pytest.raises(InterruptedByUserError):
            wait()
