"""Where the feed listens, and the URL that it tells others."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing

import pytest

from torsync.model.config import FeedConfig
from torsync.model.errors import FeedError
from torsync.publish.feed import address
from torsync.publish.feed.address import listen, outward_address, public_url


@pytest.mark.parametrize(
    ("host", "url", "expected"),
    [
        ("192.0.2.1", "", "http://192.0.2.1:8080"),
        ("2001:db8::1", "", "http://[2001:db8::1]:8080"),
        ("mods.example", "", "http://mods.example:8080"),
        ("0.0.0.0", "https://mods.example", "https://mods.example"),
        ("::", "https://mods.example/feed/", "https://mods.example/feed"),
    ],
)
def test_what_is_configured_is_told(host: str, url: str, expected: str) -> None:
    assert public_url(FeedConfig((host, 0), url), 8080) == expected


@pytest.mark.parametrize(
    ("host", "found", "expected"),
    [
        ("0.0.0.0", {socket.AF_INET: "198.51.100.7"}, "198.51.100.7"),
        ("*", {socket.AF_INET: "198.51.100.7"}, "198.51.100.7"),
        ("::", {socket.AF_INET: "198.51.100.7", socket.AF_INET6: "2001:db8::7"}, "198.51.100.7"),
        ("::", {socket.AF_INET6: "2001:db8::7"}, "[2001:db8::7]"),
        ("0.0.0.0", {socket.AF_INET6: "2001:db8::7"}, "name.example"),
        ("0.0.0.0", {}, "name.example"),
        ("0.0.0.0", {socket.AF_INET: "127.0.0.1"}, "name.example"),
    ],
)
def test_for_a_wildcard_the_outward_address_is_told(
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    found: dict[socket.AddressFamily, str],
    expected: str,
) -> None:
    class Probe:
        def __init__(self, family: socket.AddressFamily, kind: socket.SocketKind) -> None:
            assert kind is socket.SOCK_DGRAM
            self.family = family

        def __enter__(self) -> Probe:  # noqa: PYI034
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, _address: tuple[str, int]) -> None:
            if self.family not in found:
                raise OSError(101, "Network is unreachable")

        def getsockname(self) -> tuple[str, int]:
            return found[self.family], 1

    monkeypatch.setattr(address.socket, "socket", Probe)
    monkeypatch.setattr(address.socket, "gethostname", lambda: "name.example")
    monkeypatch.setattr(address.socket, "getaddrinfo", lambda *_: [])
    assert public_url(FeedConfig((host, 0)), 8080) == f"http://{expected}:8080"


@pytest.mark.parametrize("host", ["x" * 70, "a..b"])
def test_what_is_no_name_is_told(host: str) -> None:
    with pytest.raises(FeedError, match="no address for") as caught:
        listen(host, 0)
    assert "listen in [feed]" in caught.value.hint


def test_a_name_that_nobody_knows_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "outward_address", lambda _families: "")
    monkeypatch.setattr(address.socket, "gethostname", lambda: "no.such.host.invalid")
    assert public_url(FeedConfig(("0.0.0.0", 0)), 8080) == "http://127.0.0.1:8080"


def test_the_outward_address_is_one_of_this_machine() -> None:
    found = outward_address((socket.AF_INET, socket.AF_INET6))
    if not found:
        pytest.skip("this machine has no route to anywhere")
    family = socket.AF_INET6 if ipaddress.ip_address(found).version == 6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((found, 0))


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1"]),
    ],
)
def test_it_listens_where_it_says(host: str, reachable: list[str]) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        if ":" in host:
            pytest.skip("this machine has no IPv6")
    with closing(listen(host, 0)) as listener:
        port = listener.getsockname()[1]
        assert port
        for to in reachable:
            socket.create_connection((to, port), timeout=5).close()
