"""The pool of libtorrent's sessions, begun when the first torrent is added."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.model.config import SessionConfig
    from torsync.model.events import EventSink
    from torsync.swarm.session import SwarmPool


class LazyPool:
    """Imports libtorrent and makes the pool of sessions when the first torrent is added."""

    def __init__(self, session: SessionConfig, sink: EventSink) -> None:
        self._session = session
        self._sink = sink
        self._pool: SwarmPool | None = None
        self._lock = threading.Lock()

    def get(self) -> SwarmPool:
        """Give the pool."""
        from torsync.swarm.session import SwarmPool  # noqa: PLC0415 - libtorrent, when needed

        with self._lock:
            if self._pool is None:
                self._pool = SwarmPool(self._session, sink=self._sink)
            return self._pool

    def close(self) -> None:
        """Stop the sessions, if there are any."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
