"""Where a torrent says that its content can be had."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torsync.publish.author import Sources
from torsync.publish.feed.address import outward_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.config import PublicationConfig
    from torsync.publish.feed import Feed
    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Surroundings

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_LISTEN_PATIENCE_S = 1.0
_LISTEN_POLL_S = 0.01


def find_sources(
    config: PublicationConfig,
    around: Surroundings,
    feed: Feed | None,
    before: PublishedRelease | None,
    info_hash: str,
) -> Sources:
    """Decide where a release says that its content can be had.

    A command that is not the service has neither its feed nor its session, and a service that
    starts before there is a network does not know its address: what the release before says of
    them stays.

    Args:
        config: of the publication.
        around: with the session.
        feed: that serves it.
        before: the release before.
        info_hash: of the release, in hex.
    """
    web_seeds = list(config.web_seeds)
    own: list[str] = []
    if before is not None and (feed is not None or not around.seed):
        path = _feed_path(before.facts.info_hash)
        own = [
            f"{url.removesuffix(path)}{_feed_path(info_hash)}"
            for url in before.manifest.web_seeds
            if url.endswith(path)
        ]
    if feed is not None and (feed.is_url_known or not own):
        own = [f"{feed.url}{_feed_path(info_hash)}"]
    web_seeds += own
    return Sources(config.trackers, tuple(web_seeds), _nodes(config, around, feed, before))


def _feed_path(info_hash: str) -> str:
    return f"/content/{info_hash}/"


def _nodes(
    config: PublicationConfig,
    around: Surroundings,
    feed: Feed | None,
    before: PublishedRelease | None,
) -> tuple[tuple[str, int], ...]:
    """Without a tracker, the publisher itself is where others begin (BEP 5)."""
    if config.trackers or config.private:
        return ()
    if not around.seed:
        return before.manifest.nodes if before is not None else ()
    pool, ends = around.pool(), time.monotonic() + _LISTEN_PATIENCE_S
    while not (endpoints := pool.endpoints()) and time.monotonic() < ends:
        if around.wait(_LISTEN_POLL_S):
            break
    node = own_node(endpoints, feed.url if feed is not None and feed.is_url_known else "")
    has_network = node is not None and (not _is_local(*node) or outward_address(_FAMILIES))
    if endpoints and before is not None and before.manifest.nodes and not has_network:
        return before.manifest.nodes
    return (node,) if node is not None else ()


def own_node(endpoints: Sequence[tuple[str, int]], feed_url: str) -> tuple[str, int] | None:
    """Decide the address under which subscribers reach this machine's session (BEP 5 ``nodes``).

    Args:
        endpoints: where the session listens: address and TCP port of each socket.
        feed_url: public base URL of the feed, whose host subscribers know; may be empty.

    Returns:
        Host and port; None if the session does not listen, or there is no network.
    """
    if not endpoints:
        return None
    outward = outward_address(_FAMILIES)
    # A socket on the address itself, else one for all addresses, else any.
    address, port = min(
        endpoints, key=lambda found: (found[0] != outward, not _is_any(found[0]), _is_local(*found))
    )
    host = urlsplit(feed_url).hostname or ""
    if host and not _is_local(host):
        return host, port
    if not _is_any(address):
        return address, port
    return (outward, port) if outward else None


def _is_local(host: str, _port: int = 0) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


def _is_any(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_unspecified
    except ValueError:
        return False
