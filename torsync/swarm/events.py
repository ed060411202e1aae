"""What happens in a swarm, as typed values; known without libtorrent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True, slots=True)
class FileFailed:
    """Reading or writing a file of the torrent failed; ``errno`` is 0 if it is not the system's."""

    path: str
    errno: int
    message: str


@dataclass(frozen=True, slots=True)
class TorrentFailed:
    """The torrent as a whole cannot go on; ``path`` is the file that it failed at, if one did."""

    message: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class TrackerFailed:
    """A tracker did not answer, or refused."""

    url: str
    message: str


@dataclass(frozen=True, slots=True)
class TrackerReplied:
    """A tracker answered an announce with so many peers."""

    url: str
    peers: int


@dataclass(frozen=True, slots=True)
class WebSeedFailed:
    """A web seed could not be used."""

    url: str
    message: str


@dataclass(frozen=True, slots=True)
class HashFailed:
    """A fetched piece did not have its hash; it is fetched again."""

    piece: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Every wanted piece has arrived. It does not mean that they are on disk."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The torrent has left the session, its files are closed."""


@dataclass(frozen=True, slots=True)
class PeerCalled:
    """A peer is connected to: it listens there."""

    peer: tuple[str, int]


@dataclass(frozen=True, slots=True)
class PeerNotReached:
    """A peer could not be connected to."""

    peer: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Listening:
    """The session listens on this TCP port: another one than asked for, if that was taken."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """The session could not listen on an address."""

    interface: str
    message: str


@dataclass(frozen=True, slots=True)
class AlertsDropped:
    """libtorrent had more to tell than its queue holds."""


SwarmEvent = Union[
    FileFailed,
    TorrentFailed,
    TrackerFailed,
    TrackerReplied,
    WebSeedFailed,
    HashFailed,
    Finished,
    Removed,
    PeerCalled,
    PeerNotReached,
    Listening,
    ListenFailed,
    AlertsDropped,
]
