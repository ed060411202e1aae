"""Which pieces a subscriber asks for first where others fetch the same torrent.

Rarest-first alone sends several subscribers that start at once after the same pieces: all are
equally rare then, and nobody sees what the others have requested and not got yet, which is up to
a second's worth each. So each one prefers a share of its own; all count the shares alike, from
the peer ids that they see. Nothing is agreed on: where two see different peers, they choose as
much at random as they would have without.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import libtorrent as lt

if TYPE_CHECKING:
    from collections.abc import Collection

PEER_ID_SIZE = 20

_OTHERS = 4
# Rarity still weighs more: of two pieces, the one that no other subscriber has comes first.
_OWN = 5
# Fibonacci hashing (2**32 by the golden ratio) spreads each share evenly over the torrent.
_SPREAD, _RANGE_BITS = 2_654_435_769, 32
_MASK = (1 << _RANGE_BITS) - 1
# Deciding takes at most one part in so many of the time.
_PAUSE_FACTOR = 50


def share_priorities(wanted: bytes, number: int, count: int) -> list[int]:
    """Decide libtorrent's piece priorities for one of several subscribers.

    Args:
        wanted: one byte per piece; 0 for pieces that are not to be fetched.
        number: of this subscriber among all, from 0.
        count: how many there are.

    Returns:
        One priority per piece: 0 where it is not wanted, more for this subscriber's share.
    """
    return [
        flag and (_OWN if (piece * _SPREAD & _MASK) * count >> _RANGE_BITS == number else _OTHERS)
        for piece, flag in enumerate(wanted)
    ]


class Share:
    """Keeps the piece priorities of one torrent in line with who else is fetching it."""

    def __init__(self, handle: lt.torrent_handle, wanted: bytes, peer_id: bytes) -> None:
        """Nothing is set yet.

        Args:
            handle: the torrent.
            wanted: one byte per piece; 0 for pieces that are not to be fetched.
            peer_id: as other peers see this session (BEP 3), 20 bytes.
        """
        self._handle = handle
        self._wanted = wanted
        self._peer_id = peer_id
        self._shared_by: list[bytes] = [peer_id]
        self._next_s = 0.0

    def update(self) -> None:
        """Look who is fetching, and set priorities if that has changed."""
        started_s = time.monotonic()
        if started_s < self._next_s:
            return
        subscribers = sorted({*_fetching(self._handle.get_peer_info()), self._peer_id})
        if subscribers != self._shared_by:
            self._shared_by = subscribers
            number = subscribers.index(self._peer_id)
            self._handle.prioritize_pieces(share_priorities(self._wanted, number, len(subscribers)))
        now_s = time.monotonic()
        self._next_s = now_s + _PAUSE_FACTOR * (now_s - started_s)


def _fetching(peers: Collection[lt.peer_info]) -> set[bytes]:
    """The ids of the peers that miss something and say so (BEP 21: not those that only upload)."""
    silent = lt.peer_info.seed | lt.peer_info.upload_only | lt.peer_info.handshake
    silent |= lt.peer_info.connecting
    return {
        peer.pid.to_bytes()
        for peer in peers
        if not peer.flags & silent and peer.connection_type == lt.peer_info.standard_bittorrent
    }
