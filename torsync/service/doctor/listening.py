"""Whether peers can connect: the ports of the session, and the way to this machine."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.checkup import Finding, failed, ok, skipped, warning
from torsync.publish.feed.address import outward_address
from torsync.service.doctor.sockets import Owner, owner_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torsync.model.config import SessionConfig

_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: a provider's own translation
_NO_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_ANOTHER = "set another port in listen of [session], the same on the router if it forwards one"


class Listen(NamedTuple):
    """One address of ``listen``.

    Attributes:
        host: an address, without brackets, or the name of an interface.
        port: for TCP and UDP; 0 is any.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read ``host:port``."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    @property
    def shown(self) -> str:
        """As it is written in the configuration."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Bound(NamedTuple):
    """What came of listening on an address for a moment.

    Attributes:
        number: of the system's error; 0 if it went well.
        owner: who listens there, where that is the reason, and known.
    """

    number: int
    owner: Owner | None = None


def check_listening(session: SessionConfig, service: Collection[int]) -> list[Finding]:
    """Try each address of the session, and tell whether others reach it.

    Args:
        session: its configuration.
        service: process ids of torsync's own service.
    """
    addresses = [Listen.parse(text) for text in session.listen]
    if not addresses:
        hint = 'set listen in [session], such as ["0.0.0.0:6881", "[::]:6881"]'
        return [warning("listen.port", "listen is empty: no peer can connect", hint)]
    findings = [judge_bound(one, try_to_bind(one), service) for one in addresses]
    outward = tuple(outward_address((family,)) for family in (socket.AF_INET, socket.AF_INET6))
    return [*findings, judge_reach(addresses, outward, upnp=session.upnp)]


def try_to_bind(address: Listen) -> Bound:
    """Listen on an address for a moment, over TCP and UDP."""
    try:
        family = (
            socket.AF_INET6
            if ipaddress.ip_address(address.host.partition("%")[0]).version == 6
            else socket.AF_INET
        )
    except ValueError:
        known = {name for _, name in socket.if_nameindex()}
        return Bound(0 if address.host in known else errno.ENODEV)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _only_ipv6(stream, family)
            stream.bind((address.host, address.port))
            stream.listen(1)
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            _only_ipv6(datagrams, family)
            datagrams.bind((address.host, address.port))
    except OSError as error:
        number = error.errno or errno.EIO
        return Bound(number, owner_of(address.port) if number == errno.EADDRINUSE else None)
    return Bound(0)


def _only_ipv6(made: socket.socket, family: int) -> None:
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def judge_bound(address: Listen, found: Bound, service: Collection[int]) -> Finding:
    """Decide what came of listening on an address.

    Args:
        address: of the configuration.
        found: there.
        service: process ids of torsync's own service.
    """
    check, shown = "listen.port", address.shown
    if not found.number:
        if address.port:
            return ok(check, f"{shown} is free for torsync")
        return ok(check, f"{shown}: a free port, another one at each start")
    if found.number == errno.EADDRINUSE:
        if found.owner is not None and found.owner.pid in service:
            return ok(check, f"torsync's service listens on {shown} (process {found.owner.pid})")
        if found.owner is None and service:
            return ok(check, f"{shown} is in use, by torsync's service as it seems")
        who = f"{found.owner.program!r}, process {found.owner.pid}" if found.owner else "a program"
        stop = f"stop it (`ss -tulpn | grep {address.port}`)"
        return failed(check, f"{shown} is in use by {who}", f"{stop}, or {_ANOTHER}")
    is_any = _is_any(address.host)
    if found.number in _NO_FAMILY and is_any and ":" in address.host:
        return skipped(check, f"{shown}: this machine has no IPv6")
    if found.number in _NO_FAMILY and is_any:
        return skipped(check, f"{shown}: this machine has no IPv4")
    said = f"{shown} cannot be listened on: {os.strerror(found.number)}"
    if found.number == errno.EACCES:
        return failed(check, said, "ports below 1024 are root's; set a higher one in [session]")
    return failed(check, said, "correct listen in [session]: `ip address` shows this machine's own")


def judge_reach(addresses: Sequence[Listen], outward: Sequence[str], *, upnp: bool) -> Finding:
    """Decide whether peers elsewhere reach this machine.

    Args:
        addresses: that are listened on.
        outward: this machine's addresses towards the internet; empty ones where it has none.
        upnp: whether routers are asked to forward the port.
    """
    check = "listen.reach"
    if is_loopback_only(addresses):
        return skipped(check, "it listens for this machine alone")
    own = [ipaddress.ip_address(one.partition("%")[0]) for one in outward if one]
    if not own:
        said = "this machine has no way to the internet: peers can be on its own network only"
        return warning(check, said, "see `ip route`; where that is meant, all is well")
    port = next((one.port for one in addresses if one.port), 0)
    if not port:
        said = "the port is another one at each start, so that no router can forward it"
        return warning(check, said, "set a port in listen of [session], such as 6881")
    public = [one for one in own if one.is_global and one not in _SHARED]
    if public:
        said = f"{public[0]} is a public address; a firewall may still be before it"
        return ok(check, f"{said} (from elsewhere: `nc -vz {public[0]} {port}`)")
    said = f"{own[0]} is a private address, behind a router"
    if upnp:
        return ok(check, f"{said}, which is asked to forward port {port} (upnp)")
    return warning(
        check,
        f"{said}: others cannot call this machine, which only calls them",
        f"forward port {port} (TCP and UDP) to it on the router, or set upnp = true in [session]; "
        f"to test, from elsewhere: `nc -vz YOUR-PUBLIC-ADDRESS {port}`",
    )


def is_loopback_only(addresses: Sequence[Listen]) -> bool:
    """Whether nobody but this machine is listened for."""
    return all(_is_loopback(one.host) for one in addresses)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False


def _is_any(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False
