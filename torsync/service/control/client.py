"""Asks the running service, from another process of the same user."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from torsync.model.errors import BusyError, ControlError, InterruptedByUserError, StateError
from torsync.model.events import event_from_json
from torsync.model.orders import order_as_json
from torsync.service.control.credentials import load_address, load_token, service_pid
from torsync.service.control.lines import error_from_line
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.events import EventSink
    from torsync.model.orders import Order, Report, Terms

_API = "/api/v1"
_CONNECT_S = 10.0
_SILENCE_S = 90.0  # the service says something every ten seconds
_LOOK_S = 0.5
_GONE = {"service_stopped", "interrupted"}


class ServiceGoneError(ControlError):
    """The service does not answer, or not any more.

    Attributes:
        begun: whether it had begun with what was asked for.
    """

    def __init__(self, why: str, *, begun: bool = False) -> None:
        super().__init__(
            f"the service does not answer: {why}",
            hint="see whether `torsync run` is there, and what it says",
        )
        self.begun = begun


class ControlClient:
    """Talks to the control API of the service that works with a state directory."""

    def __init__(self, url: str, token: str, wait: Callable[[float], bool]) -> None:
        """Prepare.

        Args:
            url: of the API.
            token: that lets in.
            wait: sleeps so many seconds, True if the asking shall end.
        """
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._token = token
        self._wait = wait

    def carry_out(self, name: str, order: Order, terms: Terms, sink: EventSink) -> Report:
        """Have the service do something, and wait for what comes of it.

        Args:
            name: of the subscription or publication.
            order: what is to be done.
            terms: how.
            sink: for what it says meanwhile.

        Raises:
            ServiceGoneError: it stopped before it had done it.
            InterruptedByUserError: nobody waits for it any more.
            TorsyncError: it could not be done.
        """
        body = {"order": order_as_json(order), "terms": terms.as_json()}
        begun = False

        def interrupted() -> InterruptedByUserError:
            if not begun:
                return InterruptedByUserError("stopped; the service had not begun with it")
            if order.command == "verify":
                return InterruptedByUserError("stopped; the service gives it up")
            return InterruptedByUserError("stopped waiting; the service goes on with it")

        try:
            with self._answer("POST", f"{_API}/orders/{quote(name, safe='')}", body) as answer:
                for found in _lines(answer):
                    kind = found["type"]
                    if kind == "report":
                        return order.report.from_json(found["report"])
                    if kind == "error":
                        if found["code"] in _GONE:
                            raise ServiceGoneError(found["message"], begun=begun)
                        raise error_from_line(found)
                    if kind == "begun":
                        begun = True
                    elif (event := event_from_json(found)) is not None:
                        sink(event)
                raise ServiceGoneError("it ended", begun=begun)
        except _Stopped:
            raise interrupted() from None
        except (*_FAILURES, ValueError) as error:
            raise ServiceGoneError(_reason(error), begun=begun) from None

    def reload(self) -> ReloadReport:
        """Have the service read its configuration again.

        Raises:
            ConfigError: it is wrong; all goes on as before.
            ServiceGoneError: it does not answer.
            TorsyncError: it could not be done.
        """
        found = self.ask("POST", f"{_API}/reload", silence_s=None)
        names = ("started", "stopped", "restarted", "unchanged", "sections")
        return ReloadReport(**{name: tuple(found[name]) for name in names})

    def ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None = None,
        *,
        silence_s: float | None = _SILENCE_S,
    ) -> Any:
        """Ask something that is answered with one JSON value.

        Args:
            method: GET or POST.
            target: path and query.
            body: a JSON object.
            silence_s: how long to wait for the answer; None: for ever.

        Raises:
            ServiceGoneError: the service does not answer.
            InterruptedByUserError: nobody waits for it any more.
            TorsyncError: what it failed with.
        """
        try:
            with self._answer(method, target, body, silence_s) as answer:
                return json.loads(answer.read())
        except _Stopped:
            raise InterruptedByUserError("stopped waiting for the service") from None
        except (*_FAILURES, ValueError) as error:
            raise ServiceGoneError(_reason(error)) from None

    @contextmanager
    def _answer(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None = None,
        silence_s: float | None = _SILENCE_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and give the answer, if it is a good one."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
        headers = {"Authorization": f"Bearer {self._token}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with closing(connection):
            connection.connect()
            connection.sock.settimeout(silence_s)
            with self._cut_when_stopped(connection.sock):
                content = None if body is None else json.dumps(body).encode("ascii")
                connection.request(method, target, content, headers)
                with closing(connection.getresponse()) as answer:
                    if answer.status != http.client.OK:
                        raise _refusal(answer)
                    yield answer

    @contextmanager
    def _cut_when_stopped(self, connection: socket.socket) -> Iterator[None]:
        """End a connection that is being read from when the asking shall end."""
        over, stopped = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.is_set():
                if self._wait(_LOOK_S):
                    stopped.set()
                    try:
                        connection.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass  # it is closed
                    return

        threading.Thread(target=watch, name="watch", daemon=True).start()
        try:
            yield
        except (ServiceGoneError, ValueError, *_FAILURES):
            if stopped.is_set():
                raise _Stopped from None
            raise
        finally:
            over.set()


class _Stopped(Exception):  # noqa: N818 - it is told in words of its own
    """The asking shall end."""


_FAILURES = (OSError, http.client.HTTPException)


def find_service(state_dir: Path, wait: Callable[[float], bool]) -> ControlClient | None:
    """Find the service that works with a state directory; None if it has no control API, or is not.

    Args:
        state_dir: of the service.
        wait: see ``ControlClient``.

    Raises:
        BusyError: its token cannot be read.
    """
    url = load_address(state_dir)
    if not url or service_pid(state_dir) is None:
        return None
    try:
        return ControlClient(url, load_token(state_dir), wait)
    except StateError as error:
        raise BusyError(
            f"the service takes orders from its own user only: {error.message}",
            hint="give the command as the user that the service runs as, or as root",
        ) from error


def _lines(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := answer.readline():
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(line)
        if line.strip():
            yield json.loads(line)


def _refusal(answer: http.client.HTTPResponse) -> Exception:
    try:
        found = json.loads(answer.read())
        if found["code"] in _GONE:
            return ServiceGoneError(found["message"])
        return error_from_line(found)
    except (ValueError, KeyError, TypeError):
        return ControlError(
            f"the service answered with {answer.status} {answer.reason}",
            hint="is another program at its address? Restart the service",
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "nothing came for too long"
    return getattr(error, "strerror", None) or type(error).__name__
