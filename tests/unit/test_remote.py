"""The poll, against a server on loopback that sends every kind of wrong answer."""

from __future__ import annotations

import errno
import gzip
import hashlib
import itertools
import os
import socket
import ssl
import subprocess
import sys
import time
import traceback
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.certificates import self_signed
from tests.support.scripted_http import Drip, Endless, Hang, Reset, ScriptedServer, reply
from torsync.model.errors import (
    ConfigError,
    InterruptedByUserError,
    RemoteInvalidError,
    RemoteUnreachableError,
)
from torsync.subscribe.remote.body import BodyDecoder
from torsync.subscribe.remote.failures import request_failure
from torsync.subscribe.remote.poll import Fetched, NotModified, Remote, Timeouts, Validators
from torsync.subscribe.remote.rules import (
    TransientError,
    changed_lately,
    mask_url,
    may_send_headers,
    parse_retry_after_s,
    retry_delay_s,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b"d4:infod4:name4:packee"
NOW = datetime(2024, 5, 17, 12, 0, tzinfo=timezone.utc)
FAST = Timeouts(connect_s=5, read_s=5, total_s=20)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


class Waits(list[float]):
    """A ``wait`` that records instead of sleeping, and says stop after some calls."""

    stop_after = 1000

    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return len(self) >= self.stop_after


@pytest.fixture
def waits() -> Waits:
    return Waits()


def remote(url: str, waits: Waits, **options: Any) -> Remote:
    defaults: dict[str, Any] = {"timeouts": FAST, "wait": waits, "random": lambda: 0.5}
    return Remote(url, **{**defaults, **options})


def fetch(url: str, waits: Waits, **options: Any) -> Fetched:
    fetched = remote(url, waits, **options).poll()
    assert isinstance(fetched, Fetched)
    return fetched


# Conditional requests


def test_a_first_poll_sends_no_condition_and_returns_body_digest_and_validators(
    waits: Waits,
) -> None:
    given = {"ETag": '"v1"', "Last-Modified": "Fri, 17 May 2024 12:00:00 GMT"}
    with ScriptedServer([reply(200, given, BODY)]) as server:
        fetched = fetch(f"{server.url}/x.torrent", waits)
    assert fetched == Fetched(
        BODY,
        hashlib.sha256(BODY).hexdigest(),
        Validators('"v1"', "Fri, 17 May 2024 12:00:00 GMT"),
    )
    assert not {"if-none-match", "if-modified-since"} & set(server.requests[0].headers)
    assert server.requests[0].headers["user-agent"].startswith("torsync/")
    assert waits == []


def test_validators_are_sent_back_and_304_means_not_modified(waits: Waits) -> None:
    with ScriptedServer([reply(304, length=None)]) as server:
        result = remote(server.url, waits).poll(Validators('W/"1"', "yesterday"))
    assert result == NotModified()
    assert server.requests[0].headers["if-none-match"] == 'W/"1"'
    assert server.requests[0].headers["if-modified-since"] == "yesterday"


@pytest.mark.parametrize(
    ("modified", "date", "lately"),
    [
        ("Fri, 17 May 2024 12:00:00 GMT", "Fri, 17 May 2024 12:00:01 GMT", True),
        ("Fri, 17 May 2024 12:00:00 GMT", "Fri, 17 May 2024 12:00:02 GMT", False),
        ("Fri, 17 May 2024 12:00:09 GMT", "Fri, 17 May 2024 12:00:00 GMT", True),
        ("", "Fri, 17 May 2024 12:00:00 GMT", False),
        ("Fri, 17 May 2024 12:00:00 GMT", "", False),
        ("yesterday", "Fri, 17 May 2024 12:00:00 GMT", False),
    ],
)
def test_what_changed_lately_may_change_again_unseen(
    modified: str, date: str, lately: bool
) -> None:
    assert changed_lately(modified, date) is lately


@pytest.mark.parametrize(
    "given",
    [
        {"ETag": "*"},
        {"ETag": '"1", "2"'},
        {"ETag": '"' + "x" * 2000 + '"'},
        {"ETag": '"1\x0b"'},
        {"ETag": "\u00e9"},
        {"Last-Modified": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"Last-Modified": "\x0bFri, 17 May 2024 12:00:00 GMT"},
        {"Last-Modified": "yesterday"},
    ],
    ids=lambda given: repr(given)[:40],
)
def test_validators_that_would_hide_later_releases_are_not_kept(
    given: dict[str, str], waits: Waits
) -> None:
    with ScriptedServer([reply(200, given, BODY)]) as server:
        fetched = fetch(server.url, waits)
        assert fetched.validators == Validators()
        assert remote(server.url, waits).poll(fetched.validators) == fetched


@pytest.mark.parametrize("etag", ['"a-b,c"', 'W/"1"', '""', "66476a80-1f4", "W/1"])
def test_usual_entity_tags_are_kept(etag: str, waits: Waits) -> None:
    with ScriptedServer([reply(200, {"ETag": etag}, BODY)]) as server:
        assert fetch(server.url, waits).validators.etag == etag


@pytest.mark.parametrize("validators", [None, Validators()])
def test_304_to_an_unconditional_request_is_an_error(
    validators: Validators | None, waits: Waits
) -> None:
    with (
        ScriptedServer([reply(304, length=None)]) as server,
        pytest.raises(RemoteInvalidError, match="304"),
    ):
        remote(server.url, waits).poll(validators)


def test_a_server_without_validators_works(waits: Waits) -> None:
    with ScriptedServer([reply(200, body=BODY)]) as server:
        assert fetch(server.url, waits).validators == Validators()


# Attempts


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(status: int, waits: Waits) -> None:
    with ScriptedServer([reply(status)], [reply(status)], [reply(200, body=BODY)]) as server:
        assert fetch(server.url, waits).body == BODY
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize(
    ("first", "found"),
    [
        pytest.param([reply(200, body=BODY[:5], length=len(BODY))], "5 of 22 bytes", id="length"),
        pytest.param(
            [reply(200, {"Transfer-Encoding": "chunked"}, b"5\r\nd4:in\r\nff\r\nfo", length=None)],
            "before the body was complete",
            id="chunked",
        ),
        pytest.param(
            [reply(200, {"Content-Encoding": "gzip"}, gzip.compress(BODY)[:-9], length=None)],
            "of a longer gzip body",
            id="gzip",
        ),
        pytest.param([reply(200, length=22), Reset()], "closed", id="reset-in-body"),
        pytest.param([Reset()], "closed by the other side", id="reset"),
        pytest.param([], "closed by the other side", id="no-answer"),
        pytest.param([b"\x15\x03\x01 what?\r\n\r\n"], "not HTTP", id="no-http"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Le"], "closed by the other side", id="truncated-headers"
        ),
    ],
)
def test_broken_answers_are_tried_again(first: list[Any], found: str, waits: Waits) -> None:
    with ScriptedServer(first, [reply(200, body=BODY)]) as server:
        assert fetch(server.url, waits).body == BODY
    assert waits == [0.25]
    with ScriptedServer(first) as server, pytest.raises(RemoteUnreachableError, match=found):
        remote(server.url, waits, timeouts=Timeouts(attempts=2)).poll()
    assert server.connections == 2


def test_after_the_last_attempt_the_error_says_url_expected_found_and_hint(waits: Waits) -> None:
    with ScriptedServer([reply(503)]) as server, pytest.raises(RemoteUnreachableError) as caught:
        remote(f"{server.url}/x.torrent", waits).poll()
    assert caught.value.message == (
        f"{server.url}/x.torrent: expected a .torrent, "
        "found status 503 (Service Unavailable) (tried 4 times)"
    )
    assert caught.value.hint
    assert server.connections == 4
    assert waits == [0.25, 0.5, 1.0]


def test_retry_after_is_honoured_up_to_the_cap(waits: Waits) -> None:
    scripts = [[reply(429, {"Retry-After": value})] for value in ("7", "86400", "soon")]
    with ScriptedServer(*scripts, [reply(200, body=BODY)]) as server:
        fetch(server.url, waits, timeouts=Timeouts())
    assert waits == [7.0, 30.0, 1.0]


def test_a_refused_connection_is_tried_again(waits: Waits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(RemoteUnreachableError, match=r"refused.*tried 4 times"):
        remote(f"http://127.0.0.1:{port}/", waits).poll()
    assert len(waits) == 3


def test_an_unknown_host_is_tried_again(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(RemoteUnreachableError, match="no address for the host name") as caught:
        remote("http://mods.invalid/x.torrent", waits).poll()
    assert len(waits) == 3
    assert "host name" in caught.value.hint


def test_a_silent_server_is_tried_again(waits: Waits) -> None:
    timeouts = Timeouts(read_s=0.05, attempts=2)
    with (
        ScriptedServer([Hang()]) as server,
        pytest.raises(RemoteUnreachableError, match="no data in time"),
    ):
        remote(server.url, waits, timeouts=timeouts).poll()
    assert server.connections == 2


def test_stop_while_waiting_interrupts_the_poll(waits: Waits) -> None:
    waits.stop_after = 2
    with ScriptedServer([reply(503)]) as server, pytest.raises(InterruptedByUserError):
        remote(server.url, waits).poll()
    assert server.connections == 2


def test_no_wait_goes_beyond_the_total_time(waits: Waits) -> None:
    with (
        ScriptedServer([reply(503, {"Retry-After": "25"})]) as server,
        pytest.raises(RemoteUnreachableError, match="tried once"),
    ):
        remote(server.url, waits).poll()
    assert waits == []


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "check the URL"),
        (401, "check headers"),
        (403, "check headers"),
        (404, "check the URL"),
        (407, "proxy"),
        (410, "check the URL"),
        (501, "check the URL"),
        (204, "check the URL"),
        (206, "check the URL"),
    ],
)
def test_lasting_failures_are_not_tried_again(status: int, hint: str, waits: Waits) -> None:
    with (
        ScriptedServer([reply(status)]) as server,
        pytest.raises(RemoteUnreachableError, match=f"found status {status}") as caught,
    ):
        remote(server.url, waits).poll()
    assert hint in caught.value.hint
    assert server.connections == 1


# Time


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([Drip(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 80, 0.02)], id="headers"),
        pytest.param([reply(200, length=1000), Drip(b"d" * 1000, 0.02)], id="body"),
        pytest.param(
            [
                reply(200, {"Transfer-Encoding": "chunked"}, length=None),
                Drip(b"1\r\nd\r\n" * 200, 0.02),
            ],
            id="chunked",
        ),
        pytest.param([Drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.02)], id="continue"),
    ],
)
def test_a_server_that_dribbles_cannot_hold_the_poll(script: list[Any], waits: Waits) -> None:
    started = time.monotonic()
    with (
        ScriptedServer(script) as server,
        pytest.raises(RemoteUnreachableError, match=r"no complete answer within 0\.3 s"),
    ):
        remote(server.url, waits, timeouts=Timeouts(read_s=15, total_s=0.3)).poll()
    assert time.monotonic() - started < 10
    assert waits == []


# Size and encoding


@pytest.mark.parametrize("length", [None, -1])
def test_a_body_of_exactly_the_limit_is_accepted(length: int | None, waits: Waits) -> None:
    with ScriptedServer([reply(200, body=BODY, length=length)]) as server:
        assert fetch(server.url, waits, max_bytes=len(BODY)).body == BODY


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([reply(200, body=BODY)], id="announced"),
        pytest.param([reply(200, length=None), BODY], id="unannounced"),
        pytest.param([reply(200, length=10**30), Hang()], id="absurd-length"),
        pytest.param([reply(200, length=None), Endless(b"d" * 65536)], id="endless"),
        pytest.param(
            [
                reply(200, {"Transfer-Encoding": "chunked"}, length=None),
                Endless(b"4000\r\n" + b"d" * 0x4000 + b"\r\n"),
            ],
            id="endless-chunks",
        ),
        pytest.param(
            [reply(200, {"Content-Encoding": "gzip"}, gzip.compress(BODY))], id="gzip-decoded"
        ),
    ],
)
def test_a_larger_body_is_refused_at_once(script: list[Any], waits: Waits) -> None:
    with ScriptedServer(script) as server, pytest.raises(RemoteInvalidError) as caught:
        remote(server.url, waits, max_bytes=len(BODY) - 1).poll()
    assert "at most 21 bytes" in caught.value.message
    assert "max_torrent_size" in caught.value.hint
    assert waits == []
    assert sum(server.bytes_sent) < 64 * 1024**2


def test_a_gzip_bomb_is_not_inflated(waits: Waits) -> None:
    bomb = gzip.compress(bytes(100 * 1024**2))
    with (
        ScriptedServer([reply(200, {"Content-Encoding": "gzip"}, bomb)]) as server,
        pytest.raises(RemoteInvalidError, match="at most 1000 bytes"),
    ):
        remote(server.url, waits, max_bytes=1000).poll()


def test_an_endless_encoding_of_nothing_is_refused(waits: Waits) -> None:
    empty_stored_block = b"\x00\x00\x00\xff\xff"
    script = [
        reply(200, {"Content-Encoding": "deflate"}, b"\x78\x9c", length=None),
        Endless(empty_stored_block * 4096),
    ]
    with ScriptedServer(script) as server, pytest.raises(RemoteInvalidError, match="at most"):
        remote(server.url, waits, max_bytes=1000).poll()


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        pytest.param("gzip", gzip.compress(BODY), id="gzip"),
        pytest.param("x-gzip", gzip.compress(BODY), id="x-gzip"),
        pytest.param("gzip", gzip.compress(BODY[:7]) + gzip.compress(BODY[7:]), id="gzip-twice"),
        pytest.param("gzip", gzip.compress(BODY) + bytes(100), id="gzip-and-zeros"),
        pytest.param("deflate", zlib.compress(BODY), id="zlib"),
        pytest.param("deflate", zlib.compress(BODY)[2:-4], id="deflate"),
        pytest.param("identity", BODY, id="identity"),
    ],
)
def test_encodings_are_decoded(encoding: str, encoded: bytes, waits: Waits) -> None:
    with ScriptedServer([reply(200, {"Content-Encoding": encoding}, encoded)]) as server:
        assert fetch(server.url, waits).body == BODY
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_decoding_does_not_depend_on_how_the_bytes_arrive(encoding: str, size: int) -> None:
    encoders = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    encoded = encoders[encoding](BODY * 20)
    decoder = BodyDecoder(encoding, len(BODY) * 20)
    assert all(decoder.feed(encoded[i : i + size]) for i in range(0, len(encoded), size))
    assert decoder.finish() == BODY * 20


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str, waits: Waits) -> None:
    with (
        ScriptedServer([reply(200, {"Content-Encoding": encoding}, BODY)]) as server,
        pytest.raises(RemoteInvalidError, match="Content-Encoding"),
    ):
        remote(server.url, waits).poll()


def test_a_damaged_encoding_is_refused(waits: Waits) -> None:
    with (
        ScriptedServer([reply(200, {"Content-Encoding": "gzip"}, BODY)]) as server,
        pytest.raises(RemoteInvalidError, match="does not decode"),
    ):
        remote(server.url, waits).poll()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "an empty body"),
        (b"\n <!DOCTYPE html><html></html>", "an HTML page (a login page?)"),
        (b"\xef\xbb\xbf<HTML>", "an HTML page (a login page?)"),
        (b"<?xml version='1.0'?><html/>", "an HTML page (a login page?)"),
        (b"\x1f\x8b" + bytes(100), "102 bytes that start with " + repr(b"\x1f\x8b" + bytes(14))),
        (b"<rss/>", "6 bytes that start with b'<rss/>'"),
    ],
)
def test_a_body_that_is_no_torrent_is_named(body: bytes, found: str, waits: Waits) -> None:
    with (
        ScriptedServer([reply(200, body=body)]) as server,
        pytest.raises(RemoteInvalidError) as caught,
    ):
        remote(f"{server.url}/x.torrent", waits).poll()
    assert caught.value.message.endswith(f"/x.torrent: expected a .torrent, found {found}")
    assert caught.value.hint
    assert waits == []


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_condition(status: int, waits: Waits) -> None:
    there = {"Location": "../new.torrent#part"}
    with ScriptedServer([reply(status, there)], [reply(200, {"ETag": "2"}, BODY)]) as server:
        result = remote(f"{server.url}/a/b/x.torrent?t=1", waits).poll(Validators(etag="1"))
    assert isinstance(result, Fetched)
    assert result.validators == Validators(etag="2")
    assert [request.path for request in server.requests] == ["/a/b/x.torrent?t=1", "/a/new.torrent"]
    assert server.requests[1].headers["if-none-match"] == "1"


def test_a_redirect_loop_ends_after_ten(waits: Waits) -> None:
    with (
        ScriptedServer([reply(302, {"Location": "/x"})]) as server,
        pytest.raises(RemoteUnreachableError, match="more than 10"),
    ):
        remote(f"{server.url}/x", waits).poll()
    assert server.connections == 11
    assert waits == []


def test_ten_redirects_are_followed(waits: Waits) -> None:
    hops = [[reply(302, {"Location": f"/{hop}"})] for hop in range(10)]
    with ScriptedServer(*hops, [reply(200, body=BODY)]) as server:
        assert fetch(server.url, waits).body == BODY


def test_the_body_of_a_redirect_is_not_read(waits: Waits) -> None:
    script = [reply(302, {"Location": "/there"}, length=None), Endless(bytes(65536))]
    with ScriptedServer(script, [reply(200, body=BODY)]) as server:
        assert fetch(server.url, waits).body == BODY
    assert sum(server.bytes_sent) < 64 * 1024**2


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("ftp://127.0.0.1/x", '"ftp"'),
        ("file:///etc/passwd", "a file URL"),
        ("javascript:alert(1)", '"javascript"'),
        ("http://[::1/x", "malformed"),
        ("https:///x", "no host"),
        ("http://*.invalid/x", "cannot be requested"),
        ("http://host:99999/x", "malformed"),
        ("", "nothing"),
    ],
)
def test_redirects_that_lead_elsewhere_are_refused(location: str, found: str, waits: Waits) -> None:
    with (
        ScriptedServer([reply(302, {"Location": location})]) as server,
        pytest.raises(RemoteUnreachableError, match=found),
    ):
        remote(server.url, waits).poll()
    assert server.connections == 1


def test_configured_headers_do_not_follow_a_redirect_to_another_host(waits: Waits) -> None:
    headers = {"X-Token": "s3cret", "Authorization": "Bearer s3cret", "User-Agent": "mine"}
    with ScriptedServer([reply(200, body=BODY)]) as other:
        hops = [reply(307, {"Location": "/again"})], [reply(302, {"Location": f"{other.url}/x"})]
        with ScriptedServer(*hops) as server:
            fetch(f"{server.url}/x", waits, headers=headers)
    for request in server.requests:
        assert request.headers["x-token"] == "s3cret"
        assert request.headers["authorization"] == "Bearer s3cret"
        assert request.headers["user-agent"] == "mine"
    assert len(server.requests) == 2
    assert "s3cret" not in str(other.requests)
    assert other.requests[0].headers["user-agent"].startswith("torsync/")


def test_the_password_of_a_url_stays_on_its_host(waits: Waits) -> None:
    with ScriptedServer([reply(200, body=BODY)]) as other:
        hops = [reply(307, {"Location": "/again"})], [reply(302, {"Location": f"{other.url}/x"})]
        with ScriptedServer(*hops) as server:
            fetch(server.url.replace("//", "//user:p%40ss@"), waits)
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == ["Basic dXNlcjpwQHNz"] * 2
    assert "authorization" not in other.requests[0].headers


def test_a_redirect_may_carry_its_own_password(waits: Waits) -> None:
    with ScriptedServer([reply(200, body=BODY)]) as other:
        location = other.url.replace("//", "//guest:guest@")
        with ScriptedServer([reply(302, {"Location": location})]) as server:
            fetch(server.url, waits)
    assert other.requests[0].headers["authorization"] == "Basic Z3Vlc3Q6Z3Vlc3Q="


@pytest.mark.parametrize(
    ("origin", "target", "allowed"),
    [
        ("http://a/x", "http://a/y", True),
        ("http://a/x", "http://a:80/y", True),
        ("http://A/x", "http://a/y", True),
        ("https://a/x", "https://a:443/y", True),
        ("http://a/x", "https://a/y", True),
        ("http://a:8080/x", "https://a:8443/y", True),
        ("http://a/x", "http://a:8080/y", False),
        ("https://a/x", "https://a:8443/y", False),
        ("https://a/x", "http://a/y", False),
        ("http://a/x", "https://b/y", False),
        ("http://a/x", "http://sub.a/y", False),
    ],
)
def test_headers_go_to_their_own_server_only(origin: str, target: str, allowed: bool) -> None:
    assert may_send_headers(origin, target) is allowed


def test_cookies_are_not_kept(waits: Waits) -> None:
    first = reply(302, {"Location": "/2", "Set-Cookie": "id=1; Path=/"})
    with ScriptedServer([first], [reply(200, {"Set-Cookie": "id=2"}, BODY)]) as server:
        polled = remote(server.url, waits)
        polled.poll()
        polled.poll()
    assert [request.headers.get("cookie") for request in server.requests] == [None] * 3


def test_netrc_is_not_consulted(
    waits: Waits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    scripts = [reply(302, {"Location": "/2"})], [reply(200, body=BODY)]
    with ScriptedServer(*scripts) as server:
        fetch(server.url, waits)
    assert [request.headers.get("authorization") for request in server.requests] == [None] * 2


def test_a_proxy_of_the_environment_is_used(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([reply(200, body=BODY)]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert fetch("http://mods.invalid/x.torrent", waits).body == BODY
    assert proxy.requests[0].path == "http://mods.invalid/x.torrent"


def test_a_proxy_that_refuses_is_named_without_its_password(
    waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([reply(407)]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:hidden@"))
        with pytest.raises(RemoteUnreachableError, match=r"the proxy failed.*407") as caught:
            remote("https://mods.invalid/x.torrent", waits).poll()
    assert proxy.requests[0].method == "CONNECT"
    assert "proxy" in caught.value.hint
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_that_dribbles_cannot_hold_the_poll(
    waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [Drip(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 80, 0.02)]
    with ScriptedServer(script) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(RemoteUnreachableError, match=r"no complete answer within 0\.3 s"):
            remote("https://mods.invalid/", waits, timeouts=Timeouts(total_s=0.3)).poll()


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_a_certificate_that_is_not_accepted_is_named_and_not_tried_again(
    certificate: tuple[Path, Path], waits: Waits
) -> None:
    pem, key = certificate
    with (
        ScriptedServer([reply(200, body=BODY)], certificate=pem, key=key) as server,
        pytest.raises(
            RemoteUnreachableError, match=r"certificate that is not accepted: self.signed"
        ) as caught,
    ):
        remote(server.url, waits).poll()
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert (server.connections, server.requests, waits) == (1, [], [])


def test_a_bundle_of_the_environment_is_used(
    certificate: tuple[Path, Path], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    with ScriptedServer([reply(200, body=BODY)], certificate=pem, key=key) as server:
        assert fetch(server.url, waits).body == BODY
        with pytest.raises(RemoteUnreachableError, match=r"not accepted: (?i:hostname)"):
            remote(server.url.replace("127.0.0.1", "localhost"), waits).poll()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem.with_name("missing.pem")))
    with pytest.raises(RemoteUnreachableError, match=r"missing\.pem"):
        remote(server.url, waits).poll()


def test_a_redirect_from_https_to_http_is_refused_naming_both(
    certificate: tuple[Path, Path], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    with ScriptedServer([reply(200, body=BODY)]) as plain:
        down = [reply(302, {"Location": f"{plain.url}/y?token=1"})]
        with (
            ScriptedServer(down, certificate=pem, key=key) as server,
            pytest.raises(RemoteUnreachableError) as caught,
        ):
            remote(f"{server.url}/x", waits).poll()
    assert f"{server.url}/x redirects to {plain.url}/y?…:" in caught.value.message
    assert plain.connections == 0


def test_headers_follow_from_http_to_https_on_the_same_host(
    certificate: tuple[Path, Path], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    with (
        ScriptedServer([reply(200, body=BODY)], certificate=pem, key=key) as secure,
        ScriptedServer([reply(301, {"Location": secure.url})]) as plain,
    ):
        fetch(plain.url, waits, headers={"X-Token": "t"})
    assert secure.requests[0].headers["x-token"] == "t"


def test_a_connection_that_closes_without_tls_alert_is_noticed_by_its_length(
    certificate: tuple[Path, Path], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    scripts = [reply(200, body=BODY[:3], length=22)], [reply(200, body=BODY)]
    with ScriptedServer(*scripts, certificate=pem, key=key) as server:
        assert fetch(server.url, waits).body == BODY
    assert len(waits) == 1


def test_https_to_a_port_that_does_not_speak_tls_is_not_tried_again(waits: Waits) -> None:
    with (
        ScriptedServer([reply(400)], greeting=True) as server,
        pytest.raises(RemoteUnreachableError, match="no usable TLS connection"),
    ):
        remote(server.url.replace("http:", "https:"), waits).poll()
    assert waits == []


def test_a_sloppy_header_is_tolerated_and_not_logged(
    waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    script = [b"HTTP/1.0 200 OK\r\nETag: 1\r\nwhat is this\r\n\r\n" + BODY]
    with ScriptedServer(script) as server:
        assert fetch(f"{server.url}/?hush", waits).body == BODY
    assert "hush" not in "".join(r.getMessage() for r in caplog.records if r.levelname != "DEBUG")


# Failures that a test cannot bring about at will


def refused_by_peer() -> ssl.SSLError:
    error = ssl.SSLError(1, "alert")
    error.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    return error


@pytest.mark.parametrize(
    ("error", "found", "transient"),
    [
        (requests.ConnectTimeout(), "no connection within 10 s", True),
        (requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF")), "TLS connection closed", True),
        (requests.exceptions.SSLError(refused_by_peer()), "TLSV1_ALERT_PROTOCOL_VERSION", False),
        (
            requests.ConnectionError(OSError(errno.ENETUNREACH, "Network is unreachable")),
            "Network is unreachable",
            True,
        ),
        (requests.exceptions.InvalidProxyURL("http://user:hush@"), "malformed proxy", False),
        (requests.RequestException("hush"), "RequestException", False),
    ],
)
def test_exceptions_are_explained(error: Exception, found: str, transient: bool) -> None:
    failure = request_failure(error, "https://host/x", Timeouts(), time.monotonic() + 100)
    assert failure.message.startswith("https://host/x: expected a .torrent, found ")
    assert found in failure.message
    assert failure.hint
    assert isinstance(failure, TransientError) is transient
    assert "hush" not in failure.message


def test_what_the_caller_is_handling_is_not_taken_for_the_cause(waits: Waits) -> None:
    with ScriptedServer([Reset()]) as server:
        try:
            {}["another failure"]
        except KeyError as other:
            other.__cause__ = ConnectionRefusedError()
            with pytest.raises(RemoteUnreachableError, match="closed by the other side"):
                remote(server.url, waits).poll()


# Secrets


def test_no_message_shows_secrets(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    def failures() -> Iterator[BaseException]:
        options = {"headers": {"X-Token": "env:TOKEN"}, "environ": {"TOKEN": "hush-header"}}
        scripts: list[list[Any]] = [[reply(status)] for status in (404, 503)]
        scripts += [[Reset()], [reply(200, body=b"<html>")], [reply(304, length=None)]]
        scripts += [[reply(302, {"Location": "ftp://a:hush-pw@b/?hush-query"})]]
        scripts += [[reply(302, {"Location": "/x?hush-query"})], [b"hush-query nonsense\r\n\r\n"]]
        for script in scripts:
            with ScriptedServer(script) as server:
                url = server.url.replace("//", "//user:hush-pw@")
                with pytest.raises((RemoteUnreachableError, RemoteInvalidError)) as caught:
                    remote(f"{url}/x.torrent?hush-query", waits, **options).poll()
                yield caught.value
        with pytest.raises(RemoteUnreachableError) as caught:
            remote(f"{url}/x.torrent?hush-query", waits, **options).poll()
        yield caught.value
        for value in ("hush-header\nX: y", "hush-header\0"):
            environ = {"environ": {"TOKEN": value}}
            with pytest.raises(ConfigError) as config_error:
                remote(f"{url}?hush-query", waits, **{**options, **environ}).poll()
            yield config_error.value
        with pytest.raises(ConfigError) as config_error:
            remote("gopher://user:hush-pw@host/?hush-query", waits)
        yield config_error.value

    shown = [
        "".join(traceback.format_exception(error)) + str(getattr(error, "hint", ""))
        for error in failures()
    ]
    assert len(shown) == 12
    for text in shown:
        # Source lines in a traceback quote this test, not the values at work.
        quoted = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
        assert "hush" not in quoted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/x.torrent", "https://host/x.torrent"),
        ("https://user:pass@host:8443/x", "https://user:***@host:8443/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://a@b:c@host/x", "https://a@b:***@host/x"),
        ("https://host/x?key=1#part", "https://host/x?…"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://host/\x1b[2J", "http://host/\ufffd[2J"),
        ("file:///srv/a?b.torrent", "file:///srv/a?b.torrent"),
        ("http://[::1", "(a malformed URL)"),
        (f"https://host/{'x' * 487}", f"https://host/{'x' * 487}"),
        (f"https://host/{'x' * 488}", f"https://host/{'x' * 487}…"),
    ],
)
def test_urls_are_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert mask_url(url) == shown


# Headers from the environment


def test_header_values_come_from_the_environment_at_each_poll(waits: Waits) -> None:
    environ = {"TOKEN": "one\n"}
    with ScriptedServer([reply(200, body=BODY)]) as server:
        headers = {"X-Token": "env:TOKEN", "X-Name": "Grüße", "accept-encoding": "br"}
        polled = remote(server.url, waits, headers=headers, environ=environ)
        polled.poll()
        environ["TOKEN"] = "two"
        polled.poll()
    assert [request.headers["x-token"] for request in server.requests] == ["one", "two"]
    assert server.requests[0].headers["x-name"] == "Grüße"
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


def test_the_environment_of_the_process_is_the_default(
    waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORSYNC_TEST_TOKEN", "here")
    with ScriptedServer([reply(200, body=BODY)]) as server:
        fetch(server.url, waits, headers={"X-Token": "env:TORSYNC_TEST_TOKEN"})
    assert server.requests[0].headers["x-token"] == "here"


def test_a_missing_variable_is_a_configuration_error_naming_header_and_variable(
    waits: Waits,
) -> None:
    with (
        ScriptedServer([reply(200, body=BODY)]) as server,
        pytest.raises(ConfigError, match=r'X-Token.*"MISSING"') as caught,
    ):
        remote(server.url, waits, headers={"X-Token": "env:MISSING"}, environ={}).poll()
    assert "MISSING" in caught.value.hint
    assert server.connections == 0


@pytest.mark.parametrize(("name", "value"), [("X Token", "a"), ("", "a"), ("X", "a\r\nY: b")])
def test_a_header_that_cannot_be_sent_is_a_configuration_error(
    name: str, value: str, waits: Waits
) -> None:
    with pytest.raises(ConfigError, match="header"):
        remote("http://127.0.0.1:1/", waits, headers={name: value}).poll()


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "x.torrent", "http:///x", "http://host:port/", "http://[::1/", "", "file:x",
     "file://host/x", "file:///a%00b", "http://host:0/"],
)  # fmt: skip
def test_a_url_that_cannot_be_polled_is_a_configuration_error(url: str, waits: Waits) -> None:
    with pytest.raises(ConfigError) as caught:
        remote(url, waits)
    assert caught.value.hint


# Waits


def test_backoff_doubles_with_full_jitter_up_to_a_cap() -> None:
    assert [retry_delay_s(n, 0.5, 0, 1.0) for n in (1, 2, 3, 7, 8, 10**6)] == [
        *(0.5, 1.0, 2.0, 30.0, 30.0, 30.0)
    ]
    assert retry_delay_s(3, 0.5, 0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 17 May 2024 12:00:30 GMT", 30.0),
        ("Fri, 17 May 2024 12:00:30 -0000", 30.0),
        ("Fri, 17 May 2024 11:00:00 GMT", 0.0),
        ("-5", 0.0),
        ("9" * 5000, 0.0),
        ("", 0.0),
        ("Fri, 99 May 2024", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert parse_retry_after_s(value, NOW) == seconds


# Files


def test_a_file_url_is_read_and_has_no_validators(tmp_path: Path, waits: Waits) -> None:
    path = tmp_path / "päck #1 100%?.torrent"
    path.write_bytes(BODY)
    for url in (path.as_uri(), "file:" + path.as_uri()[7:], f"FILE://LocalHost{path.as_uri()[7:]}"):
        assert fetch(url, waits) == Fetched(BODY, hashlib.sha256(BODY).hexdigest(), Validators())


def test_question_mark_and_hash_belong_to_the_name_of_a_file(tmp_path: Path, waits: Waits) -> None:
    (tmp_path / "a?b#c").write_bytes(BODY)
    assert fetch(f"file://{tmp_path}/a?b#c", waits).body == BODY


def test_a_file_is_read_although_validators_are_given(tmp_path: Path, waits: Waits) -> None:
    (tmp_path / "x").write_bytes(BODY)
    assert isinstance(remote(f"file://{tmp_path}/x", waits).poll(Validators("1", "2")), Fetched)


def test_a_missing_file_is_unreachable(tmp_path: Path, waits: Waits) -> None:
    with pytest.raises(RemoteUnreachableError, match="No such file") as caught:
        remote(f"file://{tmp_path}/x.torrent", waits).poll()
    assert "check the URL" in caught.value.hint
    assert waits == []


def test_what_is_no_regular_file_is_refused_without_hanging(tmp_path: Path, waits: Waits) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "fifo", tmp_path / "socket", "/dev/zero"):
        with pytest.raises(RemoteUnreachableError, match="no regular file"):
            remote(f"file://{path}", waits).poll()
    with pytest.raises(RemoteUnreachableError, match="a folder"):
        remote(f"file://{tmp_path}", waits).poll()


def test_a_file_that_becomes_a_fifo_before_it_is_opened_does_not_hang(
    tmp_path: Path, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(BODY)
    regular = os.stat(tmp_path / "x")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    with pytest.raises(RemoteUnreachableError, match="no regular file"):
        remote(f"file://{tmp_path}/fifo", waits).poll()


def test_a_large_or_wrong_file_is_refused(tmp_path: Path, waits: Waits) -> None:
    (tmp_path / "x").write_bytes(BODY)
    with pytest.raises(RemoteInvalidError, match="at most 21 bytes") as caught:
        remote(f"file://{tmp_path}/x", waits, max_bytes=21).poll()
    assert "max_torrent_size" in caught.value.hint
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(RemoteInvalidError, match="an empty body"):
        remote(f"file://{tmp_path}/x", waits).poll()


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(BODY[:4])
    calls, fstat = itertools.count(), os.fstat

    def fstat_then_write(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if next(calls) == 0:
            path.write_bytes(BODY)
        return status

    monkeypatch.setattr(os, "fstat", fstat_then_write)
    assert fetch(f"file://{path}", waits).body == BODY
    assert waits == [0.25]


def test_a_file_url_does_not_import_requests(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    program = (
        "import sys; from torsync.subscribe.remote.poll import Remote;"
        "Remote(sys.argv[1]).poll(); sys.exit('requests' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, f"file://{tmp_path}/x"], check=True, timeout=60)
