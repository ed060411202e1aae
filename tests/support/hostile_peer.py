"""A peer that keeps to the protocol as far as it likes."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

from tests.support.processes import HOST

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

PIECE = 16 * 1024


class ClosedError(Exception):
    """The other side closed the connection."""


class HostilePeer:
    """Says that it has what another lacks, and sends blocks that nobody asked for."""

    def __init__(self, manifest: Manifest, port: int) -> None:
        info_hash = manifest.info_hash_v1 or manifest.info_hash_v2
        assert info_hash is not None
        self._socket = socket.create_connection((HOST, port), timeout=3)
        name = b"-XX0000-hostile-peer"
        fast = bytes([0, 0, 0, 0, 0, 0, 0, 4])
        self._socket.sendall(b"\x13BitTorrent protocol" + fast + info_hash[:20] + name)
        self._read(68)
        self.heard: list[int] = []

    def send(self, kind: int, payload: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">IB", 1 + len(payload), kind) + payload)

    def force(self, kind: int, manifest: Manifest) -> None:
        """Send a block of every piece."""
        for number in range(manifest.num_pieces):
            self.send(kind, struct.pack(">II", number, 0) + os.urandom(PIECE))
        self.hear(kind)

    def close(self) -> None:
        self._socket.close()

    def hear(self, kind: int) -> bytes:
        """Take messages in until one of a kind comes."""
        while True:
            length = int.from_bytes(self._read(4), "big")
            message = self._read(length)
            if message:
                self.heard.append(message[0])
                if message[0] == kind:
                    return message[1:]

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            received = self._socket.recv(count - len(data))
            if not received:
                raise ClosedError
            data += received
        return data
