"""Peers that listen, shake hands, and then do what no honest one would.

with FalsePeer(torrent, sends_wrong_blocks) as liar:
    torsync.subscribe(peers=[liar.name])
    ...
assert liar.connections == 1

Each is at an address of its own on the loopback interface, as libtorrent bans whole addresses. They
speak in plain text only: whoever calls them needs ``PLAIN`` among its settings, or tries encryption
first (BEP 3 knows none).
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import bencode2

from tests.support.torrents import info_hash
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

PLAIN = {"out_enc_policy": 2, "in_enc_policy": 2}
BLOCK = 16 * 1024
CHOKE, UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = 0, 1, 2, 4, 5, 6, 7
SUGGEST, HAVE_ALL, REJECT, ALLOWED_FAST, EXTENDED = 13, 14, 16, 17, 20
HASH_REQUEST, HASHES = 21, 22
MOST = 2**32 - 1
_HEAD = b"\x13BitTorrent protocol"
_RESERVED = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x04])  # BEP 10, BEP 6
_DEADLINE_S = 20.0
_TICK_S = 0.05


class Request(NamedTuple):
    """A block that is asked for."""

    piece: int
    begin: int
    length: int


class Wire:
    """One connection after its handshake, as the peer that was called sees it."""

    def __init__(self, connection: socket.socket, owner: FalsePeer) -> None:
        self._connection = connection
        self._owner = owner
        self.manifest = owner.manifest

    @property
    def is_over(self) -> bool:
        """Whether the test has ended."""
        return self._owner.stopping.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True if the test has ended meanwhile."""
        return self._owner.stopping.wait(seconds)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send a message."""
        self.raw(struct.pack(">IB", 1 + len(payload), kind) + payload)

    def offer(self) -> None:
        """Claim to have everything and be ready to send it."""
        self.send(HAVE_ALL)
        self.send(UNCHOKE)

    def extended(self, kind: int, value: object, tail: bytes = b"") -> None:
        """Send a message of BEP 10; 0 is its handshake."""
        self.send(EXTENDED, bytes([kind]) + bencode2.bencode(value) + tail)

    def answer(self, request: Request, block: bytes) -> None:
        """Send a block."""
        self.send(PIECE, struct.pack(">II", request.piece, request.begin) + block)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """All that comes, until the connection or the test is over."""
        while True:
            head = self._exactly(4)
            length = int.from_bytes(head, "big")
            if not length:
                continue
            message = self._exactly(length)
            yield message[0], message[1:]

    def requests(self) -> Iterator[Request]:
        """The blocks that are asked for."""
        for kind, payload in self.messages():
            if kind == REQUEST:
                request = Request(*struct.unpack(">III", payload))
                self._owner.requests.append(request)
                yield request

    def listen(self) -> None:
        """Take everything in, and say nothing more."""
        for _ in self.requests():
            pass

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            if self.is_over:
                raise ConnectionAbortedError
            with suppress(TimeoutError):
                got = self._connection.recv(count - len(data))
                if not got:
                    raise ConnectionAbortedError
                data += got
        return bytes(data)


class FalsePeer:
    """Plays the same to everybody who calls.

    Attributes:
        connections: how many came.
        welcomed: how many of them shook hands.
        requests: blocks that it was asked for.
    """

    def __init__(
        self, torrent: bytes, play: Callable[[Wire], None], *, shakes_hands: bool = True
    ) -> None:
        """Listen.

        Args:
            torrent: whose info-hash it shakes hands for.
            play: what it does on each connection.
            shakes_hands: whether it answers the handshake, before it plays.
        """
        self.manifest = parse_metainfo(torrent, windows=False)
        self.connections = self.welcomed = 0
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._hash = bytes.fromhex(info_hash(torrent))[:20]
        self._play = play
        self._shakes_hands = shakes_hands
        self.host = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
        self._listener = socket.create_server((self.host, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, name="false-peer")]

    @property
    def name(self) -> str:
        """The value of ``peers`` that leads to it."""
        return f"{self.host}:{self.port}"

    @property
    def endpoint(self) -> tuple[str, int]:
        """Address and port."""
        return self.host, self.port

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(_DEADLINE_S)
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads), "a false peer goes on"

    def _serve(self) -> None:
        self._listener.settimeout(_TICK_S)
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._meet, args=(connection,), name="false-peer")
                self._threads.append(thread)
                thread.start()

    def _meet(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_TICK_S)
            wire = Wire(connection, self)
            wire._exactly(68)
            if self._shakes_hands:
                name = b"-XX0000-" + os.urandom(6).hex().encode()
                wire.raw(_HEAD + _RESERVED + self._hash + name)
                self.welcomed += 1
            connection.settimeout(_TICK_S)
            self._play(wire)


# --- what they do ---------------------------------------------------------------------------


def sends_wrong_blocks(wire: Wire) -> None:
    wire.offer()
    for request in wire.requests():
        wire.answer(request, os.urandom(request.length))


def says_nothing(wire: Wire) -> None:
    wire.offer()
    wire.listen()


def drips(wire: Wire) -> None:
    """A byte of the first block per second."""
    wire.offer()
    request = next(wire.requests())
    wire.raw(struct.pack(">IBII", 9 + request.length, PIECE, request.piece, request.begin))
    while not wire.pause(1):
        wire.raw(b"\0")


def hangs_up_in_a_block(wire: Wire) -> None:
    wire.offer()
    request = next(wire.requests())
    wire.raw(struct.pack(">IBII", 9 + request.length, PIECE, request.piece, request.begin))
    wire.raw(os.urandom(request.length // 2))


def chokes_again(wire: Wire) -> None:
    wire.offer()
    for request in wire.requests():
        wire.send(REJECT, struct.pack(">III", *request))
        wire.send(CHOKE)
        if wire.pause(0.02):
            return
        wire.send(UNCHOKE)


def rejects_everything(wire: Wire) -> None:
    wire.offer()
    for request in wire.requests():
        wire.send(REJECT, struct.pack(">III", *request))


def sends_a_long_bitfield(wire: Wire) -> None:
    wire.send(BITFIELD, b"\xff" * (wire.manifest.num_pieces + 1000))
    wire.send(UNCHOKE)
    wire.listen()


def has_pieces_that_are_none(wire: Wire) -> None:
    for number in (wire.manifest.num_pieces, 2**31 - 1, 2**31, MOST):
        wire.send(HAVE, struct.pack(">I", number))
        wire.send(SUGGEST, struct.pack(">I", number))
        wire.send(ALLOWED_FAST, struct.pack(">I", number))
    wire.listen()


def sends_an_endless_message(wire: Wire) -> None:
    wire.raw(struct.pack(">IB", MOST, PIECE))
    while not wire.is_over:
        wire.raw(bytes(BLOCK))


def sends_oversized_blocks(wire: Wire) -> None:
    wire.offer()
    for request in wire.requests():
        wire.answer(request, bytes(4 * request.length))


def sends_garbage(wire: Wire) -> None:
    garbage = random.Random(1)
    while not wire.is_over:
        wire.raw(garbage.randbytes(BLOCK))


def sends_what_nobody_asked_for(wire: Wire) -> None:
    wire.offer()
    for number in range(wire.manifest.num_pieces):
        wire.answer(Request(number, 0, BLOCK), bytes(BLOCK))
        wire.answer(Request(MOST - number, MOST, BLOCK), bytes(BLOCK))
    wire.listen()


def asks_for_nonsense(wire: Wire) -> None:
    wire.send(INTERESTED)
    for values in itertools.product((0, 2**31 - 1, MOST), (0, 1, MOST), (0, 2**17, 2**30, MOST)):
        wire.send(REQUEST, struct.pack(">III", *values))
    wire.listen()


def floods_with_requests(wire: Wire) -> None:
    wire.send(INTERESTED)
    many = struct.pack(">IBIII", 13, REQUEST, 0, 0, BLOCK) * 1000
    for _ in range(50):
        wire.raw(many)
    wire.listen()


def floods_with_extensions(wire: Wire) -> None:
    """Thousands of addresses that lead nowhere (BEP 11), and what is no bencode (BEP 10)."""
    ours: dict[bytes, Any] = {b"m": {b"ut_pex": 1, b"ut_metadata": 2, b"lt_donthave": 7}}
    wire.extended(0, {**ours, b"reqq": MOST, b"metadata_size": MOST, b"v": b"\x1b[31m" * 50})
    for _ in range(20):
        wire.send(EXTENDED, b"\0" + os.urandom(200))
        addresses = b"".join(b"\x7f" + os.urandom(5) for _ in range(2500))
        told = {b"added": addresses, b"added.f": bytes(2500), b"dropped": addresses}
        for kind in (1, 2, 3, 4, 5):
            wire.extended(kind, told)
    wire.offer()
    wire.listen()


def talks_nonsense_of_metadata(wire: Wire) -> None:
    """BEP 9: requests and pieces of an info dictionary that is none."""
    wire.extended(0, {b"m": {b"ut_metadata": 2}, b"metadata_size": 2**31 - 1})
    for kind, piece in itertools.product((0, 1, 2, 99), (-1, 0, 2**31, 2**63 - 1)):
        for message in range(1, 5):
            told = {b"msg_type": kind, b"piece": piece, b"total_size": 2**40}
            wire.extended(message, told, os.urandom(100))
    wire.offer()
    wire.listen()


def lies_about_hashes(wire: Wire) -> None:
    """BEP 52: hashes that nobody asked for, and requests for some that are not there."""
    root = os.urandom(32)
    for base, index, length in itertools.product((0, 40, MOST), (0, MOST), (0, 2, 512, MOST)):
        wire.send(HASH_REQUEST, root + struct.pack(">IIII", base, index, length, MOST))
        wire.send(HASHES, root + struct.pack(">IIII", base, index, length, 0) + os.urandom(64))
    wire.offer()
    wire.listen()


def breaks_every_piece_a_little(wire: Wire) -> None:
    """Answers the last block of each piece wrongly, and none of the others."""
    wire.offer()
    last = wire.manifest.piece_length - BLOCK
    for request in wire.requests():
        if request.begin >= last:
            wire.answer(request, bytes(request.length))


BEHAVIOURS: tuple[Callable[[Wire], None], ...] = (
    sends_wrong_blocks,
    says_nothing,
    drips,
    hangs_up_in_a_block,
    chokes_again,
    rejects_everything,
    sends_a_long_bitfield,
    has_pieces_that_are_none,
    sends_an_endless_message,
    sends_oversized_blocks,
    sends_garbage,
    sends_what_nobody_asked_for,
    asks_for_nonsense,
    floods_with_requests,
    floods_with_extensions,
    talks_nonsense_of_metadata,
    lies_about_hashes,
    breaks_every_piece_a_little,
)
