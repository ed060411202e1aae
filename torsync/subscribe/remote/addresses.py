"""Which addresses are those of servers on the internet."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address


class PrivateAddressError(OSError):
    """A server on the internet leads to an address that only this network or machine has.

    Attributes:
        address: the IP address.
    """

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is not an address on the internet")
        self.address = address


def is_public_address(address: str) -> bool:
    """Whether an IP address is one on the internet: not private, loopback or link-local."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    return found.is_global


def has_public_address(host: str) -> bool:
    """Whether a host has an address on the internet; so is one that cannot be looked up."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return any(is_public_address(str(address[0])) for *_, address in found)
