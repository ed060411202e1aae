"""What a web server sends: to a poll, to a request for hints, and to one that it shall hold.

All of requests, urllib3 and http.client is there; only connections are replaced, by pairs of
sockets of which one end has the answer already.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any
from unittest import mock

import urllib3

from tests.hostile.fuzz.oracle import judged
from torsync.model.errors import RemoteError
from torsync.model.hints.format import Range
from torsync.subscribe.remote.http import hold
from torsync.subscribe.remote.poll import Fetched, NotModified, Remote, Timeouts, Validators
from torsync.subscribe.remote.ranges import RemoteHints
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 32 * 1024  # has to fit into the buffer of a socket
_URL = "http://user:secret@host.example/folder/a.torrent?token=secret"
_MOST_BODY = 64 * 1024
_TIMEOUTS = Timeouts(connect_s=5.0, read_s=5.0, total_s=20.0, attempts=2)
_SEPARATOR = b"\n--\n"  # between the answers of one connection after the other


class _Connected(socket.socket):
    """One end of a pair that says it leads to the internet."""

    def getpeername(self) -> tuple[str, int]:
        return "93.184.216.34", 80


class _Connections:
    """Gives a socket for each connection that is made; the last answer is given again."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self._made = 0
        self._open = ExitStack()

    def make(self, _address: Any, *_args: Any, **_kwargs: Any) -> socket.socket:
        answer = self._answers[min(self._made, len(self._answers) - 1)]
        self._made += 1
        ours, theirs = socket.socketpair()
        self._open.enter_context(theirs)
        theirs.setblocking(False)
        sent = theirs.send(answer) if answer else 0
        assert sent == len(answer)
        theirs.shutdown(socket.SHUT_WR)
        return _Connected(fileno=ours.detach())

    def close(self) -> None:
        self._open.close()


def try_one(data: bytes) -> None:
    """Give the bytes as answers; the first of them says what is asked."""
    if not data:
        return
    connections = _Connections(data[1:].split(_SEPARATOR)[:16])
    ways = (_poll, _poll_conditionally, _ask_for_parts, _hold)
    with (
        closing(connections),
        mock.patch.object(urllib3.util.connection, "create_connection", connections.make),
        mock.patch.dict("os.environ", {"NO_PROXY": "*"}),
        judged() as outcome,
    ):
        ways[data[0] % len(ways)]()
    if outcome.error is not None:
        assert isinstance(outcome.error, (RemoteError, HintsUnavailableError))
        for text in (outcome.error.message, outcome.error.hint):
            assert "secret" not in text.replace(data.decode("latin-1"), ""), text
            assert text.isprintable(), text


def _poll(validators: Validators | None = None) -> None:
    remote = Remote(
        _URL,
        headers={"X-Key": "value"},
        max_bytes=_MOST_BODY,
        timeouts=_TIMEOUTS,
        environ={},
        wait=lambda _seconds: False,
        random=lambda: 0.0,
    )
    found = remote.poll(validators)
    if isinstance(found, Fetched):
        assert found.body.startswith(b"d")
        assert len(found.body) <= _MOST_BODY
        for value in (found.validators.etag, found.validators.last_modified):
            assert value.isprintable()
            assert value.isascii()
    else:
        assert validators is not None
        assert isinstance(found, NotModified)


def _poll_conditionally() -> None:
    _poll(Validators('"tag"', "Wed, 21 Oct 2015 07:28:00 GMT"))


def _ask_for_parts() -> None:
    wanted = (Range(0, 32), Range(40, 10), Range(9000, 5), Range(0, 4))
    hints = RemoteHints(
        "http://host.example/a.torrent.hints",
        origin=_URL,
        max_bytes=_MOST_BODY,
        timeouts=_TIMEOUTS,
        environ={},
    )
    with closing(hints):
        for asked in _split(wanted):
            found = hints.read(asked)
            assert [len(part) for part in found] == [one.length for one in asked]
        assert hints.bytes_received <= _MOST_BODY


def _split(wanted: tuple[Range, ...]) -> Iterator[tuple[Range, ...]]:
    yield wanted[:1]
    yield wanted[1:]


def _hold() -> None:
    held = hold(
        _URL,
        headers={},
        conditions={"If-None-Match": '"tag"'},
        wait_s=1,
        timeouts=_TIMEOUTS,
        deadline=time.monotonic() + _TIMEOUTS.total_s,
        on_socket=lambda _socket: None,
    )
    assert 0 <= held.status <= 999
