"""uvicorn with the limits that a public server needs.

This module imports uvicorn; ``server`` imports it when a feed is started.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from torsync.model.events import Level, Notice
from torsync.publish.feed.app import FeedApp

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from torsync.model.events import EventSink
    from torsync.publish.feed.catalogue import Catalogue

_READERS = 8
_HEADERS_BYTES = 16 * 1024
_HEADERS_S = 20.0  # from one answer, or the connection, until the next request is complete
_KEEP_ALIVE_S = 15
_STALLED_S = 60.0  # for a client to take what is buffered for it: a chunk of content
_BUFFERED_BYTES = 16 * 1024  # besides the chunk that is being sent, for each of many clients
_MOST_CONNECTIONS = 10_000
_FILES_FOR_OTHERS = 512  # what the rest of the program may have open
_NAME = "feed"


class RunningServer:
    """One server with its event loop and its application."""

    def __init__(self, catalogue: Catalogue, sink: EventSink) -> None:
        """Prepare.

        Args:
            catalogue: of what is published.
            sink: for what goes wrong.
        """
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="feed-reader")
        self._app = FeedApp(catalogue, self._readers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sink = sink
        for name in ("uvicorn", "asyncio"):  # what they say by themselves is not for the terminal
            logging.getLogger(name).addHandler(logging.NullHandler())
        log = logging.Logger("torsync.feed", logging.WARNING)  # noqa: LOG001 - not for all to find
        log.addHandler(_ToSink(sink))
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                loop="asyncio",
                http=_protocol(self._app, log, _connection_limit()),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=_HEADERS_BYTES,
            )
        )

    def run(self, listener: socket.socket, on_up: Callable[[], None]) -> None:
        """Serve until ``stop`` is called; signals are left to others, outside the main thread.

        Args:
            listener: that listens already.
            on_up: called when ``wake`` and ``stop`` take effect.
        """
        try:
            asyncio.run(self._serve(listener, on_up))
        finally:
            self._readers.shutdown(wait=False, cancel_futures=True)

    def wake(self, file_name: str) -> None:
        """End the polls that wait for a change of a ``.torrent``; from any thread."""
        self._call(self._app.wake, file_name)

    def stop(self) -> None:
        """Cut all connections and end; from any thread."""
        self._call(self._cut)

    async def _serve(self, listener: socket.socket, on_up: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note_failure)
        on_up()
        await self._server.serve([listener])

    def _call(self, what: Callable[..., None], *given: str) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(what, *given)

    def _cut(self) -> None:
        self._app.close()
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def _note_failure(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say what asyncio would print."""
        text = f"{context.get('message')}: {context.get('exception')!r}"
        self._sink(Notice(_NAME, Level.DEBUG, "feed_connection", text))


def _protocol(app: FeedApp, log: logging.Logger, most_connections: int) -> type[H11Protocol]:
    """HTTP/1.1 for one connection, which neither idles nor stalls for long."""

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
            if len(self.connections) > most_connections:
                transport.abort()
            else:
                transport.set_write_buffer_limits(high=_BUFFERED_BYTES)
                self._await_request()

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._patience, self._stalled):
                if timer is not None:
                    timer.cancel()
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
                self._stalled = self.loop.call_later(_STALLED_S, self.transport.abort)

        def resume_writing(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            super().resume_writing()

        def _await_request(self) -> None:
            """What uvicorn itself limits ends with the first byte of the next request."""
            if self._patience is not None:
                self._patience.cancel()
            self._patience = self.loop.call_later(_HEADERS_S, self._give_up)

        def _give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    return Connection


def _connection_limit() -> int:
    """Have the system allow as many open files as it does, and leave enough for others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS * 2 + _FILES_FOR_OTHERS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(min((soft - _FILES_FOR_OTHERS) // 2, _MOST_CONNECTIONS), 64)


class _ToSink(logging.Handler):
    """What uvicorn says of connections is for debugging, except that the feed has a fault."""

    def __init__(self, sink: EventSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], asyncio.CancelledError):
            text = f"an answer failed: {record.exc_info[1]!r}"
            self._sink(Notice(_NAME, Level.WARNING, "feed", text, "please report this"))
        else:
            self._sink(Notice(_NAME, Level.DEBUG, "feed_connection", record.getMessage()))
