"""Notifications through apprise, to a web server and a mail server on loopback."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default as default_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

from tests.support.processes import HOST, free_port
from torsync.model.errors import ConfigError
from torsync.model.events import Level, Notice
from torsync.model.update_report import Message
from torsync.service.hooks import notify
from torsync.service.hooks.notify import Notifications

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.model.events import Event

# Some of apprise's services import what Python will not have any more.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MESSAGE = Message("pack: updated to two", "1 file added:\n\n- `<b>a_b*</b>`\n\n5 MB fetched.")
SECRET = "hush-hush"


class WebServer:
    """Takes what is posted; answers when it may."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.posted.append(json.loads(self.rfile.read(length)))
                outer.may_answer.wait(30)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"json://user:{SECRET}@{HOST}:{self._server.server_port}/{SECRET}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    running = WebServer()
    yield running
    running.close()


@contextmanager
def notifying(*urls: str) -> Iterator[tuple[Notifications, list[Event]]]:
    events: list[Event] = []
    notifications = Notifications(urls, events.append)
    yield notifications, events
    notifications.close(lambda: False)


def warnings(events: list[Event]) -> list[str]:
    found = [one for one in events if isinstance(one, Notice)]
    assert {one.level for one in found} <= {Level.WARNING}
    return [one.message for one in found]


def test_a_webhook_gets_title_body_and_kind(server: WebServer) -> None:
    with notifying(server.url) as (notifications, events):
        notifications.check()
        notifications.send("pack", MESSAGE)
        notifications.send("pack", MESSAGE._replace(is_failure=True))
    assert events == []
    assert [one["title"] for one in server.posted] == [MESSAGE.title] * 2
    assert [one["type"] for one in server.posted] == ["info", "failure"]
    assert server.posted[0]["message"] == MESSAGE.body


def test_an_e_mail_has_the_report_as_a_person_reads_it() -> None:
    mails: list[bytes] = []

    class Handler:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
            mails.append(envelope.content)
            return "250 OK"

    controller = Controller(Handler(), hostname=HOST, port=free_port())
    controller.start()
    try:
        with notifying(
            f"mailto://{HOST}:{controller.port}?mode=insecure&from=torsync@example.org&to=a@example.org"
        ) as (notifications, events):
            notifications.check()
            notifications.send("pack", MESSAGE)
        assert warnings(events) == []
    finally:
        controller.stop()
    (mail,) = (message_from_bytes(one, policy=default_policy) for one in mails)
    assert mail["Subject"] == MESSAGE.title
    html = mail.get_body(("html",)).get_content()
    assert "<code>&lt;b&gt;a_b*&lt;/b&gt;</code>" in html


def test_what_cannot_be_sent_is_a_warning_without_the_url(
    server: WebServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = 500
    other = f"json://user:{SECRET}@{HOST}:{free_port()}/"
    unknown = f"nosuch://{SECRET}"
    with notifying(other, unknown, server.url) as (notifications, events):
        notifications.send("pack", MESSAGE)
    told = warnings(events)
    assert [one.split()[0] for one in told] == [f"notify.urls[{index}]" for index in range(3)]
    said = " ".join([*told, *capfd.readouterr()])
    assert SECRET not in said
    assert len(server.posted) == 1, "the others are sent all the same"


def test_nobody_waits_for_a_server_that_does_not_answer(server: WebServer) -> None:
    server.may_answer.clear()
    with notifying(server.url) as (notifications, events):
        for _ in range(150):
            notifications.send("pack", MESSAGE)
        assert "too many others wait" in warnings(events)[0]
        notifications.close(lambda: True)
        notifications.configure([])
        server.may_answer.set()


def test_urls_that_apprise_does_not_know_are_a_mistake_in_the_configuration() -> None:
    with notifying("json://localhost", f"nosuch://{SECRET}") as (notifications, _events):
        with pytest.raises(ConfigError) as caught:
            notifications.check()
        (problem,) = caught.value.problems
        assert problem.startswith("notify.urls[1]: ")
        assert SECRET not in f"{problem}{caught.value.message}{caught.value.hint}"


def test_without_apprise_it_is_said_at_once_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        Notifications(["json://localhost"], lambda _event: None)
    assert "pip install 'torsync[notify]'" in caught.value.hint
    assert caught.value.exit_code == 2
    Notifications([], lambda _event: None)


def test_other_urls_are_used_from_then_on(server: WebServer) -> None:
    with notifying("json://localhost:1") as (notifications, _events):
        notifications.configure([server.url])
        notifications.send("pack", MESSAGE)
    assert len(server.posted) == 1
