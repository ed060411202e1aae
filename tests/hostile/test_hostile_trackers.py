"""Trackers that answer garbage, lead elsewhere, name thousands of peers, or say nothing at all."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import bencode2
import pytest

from tests.support.packed import make_packed
from tests.support.processes import HOST
from tests.support.scripted_http import Drip, Endless, Hang, Reset, ScriptedServer, reply
from tests.support.torrents import with_trackers
from tests.support.trees import tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Publisher, Torsync
    from tests.support.scripted_http import Step

MIB = 1024**2
CONTENT = {"a": MIB, "b": 70_000}
STEERING = b"\x1b]0;owned\x07\x1b[2Jred\r\nnext line \xe2\x80\xae"
MANY = b"".join(b"\x7f" + struct.pack(">HB", at, 1) + struct.pack(">H", 1) for at in range(5000))


def said(**values: object) -> bytes:
    pairs = sorted(values.items())
    return reply(body=bencode2.bencode({key.replace("_", " ").encode(): v for key, v in pairs}))


ANSWERS: dict[str, list[Step]] = {
    "garbage": [reply(body=bytes(range(256)) * 100)],
    "no HTTP": [bytes(range(256)) * 100],
    "a bomb of lists": [reply(body=b"l" * 500_000)],
    "endless": [reply(length=None), Endless(b"d8:intervali1e5:peers" + bytes(60_000))],
    "a loop": [lambda request: reply(302, {"Location": request.path})],
    "a file": [reply(302, {"Location": "file:///etc/passwd"})],
    "a drip": [reply(length=1000), Drip(b"d8:interval" + bytes(500), 0.5)],
    "silence": [Hang()],
    "a reset": [Reset()],
    "steering": [said(failure_reason=STEERING)],
    "no interval": [said(interval=0, min_interval=0, peers=b"")],
    "a long interval": [said(interval=2**31, min_interval=2**31, peers=b"")],
    "a huge interval": [said(interval=2**63 - 1, min_interval=-(2**63), peers=b"")],
    "thousands of peers": [said(interval=60, peers=MANY)],
    "half a peer": [said(interval=60, peers=b"\x7f\0\0\x01\x1a")],
    "peers that are none": [said(interval=60, peers=[{b"ip": b"\xff" * 300, b"port": -1}] * 99)],
    "an address as name": [
        said(interval=60, peers=b"", external_ip=b"\0\0\0\0", tracker_id=b"\n" * 99)
    ],
}


class UdpTracker:
    """Answers each datagram (BEP 15) with what it is given; counts them."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(0.05)
        self.url = f"udp://{HOST}:{self._socket.getsockname()[1]}/announce"
        self.heard = 0
        self._answer = answer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @contextmanager
    def running(self) -> Iterator[UdpTracker]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                data, sender = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.heard += 1
            self._socket.sendto(self._answer(data), sender)


def connected(data: bytes) -> bytes:
    return struct.pack(">II", 0, struct.unpack_from(">I", data, 12)[0]) + b"\1" * 8


def announced(data: bytes, rest: bytes) -> bytes:
    action, transaction = struct.unpack_from(">II", data, 8)
    return connected(data) if not action else struct.pack(">II", action, transaction) + rest


def refused(data: bytes) -> bytes:
    action, transaction = struct.unpack_from(">II", data, 8)
    return connected(data) if not action else struct.pack(">II", 3, transaction) + STEERING


UDP_ANSWERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda _data: b"",
    lambda _data: bytes(1500),
    lambda data: data,
    lambda data: connected(data)[:9],
    lambda data: announced(data, b""),
    lambda data: announced(data, struct.pack(">III", 0, 2**31, 2**31) + MANY[:1400]),
    lambda data: announced(data, struct.pack(">III", 2**32 - 1, 2**32 - 1, 0) + MANY[:7]),
    refused,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", CONTENT)


def test_beside_them_all_a_peer_makes_the_tree_right(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    torrent = make_packed(folder)
    publisher.publish(torrent, folder, upload_limit=MIB // 4)
    torsync.session["settings"] = {"announce_to_all_trackers": True}
    with ExitStack() as stack:
        http = [stack.enter_context(ScriptedServer(each)) for each in ANSWERS.values()]
        udp = [stack.enter_context(UdpTracker(each).running()) for each in UDP_ANSWERS]
        urls = [*(f"{each.url}/announce" for each in http), *(each.url for each in udp)]
        publisher.announce(with_trackers(torrent, urls))
        outcome = torsync.run("check-now", "--timeout", "40s").assert_ok()
        assert tree_bytes(torsync.tree) == tree_bytes(folder)
        unasked = [name for name, each in zip(ANSWERS, http, strict=True) if not each.connections]
        assert not unasked
        assert all(each.heard for each in udp)
        at_leisure = {"a loop", "a reset", "no HTTP"}  # tried again
        counts = {n: e.connections for n, e in zip(ANSWERS, http, strict=True)}
        assert max(count for name, count in counts.items() if name not in at_leisure) < 20, counts
    assert {one["code"] for one in outcome.notices} == {"tracker_failed"}


def test_what_a_tracker_says_does_not_steer_the_terminal(
    torsync: Torsync, publisher: Publisher, folder: Path
) -> None:
    with ScriptedServer(ANSWERS["steering"]) as server:
        publisher.announce(with_trackers(make_packed(folder), [f"{server.url}/announce"]))
        command = torsync.command("check-now", "--timeout", "2s")
        command.remove("--json")
        shown = subprocess.run(command, capture_output=True, env=torsync.environment(), timeout=90)
    assert shown.returncode == 3
    assert b"owned" in shown.stderr
    assert not {*shown.stdout, *shown.stderr} & {0x1B, 0x07, 0x0D}
    assert "\u202e".encode() not in shown.stdout + shown.stderr
    assert tree_bytes(torsync.tree) == {}


@pytest.mark.parametrize("kind", ["thousands of peers", "silence", "no interval"])
def test_alone_the_update_ends_when_patience_does(
    torsync: Torsync, publisher: Publisher, folder: Path, kind: str
) -> None:
    with ScriptedServer(ANSWERS[kind]) as server:
        publisher.announce(with_trackers(make_packed(folder), [f"{server.url}/announce"]))
        torsync.subscribe(peers=[])
        outcome = torsync.run("check-now", "--timeout", "3s")
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "no_peers"
        assert 0 < server.connections < 5
    assert tree_bytes(torsync.tree) == {}
