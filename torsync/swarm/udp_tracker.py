"""Ask a UDP tracker (BEP 15) what it says of a torrent."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import NamedTuple

from torsync.model.errors import SwarmError
from torsync.swarm.peer_id import passing_peer_id

_MAGIC = 0x41727101980
_CONNECT, _ANNOUNCE, _SCRAPE, _ERROR = 0, 1, 2, 3
_STOPPED = 3
_AGAIN_S = 1.0
_MOST_BYTES = 4096
PORT_OF_NOBODY = 9
"""What a tracker is told for a moment: a tracker tells peers apart by address and port, so that
with that of the running session, to leave would take that one out of the swarm."""
_PEER_BYTES = {socket.AF_INET: 6, socket.AF_INET6: 18}


class TrackerError(SwarmError):
    """A tracker does not answer, or refuses a torrent."""

    code = "tracker"


class Announced(NamedTuple):
    """What a tracker answers to an announce or a scrape.

    Attributes:
        seeds: peers that have everything, as it counts them; -1 if it does not say.
        leechers: the other ones, without the one that asks.
        peers: how many addresses it gave.
    """

    seeds: int
    leechers: int
    peers: int


def ask_tracker(
    family: socket.AddressFamily,
    host: str,
    port: int,
    info_hash: bytes,
    *,
    timeout_s: float,
) -> Announced:
    """Ask how many there are; only if it knows no seed, join the swarm for a moment to see why.

    Args:
        family: of the address.
        host: of the tracker, an address.
        port: UDP.
        info_hash: at least 20 bytes; what is beyond that is cut off (BEP 52).
        timeout_s: for all of it.

    Raises:
        TrackerError: it did not answer, or refused.
    """
    ends_s = time.monotonic() + timeout_s
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect((host, port))
            head = struct.pack(">QI", _MAGIC, _CONNECT)
            answer = _ask(datagrams, head, b"", ends_s)
            if len(answer) < 8:
                raise TrackerError("it answers with too few bytes", hint="it is no UDP tracker")
            found = _scrape(datagrams, answer[:8], info_hash, ends_s)
            if found.seeds > 0:
                return found
            head = answer[:8] + struct.pack(">I", _ANNOUNCE)
            body = _Announcement(info_hash)
            answer = _ask(datagrams, head, body(0, 50), ends_s)
            leave = head + secrets.token_bytes(4) + body(_STOPPED, 0)
            datagrams.send(leave)
    except TimeoutError:
        raise TrackerError(
            f"no answer within {timeout_s:g} s",
            hint="it is down, or a firewall drops UDP; an http tracker may do",
        ) from None
    except OSError as error:
        raise TrackerError(
            error.strerror or str(error), hint="check the network; else it is down: try later"
        ) from None
    if len(answer) < 12:
        raise TrackerError("it refuses, with an answer that is cut short", hint="")
    leechers, seeds = struct.unpack(">II", answer[4:12])
    return Announced(seeds, max(0, leechers - 1), (len(answer) - 12) // _PEER_BYTES[family])


def _scrape(
    datagrams: socket.socket, connection: bytes, info_hash: bytes, ends_s: float
) -> Announced:
    head = connection + struct.pack(">I", _SCRAPE)
    try:
        answer = _ask(datagrams, head, info_hash[:20], min(ends_s, time.monotonic() + _AGAIN_S))
        seeds, _, leechers = struct.unpack(">III", answer[:12])
    except (TrackerError, TimeoutError, struct.error):  # it need not know how
        return Announced(-1, -1, 0)
    return Announced(seeds, leechers, 0)


class _Announcement:
    def __init__(self, info_hash: bytes) -> None:
        self._info_hash = info_hash[:20]
        self._peer_id = passing_peer_id("doctr")
        self._key = secrets.token_bytes(4)

    def __call__(self, event: int, wanted: int) -> bytes:
        done_left_sent = struct.pack(">QQQ", 0, 1, 0)
        whom = struct.pack(">II", event, 0) + self._key + struct.pack(">iH", wanted, PORT_OF_NOBODY)
        return self._info_hash + self._peer_id + done_left_sent + whom


def _ask(datagrams: socket.socket, head: bytes, body: bytes, ends_s: float) -> bytes:
    """Send a request again and again until it is answered; give what follows the transaction."""
    action = head[8:12]
    while True:
        transaction = secrets.token_bytes(4)
        datagrams.send(head + transaction + body)
        again_s = min(time.monotonic() + _AGAIN_S, ends_s)
        while (left_s := again_s - time.monotonic()) > 0:
            datagrams.settimeout(left_s)
            try:
                answer = datagrams.recv(_MOST_BYTES)
            except TimeoutError:
                break
            if answer[4:8] != transaction:
                continue
            if answer[:4] == struct.pack(">I", _ERROR):
                said = answer[8:200].decode("utf-8", "replace")
                raise TrackerError(f"it refuses: {said}", hint="")
            if answer[:4] == action:
                return answer[8:]
        if time.monotonic() >= ends_s:
            raise TimeoutError
