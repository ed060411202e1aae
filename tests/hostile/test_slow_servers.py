"""Those who keep a server's connections: others are served all the same."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import requests

from tests.support.control import running_api
from tests.support.feeds import PublicFeed, released, running_feed
from tests.support.packed import make_packed
from tests.support.processes import HOST
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MOST = 30
DEADLINE_S = 30.0
BEGUN = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "


def crowd(stack: ExitStack, port: int, count: int) -> list[socket.socket]:
    """Connections that have sent a part of a request, and stay."""
    found = []
    for _ in range(count):
        one = stack.enter_context(socket.create_connection((HOST, port), DEADLINE_S))
        one.sendall(BEGUN)
        found.append(one)
    return found


def test_a_crowd_that_sends_requests_slowly_keeps_nobody_from_the_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torsync.publish.feed.running._connection_limit", lambda: MOST)
    folder = write_tree(tmp_path / "pack", {"a": 300_000})
    with running_feed() as feed, ExitStack() as stack:
        release = feed.show(released(folder, make_packed(folder)))
        for _ in range(3):
            crowd(stack, feed.port, MOST)
            assert is_served(feed, feed.content_path(release, "a"), folder / "a")


def is_served(feed: PublicFeed, path: str, file: Path) -> bool:
    return requests.get(feed.url + path, timeout=DEADLINE_S).content == file.read_bytes()


def test_a_crowd_keeps_nobody_from_the_control_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torsync.service.control.server._CONNECTIONS", MOST)
    with running_api(tmp_path) as api, ExitStack() as stack:
        port = int(api.server.url.rpartition(":")[2])
        for _ in range(3):
            crowd(stack, port, MOST)
            assert api.ask("GET", "/nothing").status == 404
