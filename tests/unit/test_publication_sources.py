"""What a torrent says of where its content can be had."""

from __future__ import annotations

import pytest

from torsync.publish import sources
from torsync.publish.sources import own_node
from torsync.publish.web_seed_check import web_seed_url


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
