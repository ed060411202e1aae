"""Asking a UDP tracker (BEP 15) that answers badly, late, or for somebody else."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.processes import HOST
from torsync.swarm import udp_tracker as module
from torsync.swarm.udp_tracker import PORT_OF_NOBODY, Announced, TrackerError, ask_tracker

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT, ANNOUNCE, SCRAPE, ERROR = 0, 1, 2, 3
CONNECTION = b"who asks"
INFO_HASH = b"h" * 32
SEEDS_AND_LEECHERS = struct.pack(">III", 1800, 2, 0)  # interval, leechers, seeds
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked twice because this machine is slow."""
    monkeypatch.setattr(module, "_AGAIN_S", PATIENCE_S)


class Asked(NamedTuple):
    """A datagram that came in."""

    action: int
    transaction: bytes
    connection: bytes
    body: bytes


class FakeTracker:
    """Answers each datagram with what ``answers`` gives for it; right answers otherwise."""

    def __init__(self, answers: Callable[[Asked], list[bytes] | None]) -> None:
        self._answers = answers
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self.asked: list[Asked] = []
        self.has_left = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            packet, whence = self._socket.recvfrom(4096)
            if not packet:
                return
            asked = Asked(
                int.from_bytes(packet[8:12], "big"), packet[12:16], packet[:8], packet[16:]
            )
            self.asked.append(asked)
            answers = self._answers(asked)
            for answer in right(asked) if answers is None else answers:
                self._socket.sendto(answer, whence)
            if asked.action == ANNOUNCE and event(asked) == 3:
                self.has_left.set()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", (HOST, self.port))
        self._thread.join()
        self._socket.close()

    def actions(self) -> list[int]:
        return [one.action for one in self.asked]


def event(asked: Asked) -> int:
    """What an announce is for: 0 as it goes, 3 to leave."""
    return int.from_bytes(asked.body[64:68], "big")


def answer(asked: Asked, body: bytes, *, action: int | None = None) -> bytes:
    code = asked.action if action is None else action
    return struct.pack(">I", code) + asked.transaction + body


def right(asked: Asked) -> list[bytes]:
    bodies = {
        CONNECT: CONNECTION,
        SCRAPE: struct.pack(">III", 0, 9, 1),  # no seed, so that it is asked on
        ANNOUNCE: SEEDS_AND_LEECHERS[:12] + b"\x7f\0\0\1\x1a\xe1" * 2,
    }
    return [answer(asked, bodies[asked.action])]


def ask(tracker: FakeTracker, *, timeout_s: float = PATIENCE_S) -> Announced:
    return ask_tracker(socket.AF_INET, HOST, tracker.port, INFO_HASH, timeout_s=timeout_s)


def only(action: int, *bodies: bytes, as_action: int | None = None) -> Callable[[Asked], object]:
    """Answer one kind of request with these bodies, and the other ones right."""
    return lambda asked: (
        [answer(asked, body, action=as_action) for body in bodies]
        if asked.action == action
        else None
    )


def test_a_tracker_that_knows_a_seed_is_asked_no_more() -> None:
    with closing(FakeTracker(only(SCRAPE, struct.pack(">III", 3, 9, 2)))) as tracker:
        assert ask(tracker) == Announced(seeds=3, leechers=2, peers=0)
        assert tracker.actions() == [CONNECT, SCRAPE]
        assert tracker.asked[1].connection == CONNECTION
        assert tracker.asked[1].body == INFO_HASH[:20]


@pytest.mark.parametrize(
    "answers",
    [
        only(SCRAPE, b"no such thing", as_action=ERROR),
        only(SCRAPE, b"short"),
        lambda _asked: None,
    ],
    ids=["refuses", "cut short", "no seed"],
)
def test_who_asks_joins_for_a_moment_where_a_scrape_tells_of_no_seed(
    answers: Callable[[Asked], list[bytes] | None],
) -> None:
    with closing(FakeTracker(answers)) as tracker:
        found = ask(tracker)
        assert tracker.has_left.wait(PATIENCE_S)
        joined, left = (one for one in tracker.asked if one.action == ANNOUNCE)
    assert found == Announced(seeds=0, leechers=1, peers=2), "it is no leecher itself"
    assert (event(joined), event(left)) == (0, 3)
    assert joined.body[:20] == INFO_HASH[:20]
    assert joined.body[20:40] == left.body[20:40], "as the same peer"
    assert int.from_bytes(joined.body[-2:], "big") == PORT_OF_NOBODY


def test_answers_to_others_and_to_other_questions_are_not_taken() -> None:
    def strangers_first(asked: Asked) -> list[bytes]:
        other = asked._replace(transaction=bytes(255 - byte for byte in asked.transaction))
        return [
            answer(other, b"", action=ERROR),
            answer(other, bytes(20)),
            answer(asked, bytes(20), action=asked.action + 7),
            b"",
            *right(asked),
        ]

    with closing(FakeTracker(strangers_first)) as tracker:
        assert ask(tracker) == Announced(seeds=0, leechers=1, peers=2)


def test_what_got_lost_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.1)
    seen: list[bytes] = []

    def answer_the_third(asked: Asked) -> list[bytes] | None:
        if asked.action != CONNECT:
            return None
        seen.append(asked.transaction)
        return None if len(seen) >= 3 else []

    with closing(FakeTracker(answer_the_third)) as tracker:
        assert ask(tracker).peers == 2
    assert len(set(seen)) == len(seen), "each time under another number"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (only(CONNECT, b"1234567"), "too few bytes"),
        (only(CONNECT, b"closed \xff", as_action=ERROR), "refuses: closed \ufffd"),
        (only(ANNOUNCE, b"12345678901"), "cut short"),
        (only(ANNOUNCE, b"banned", as_action=ERROR), "refuses: banned"),
    ],
)
def test_an_answer_that_is_of_no_use_is_told(
    answers: Callable[[Asked], list[bytes] | None], said: str
) -> None:
    with closing(FakeTracker(answers)) as tracker, pytest.raises(TrackerError) as caught:
        ask(tracker)
    assert said in caught.value.message


def test_no_time_is_no_answer() -> None:
    said = pytest.raises(TrackerError, match="no answer within 0 s")
    with closing(FakeTracker(right)) as tracker, said:
        ask(tracker, timeout_s=0)
