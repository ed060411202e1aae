"""Asking a session for pieces as a peer does: what is said of one that does not serve."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import HOST, free_port
from tests.support.torrents import make_raw
from tests.support.trees import random_bytes
from torsync.model.errors import InterruptedByUserError
from torsync.model.metainfo import parse_metainfo
from torsync.swarm import probe as module
from torsync.swarm.probe import NotServedError, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 16 * 1024
CONTENT = random_bytes(3 * PIECE, "content")
MANIFEST = parse_metainfo(make_raw({"a": CONTENT}, piece_size=PIECE))
CHOKE, UNCHOKE, HAVE, BITFIELD, REQUEST, BLOCK = 0, 1, 4, 5, 6, 7
HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = 14, 15, 16, 17
Message = "tuple[int, bytes]"


class FakePeer:
    """Says what a test tells it to after the handshake, and then answers requests."""

    def __init__(
        self,
        say: list[tuple[int, bytes]],
        *,
        content: bytes = CONTENT,
        answer: bool = True,
        handshake: bytes | None = None,
        raw: bytes = b"",
        hangs_up: bool = False,
    ) -> None:
        self._raw = raw
        self._hangs_up = hangs_up
        self._say = say
        self._content = content
        self._answers = answer
        self._handshake = handshake
        self._server = socket.create_server((HOST, 0))
        self.port = self._server.getsockname()[1]
        self.asked: list[int] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._server.accept()
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            hello = stream.read(68)
            connection.sendall(hello if self._handshake is None else self._handshake)
            connection.sendall(self._raw)
            for kind, payload in self._say:
                connection.sendall(struct.pack(">IB", 1 + len(payload), kind) + payload)
            while not self._hangs_up and (head := stream.read(4)):
                message = stream.read(int.from_bytes(head, "big"))
                if message[:1] == bytes([REQUEST]) and self._answers:
                    piece, start, length = struct.unpack(">III", message[1:])
                    self.asked.append(piece)
                    at = piece * PIECE + start
                    body = struct.pack(">II", piece, start) + self._content[at : at + length]
                    connection.sendall(struct.pack(">IB", 1 + len(body), BLOCK) + body)

    def close(self) -> None:
        self._server.close()
        self._thread.join(5)


@pytest.fixture
def peer() -> Iterator[Callable[..., FakePeer]]:
    with ExitStack() as opened:

        def make(*say: tuple[int, bytes], **options: object) -> FakePeer:
            made = FakePeer(list(say), **options)  # type: ignore[arg-type]
            opened.callback(made.close)
            return made

        yield make


def ask(*ports: int, pieces: tuple[int, ...] = (0, 1, 2), deadline_s: float = 10.0) -> int:
    return probe(
        lambda: [(HOST, port) for port in ports],
        MANIFEST,
        pieces,
        wait=lambda _seconds: False,
        deadline_s=deadline_s,
    )


Peers = "Callable[..., FakePeer]"


@pytest.mark.parametrize(
    "told",
    [
        [(HAVE_ALL, b"")],
        [(BITFIELD, b"\xe0")],
        [(HAVE_NONE, b""), *((HAVE, struct.pack(">I", piece)) for piece in range(3))],
        [(99, b"whatever"), (HAVE_ALL, b"")],
    ],
)
def test_pieces_are_fetched_and_checked(
    peer: Callable[..., FakePeer], told: list[tuple[int, bytes]]
) -> None:
    assert ask(peer(*told, (UNCHOKE, b"")).port) == 3


def test_wrong_content_is_told_with_the_files_that_it_is_of(peer: Callable[..., FakePeer]) -> None:
    wrong = CONTENT[: 2 * PIECE] + bytes(PIECE)
    with pytest.raises(NotServedError, match=r"piece 2 with another hash .* of 'a'"):
        ask(peer((HAVE_ALL, b""), (UNCHOKE, b""), content=wrong).port)


def test_one_that_has_not_all_pieces_does_not_serve(
    peer: Callable[..., FakePeer],
) -> None:
    one = peer((BITFIELD, b"\xc0"), (UNCHOKE, b""))
    with pytest.raises(NotServedError, match="does not say that it has all pieces"):
        ask(one.port, deadline_s=0.5)


def test_one_that_does_not_answer_requests_does_not_serve(peer: Callable[..., FakePeer]) -> None:
    one = peer((HAVE_ALL, b""), (UNCHOKE, b""), answer=False)
    with pytest.raises(NotServedError, match="3 pieces that were asked for did not come in time"):
        ask(one.port, deadline_s=0.5)


def test_a_busy_one_that_has_all_is_believed(
    peer: Callable[..., FakePeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHOKED_S", 0.2)
    assert ask(peer((HAVE_ALL, b"")).port) == 0
    with pytest.raises(NotServedError):
        ask(peer((BITFIELD, b"\x80")).port)


def test_a_busy_one_is_asked_for_what_it_allows(
    peer: Callable[..., FakePeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHOKED_S", 0.5)
    one = peer((HAVE_ALL, b""), (ALLOWED_FAST, struct.pack(">I", 1)))
    assert ask(one.port) == 1
    assert one.asked == [1]


def test_what_is_rejected_is_asked_for_again(peer: Callable[..., FakePeer]) -> None:
    rejected = struct.pack(">III", 0, 0, PIECE)
    one = peer((HAVE_ALL, b""), (UNCHOKE, b""), (REJECT, rejected), (CHOKE, b""), (UNCHOKE, b""))
    assert ask(one.port) == 3


def test_another_socket_is_tried(peer: Callable[..., FakePeer]) -> None:
    assert ask(free_port(), peer((HAVE_ALL, b""), (UNCHOKE, b"")).port) == 3


@pytest.mark.parametrize(
    ("handshake", "said"),
    [(b"HTTP/1.1 400 Bad Request".ljust(68), "not a BitTorrent peer"), (b"", "did not answer")],
)
def test_one_that_is_no_peer_is_told(
    peer: Callable[..., FakePeer], handshake: bytes, said: str
) -> None:
    with pytest.raises(NotServedError, match=said):
        ask(peer(handshake=handshake).port, deadline_s=0.5)


def test_one_that_nobody_listens_at_is_told() -> None:
    with pytest.raises(NotServedError, match=r"Connection refused") as caught:
        ask(free_port())
    assert "firewall" in caught.value.hint


def test_waiting_for_a_session_to_listen_may_be_stopped() -> None:
    with pytest.raises(InterruptedByUserError):
        probe(list, MANIFEST, [0], wait=lambda _seconds: True)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (struct.pack(">I", 1 << 30), "message of 1073741824 bytes"),
        (struct.pack(">IBI", 5, HAVE, 1000), "kind 4 cut short"),
        (struct.pack(">IB", 1, REJECT), "kind 16 cut short"),
        (struct.pack(">IBI", 5, BLOCK, 0), "kind 7 cut short"),
    ],
)
def test_messages_that_make_no_sense_are_told(
    peer: Callable[..., FakePeer], raw: bytes, said: str
) -> None:
    with pytest.raises(NotServedError, match=said):
        ask(peer(raw=raw).port)


def test_keeping_alive_and_blocks_that_nobody_asked_for_are_passed_over(
    peer: Callable[..., FakePeer],
) -> None:
    unasked = struct.pack(">II", 0, 0) + bytes(PIECE)
    one = peer((BLOCK, unasked), (HAVE_ALL, b""), (UNCHOKE, b""), raw=bytes(4))
    assert ask(one.port) == 3, "with the content of those that were asked for"


def test_one_that_hangs_up_is_told(peer: Callable[..., FakePeer]) -> None:
    with pytest.raises(NotServedError, match=r"closed the connection|Broken pipe|reset by peer"):
        ask(peer((HAVE_ALL, b""), hangs_up=True).port)


def test_a_session_that_does_not_listen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LISTEN_S", -1.0)
    with pytest.raises(NotServedError, match="does not listen on any address") as caught:
        probe(list, MANIFEST, [0], wait=lambda _seconds: False)
    assert "[session] listen" in caught.value.hint


def test_a_session_that_does_not_listen_yet_is_waited_for(peer: Callable[..., FakePeer]) -> None:
    one = peer((HAVE_ALL, b""), (UNCHOKE, b""))
    found = iter([[], [], [(HOST, one.port)]])
    assert probe(lambda: next(found), MANIFEST, [0], wait=lambda _seconds: False) == 1
