"""A real nginx on loopback, for tests of HTTP clients and web seeds.

    with nginx(tmp_path) as server:
        requests.get(server.url_for("pack/data.bin"), headers={"Range": "bytes=0-99"})
        assert server.access_log(at_least=1)[0].range == "bytes=0-99"

It serves the files below a folder, with ranges, ETag and Last-Modified. Everything it writes
is in a temporary folder of its own. The test is skipped where nginx is not installed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.processes import free_port
from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEADLINE_S = 15.0
_PING = "/.nginx-generation"
_CONFIG = """\
{user}
worker_processes 1;
pid "{folder}/nginx.pid";
error_log "{folder}/error.log" notice;
events {{ worker_connections 512; }}
http {{
    log_format record escape=json
        '{{"method":"$request_method","uri":"$request_uri","status":$status,'
        '"body_bytes":$body_bytes_sent,"range":"$http_range","user_agent":"$http_user_agent"}}';
    access_log "{folder}/access.log" record;
    client_body_temp_path "{folder}/client_body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    types {{ application/x-bittorrent torrent; text/html html; }}
    default_type application/octet-stream;
    sendfile on;
    {http_config}
    server {{
        listen 127.0.0.1:{port};
        server_name localhost;
        root "{root}";
        location = {ping} {{ access_log off; default_type text/plain; return 200 "{generation}"; }}
        {server_config}
    }}
}}
"""


@dataclass(frozen=True)
class Access:
    """One line of the access log.

    Attributes:
        uri: path and query as the client sent them.
        body_bytes: sent, without headers; less than the file if the client went away.
        range: the header ``Range``, empty without one.
    """

    method: str
    uri: str
    status: int
    body_bytes: int
    range: str
    user_agent: str


class Nginx:
    """An nginx that runs from ``start`` to ``stop``; see ``nginx`` for a context manager.

    Attributes:
        port: on 127.0.0.1; stays the same over ``reload``.
        url: the root, without a slash at the end.
        process: the master; ``stop`` ends it and, with it, its workers.
    """

    def __init__(
        self,
        root: Path,
        *,
        extra_server_config: str = "",
        extra_http_config: str = "",
        port: int | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            root: the folder that is served.
            extra_server_config: directives inside ``server { }``, such as locations.
            extra_http_config: directives inside ``http { }``, such as zones and maps.
            port: on 127.0.0.1; None finds a free one.
        """
        self.root = root
        self.extra_server_config = extra_server_config
        self.extra_http_config = extra_http_config
        self.port = port or 0
        self.process: subprocess.Popen[bytes] | None = None
        self._fixed_port = port is not None
        self._program = require("nginx")
        self._folder = Path()
        self._generation = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_for(self, path: str) -> str:
        """Return the URL of a file, given by its path below the root."""
        return f"{self.url}/{quote(path.lstrip('/'))}"

    def start(self) -> None:
        """Start, and return when it answers.

        Raises:
            RuntimeError: it ended or did not answer; the message holds its error log.
        """
        assert self.process is None, "nginx is running"
        self._folder = Path(tempfile.mkdtemp(prefix="torsync-nginx-"))
        for attempts_left in (4, 3, 2, 1, 0):
            if not self._fixed_port:
                self.port = free_port()
            config = self._write_config()
            with open(self._folder / "output.log", "ab") as output:
                self.process = subprocess.Popen(
                    [self._program, "-p", self._folder, "-c", config, "-g", "daemon off;"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            try:
                self._wait(self._answers, "answer")
            except RuntimeError:
                # Between finding the free port and using it, another process may take it.
                taken = "Address already in use" in self._errors()
                self._end_process()
                if self._fixed_port or not taken or not attempts_left:
                    shutil.rmtree(self._folder)
                    raise
            else:
                return

    def stop(self) -> None:
        """End it by its process id, and remove what it wrote; harmless if it does not run."""
        if self.process is not None:
            self._end_process()
            shutil.rmtree(self._folder)

    def reload(
        self, *, extra_server_config: str | None = None, extra_http_config: str | None = None
    ) -> None:
        """Apply a changed configuration, and return when it is in force.

        Downloads that run go on in the old worker; None leaves that part as it was.

        Raises:
            RuntimeError: the configuration is wrong; the message holds the error log.
        """
        assert self.process is not None, "nginx is not running"
        if extra_server_config is not None:
            self.extra_server_config = extra_server_config
        if extra_http_config is not None:
            self.extra_http_config = extra_http_config
        leaving = self._errors().count("gracefully shutting down")
        refused = self._errors().count("[emerg]")
        self._write_config()
        self.process.send_signal(signal.SIGHUP)

        def reloaded() -> bool:
            errors = self._errors()
            if errors.count("[emerg]") > refused:
                raise RuntimeError(f"nginx refused the configuration:\n{errors}")
            # The old worker accepts connections until it says that it leaves.
            return errors.count("gracefully shutting down") > leaving and self._answers()

        self._wait(reloaded, "reload")

    def access_log(self, *, at_least: int = 0) -> list[Access]:
        """Return the requests so far, once there are ``at_least`` that many.

        nginx writes a line after it has sent the answer, so a client that has the whole
        answer may be ahead of the log.

        Raises:
            RuntimeError: there are too few when the time is over.
        """
        self._wait(lambda: len(self._access_lines()) >= at_least, f"log {at_least} requests")
        return [Access(**json.loads(line)) for line in self._access_lines()]

    def _access_lines(self) -> list[str]:
        text = _read(self._folder / "access.log")
        return text[: text.rfind("\n") + 1].splitlines()

    def _errors(self) -> str:
        return _read(self._folder / "error.log") + _read(self._folder / "output.log")

    def _write_config(self) -> Path:
        # A word that no other server knows: it proves which one answers, and with which version.
        self._generation = secrets.token_hex(8)
        path = self._folder / "nginx.conf"
        path.write_text(
            _CONFIG.format(
                # Workers give up root otherwise, and cannot enter pytest's folders.
                user="user root;" if os.name == "posix" and os.geteuid() == 0 else "",
                folder=self._folder,
                root=self.root,
                port=self.port,
                ping=_PING,
                generation=self._generation,
                server_config=self.extra_server_config,
                http_config=self.extra_http_config,
            )
        )
        return path

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_S)
        with contextlib.closing(connection):
            try:
                connection.request("GET", _PING)
                return connection.getresponse().read().decode() == self._generation
            except (OSError, http.client.HTTPException):
                return False

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        assert self.process is not None, "nginx is not running"
        deadline = time.monotonic() + _DEADLINE_S
        while not done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx did not {what}:\n{self._errors()}")
            # Asked again soon; the deadline decides, not the pause.
            time.sleep(0.01)

    def _end_process(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def nginx(
    root: Path,
    *,
    extra_server_config: str = "",
    extra_http_config: str = "",
    port: int | None = None,
) -> Iterator[Nginx]:
    """Run an nginx that serves ``root``; the arguments are those of ``Nginx``."""
    server = Nginx(
        root,
        extra_server_config=extra_server_config,
        extra_http_config=extra_http_config,
        port=port,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
