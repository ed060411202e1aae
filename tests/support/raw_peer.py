"""A peer that shakes hands, wants nothing and stays: it sees when it is left."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.processes import HOST, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_HEAD = b"\x13BitTorrent protocol" + bytes(7) + b"\x04"
_SIZE = 68


class RawPeer:
    """One connection to a peer of this machine."""

    def __init__(self, port: int, info_hash: str) -> None:
        """Connect, as soon as somebody answers there for this torrent."""
        self._port = port
        self._info_hash = bytes.fromhex(info_hash)[:20]
        self._socket: socket.socket | None = None
        wait_until(self._is_welcome, "the handshake is answered", deadline_s=30)

    @property
    def is_connected(self) -> bool:
        """Whether the other side has kept the connection."""
        assert self._socket is not None
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def _is_welcome(self) -> bool:
        connection = socket.socket()
        connection.settimeout(5)
        with suppress(OSError):
            connection.connect((HOST, self._port))
            connection.sendall(_HEAD + self._info_hash + b"-XX0000-" + os.urandom(6).hex().encode())
            answer = b""
            while len(answer) < _SIZE and (got := connection.recv(_SIZE - len(answer))):
                answer += got
            if len(answer) == _SIZE:
                connection.setblocking(False)
                self._socket = connection
                return True
        connection.close()
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._socket is not None:
            self._socket.close()
