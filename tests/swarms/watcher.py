"""A peer that asks for nothing, and sees what the subscribers have among them (BEP 3)."""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from tests.support.netns import Machine

_PROTOCOL = b"\x13BitTorrent protocol" + bytes(8)
_HANDSHAKE_BYTES = 68
_HAVE, _BITFIELD = 4, 5
_KEEP_ALIVE_S = 30.0


class Watcher:
    """Connected to each subscriber, and not to the publisher, which would send it pieces."""

    def __init__(
        self, machine: Machine, info_hash: str, pieces: int, peers: Sequence[tuple[str, int]]
    ) -> None:
        """Connect to all, as soon as they answer.

        Args:
            machine: that it is on.
            info_hash: of the torrent, in hex.
            pieces: how many it has.
            peers: addresses and ports.
        """
        self._missing = set(range(pieces))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._hello = _PROTOCOL + bytes.fromhex(info_hash)[:20] + b"-XX0000-"
        with machine.entered():  # a thread is where its parent was
            self._threads = [threading.Thread(target=self._watch, args=(peer,)) for peer in peers]
            for thread in self._threads:
                thread.start()

    def has_seen_a_copy(self) -> bool:
        """Whether some subscriber or other has had each piece by now."""
        return not self._missing

    def _watch(self, peer: tuple[str, int]) -> None:
        while not self._closing.wait(0.1):
            with suppress(OSError), socket.create_connection(peer, timeout=1) as connection:
                connection.sendall(self._hello + secrets.token_hex(6).encode())
                self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        received, silent_s = b"", 0.0
        while not self._closing.is_set() and silent_s < _KEEP_ALIVE_S:
            try:
                chunk = connection.recv(65_536)
            except TimeoutError:
                silent_s += 1.0
                continue
            if not chunk:
                return
            silent_s, received = 0.0, received + chunk
            at = _HANDSHAKE_BYTES
            while len(received) >= at + 4:
                end = at + 4 + int.from_bytes(received[at : at + 4], "big")
                if len(received) < end:
                    break
                self._hear(received[at + 4 : end])
                at = end
            if at > _HANDSHAKE_BYTES:
                received = bytes(_HANDSHAKE_BYTES) + received[at:]
            connection.sendall(bytes(4))  # of length 0: keeps it open

    def _hear(self, message: bytes) -> None:
        there: set[int] = set()
        if message[:1] == bytes([_HAVE]):
            there = {int.from_bytes(message[1:5], "big")}
        elif message[:1] == bytes([_BITFIELD]):
            bits = message[1:]
            there = {at for at in range(8 * len(bits)) if bits[at // 8] >> (7 - at % 8) & 1}
        with self._lock:
            self._missing -= there

    def close(self) -> None:
        """Leave."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
