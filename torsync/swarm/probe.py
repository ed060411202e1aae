"""Ask for a few pieces as a peer does, to see that a session serves a torrent (BEP 3, BEP 6).

A second libtorrent session would have to parse the torrent once more, which takes half a second
where it has 100,000 files, and would write what it fetches.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, SwarmError
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.samples import is_piece_right, piece_content_size
from torsync.swarm.peer_id import passing_peer_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torsync.model.manifest import Manifest

_PROTOCOL = b"\x13BitTorrent protocol"
_FAST = bytes([0, 0, 0, 0, 0, 0, 0, 4])  # reserved bits: the fast extension (BEP 6)
_UNCHOKE, _INTERESTED, _HAVE, _BITFIELD, _REQUEST, _PIECE = 1, 2, 4, 5, 6, 7
_CHOKE, _HAVE_ALL, _HAVE_NONE, _REJECT, _ALLOWED_FAST = 0, 14, 15, 16, 17
_LONGEST_MESSAGE = 4 * 1024**2
_CONNECT_S = 2.0
_CHOKED_S = 3.0
_LISTEN_S = 2.0  # it takes milliseconds
_LISTEN_POLL_S = 0.02
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to connect to, not to listen on


class NotServedError(SwarmError):
    """The session does not serve a torrent that was added to it."""

    code = "not_served"


def probe(
    endpoints: Callable[[], Sequence[tuple[str, int]]],
    manifest: Manifest,
    pieces: Iterable[int],
    *,
    wait: Callable[[float], bool],
    deadline_s: float = 10.0,
) -> int:
    """Fetch pieces from a session of this machine and check their hashes.

    Args:
        endpoints: gives where it listens; asked again while there is nothing.
        manifest: of the torrent.
        pieces: to fetch.
        wait: sleeps so many seconds, True if the work shall stop.
        deadline_s: for all of it.

    Returns:
        How many pieces came. It may be none where the session is busy with other peers, and says
        that it has the pieces.

    Raises:
        NotServedError: it does not listen, does not answer, or sends wrong content.
        InterruptedByUserError: ``wait`` said so.
    """
    deadline = time.monotonic() + deadline_s
    listens_by = time.monotonic() + _LISTEN_S
    while not (found := endpoints()):
        if time.monotonic() > listens_by:
            raise NotServedError(
                "the BitTorrent session does not listen on any address, so nobody can fetch it",
                hint="set another address or port in [session] listen",
            )
        if wait(_LISTEN_POLL_S):
            raise InterruptedByUserError("stopped while checking the release")
    wanted = list(pieces)
    failures = []
    for host, port in sorted(found, key=_nearness):
        try:
            with closing(_Peer(_ANY.get(host, host), port, manifest, deadline)) as peer:
                return peer.fetch(wanted)
        except OSError as error:  # noqa: PERF203 - another address may do
            failures.append(f"{host}:{port}: {error.strerror or error}")
    raise NotServedError(
        f"the BitTorrent session does not serve the release: {'; '.join(failures)}",
        hint="look for a firewall on this machine, and at [session] listen and settings",
    )


def _nearness(endpoint: tuple[str, int]) -> tuple[bool, bool]:
    """Addresses of this machine alone come first, and IPv4 before IPv6."""
    with suppress(ValueError):
        address = ip_address(endpoint[0].partition("%")[0])
        return not (address.is_loopback or address.is_unspecified), address.version != 4
    return True, True


class _Peer:
    """One connection."""

    def __init__(self, host: str, port: int, manifest: Manifest, deadline: float) -> None:
        self._manifest = manifest
        self._deadline = deadline
        self._bits = bytearray(-(-manifest.num_pieces // 8))
        self._has_told = False
        self._choked = True
        self._allowed: set[int] = set()
        self._blocks: dict[tuple[int, int], bytes] = {}
        self._asked: set[tuple[int, int]] = set()
        self._socket = socket.create_connection((host, port), timeout=_CONNECT_S)
        self._buffer = bytearray()

    def close(self) -> None:
        self._socket.close()

    def fetch(self, pieces: list[int]) -> int:
        self._shake_hands()
        self._send(_HAVE_NONE)
        self._send(_INTERESTED)
        choked_until = time.monotonic() + _CHOKED_S
        wanted = set(pieces)
        done = 0
        while wanted:
            if self._choked and time.monotonic() > choked_until:
                if self._has_told and all(map(self._has, pieces)):
                    return done  # its places are taken by others, whom it serves
                self._deadline = min(self._deadline, choked_until)
            self._ask(wanted)
            until = min(self._deadline, choked_until) if self._choked else self._deadline
            try:
                self._take_message(until)
            except TimeoutError:
                if time.monotonic() < self._deadline:
                    continue
                raise TimeoutError(self._lacks(wanted)) from None
            for piece in [one for one in wanted if self._is_complete(one)]:
                wanted.remove(piece)
                done += 1
                self._check(piece)
        return done

    def _lacks(self, wanted: set[int]) -> str:
        if not self._has_told or not all(map(self._has, wanted)):
            return "it answers, and does not say that it has all pieces"
        return f"it answers, and {len(wanted)} pieces that were asked for did not come in time"

    # --- the protocol -----------------------------------------------------------------------

    def _shake_hands(self) -> None:
        info_hash = self._manifest.info_hash_v1 or self._manifest.info_hash_v2
        assert info_hash is not None
        name = passing_peer_id("probe")
        self._socket.sendall(_PROTOCOL + _FAST + info_hash[:20] + name)
        answer = self._read(68, self._deadline)
        if answer[:20] != _PROTOCOL or answer[28:48] != info_hash[:20]:
            raise ConnectionError("it is not a BitTorrent peer, or another torrent's")

    def _send(self, kind: int, payload: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">IB", len(payload) + 1, kind) + payload)

    def _ask(self, wanted: set[int]) -> None:
        for piece in sorted(wanted):
            if not self._has(piece) or (self._choked and piece not in self._allowed):
                continue
            for block in self._blocks_of(piece):
                if block not in self._asked:
                    self._asked.add(block)
                    self._send(_REQUEST, struct.pack(">III", *block, self._block_size(*block)))

    def _blocks_of(self, piece: int) -> list[tuple[int, int]]:
        size = piece_content_size(self._manifest, piece)
        return [(piece, start) for start in range(0, size, BLOCK_SIZE)]

    def _block_size(self, piece: int, start: int) -> int:
        return min(BLOCK_SIZE, piece_content_size(self._manifest, piece) - start)

    def _has(self, piece: int) -> bool:
        return bool(self._bits[piece // 8] & 0x80 >> piece % 8)

    def _is_complete(self, piece: int) -> bool:
        return all(block in self._blocks for block in self._blocks_of(piece))

    def _check(self, piece: int) -> None:
        content = b"".join(self._blocks.pop(block) for block in self._blocks_of(piece))
        if not is_piece_right(self._manifest, piece, content):
            paths = [self._manifest.files[one].path for one in self._manifest.files_in(piece)]
            raise NotServedError(
                f"the BitTorrent session sent piece {piece} with another hash than the release "
                f"has; it is of {', '.join(map(repr, paths[:3]))}",
                hint="the files changed after they were hashed; it is tried again",
            )

    def _take_message(self, until: float) -> None:
        length = int.from_bytes(self._read(4, until), "big")
        if not length:
            return
        if length > _LONGEST_MESSAGE:
            raise ConnectionError(f"it sent a message of {length} bytes")
        message = self._read(length, self._deadline)
        try:
            self._heed(message[0], message[1:])
        except (IndexError, struct.error):
            raise ConnectionError(f"it sent a message of kind {message[0]} cut short") from None

    def _heed(self, kind: int, payload: bytes) -> None:
        if kind in {_CHOKE, _UNCHOKE}:
            self._choked = kind == _CHOKE
            self._asked = set(self._blocks)  # whatever is left is to be asked for anew
        elif kind == _HAVE_ALL:
            self._has_told, self._bits = True, bytearray(b"\xff" * len(self._bits))
        elif kind == _BITFIELD:
            self._has_told, self._bits = True, bytearray(payload.ljust(len(self._bits), b"\0"))
        elif kind == _HAVE_NONE:
            self._has_told = True
        elif kind == _HAVE:
            piece = int.from_bytes(payload[:4], "big")
            self._bits[piece // 8] |= 0x80 >> piece % 8
            self._has_told = True
        elif kind == _ALLOWED_FAST:
            self._allowed.add(int.from_bytes(payload[:4], "big"))
        elif kind == _REJECT:
            piece, start = struct.unpack(">II", payload[:8])
            self._asked.discard((piece, start))
            self._allowed.discard(piece)
        elif kind == _PIECE:
            piece, start = struct.unpack(">II", payload[:8])
            if (piece, start) in self._asked:
                self._blocks[piece, start] = payload[8:]

    def _read(self, count: int, until: float) -> bytes:
        while len(self._buffer) < count:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("it did not answer in time")
            self._socket.settimeout(left_s)
            try:
                received = self._socket.recv(256 * 1024)
            except TimeoutError:
                raise TimeoutError("it did not answer in time") from None
            if not received:
                raise ConnectionError("it closed the connection")
            self._buffer += received
        message = bytes(self._buffer[:count])
        del self._buffer[:count]
        return message
