"""What a torrent says of where its content can be had."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from torsync.model.config import FeedConfig, PublicationConfig
from torsync.publish import sources
from torsync.publish.feed import Feed
from torsync.publish.feed import address as feed_address
from torsync.publish.sources import find_sources, own_node
from torsync.publish.web_seed_check import web_seed_url

if TYPE_CHECKING:
    import socket


@pytest.mark.parametrize(
    ("endpoints", "feed_url", "outward", "expected"),
    [
        ([], "", "198.51.100.7", None),
        ([("127.0.0.1", 1), ("198.51.100.7", 2)], "", "198.51.100.7", ("198.51.100.7", 2)),
        ([("0.0.0.0", 1)], "", "198.51.100.7", ("198.51.100.7", 1)),
        ([("::", 1), ("::1", 2)], "", "2001:db8::7", ("2001:db8::7", 1)),
        ([("127.0.0.1", 1)], "", "198.51.100.7", ("127.0.0.1", 1)),
        ([("192.0.2.5", 1), ("127.0.0.1", 2)], "", "", ("192.0.2.5", 1)),
        ([("fe80::1%eth0", 1), ("192.0.2.5", 2)], "", "", ("192.0.2.5", 2)),
        ([("198.51.100.7", 2)], "https://pub.example/x", "198.51.100.7", ("pub.example", 2)),
        ([("198.51.100.7", 2)], "http://127.0.0.1:80", "198.51.100.7", ("198.51.100.7", 2)),
        ([("198.51.100.7", 2)], "http://localhost", "198.51.100.7", ("198.51.100.7", 2)),
        ([("127.0.0.1", 2)], "http://[::1]:8080", "", ("127.0.0.1", 2)),
        ([("0.0.0.0", 1)], "", "", None),
    ],
)
def test_the_publishers_address_is_one_that_others_reach(
    endpoints: list[tuple[str, int]],
    feed_url: str,
    outward: str,
    expected: tuple[str, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "outward_address", lambda _families: outward)
    assert own_node(endpoints, feed_url) == expected


@pytest.mark.parametrize("base", ["http://seed.example/files", "http://seed.example/files/"])
def test_a_web_seed_has_a_file_below_the_root_name(base: str) -> None:
    found = web_seed_url(base, "pack #1", "a b/ü%?.bin")
    assert found == "http://seed.example/files/pack%20%231/a%20b/%C3%BC%25%3F.bin"


@pytest.mark.parametrize("listening", ["0.0.0.0", "127.0.0.1"])
def test_what_the_release_before_says_stays_until_there_is_a_network(
    listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def address(families: tuple[socket.AddressFamily, ...]) -> str:
        return outward

    for module in (sources, feed_address):
        monkeypatch.setattr(module, "outward_address", address)
    feed = Feed(FeedConfig(("0.0.0.0", 0)), lambda _event: None)
    around = SimpleNamespace(
        seed=True, pool=lambda: SimpleNamespace(endpoints=lambda: [(listening, 7)])
    )
    before: Any = SimpleNamespace(
        facts=SimpleNamespace(info_hash="aa"),
        manifest=SimpleNamespace(
            web_seeds=("http://192.0.2.5:80/content/aa/",), nodes=(("192.0.2.5", 7),)
        ),
    )
    config = PublicationConfig("pack", Path("/pack"))

    def find() -> sources.Sources:
        return find_sources(config, around, feed, before, "bb")  # type: ignore[arg-type]

    outward = ""
    feed.start()
    try:
        assert find() == sources.Sources(
            (), ("http://192.0.2.5:80/content/bb/",), (("192.0.2.5", 7),)
        )
        outward, listening = "192.0.2.9", "192.0.2.9"
        assert find().nodes == (("192.0.2.9", 7),)
        assert find().web_seeds == (f"{feed.url}/content/bb/",)
        assert feed.url.startswith("http://192.0.2.9:")
    finally:
        feed.close()
