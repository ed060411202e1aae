"""A web seed (BEP 19) that answers as no honest one would.

with FalseWebSeed(folder, ignores_ranges) as seed:
    torsync.subscribe(web_seeds=[seed.url])
"""

from __future__ import annotations

import gzip
import os
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.support.processes import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from typing_extensions import Self


class Asked:
    """One request for a range of a file, and the ways to answer it."""

    def __init__(
        self, handler: BaseHTTPRequestHandler, folder: Path, over: threading.Event
    ) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"])
        assert match is not None
        self.first, self.last = int(match[1]), int(match[2])
        self.file = (folder / unquote(handler.path).lstrip("/").partition("/")[2]).read_bytes()
        self.part = self.file[self.first : self.last + 1]
        self.path = handler.path
        self._handler = handler
        self._over = over

    def raw(self, data: bytes) -> None:
        self._handler.wfile.write(data)

    def close(self) -> None:
        self._handler.close_connection = True

    def wait(self, seconds: float) -> bool:
        """True if the test is over."""
        return self._over.wait(seconds)

    def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        length: int | None = None,
    ) -> None:
        self._handler.send_response(status)
        self._handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        self.raw(body)

    def answer_part(
        self, body: bytes, headers: Mapping[str, str] | None = None, *, shift: int = 0
    ) -> None:
        told = f"bytes {self.first + shift}-{self.last + shift}/{len(self.file)}"
        self.answer(206, body, {"Content-Range": told, **(headers or {})})


class FalseWebSeed:
    """Serves a folder in its own way.

    Attributes:
        requests: how many came.
    """

    def __init__(
        self,
        folder: Path,
        play: Callable[[Asked], None],
        *,
        version: str = "1.1",
        host: str = HOST,
    ) -> None:
        self.requests = 0
        over = self._over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = f"HTTP/{version}"

            def do_GET(self) -> None:
                owner.requests += 1
                play(Asked(self, folder, over))

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_arguments: object) -> None:
                """The other side hung up: what there is to do about these."""

        self._server = Server((host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def is_honest(asked: Asked) -> None:
    asked.answer_part(asked.part)


def has_another_version(asked: Asked) -> None:
    asked.answer_part(os.urandom(len(asked.part)))


def ignores_ranges(asked: Asked) -> None:
    asked.answer(200, asked.file)


def cuts_off(asked: Asked) -> None:
    told = f"bytes {asked.first}-{asked.last}/{len(asked.file)}"
    half = asked.part[: len(asked.part) // 2]
    asked.answer(206, half, {"Content-Range": told}, length=len(asked.part))
    asked.close()


def sends_more_than_it_says(asked: Asked) -> None:
    asked.answer_part(asked.part)
    asked.raw(os.urandom(300_000))


def sends_more_than_was_asked_for(asked: Asked) -> None:
    asked.answer_part(asked.part + os.urandom(100_000))


def names_another_range(asked: Asked) -> None:
    asked.answer_part(asked.part, shift=16 * 1024)


def names_an_impossible_range(asked: Asked) -> None:
    told = f"bytes {10**20 - 1}-{2**64 - 1}/-1"
    asked.answer(206, asked.part, {"Content-Range": told})


def names_no_range(asked: Asked) -> None:
    asked.answer(206, asked.part)


def compresses(asked: Asked) -> None:
    asked.answer_part(gzip.compress(asked.part), {"Content-Encoding": "gzip"})


def leads_to_a_file(asked: Asked) -> None:
    asked.answer(302, b"", {"Location": "file:///etc/passwd"})


def leads_in_circles(asked: Asked) -> None:
    asked.answer(302, b"", {"Location": asked.path})


def sends_headers_without_end(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 206 Partial\r\n")
    line = b"X-A: " + b"a" * 10_000 + b"\r\n"
    while not asked.wait(0.0):
        asked.raw(line * 20)


def drips(asked: Asked) -> None:
    told = f"HTTP/1.1 206 Partial\r\nContent-Length: {len(asked.part)}\r\n"
    told += f"Content-Range: bytes {asked.first}-{asked.last}/{len(asked.file)}\r\n\r\n"
    asked.raw(told.encode())
    while not asked.wait(1.0):
        asked.raw(b"a")


def steers_the_terminal(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 404 \x1b]0;owned\x07\x1b[31mred\r\nContent-Length: 0\r\n\r\n")


def sends_garbage(asked: Asked) -> None:
    asked.raw(os.urandom(100_000))
    asked.close()


def sends_an_endless_chunk(asked: Asked) -> None:
    asked.raw(b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\n")
    asked.raw(f"Content-Range: bytes {asked.first}-{asked.last}/{len(asked.file)}\r\n\r\n".encode())
    asked.raw(b"ffffffffffffffff\r\n")
    with suppress(OSError):
        asked.raw(os.urandom(100_000))


HARMFUL: tuple[Callable[[Asked], None], ...] = (
    has_another_version,
    ignores_ranges,
    cuts_off,
    sends_more_than_it_says,
    sends_more_than_was_asked_for,
    names_another_range,
    names_an_impossible_range,
    names_no_range,
    compresses,
    leads_to_a_file,
    leads_in_circles,
    sends_headers_without_end,
    drips,
    steers_the_terminal,
    sends_garbage,
    sends_an_endless_chunk,
)
