"""An HTTP server that sends exactly the bytes a test gives it, faults included.

It listens on loopback. Each connection plays the next script, a sequence of steps; the last
script plays for all connections that follow:

    with ScriptedServer([reply(503)], [reply(200, body=b"de")]) as server:
        ...  # requests to server.url
    assert [request.path for request in server.requests] == ["/x.torrent", "/x.torrent"]

Without a request nothing is sent. After its script a connection is closed. ``Receive`` waits for
another request on the same connection, and a step may be a function of the last request.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_DEADLINE_S = 20.0


@dataclass(frozen=True)
class Endless:
    """Send the bytes again and again until the client closes the connection."""

    data: bytes


@dataclass(frozen=True)
class Drip:
    """Send the bytes one at a time, with a pause after each."""

    data: bytes
    pause_s: float


@dataclass(frozen=True)
class Hang:
    """Send nothing until the client closes the connection."""


@dataclass(frozen=True)
class Reset:
    """Drop the connection with a TCP reset."""


@dataclass(frozen=True)
class Receive:
    """Wait for the next request on the same connection, which ends without one."""


@dataclass(frozen=True)
class Request:
    """A request as it came; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


Step = Union[bytes, Endless, Drip, Hang, Reset, Receive, Callable[[Request], bytes]]


def reply(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    length: int | None = -1,
) -> bytes:
    """Compose an answer; ``length`` replaces the true Content-Length, None leaves it out."""
    sent = {"Connection": "close", **(headers or {})}
    if length is not None:
        sent["Content-Length"] = str(len(body) if length < 0 else length)
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    return (
        head.encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in sent.items())
        + b"\r\n"
        + body
    )


def part_of(content: bytes, headers: Mapping[str, str] | None = None) -> Step:
    """Answer a request for a range of some content (RFC 9110, section 15.3.7), and stay there."""

    def answer(request: Request) -> bytes:
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        told = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        body = content[first : last + 1]
        return reply(206, {"Connection": "keep-alive", **told, **(headers or {})}, body)

    return answer


class ScriptedServer:
    """Plays one script per connection and records the requests.

    Attributes:
        greeting: do not wait for a request, only for its first byte.
        requests: what came, in order.
        bytes_sent: by ``Endless`` steps that have ended, in order of connections.
    """

    def __init__(
        self,
        *scripts: Sequence[Step],
        certificate: Path | None = None,
        key: Path | None = None,
        greeting: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.scripts = list(scripts)
        self.host = host
        self.greeting = greeting
        self.requests: list[Request] = []
        self.bytes_sent: list[int] = []
        self._connections = 0
        self._stop = threading.Event()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, key)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="scripted-http")

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections came, those without a request included."""
        return self._connections

    def __enter__(self) -> ScriptedServer:  # noqa: PYI034  Self needs Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(_DEADLINE_S)
        self._listener.close()
        assert not self._thread.is_alive(), "the scripted server did not stop"

    def _serve(self) -> None:
        self._listener.settimeout(0.05)
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            script = self.scripts[min(self._connections, len(self.scripts) - 1)]
            self._connections += 1
            connection.settimeout(_DEADLINE_S)
            with connection, contextlib.suppress(OSError):
                if self._tls is None:
                    self._play(connection, script)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._play(secured, script)

    def _play(self, connection: socket.socket, script: Iterable[Step]) -> None:
        request = None
        if self.greeting:
            connection.recv(1)
        elif (request := self._receive(connection)) is None:
            return
        for step in script:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, Receive):
                if (request := self._receive(connection)) is None:
                    return
            elif callable(step):
                assert request is not None
                connection.sendall(step(request))
            elif isinstance(step, Endless):
                self._send_endlessly(connection, step.data)
            elif isinstance(step, Drip):
                for value in step.data:
                    connection.sendall(bytes([value]))
                    if self._stop.wait(step.pause_s):
                        return
            elif isinstance(step, Hang):
                self._wait_for_close(connection)
            else:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return

    def _receive(self, connection: socket.socket) -> Request | None:
        request = _read_request(connection)
        if request is not None:
            self.requests.append(request)
        return request

    def _send_endlessly(self, connection: socket.socket, data: bytes) -> None:
        sent = 0
        try:
            while not self._stop.is_set():
                connection.sendall(data)
                sent += len(data)
        finally:
            self.bytes_sent.append(sent)

    def _wait_for_close(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(4096):
                    return


def _read_request(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("utf-8").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, path, {name.lower(): value.strip() for name, _, value in pairs})
