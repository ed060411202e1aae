"""Where a torrent says that its content can be had."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torsync.publish.feed.address import outward_address

if TYPE_CHECKING:
    from collections.abc import Sequence


def own_node(endpoints: Sequence[tuple[str, int]], feed_url: str) -> tuple[str, int] | None:
    """Decide the address under which subscribers reach this machine's session (BEP 5 ``nodes``).

    Args:
        endpoints: where the session listens: address and TCP port of each socket.
        feed_url: public base URL of the feed, whose host subscribers know; may be empty.

    Returns:
        Host and port; None if the session does not listen.
    """
    if not endpoints:
        return None
    outward = outward_address((socket.AF_INET, socket.AF_INET6))
    # A socket on the address itself, else one for all addresses, else any.
    address, port = min(
        endpoints, key=lambda found: (found[0] != outward, not _is_any(found[0]), _is_local(*found))
    )
    host = urlsplit(feed_url).hostname or ""
    if host and not _is_local(host):
        return host, port
    return (outward if outward and _is_any(address) else address), port


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
