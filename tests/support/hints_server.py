"""A web server on loopback whose hints can be wrong in any way; everything else it serves well.

with HintsServer(www) as server:
    server.fault = not_found
"""

from __future__ import annotations

import contextlib
import gzip
import re
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Union

from tests.support.processes import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CHUNK = b"\0" * 65536
_SILENCE_S = 10.0
_STALL_S = 300.0


class Asked(NamedTuple):
    """A request; the headers' names are in lower case."""

    path: str
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """Serves a file, whole or one range of it; faults use its methods.

    Attributes:
        given: the file's bytes.
        first: of the bytes that are asked for.
        last: of them.
    """

    protocol_version = "HTTP/1.1"
    # A header and a body of their own would wait for one another's acknowledgement.
    wbufsize = -1
    timeout = _SILENCE_S

    def __init__(self, owner: HintsServer, *rest: object) -> None:
        self.owner = owner
        self.given = b""
        self.first, self.last = 0, -1
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer, or do as the fault does."""
        path = self.path.partition("?")[0]
        self.owner.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}))
        file = self.owner.root / path.lstrip("/")
        is_hints = path.endswith(".hints")
        if is_hints:
            self.owner.on_hints(self)
        if not self.owner.is_allowed(self):
            self.send_whole(401, b"")
            return
        self.given = file.read_bytes() if file.is_file() else b""
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        self.first, self.last = 0, len(self.given) - 1
        if found:
            self.first = int(found[1])
            self.last = min(self.last, int(found[2] or self.last))
        if is_hints and self.owner.fault:
            self.owner.fault(self)
        elif not file.is_file():
            self.send_whole(404, b"")
        elif not found:
            self.send_whole(200, self.given)
        elif self.first > self.last:
            self.send_whole(416, b"")
        else:
            self.send_range(self.given[self.first : self.last + 1])

    def send_whole(self, status: int, body: bytes) -> None:
        """Send an answer without a range."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_range(self, body: bytes, *, first: int | None = None) -> None:
        """Send the body as the range that was asked for, or as another one."""
        first = self.first if first is None else first
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.given)}"
        )
        self.end_headers()
        self.wfile.write(body)

    def wait(self, seconds: float = _STALL_S) -> None:
        """Send nothing until the server is closed, or for so long."""
        self.wfile.flush()
        self.owner.closing.wait(seconds)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


Fault = Union["Callable[[Handler], None]", None]


class HintsServer:
    """Serves the files of one folder; runs while it is entered.

    Attributes:
        root: the folder.
        fault: answers requests for hints; None: they are served well.
        on_hints: is called with each request for hints before it is answered.
        asked: all requests so far.
        closing: set when it stops.
        sent: bytes that ``endless`` has sent.
    """

    def __init__(self, root: Path, *, certificate: tuple[Path, Path] | None = None) -> None:
        self.root = root
        self.fault: Fault = None
        self.on_hints: Callable[[Handler], None] = lambda _handler: None
        self.authorization = ""
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.sent = 0
        self._server = _Server((HOST, 0), partial(Handler, self))
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, name: str = "pack.torrent", *, user: str = "") -> str:
        """Where a file is."""
        return f"{self._scheme}://{user}{HOST}:{self.port}/{name}"

    def hints_asked(self) -> list[Asked]:
        """The requests for hints so far."""
        return [one for one in self.asked if ".hints" in one.path]

    def is_allowed(self, handler: Handler) -> bool:
        """Whether a request has the header ``Authorization`` that is asked for, if any is."""
        return self.authorization in {"", handler.headers.get("Authorization", "")}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A client that goes away, or dislikes the certificate, is none."""


# --- faults ------------------------------------------------------------------------------------


def not_found(handler: Handler) -> None:
    """404."""
    handler.send_whole(404, b"nothing here")


def forbidden(handler: Handler) -> None:
    """403."""
    handler.send_whole(403, b"")


def broken(handler: Handler) -> None:
    """500, each time."""
    handler.send_whole(500, b"<html>")


def ranges_ignored(handler: Handler) -> None:
    """The whole file, whatever range was asked for."""
    handler.send_whole(200, handler.given)


def page_instead(handler: Handler) -> None:
    """A page for people, whatever range was asked for."""
    handler.send_whole(200, b"<html>" * 1000)


def dropped(handler: Handler) -> None:
    """The connection is closed without an answer."""
    handler.close_connection = True


def silent(handler: Handler) -> None:
    """No answer comes."""
    handler.close_connection = True
    handler.wait()


def silent_in_the_middle(handler: Handler) -> None:
    """The answer begins, and does not go on."""
    handler.send_response(206)
    size = handler.last - handler.first + 1
    handler.send_header("Content-Length", str(size))
    handler.send_header(
        "Content-Range", f"bytes {handler.first}-{handler.last}/{len(handler.given)}"
    )
    handler.end_headers()
    handler.wfile.write(handler.given[handler.first : handler.first + 1])
    handler.close_connection = True
    handler.wait()


def cut_off(handler: Handler) -> None:
    """The answer ends in the middle."""
    handler.send_response(206)
    size = handler.last - handler.first + 1
    handler.send_header("Content-Length", str(size))
    handler.send_header(
        "Content-Range", f"bytes {handler.first}-{handler.last}/{len(handler.given)}"
    )
    handler.end_headers()
    handler.wfile.write(handler.given[handler.first : handler.first + size // 2])
    handler.close_connection = True


def another_range(handler: Handler) -> None:
    """Other bytes than those that were asked for, and it says so."""
    body = handler.given[handler.first : handler.last + 1]
    handler.send_range(body, first=handler.first + 1)


def more_than_asked(handler: Handler) -> None:
    """Twice as many bytes as were asked for."""
    body = handler.given[handler.first : handler.last + 1]
    handler.send_range(body * 2)


def endless(handler: Handler) -> None:
    """A gigabyte, whatever range was asked for."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    _pour(handler, 1 << 30)


def endless_range(handler: Handler) -> None:
    """A gigabyte as the range that was asked for."""
    handler.send_response(206)
    handler.send_header("Content-Length", str(1 << 30))
    handler.send_header("Content-Range", f"bytes {handler.first}-{(1 << 30) - 1}/{1 << 30}")
    handler.end_headers()
    _pour(handler, 1 << 30)


def bomb(handler: Handler) -> None:
    """A body that says it is compressed and inflates without end."""
    body = gzip.compress(bytes(64 << 20), 9)
    handler.send_response(206)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header(
        "Content-Range", f"bytes {handler.first}-{handler.last}/{len(handler.given)}"
    )
    handler.end_headers()
    handler.wfile.write(body)


def redirected_in_a_circle(handler: Handler) -> None:
    """To itself."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def redirected_to(target: str) -> Callable[[Handler], None]:
    """Elsewhere."""

    def redirect(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return redirect


def _pour(handler: Handler, count: int) -> None:
    with contextlib.suppress(OSError):
        while count > 0 and not handler.owner.closing.is_set():
            handler.wfile.write(_CHUNK)
            handler.owner.sent += len(_CHUNK)
            count -= len(_CHUNK)
    handler.close_connection = True
