"""Leave a publisher's web seed alone while it sends the same as a BitTorrent peer.

A publisher with a feed is in the swarm twice. What a subscriber asks a web seed for is not shared
out among subscribers, as their requests to peers are: several that start at once would each fetch
the same pieces from it. So a web seed (BEP 19) on a machine that may be a peer as well is given
to libtorrent only when no such peer sends. It is not taken away again: what is in flight from it
would be lost.
"""

from __future__ import annotations

import time
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import libtorrent as lt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from torsync.model.manifest import Manifest

PATIENCE_S = 2.0
"""How long a web seed is left alone while no peer on its machine sends, in seconds."""

_MOST_NODES = 10
# Looking takes at most one part in so many of the time.
_PAUSE_FACTOR = 50


class PeerSeen(NamedTuple):
    """A BitTorrent peer at one moment.

    Attributes:
        endpoint: address and port.
        unchoked: it is ready to send.
        idle_seed: it has everything, and nothing is being asked of it.
        received_bytes: payload from it so far.
    """

    endpoint: tuple[str, int]
    unchoked: bool
    idle_seed: bool
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

    A seed that nothing is asked of leaves nothing to be desired while the others send.

    Args:
        peers: as they are now.
        before: payload bytes from each, at the last look.
    """
    growing = {peer for peer in peers if peer.received_bytes > before.get(peer.endpoint, 0)}
    return {
        _address(peer.endpoint[0])
        for peer in peers
        if peer.unchoked and (peer in growing or (growing and peer.idle_seed))
    }


class Waiting:
    """Decides when each of the web seeds that are held back is due."""

    def __init__(self, held: Mapping[str, frozenset[str]], now_s: float) -> None:
        """All wait from now on.

        Args:
            held: the addresses of the machine of each, by URL.
            now_s: of a clock that only goes forward.
        """
        self._held = dict(held)
        self._since_s = dict.fromkeys(held, now_s)

    @property
    def urls(self) -> frozenset[str]:
        """Those that still wait."""
        return frozenset(self._held)

    def due(self, senders: Collection[str], now_s: float) -> list[str]:
        """Take those out beside which nobody has sent for ``PATIENCE_S``.

        Args:
            senders: addresses from which a peer sends.
            now_s: of the same clock.
        """
        for url, addresses in self._held.items():
            if not addresses.isdisjoint(senders):
                self._since_s[url] = now_s
        found = [url for url in self._held if now_s - self._since_s[url] >= PATIENCE_S]
        for url in found:
            del self._held[url]
        return found


class HeldWebSeeds:
    """The web seeds of one torrent that libtorrent has not been given yet."""

    def __init__(self, handle: lt.torrent_handle, held: Mapping[str, frozenset[str]]) -> None:
        """Hold some back from now on.

        Args:
            handle: the torrent, which must not have them.
            held: the addresses of the machine of each, by URL.
        """
        self._handle = handle
        self._waiting = Waiting(held, time.monotonic())
        self._received: dict[tuple[str, int], int] = {}
        self._next_s = 0.0

    @property
    def urls(self) -> frozenset[str]:
        """Those that are held back."""
        return self._waiting.urls

    def update(self) -> None:
        """Look who sends, and give libtorrent those web seeds that are due."""
        started_s = time.monotonic()
        if not self._waiting.urls or started_s < self._next_s:
            return
        peers = [
            _seen(peer)
            for peer in self._handle.get_peer_info()
            if peer.connection_type == lt.peer_info.standard_bittorrent
        ]
        senders = sending(peers, self._received)
        self._received = {peer.endpoint: peer.received_bytes for peer in peers}
        now_s = time.monotonic()
        for url in self._waiting.due(senders, now_s):
            self._handle.add_url_seed(url)
        self._next_s = now_s + _PAUSE_FACTOR * (now_s - started_s)


def _seen(peer: lt.peer_info) -> PeerSeen:
    return PeerSeen(
        endpoint=peer.ip,
        unchoked=not peer.flags & lt.peer_info.remote_choked,
        idle_seed=bool(peer.flags & lt.peer_info.seed) and not peer.download_queue_length,
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
