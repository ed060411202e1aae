"""Where a torrent says that its content can be had."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Documentation's own (RFC 5737, RFC 3849): nothing is sent there, only the route is looked up.
_ANYWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_node(endpoints: Sequence[tuple[str, int]], feed_url: str) -> tuple[str, int] | None:
    """Decide the address under which subscribers reach this publisher's session (BEP 5 ``nodes``).

    Args:
        endpoints: where the session listens: address and port of each socket.
        feed_url: public base URL of the feed, whose host is known to be reachable; may be empty.

    Returns:
        Host and port; None if the session does not listen.
    """
    if not endpoints:
        return None
    host = urlsplit(feed_url).hostname or ""
    if host and not _is_local(host):
        return host, _port_of(endpoints, outward_addresses())
    outward = outward_addresses()
    for address in outward:
        for listening, port in endpoints:
            if listening == address or _is_any(listening):
                return address, port
    return _reachable_first(endpoints)[0]


def outward_addresses() -> tuple[str, ...]:
    """This machine's addresses on the way to others, IPv4 first; none without a network."""
    found = []
    for family, target in _ANYWHERE:
        try:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
                probe.connect((target, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:  # noqa: PERF203 - two tries
            continue
    return tuple(found)


def _port_of(endpoints: Sequence[tuple[str, int]], outward: Iterable[str]) -> int:
    """The port that others reach: of the socket on an outward address, if there is one."""
    ports = dict(endpoints)
    for address in outward:
        if address in ports:
            return ports[address]
    return _reachable_first(endpoints)[0][1]


def _reachable_first(endpoints: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(endpoints, key=lambda endpoint: _is_local(endpoint[0]))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
