"""What the feed has in memory for clients that ask for much and take nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.feeds import NAME, released
from tests.support.packed import make_packed
from tests.support.trees import write_tree
from torsync.publish.feed.app import FeedApp
from torsync.publish.feed.catalogue import Catalogue
from torsync.publish.feed.content import CHUNK_BYTES

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 300
SIZE_BYTES = 2 * CHUNK_BYTES
DEADLINE_S = 30


async def sent_to_clients_that_take_nothing(app: FeedApp, path: str) -> list[int]:
    """Ask for the same in many connections; the bytes that each was sent before it took any."""
    sent: list[int] = []
    all_sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            sent.append(len(message["body"]))
            if len(sent) == CLIENTS:
                all_sent.set()
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    asked = [asyncio.ensure_future(app(scope, receive, send)) for _ in range(CLIENTS)]
    await asyncio.wait_for(all_sent.wait(), DEADLINE_S)
    for one in asked:
        one.cancel()
    await asyncio.wait(asked)
    return sent


@pytest.mark.parametrize("what", ["file", "pad", "torrent", "hints"])
def test_many_clients_that_take_nothing_fill_little_memory(tmp_path: Path, what: str) -> None:
    folder = write_tree(tmp_path / "pack", {"big.bin": SIZE_BYTES})
    torrent = make_packed(folder) + bytes(SIZE_BYTES)
    release = replace(
        released(folder, make_packed(folder)), metainfo=torrent, hints=folder / "big.bin"
    )
    catalogue = Catalogue()
    catalogue.publish(NAME, release, lambda _name, _path: None)
    content = f"/content/{release.info_hash}/{release.root_name}"
    paths = {
        "file": f"{content}/big.bin",
        "pad": f"{content}/.pad/{SIZE_BYTES}",
        "torrent": f"/{NAME}.torrent",
        "hints": f"/{NAME}.torrent.hints",
    }
    with ThreadPoolExecutor(4) as readers:
        sent = asyncio.run(
            sent_to_clients_that_take_nothing(FeedApp(catalogue, readers), paths[what])
        )
    assert sum(sent) < 64 * CHUNK_BYTES + CLIENTS * CHUNK_BYTES / 8
