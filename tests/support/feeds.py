"""A feed on loopback that serves the releases of a test."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import bencode2

from tests.support.processes import HOST
from tests.support.torrents import info_hash, root_name
from torsync.disk.stamps import stamp_of
from torsync.model.config import FeedConfig
from torsync.publish.feed import Feed, ServedRelease

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from torsync.disk.stamps import FileStamp
    from torsync.model.events import Event

NAME = "pack"


def stamps_of(folder: Path) -> dict[str, FileStamp]:
    """What stat says of each file now."""
    return {
        file.relative_to(folder).as_posix(): stamp_of(file.stat())
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    }


def released(
    folder: Path,
    torrent: bytes,
    *,
    signature: bytes | None = None,
    stamps: Mapping[str, FileStamp] | None = None,
) -> ServedRelease:
    """A release of a folder; its files are as they are now, unless it is said how they were."""
    return ServedRelease(
        torrent,
        signature,
        info_hash(torrent),
        root_name(torrent),
        folder,
        stamps_of(folder) if stamps is None else stamps,
    )


class PublicFeed(Feed):
    """A feed that notes what its owner is told.

    Attributes:
        edited: name and path of each file that it found edited.
        events: that it told.
    """

    def __init__(
        self, host: str = HOST, port: int = 0, url: str = "", awaited: Collection[str] = ()
    ) -> None:
        self.edited: list[tuple[str, str]] = []
        self.events: list[Event] = []
        super().__init__(FeedConfig((host, port), url), self.events.append, awaited)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def show(self, release: ServedRelease, name: str = NAME) -> ServedRelease:
        """Publish it, and listen for edits."""
        self.publish(name, release, lambda *told: self.edited.append(told))
        return release

    def torrent_url(self, name: str = NAME) -> str:
        """Where the ``.torrent`` is."""
        return f"{self.url}/{name}.torrent"

    def content_path(self, release: ServedRelease, path: str) -> str:
        """Path in the URL of a file of a release."""
        return f"/content/{release.info_hash}/{quote(release.root_name)}/{quote(path)}"


@contextlib.contextmanager
def running_feed(
    host: str = HOST, port: int = 0, url: str = "", awaited: Collection[str] = ()
) -> Iterator[PublicFeed]:
    """Start a feed; its own failures fail the test."""
    feed = PublicFeed(host, port, url, awaited)
    feed.start()
    try:
        yield feed
    finally:
        feed.close()
    loud = [event for event in feed.events if event.level.value not in {"debug", "info"}]
    assert not loud, loud


def with_web_seed(torrent: bytes, feed: Feed) -> bytes:
    """Name the feed as the torrent's web seed (BEP 19); the info-hash stays."""
    decoded = bencode2.bdecode(torrent)
    url = f"{feed.url}/content/{info_hash(torrent)}/"
    return bencode2.bencode({**decoded, b"url-list": [url.encode()]})
