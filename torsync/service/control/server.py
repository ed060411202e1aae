"""The control API's web server: a thread of its own, started and stopped by its owner."""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from torsync.model.errors import ControlError
from torsync.model.events import Level, Notice
from torsync.service.control.credentials import (
    forget_address,
    held_control,
    make_token,
    write_address,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.routing import BaseRoute

    from torsync.model.config import ServiceConfig
    from torsync.model.events import EventSink
    from torsync.publish.serving import WebServer
    from torsync.service.desk import Desk

_NAME = "control"
_BACKLOG = 128
_CONNECTIONS = 256
_HEADERS_S = 10.0
_CLOSE_PATIENCE_S = 5.0


def open_control(
    state_dir: Path, desk: Desk, config: ServiceConfig, routes: Sequence[BaseRoute] = ()
) -> ControlServer:
    """Start the control API of a service, as it is configured; see ``ControlServer``."""
    assert config.control is not None, "no control API is configured"
    server = ControlServer(desk, state_dir, config.control, desk.hub.sink, routes)
    server.start()
    return server


class ControlServer:
    """Takes orders for the service from other programs of its user; see ``app``.

    It is to be up before the first tree is held, and until the last one is given up: a command
    that finds its tree held by a service finds this as well.
    """

    def __init__(
        self,
        desk: Desk,
        state_dir: Path,
        listen: tuple[str, int],
        sink: EventSink,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        """Prepare; nothing is listened on yet.

        Args:
            desk: the running service.
            state_dir: where token and address are left.
            listen: a host of the loopback interface, and a port, 0 for a free one.
            sink: for what goes wrong.
            routes: what there is besides; see ``app``.
        """
        self._desk = desk
        self._state_dir = state_dir
        self._listen = listen
        self._sink = sink
        self._routes = routes
        self._held = ExitStack()
        self._is_up = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: WebServer | None = None
        self.url = ""

    def start(self) -> None:
        """Listen and answer, until ``close``.

        Raises:
            BusyError: another service works with this state directory.
            ControlError: the address cannot be listened on.
            StateError: the token cannot be read or made.
        """
        from torsync.publish.serving import Limits, WebServer  # noqa: PLC0415 - costs start-up time
        from torsync.service.control.app import ControlApp  # noqa: PLC0415 - the same

        with ExitStack() as held:
            held.enter_context(held_control(self._state_dir))
            token = make_token(self._state_dir)
            listener = held.enter_context(_listen(*self._listen))
            host, port = listener.getsockname()[:2]
            self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            app = ControlApp(self._desk, self._state_dir, token, self._routes)
            limits = Limits(_CONNECTIONS, headers_s=_HEADERS_S)
            self._running = WebServer(app, _NAME, self._sink, limits, on_cut=app.close)
            self._thread = threading.Thread(
                target=self._serve, args=(self._running, listener), name=_NAME, daemon=True
            )
            self._thread.start()
            self._is_up.wait()
            held.callback(self._running.stop)
            write_address(self._state_dir, self.url)
            self._held = held.pop_all()

    def close(self) -> None:
        """Stop within about a second, whoever waits for something; harmless when repeated."""
        if self._thread is None or self._running is None:
            return
        forget_address(self._state_dir)
        self._running.stop()  # again at the end: that is harmless
        self._thread.join(_CLOSE_PATIENCE_S)
        self._thread = None
        self._held.close()

    def _serve(self, running: WebServer, listener: socket.socket) -> None:
        try:
            running.run(listener, self._is_up.set)
        except Exception as error:
            failure = ControlError(f"the control API at {self.url} has failed: {error}")
            self._sink(Notice(_NAME, Level.ERROR, failure.code, failure.message, failure.hint))
            raise
        finally:
            self._is_up.set()


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        raise ControlError(
            f"the control API cannot listen on {host}:{port}: "
            f"{error.strerror or os.strerror(error.errno or 0)}",
            hint='another program has that port: "127.0.0.1:0" in [service] control takes any'
            if in_use
            else "correct control in [service]",
        ) from error
