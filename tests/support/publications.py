"""A publication in this process, with a session and a feed of its own, on loopback."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.leecher import libtorrent_download
from tests.support.processes import free_port, wait_until
from tests.support.torrents import root_name
from tests.support.trees import assert_same_tree, write_tree
from torsync.model.config import FeedConfig, PublicationConfig, SessionConfig
from torsync.model.events import Event, Level, Notice
from torsync.publish.feed import Feed
from torsync.publish.publication import Publication
from torsync.publish.state import publication_folder
from torsync.subscribe.surroundings import Surroundings
from torsync.swarm.session import SwarmPool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.trees import Content
    from torsync.model.publish_reports import PublishReport

HOST = "127.0.0.1"
LOOPBACK = SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False)
PIECE = 16 * 1024


class Publisher:
    """Publishes one folder.

    Attributes:
        folder: that is published.
        torrent: the public file.
        config: used the next time that the publication is opened.
        publication: that is open now.
        events: that it told of.
    """

    def __init__(self, scratch: Path, *, feed: bool = False, **changes: Any) -> None:
        self.folder = scratch / "pack"
        self.folder.mkdir(exist_ok=True)
        self.torrent = scratch / "www" / "pack.torrent"
        self.torrent.parent.mkdir(exist_ok=True)
        self.config = PublicationConfig(
            "pack",
            self.folder,
            torrent=self.torrent,
            piece_size=PIECE,
            **changes,
        )
        self.state = publication_folder(scratch / "state", self.folder)
        self.stop = threading.Event()
        self.events: list[Event] = []
        self._session = replace(LOOPBACK, listen=(f"{HOST}:{free_port(udp=True)}",))
        self._wants_feed = feed
        self._feed_port = free_port()
        self._opened = ExitStack()

    def open(self, *, seed: bool = True) -> Publisher:
        """Open the publication, after closing the one that was open."""
        self.close()
        pool = SwarmPool(self._session, sink=self.events.append)
        self._opened.callback(pool.close)
        self.feed: Feed | None = None
        if self._wants_feed:
            self.feed = Feed(FeedConfig((HOST, self._feed_port)), self.events.append)
            self.feed.start()
            self._opened.callback(self.feed.close)
        self.pool = pool
        self.around = Surroundings(
            pool=lambda: pool,
            sink=self.events.append,
            stopping=self.stop.is_set,
            wait=self.stop.wait,
            seed=seed,
        )
        self.publication = Publication(self.config, self.state, self.around, self.feed)
        self._opened.callback(self.publication.close)
        return self

    def configure(self, **changes: Any) -> None:
        """Change the configuration for the next time it is opened."""
        self.config = replace(self.config, **changes)

    def listen(self, *addresses: str) -> None:
        """Use other addresses for the next session."""
        self._session = replace(LOOPBACK, listen=addresses)

    def write(self, entries: dict[str, Content]) -> None:
        """Make files in the folder; those of the same names become others."""
        for path in entries:
            (self.folder / path).unlink(missing_ok=True)
        write_tree(self.folder, entries)

    def release(self, entries: dict[str, Content] | None = None, **options: Any) -> PublishReport:
        """Make a release, after writing files."""
        if entries:
            self.write(entries)
        return self.publication.release_now(**options)

    @property
    def served_at(self) -> str:
        """The feed's URL; the same one each time that it is opened."""
        return f"http://{HOST}:{self._feed_port}"

    @property
    def peers(self) -> list[tuple[str, int]]:
        """Where its session listens, once it does."""
        wait_until(lambda: bool(self.pool.endpoints()), "its session listens")
        return list(self.pool.endpoints())

    def notices(self, level: Level) -> list[str]:
        """The codes of what it told a person."""
        return [
            event.code
            for event in self.events
            if isinstance(event, Notice) and event.level is level
        ]

    def assert_leecher_gets(self, target: Path, metainfo: bytes | None = None) -> None:
        """A stranger can have the whole folder from it alone."""
        metainfo = metainfo or self.torrent.read_bytes()
        libtorrent_download(metainfo, target, peers=self.peers)
        assert_same_tree(target / root_name(metainfo), self.folder)

    def close(self) -> None:
        """Close what is open."""
        self._opened.close()
