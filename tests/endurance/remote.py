"""A web server with moods: it serves a folder, well or as badly as it is told."""

from __future__ import annotations

import os
import socket
import struct
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.processes import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

MOOD_FILE = "mood"
GOOD, BROKEN, GARBAGE, RESET, CUT, MISSING = "good", "broken", "garbage", "reset", "cut", "missing"
MOODS = (BROKEN, GARBAGE, RESET, CUT, MISSING)
_NOT_BENCODED = b"d4:spam" * 50


class _Handler(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        self.close_connection = True
        mood = (self.folder / MOOD_FILE).read_text()
        file = self.folder / os.path.basename(self.path)
        if mood == RESET:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif mood == BROKEN:
            self._answer(500, b"out of order")
        elif mood == MISSING or not file.is_file():
            self._answer(404, b"")
        elif mood == GARBAGE:
            self._answer(200, _NOT_BENCODED)
        else:
            body = file.read_bytes()
            etag = f'"{sha256(body).hexdigest()[:16]}"'
            if mood == CUT:
                self._answer(200, body[: len(body) // 2], length=len(body))
            elif self.headers["If-None-Match"] == etag:
                self._answer(304, b"", etag)
            else:
                self._answer(200, body, etag)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, etag: str = "", length: int = -1) -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class Remote:
    """Serves a folder, in this process; its mood is in a file there, for any process to set."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        set_mood(folder, GOOD)
        handler = type("Handler", (_Handler,), {"folder": folder})
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def set_mood(folder: Path, mood: str) -> None:
    """Have the server of a folder serve like this from now on."""
    (folder / "mood.new").write_text(mood)
    os.replace(folder / "mood.new", folder / MOOD_FILE)
