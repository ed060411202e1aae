"""The feed's web server: a thread of its own, started and stopped by its owner."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from torsync.model.errors import FeedError
from torsync.model.events import Level, Notice
from torsync.publish.feed.address import is_url_known, listen, public_url
from torsync.publish.feed.catalogue import TORRENT, Catalogue

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable

    from torsync.model.config import FeedConfig
    from torsync.model.events import EventSink
    from torsync.publish.feed.catalogue import OnEdited, ServedRelease
    from torsync.publish.feed.running import RunningServer

_CLOSE_PATIENCE_S = 5.0
_NAME = "feed"


def _ignore(_name: str, _path: str) -> None:
    pass


class Feed:
    """Serves publications over HTTP; anyone may read what is published, and nothing else.

    ``NAME.torrent`` and ``NAME.torrent.minisig`` are at the root, and the content of the newest
    release is at ``content/INFO_HASH/ROOT_NAME/PATH`` (so ``content/INFO_HASH/`` is a BEP 19 web
    seed). Files that older releases share with the newest one stay there for a while.

    Methods may be called from any thread.
    """

    def __init__(self, config: FeedConfig, sink: EventSink, awaited: Collection[str] = ()) -> None:
        """Prepare; nothing is listened on yet.

        Args:
            config: with an address to listen on.
            sink: for what goes wrong while it runs; called from the feed's own thread.
            awaited: publications that will have a release: until then they are not missing, but
                not available yet.
        """
        self._config = config
        self._sink = sink
        self._catalogue = Catalogue(awaited)
        self._url = ""
        self._port = 0
        self._is_url_known = False
        self._running: RunningServer | None = None
        self._thread: threading.Thread | None = None
        self._is_up = threading.Event()

    @property
    def url(self) -> str:
        """The public base URL, without a slash at the end; known once it is started."""
        assert self._url, "the feed was not started"
        return self._url if self.is_url_known else public_url(self._config, self._port)

    @property
    def is_url_known(self) -> bool:
        """Whether ``url`` is more than a guess; it is one until there is a network."""
        if not self._is_url_known and is_url_known(self._config):
            self._url, self._is_url_known = public_url(self._config, self._port), True
        return self._is_url_known

    def start(self) -> None:
        """Listen and serve, until ``close``.

        Raises:
            FeedError: the address cannot be listened on.
        """
        assert self._config.listen is not None, "no feed is configured"
        listener = listen(*self._config.listen)
        self._port = listener.getsockname()[1]
        self._url = public_url(self._config, self._port)
        from torsync.publish.feed.running import RunningServer  # noqa: PLC0415 - costs start-up time

        self._running = RunningServer(self._catalogue, self._sink)
        self._thread = threading.Thread(
            target=self._serve, args=(self._running, listener), name=_NAME, daemon=True
        )
        self._thread.start()
        self._is_up.wait()

    def publish(self, name: str, release: ServedRelease, on_edited: OnEdited = _ignore) -> None:
        """Serve a release in place of the one before, and end the polls that wait for it.

        Args:
            name: of the publication.
            release: to serve.
            on_edited: told, once per file, the names of the publication and of a file that is
                not what was published any more; called from the feed's threads, and to return
                at once.
        """
        self._catalogue.publish(name, release, on_edited)
        if self._running is not None:
            self._running.wake(f"{name}{TORRENT}")

    def expect(self, names: Collection[str]) -> None:
        """Serve these publications only; those that have no release yet will have one."""
        self._catalogue.expect(names)

    def withdraw(self, name: str, paths: Iterable[str]) -> None:
        """Serve some files of a publication no more, until its next release."""
        self._catalogue.withdraw(name, paths)

    def close(self) -> None:
        """Stop within about a second, whatever is being held or sent; harmless when repeated."""
        if self._thread is None or self._running is None:
            return
        self._running.stop()
        self._thread.join(_CLOSE_PATIENCE_S)
        self._thread = None

    def _serve(self, running: RunningServer, listener: socket.socket) -> None:
        try:
            running.run(listener, self._is_up.set)
        except Exception as error:
            failure = FeedError(f"the feed at {self._url} has failed: {error}")
            self._sink(Notice(_NAME, Level.ERROR, failure.code, failure.message, failure.hint))
            raise
        finally:
            self._is_up.set()
            listener.close()
