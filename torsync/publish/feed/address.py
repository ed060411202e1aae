"""Where the feed listens, and the URL under which others reach it."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import TYPE_CHECKING

from torsync.model.errors import FeedError

if TYPE_CHECKING:
    from torsync.model.config import FeedConfig

_BACKLOG = 2048
# Nothing is sent to them: a datagram socket that is "connected" only looks up the route.
_FAR_AWAY = ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET6, "2606:4700:4700::1111"))


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; ``::`` takes IPv4 as well, where the system can.

    Args:
        host: a name or an address, without brackets.
        port: 0 takes a free one.

    Raises:
        FeedError: it is in use, not this machine's, or not allowed.
    """
    shown = f"{_bracketed(host)}:{port}"
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except (socket.gaierror, UnicodeError):
        try:  # addresses of families that no interface has yet, such as ::1 on its own
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            why = getattr(error, "strerror", "") or "it is no name that a machine may have"
            raise FeedError(
                f"the feed cannot listen on {shown}: no address for {host!r} ({why})",
                hint='correct listen in [feed]: "0.0.0.0:8080" listens on all IPv4 addresses',
            ) from error
    family, _, _, _, address = found[0]
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            address[:2],
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise FeedError(
            f"the feed cannot listen on {shown}: {os.strerror(error.errno or 0)}",
            hint=_HINTS.get(error.errno or 0, "correct listen in [feed]"),
        ) from error


_HINTS = {
    errno.EADDRINUSE: "another program has that port: end it, or give the feed another port "
    "with listen in [feed]",
    errno.EADDRNOTAVAIL: "that address is not one of this machine's: correct listen in [feed]; "
    '"0.0.0.0:8080" listens on all IPv4 addresses, "[::]:8080" on all',
    errno.EACCES: "ports below 1024 are for the administrator: use another one with listen in "
    "[feed], or a web server in front",
}


def public_url(config: FeedConfig, port: int) -> str:
    """Decide the URL that others reach the feed at, without a slash at the end.

    Args:
        config: what is configured.
        port: that the feed really listens on.
    """
    if config.url:
        return config.url.rstrip("/")
    assert config.listen is not None
    host = config.listen[0]
    if _is_wildcard(host):
        host = outward_address(_families(host)) or _own_name()
    return f"http://{_bracketed(host)}:{port}"


def is_url_known(config: FeedConfig) -> bool:
    """Whether ``public_url`` does not have to guess, as it must before there is a network."""
    if config.url:
        return True
    assert config.listen is not None
    host = config.listen[0]
    return not _is_wildcard(host) or bool(outward_address(_families(host)))


def _families(host: str) -> tuple[socket.AddressFamily, ...]:
    return (socket.AF_INET, socket.AF_INET6) if ":" in host else (socket.AF_INET,)


def outward_address(families: tuple[socket.AddressFamily, ...]) -> str:
    """Find the address that this machine has towards the internet; empty if it has none."""
    for family, far_away in _FAR_AWAY:
        if family not in families:
            continue
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far_away, 9))
                address = str(probe.getsockname()[0])
        except OSError:
            continue
        if not ipaddress.ip_address(address).is_loopback:
            return address
    return ""


def _own_name() -> str:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return "127.0.0.1"
    return name


def _is_wildcard(host: str) -> bool:
    if host in {"*", "0"}:  # the system takes these for 0.0.0.0
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
