"""The feed's application in a web server, with the threads that read files for it.

This module imports uvicorn; ``server`` imports it when a feed is started.
"""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.publish.feed.app import FeedApp
from torsync.publish.serving import Limits, WebServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from torsync.model.events import EventSink
    from torsync.publish.feed.catalogue import Catalogue

_READERS = 8
_MOST_CONNECTIONS = 10_000
_FILES_FOR_OTHERS = 512  # what the rest of the program may have open


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
        limits = Limits(_connection_limit())
        self._server = WebServer(self._app, "feed", sink, limits, on_cut=self._app.close)

    def run(self, listener: socket.socket, on_up: Callable[[], None]) -> None:
        """Serve until ``stop`` is called; see ``WebServer.run``."""
        try:
            self._server.run(listener, on_up)
        finally:
            self._readers.shutdown(wait=False, cancel_futures=True)

    def wake(self, file_name: str) -> None:
        """End the polls that wait for a change of a ``.torrent``; from any thread."""
        self._server.call(self._app.wake, file_name)

    def stop(self) -> None:
        """Cut all connections and end; from any thread."""
        self._server.stop()


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
