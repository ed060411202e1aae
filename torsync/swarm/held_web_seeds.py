"""Leave a publisher's web seed alone while it sends the same as a BitTorrent peer.

A publisher with a feed is in the swarm twice. What a subscriber asks a web seed for is not shared
out among subscribers, as their requests to peers are: several that start at once would each fetch
the same pieces from it. So a web seed (BEP 19) on a machine that may be a peer as well is given
to libtorrent only when no such peer sends, and taken away once if one does after all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import libtorrent as lt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from torsync.model.manifest import Manifest

PATIENCE_S = 2.0
"""How long a peer has to be silent, or to send, until the web seed on its machine is used, or not
any longer; in seconds."""

_MOST_NODES = 10
# Shorter ones are of slow lines.
_PAUSE_S = 1.0
# Looking takes at most one part in so many of the time.
_PAUSE_FACTOR = 50


class PeerSeen(NamedTuple):
    """A BitTorrent peer at one moment.

    Attributes:
        endpoint: address and port.
        unchoked: it is ready to send.
        idle: nothing is being asked of it, as the others are asked for what it has, or as it shows
            nothing that is wanted: super-seeding (BEP 16), it shows little at a time.
        received_bytes: payload from it so far.
    """

    endpoint: tuple[str, int]
    unchoked: bool
    idle: bool
    received_bytes: int


def hosts_to_match(
    manifest: Manifest, addresses_of: Callable[[str], Iterable[str]]
) -> dict[str, frozenset[str]]:
    """Decide which of a torrent's web seeds may be on the machine of a peer.

    Without trackers those are the hosts that the torrent names as ``nodes`` (BEP 5): there, a
    publisher puts its own. With trackers they are those given by address, as names of others
    would have to be looked up.

    Args:
        manifest: of the torrent.
        addresses_of: looks up a host name.

    Returns:
        The IP addresses of each such host.
    """
    named = {host.lower() for host, _ in manifest.nodes[:_MOST_NODES]}
    found: dict[str, frozenset[str]] = {}
    for host in {host_of(url) for url in manifest.web_seeds}:
        literal = _address(host)
        if manifest.trackers:
            addresses = {literal} if literal else set()
        elif host in named:
            addresses = {literal} if literal else {_address(one) for one in addresses_of(host)}
        else:
            continue
        addresses.discard("")
        if addresses:
            found[host] = frozenset(addresses)
    return found


def host_of(url: str) -> str:
    """The host of a web seed in lower case; empty if the URL makes no sense."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def sending(peers: Collection[PeerSeen], before: Mapping[tuple[str, int], int]) -> set[str]:
    """Decide from which addresses a peer sends what there is to ask it for.

    While others send, only one that was asked and is silent leaves something to be desired. One
    that chokes or has nothing to be asked for does not: what its line carries goes to others.

    Args:
        peers: as they are now.
        before: payload bytes from each, at the last look.
    """
    growing = {peer for peer in peers if peer.received_bytes > before.get(peer.endpoint, 0)}
    return {
        _address(peer.endpoint[0])
        for peer in peers
        if (peer.unchoked and peer in growing)
        or (growing - {peer} and (peer.idle or not peer.unchoked))
    }


@dataclass
class _Turn:
    """Whose turn it is on one machine; times in seconds.

    Attributes:
        sent_s: when a peer there was last seen to send.
        steady_s: since when it has been seen to, with no long pause.
        used: whether libtorrent has the web seed.
        returned: whether it was taken away again.
    """

    sent_s: float
    steady_s: float
    used: bool = False
    returned: bool = False


class Turns:
    """Decides which web seeds to use."""

    def __init__(self, held: Mapping[str, frozenset[str]], now_s: float) -> None:
        """All are held back from now on.

        Args:
            held: the addresses of the machine of each, by URL.
            now_s: of a clock that only goes forward.
        """
        self._machines = dict(held)
        self._turns = {url: _Turn(now_s, now_s) for url in held}

    @property
    def open(self) -> bool:
        """Whether there is anything left to decide."""
        return bool(self._turns)

    def look(self, senders: Collection[str], now_s: float) -> tuple[list[str], list[str]]:
        """Decide which URLs to begin to use, and which to use no longer.

        Each is taken away once at most, as what is in flight from it is lost then.

        Args:
            senders: addresses from which a peer sends.
            now_s: of the same clock.
        """
        begin: list[str] = []
        end: list[str] = []
        for url, turn in list(self._turns.items()):
            sends = not self._machines[url].isdisjoint(senders)
            if sends:
                if now_s - turn.sent_s >= _PAUSE_S:
                    turn.steady_s = now_s
                turn.sent_s = now_s
            if not turn.used and now_s - turn.sent_s >= PATIENCE_S:
                begin.append(url)
                turn.used = True
                if turn.returned:
                    del self._turns[url]
            elif turn.used and sends and now_s - turn.steady_s >= PATIENCE_S:
                end.append(url)
                turn.used, turn.returned = False, True
        return begin, end


class HeldWebSeeds:
    """The web seeds of one torrent that are held back, until they are needed."""

    def __init__(self, handle: lt.torrent_handle, held: Mapping[str, frozenset[str]]) -> None:
        """Hold some back from now on.

        Args:
            handle: the torrent, which must not have them.
            held: the addresses of the machine of each, by URL.
        """
        self._handle = handle
        self.urls = frozenset(held)
        """All of them, also those in use by now."""
        self._turns = Turns(held, time.monotonic())
        self._received: dict[tuple[str, int], int] = {}
        self._next_s = 0.0

    def update(self) -> None:
        """Look who sends, and give libtorrent the web seeds that are needed."""
        started_s = time.monotonic()
        if not self._turns.open or started_s < self._next_s:
            return
        peers = [
            _seen(peer)
            for peer in self._handle.get_peer_info()
            if peer.connection_type == lt.peer_info.standard_bittorrent
        ]
        senders = sending(peers, self._received)
        self._received = {peer.endpoint: peer.received_bytes for peer in peers}
        now_s = time.monotonic()
        begin, end = self._turns.look(senders, now_s)
        for url in begin:
            self._handle.add_url_seed(url)
        for url in end:
            self._handle.remove_url_seed(url)
        self._next_s = now_s + _PAUSE_FACTOR * (now_s - started_s)


def _seen(peer: lt.peer_info) -> PeerSeen:
    return PeerSeen(
        endpoint=peer.ip,
        unchoked=not peer.flags & lt.peer_info.remote_choked,
        idle=not peer.download_queue_length
        and (bool(peer.flags & lt.peer_info.seed) or not peer.flags & lt.peer_info.interesting),
        received_bytes=peer.total_download,
    )


def _address(host: str) -> str:
    """An IP address in its one canonical form; empty if it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)
