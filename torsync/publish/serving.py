"""uvicorn with the limits that a server needs that others than friends may reach.

This module imports uvicorn; it is imported when a server is started.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from torsync.model.events import EventSink


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Attributes:
        connections: at the same time. For more, those that wait longest for a request are cut; if
            none does, the new ones.
        headers_bytes: of a request.
        headers_s: from one answer, or the connection, until the next request is complete.
        keep_alive_s: from one answer until the next request begins.
        stalled_s: for a client to take what is buffered for it.
        buffered_bytes: besides what is being sent, for each client.
    """

    connections: int
    headers_bytes: int = 16 * 1024
    headers_s: float = 20.0
    keep_alive_s: int = 15
    stalled_s: float = 60.0
    buffered_bytes: int = 16 * 1024


class WebServer:
    """One server with its event loop and its application; it writes nothing to the terminal."""

    def __init__(
        self,
        app: ASGIApp,
        name: str,
        sink: EventSink,
        limits: Limits,
        *,
        on_cut: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            app: answers.
            name: of the server, in what it says.
            sink: for what goes wrong.
            limits: for clients.
            on_cut: called in the event loop when the server shall end.
        """
        self._name = name
        self._sink = sink
        self._on_cut = on_cut
        self._loop: asyncio.AbstractEventLoop | None = None
        for logger in ("uvicorn", "asyncio"):  # what they say themselves is not for the terminal
            logging.getLogger(logger).addHandler(logging.NullHandler())
        log = logging.Logger(f"torsync.{name}", logging.WARNING)  # noqa: LOG001 - not for all to find
        log.addHandler(_ToSink(name, sink))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_protocol(app, log, limits),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=limits.keep_alive_s,
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=limits.headers_bytes,
            )
        )

    def run(self, listener: socket.socket, on_up: Callable[[], None]) -> None:
        """Serve until ``stop`` is called; signals are left to others, outside the main thread.

        Args:
            listener: that listens already.
            on_up: called when ``call`` and ``stop`` take effect.
        """
        asyncio.run(self._serve(listener, on_up))

    def call(self, what: Callable[..., None], *given: str) -> None:
        """Have something called in the event loop; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(what, *given)

    def stop(self) -> None:
        """Cut all connections and end; from any thread."""
        self.call(self._cut)

    async def _serve(self, listener: socket.socket, on_up: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note_failure)
        on_up()
        await self._server.serve([listener])

    def _cut(self) -> None:
        self._on_cut()
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def _note_failure(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say what asyncio would print."""
        text = f"{context.get('message')}: {context.get('exception')!r}"
        self._sink(Notice(self._name, Level.DEBUG, f"{self._name}_connection", text))


def _protocol(app: ASGIApp, log: logging.Logger, limits: Limits) -> type[H11Protocol]:
    """HTTP/1.1 for one connection, which neither idles nor stalls for long."""
    waiting: dict[Connection, None] = {}  # for a request, longest first; some have it by now

    class Connection(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.logger = log
            self.app = self._answer
            self.access_log = False
            self._patience: asyncio.TimerHandle | None = None
            self._stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections and not _make_room():
                transport.abort()
            else:
                transport.set_write_buffer_limits(high=limits.buffered_bytes)
                self._await_request()

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._patience, self._stalled):
                if timer is not None:
                    timer.cancel()
            waiting.pop(self, None)
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._await_request()
            super().on_response_complete()

        async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except h11.LocalProtocolError:
                # There is no way to answer to what came; uvicorn would try it, and leave it open.
                self.transport.abort()
                await asyncio.sleep(0)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._stalled is None:
                self._stalled = self.loop.call_later(limits.stalled_s, self.transport.abort)

        def resume_writing(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            super().resume_writing()

        def _await_request(self) -> None:
            """What uvicorn itself limits ends with the first byte of the next request."""
            if self._patience is not None:
                self._patience.cancel()
            self._patience = self.loop.call_later(limits.headers_s, self._give_up)
            waiting.pop(self, None)
            waiting[self] = None

        def _give_up(self) -> None:
            if self.is_idle:
                self.transport.abort()

        @property
        def is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

    def _make_room() -> bool:
        """Cut the connection that has waited longest, so that nobody can keep others out."""
        while waiting:
            oldest = next(iter(waiting))
            del waiting[oldest]
            if oldest.is_idle:
                oldest.transport.abort()
                return True
        return False

    return Connection


class _ToSink(logging.Handler):
    """What uvicorn says of connections is for debugging, except that it has a fault."""

    def __init__(self, name: str, sink: EventSink) -> None:
        super().__init__()
        self._name = name
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], asyncio.CancelledError):
            text = f"an answer failed: {record.exc_info[1]!r}"
            self._sink(Notice(self._name, Level.WARNING, self._name, text, "please report this"))
        else:
            text = record.getMessage()
            self._sink(Notice(self._name, Level.DEBUG, f"{self._name}_connection", text))
