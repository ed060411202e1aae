"""Whether somebody is a peer of a torrent: the handshake alone (BEP 3)."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from torsync.model.errors import SwarmError
from torsync.swarm.peer_id import passing_peer_id

_PROTOCOL = b"\x13BitTorrent protocol"
_RESERVED = bytes([0, 0, 0, 0, 0, 0, 0, 4])  # the fast extension (BEP 6), as libtorrent has it
_SIZE = 68


class NoHandshakeError(SwarmError):
    """There is no peer of the torrent at an address."""

    code = "no_handshake"


def shake_hands(
    family: socket.AddressFamily, host: str, port: int, info_hash: bytes, *, timeout_s: float
) -> str:
    """Connect to a peer and exchange handshakes.

    Args:
        family: of the address.
        host: an address.
        port: TCP.
        info_hash: at least 20 bytes; what is beyond that is cut off, as on the wire (BEP 52).
        timeout_s: for all of it.

    Returns:
        The peer's client, as its id begins (BEP 20); empty if that is no text.

    Raises:
        NoHandshakeError: nobody answers there, or it is no peer of this torrent.
    """
    ends_s = time.monotonic() + timeout_s
    wanted = info_hash[:20]
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect((host, port))
            name = passing_peer_id("doctr")
            connection.sendall(_PROTOCOL + _RESERVED + wanted + name)
            answer = _read(connection, ends_s)
    except TimeoutError:
        raise _refused(
            "no answer in time", "it is off, or a firewall or router is between"
        ) from None
    except ConnectionRefusedError:
        found = "the connection refused"
        raise _refused(found, "check the port, and that the other side runs") from None
    except OSError as error:
        found = error.strerror or str(error)
        raise _refused(found, "check host and port, and this machine's network") from None
    if len(answer) < _SIZE:
        raise _refused(
            "it closes the connection",
            "it does not have this torrent (yet), or takes encrypted connections only",
        )
    if answer[:20] != _PROTOCOL:
        raise _refused("it is no BitTorrent peer", "check the port")
    if answer[28:48] != wanted:
        raise _refused("it is a peer of another torrent", "check host and port")
    with suppress(UnicodeDecodeError):
        return answer[48:56].decode("ascii").strip("-")
    return ""


def _refused(found: str, hint: str) -> NoHandshakeError:
    return NoHandshakeError(found, hint=hint)


def _read(connection: socket.socket, ends_s: float) -> bytes:
    answer = b""
    while len(answer) < _SIZE:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        try:
            received = connection.recv(_SIZE - len(answer))
        except ConnectionResetError:
            break
        if not received:
            break
        answer += received
    return answer
