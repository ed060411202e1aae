"""A control API with a service behind it that does as the test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.processes import HOST, wait_until
from torsync.model.config import PublicationConfig, SubscriptionConfig
from torsync.model.errors import UsageError
from torsync.service.control.credentials import load_token
from torsync.service.control.server import ControlServer
from torsync.service.desk import ReloadReport, Worker
from torsync.service.hub import Hub
from torsync.service.inbox import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.model.orders import Order, Terms

DEADLINE_S = 20.0


class ScriptedDesk:
    """A ``Desk`` with a subscription ``pack`` and a publication ``maps``, and nobody who works.

    Attributes:
        given: orders, by the name that they were given to; the test carries them out.
        reloads: what the next reloads give, or raise.
        now_s: the hub's clock.
    """

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.hub = Hub(clock=lambda: self.now_s)
        self.given: list[tuple[str, Pending]] = []
        self.reloads: list[ReloadReport | Exception] = []
        self.configs = {
            "pack": SubscriptionConfig("pack", "http://localhost/pack.torrent", folder / "pack"),
            "maps": PublicationConfig("maps", folder / "maps"),
        }

    def workers(self) -> list[Worker]:
        """Both of them."""
        return [Worker(config) for config in self.configs.values()]

    def give(self, name: str, order: Order, terms: Terms) -> Pending:
        """Note an order."""
        if name not in self.configs:
            raise UsageError(f"there is no {name!r}", hint="reload")
        pending = Pending(order, terms)
        self.given.append((name, pending))
        return pending

    def reload(self) -> ReloadReport:
        """Give what the test wants."""
        found = self.reloads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def order(self, number: int = 0) -> Pending:
        """Wait for an order that somebody gives."""
        wait_until(lambda: len(self.given) > number, "an order is given", deadline_s=DEADLINE_S)
        return self.given[number][1]


@dataclass(frozen=True)
class Answer:
    """What was answered to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """The body as a value per line."""
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


class Api:
    """The server, and requests to it.

    Attributes:
        events: what the server itself told.
    """

    def __init__(self, state_dir: Path, listen: tuple[str, int] = (HOST, 0)) -> None:
        self.state_dir = state_dir
        self.desk = ScriptedDesk(state_dir)
        self.events: list[Event] = []
        self.server = ControlServer(self.desk, state_dir, listen, self.events.append)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        parts = urlsplit(self.server.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def token(self) -> str:
        """What lets in."""
        return load_token(self.state_dir)

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)
        connection.connect()
        return connection

    def headers(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The headers of a good request; None leaves one out."""
        found: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            **(changes or {}),
        }
        return {name: value for name, value in found.items() if value is not None}

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Send a request, and give the whole answer."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, target, content, self.headers(headers))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    @contextlib.contextmanager
    def stream(
        self, method: str, target: str, body: Any = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and give the answer while it goes on."""
        with contextlib.closing(self.connect()) as connection:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, target, content, self.headers())
            with contextlib.closing(connection.getresponse()) as answer:
                assert answer.status == 200, answer.read()
                yield answer

    def raw(self, request: bytes) -> bytes:
        """Send bytes, and give all that comes until the connection ends."""
        with socket.create_connection(self.address, timeout=DEADLINE_S) as client:
            client.sendall(request)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65536):
                    found += part
        return found


@contextlib.contextmanager
def running_api(state_dir: Path) -> Iterator[Api]:
    """Start one; what it tells of itself beyond debugging fails the test."""
    api = Api(state_dir)
    api.server.start()
    try:
        yield api
    finally:
        api.server.close()
    loud = [event for event in api.events if event.level.value not in {"debug", "info"}]
    assert not loud, loud


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Do something in a thread; what is given waits for its outcome."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(DEADLINE_S)
        assert outcome, "it goes on"
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    return wait
