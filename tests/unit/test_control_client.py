"""Whoever asks the service: what it hears, and how it learns that the service is gone."""

from __future__ import annotations

import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.control import DEADLINE_S, in_thread, running_api
from tests.support.processes import HOST, wait_until
from torsync.model.errors import (
    BusyError,
    ConfigError,
    ControlError,
    InterruptedByUserError,
    NotInTrashError,
    RelayedError,
    ServiceStoppedError,
)
from torsync.model.events import Level, Notice, StageStarted
from torsync.model.orders import Apply, Check, EmptyTrash, Order, Pause, Restore, Terms, Verify
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, PauseReport, VerifyReport
from torsync.model.trash_reports import TrashEmptied, TrashRestored
from torsync.service.control.client import ControlClient, ServiceGoneError, find_service
from torsync.service.control.credentials import write_address
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.control import Api
    from torsync.model.events import Event
    from torsync.model.orders import Report


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


class Asking:
    """A client, and what it is told."""

    def __init__(self, api: Api) -> None:
        self.events: list[Event] = []
        self.stop = threading.Event()
        self._api = api

    @property
    def client(self) -> ControlClient:
        """A client of the API as it is there now."""
        found = find_service(self._api.state_dir, self.stop.wait)
        assert found is not None, "there is no service"
        return found

    def give(self, order: Order, terms: Terms | None = None) -> Callable[[], Report]:
        """Give an order; what comes back waits for its outcome."""
        client = self.client
        return in_thread(
            partial(client.carry_out, "pack", order, terms or Terms(), self.events.append)
        )


@pytest.fixture
def asking(api: Api) -> Asking:
    return Asking(api)


@pytest.mark.parametrize(
    ("order", "report"),
    [
        (Check(), CheckReport("pack", fetched=["a \udcff"], seconds=1.5)),
        (Verify(), VerifyReport("pack", ok=3, damaged=["b"], damaged_pieces={"b": [1]})),
        (Restore("a", ("a",)), TrashRestored("pack", "stamp", ["a"], [], ["a"])),
        (EmptyTrash(5.0), TrashEmptied("pack", 1, 2, ["left"])),
        (Pause(), PauseReport("pack", paused=True, changed=False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_report_comes_back_as_it_was(
    api: Api, asking: Asking, order: Order, report: Report
) -> None:
    terms = Terms(7.5, again=("verify", "--quick"))
    wait = asking.give(order, terms)
    pending = api.desk.order()
    assert (pending.order, pending.terms) == (order, terms)
    pending.fulfil(report)
    assert wait() == report


def test_events_come_as_they_are(api: Api, asking: Asking) -> None:
    wait = asking.give(Apply())
    notice = Notice("pack", Level.WARNING, "code", "said \udcff", "hint", "r")
    api.desk.hub.sink(notice)
    pending = api.desk.order()
    pending.fulfil(CheckReport("pack"))
    wait()
    api.desk.hub.sink(notice)
    wait = asking.give(Apply())
    pending = api.desk.order(1)
    api.desk.hub.sink(notice)
    pending.fulfil(CheckReport("pack"))
    wait()
    assert notice in asking.events


def test_a_failure_comes_back_with_its_code(api: Api, asking: Asking) -> None:
    wait = asking.give(Restore("x", ("x",)))
    api.desk.order().fail(NotInTrashError("it is not there", hint="look"))
    with pytest.raises(RelayedError) as caught:
        wait()
    told = caught.value
    assert (told.code, told.exit_code) == ("not_in_trash", 1)
    assert (told.message, told.hint) == ("it is not there", "look")


def test_a_name_that_the_service_does_not_know_is_told(api: Api, asking: Asking) -> None:
    with pytest.raises(RelayedError, match="'none'") as caught:
        asking.client.carry_out("none", Check(), Terms(), asking.events.append)
    assert caught.value.exit_code == 2


def test_a_service_that_stops_is_gone_and_had_begun_or_not(api: Api, asking: Asking) -> None:
    for is_begun in (False, True):
        wait = asking.give(Check())
        pending = api.desk.order(int(is_begun))
        if is_begun:
            pending.begin()
            api.desk.hub.sink(Notice("pack", Level.INFO, "at it", "now"))
            wait_until(lambda: len(asking.events) == 1, "it is heard", deadline_s=DEADLINE_S)
        pending.fail(ServiceStoppedError("the service stopped"))
        with pytest.raises(ServiceGoneError) as caught:
            wait()
        assert caught.value.begun is True or not is_begun


def test_a_service_that_is_cut_off_is_gone(api: Api, asking: Asking) -> None:
    wait = asking.give(Check())
    api.desk.order()
    api.server.close()
    with pytest.raises(ServiceGoneError) as caught:
        wait()
    assert not caught.value.begun
    assert find_service(api.state_dir, asking.stop.wait) is None


def test_whoever_waits_may_stop_and_is_told_what_becomes_of_it(api: Api, asking: Asking) -> None:
    for number, (order, is_begun, said) in enumerate(
        [
            (Check(), True, "goes on with it"),
            (Check(), False, "had not begun"),
            (Verify(), True, "gives it up"),
        ]
    ):
        asking.stop.clear()
        asking.events.clear()
        wait = asking.give(order)
        pending = api.desk.order(number)
        if is_begun:
            pending.begin()
        api.desk.hub.sink(Notice("pack", Level.INFO, "first", "now"))
        wait_until(lambda: bool(asking.events), "it is heard", deadline_s=DEADLINE_S)
        # What comes in a later part of the answer comes after "begun".
        api.desk.hub.sink(Notice("pack", Level.INFO, "second", "now"))
        wait_until(lambda: len(asking.events) == 2, "it is heard", deadline_s=DEADLINE_S)
        asking.stop.set()
        with pytest.raises(InterruptedByUserError, match=said):
            wait()
        wait_until(partial(getattr, pending, "is_cancelled"), "it is known", deadline_s=DEADLINE_S)


def test_what_another_version_says_besides_is_passed_over(
    api: Api, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {"type": "stage", "name": "pack", "stage": "dreaming", "detail": "", "release": ""}
    with monkeypatch.context() as patched:
        patched.setattr("torsync.service.control.streams.event_line", lambda _event: new)
        wait = asking.give(Check())
        pending = api.desk.order()
        api.desk.hub.sink(Notice("pack", Level.INFO, "code", "said"))
        pending.fulfil(CheckReport("pack"))
        assert wait() == CheckReport("pack")
    assert asking.events == []


def test_a_reload_is_told(api: Api, asking: Asking) -> None:
    report = ReloadReport(("a",), (), ("b", "c"), ("d",))
    api.desk.reloads = [report, ConfigError("wrong", problems=("line 1",), hint="mend it")]
    assert asking.client.reload() == report
    with pytest.raises(ConfigError) as caught:
        asking.client.reload()
    assert caught.value.problems == ("line 1",)
    assert (caught.value.message, caught.value.hint) == ("wrong", "mend it")


class TestFinding:
    """Which service there is."""

    def test_there_is_none_at_first(self, tmp_path: Path) -> None:
        assert find_service(tmp_path, lambda _seconds: False) is None

    def test_whoever_took_over_the_port_is_not_sent_the_token(self, tmp_path: Path) -> None:
        with running_api(tmp_path):
            pass
        with socket.create_server((HOST, 0)) as other:
            write_address(tmp_path, f"http://{HOST}:{other.getsockname()[1]}")
            assert find_service(tmp_path, lambda _seconds: False) is None

    def test_a_token_that_cannot_be_read_is_told(self, api: Api) -> None:
        (api.state_dir / "control" / "token").unlink()
        with pytest.raises(BusyError, match="own user") as caught:
            find_service(api.state_dir, lambda _seconds: False)
        assert "as root" in caught.value.hint

    def test_another_token_is_not_let_in(self, api: Api) -> None:
        client = ControlClient(api.server.url, "wrong", lambda _seconds: False)
        with pytest.raises(RelayedError) as caught:
            client.reload()
        assert caught.value.code == "not_allowed"

    def test_what_is_no_torsync_is_told(self) -> None:
        with socket.create_server((HOST, 0)) as other:
            port = other.getsockname()[1]

            def answer() -> None:
                client, _address = other.accept()
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")

            wait = in_thread(answer)
            client = ControlClient(f"http://{HOST}:{port}", "token", lambda _seconds: False)
            with pytest.raises(ControlError, match="404"):
                client.reload()
            wait()


def test_reports_of_publications_come_back(api: Api, asking: Asking) -> None:
    from torsync.model.orders import MakeRelease

    client = asking.client
    wait = in_thread(
        partial(client.carry_out, "maps", MakeRelease(), Terms(), asking.events.append)
    )
    report = PublishReport("maps", release="maps", number=2, changed=True, added=["a"])
    api.desk.order().fulfil(report)
    assert wait() == report
    assert not [event for event in asking.events if isinstance(event, StageStarted)]


def answering(*answers: bytes) -> tuple[ControlClient, Callable[[], None]]:
    """A client of a server that gives these answers; and what waits until it has."""
    other = socket.create_server((HOST, 0))

    def answer() -> None:
        with other:
            for one in answers:
                client, _address = other.accept()
                with client:
                    client.recv(65536)
                    client.sendall(one)

    url = f"http://{HOST}:{other.getsockname()[1]}"
    return ControlClient(url, "token", lambda _seconds: False), in_thread(answer)


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def test_a_line_that_is_cut_off_is_no_outcome() -> None:
    line = b'{"type": "begun"}\n'
    client, wait = answering(OK + line + b"\n" + b'{"type": "report", "report')
    with pytest.raises(ServiceGoneError) as caught:
        client.carry_out("pack", Check(), Terms(), lambda _event: None)
    wait()
    assert caught.value.begun, "it may have been done, and is not given twice"


def test_a_service_that_is_about_to_stop_is_as_good_as_gone() -> None:
    body = b'{"type": "error", "code": "service_stopped", "message": "it stops", "hint": ""}'
    refusal = b"HTTP/1.1 503 Unavailable\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    client, wait = answering(refusal)
    with pytest.raises(ServiceGoneError, match="it stops") as caught:
        client.carry_out("pack", Check(), Terms(), lambda _event: None)
    wait()
    assert not caught.value.begun
