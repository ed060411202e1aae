"""Parts of hints from a web server or a local file: honest, broken and hostile ones."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import random
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import self_signed
from tests.support.feeds import running_feed
from tests.support.nginx import nginx
from tests.support.scripted_http import (
    Drip,
    Endless,
    Hang,
    Receive,
    Reset,
    ScriptedServer,
    part_of,
    reply,
)
from torsync.model.errors import InterruptedByUserError
from torsync.model.hints.format import MAGIC, Range
from torsync.publish.feed import ServedRelease
from torsync.subscribe.remote import ranges as ranges_module
from torsync.subscribe.remote.parts import LocalHints, merge_ranges
from torsync.subscribe.remote.ranges import RemoteHints, hints_url, open_hints
from torsync.subscribe.remote.rules import Timeouts
from torsync.subscribe.remote.worker import run_until
from torsync.subscribe.shifts.source import HintsSource, HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.scripted_http import Step

CONTENT = MAGIC + random.Random(6).randbytes(200_000 - len(MAGIC))
FAST = Timeouts(connect_s=5, read_s=5, total_s=20)
NAME = "x.torrent.hints"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@contextmanager
def hints_at(url: str, **options: Any) -> Iterator[RemoteHints]:
    """Hints on a server that the subscription's own URL is on, too."""
    hints = RemoteHints(f"{url}/{NAME}", **{"origin": url, "timeouts": FAST, **options})
    try:
        yield hints
    finally:
        hints.close()


def kept(*steps: Step) -> list[Step]:
    """A script of answers to one request each, on one connection."""
    script: list[Step] = []
    for step in steps:
        script += [Receive(), step] if script else [step]
    return script


def expected(*ranges: Range) -> list[bytes]:
    return [CONTENT[offset : offset + length] for offset, length in ranges]


# What to ask for


def test_ranges_that_are_near_one_another_are_fetched_together() -> None:
    asked = [Range(9000, 10), Range(0, 100), Range(4196, 4), Range(50, 20), Range(7, 0)]
    assert merge_ranges(asked) == [Range(0, 4200), Range(9000, 10)]
    assert merge_ranges([]) == merge_ranges([Range(5, 0)]) == []


SPREAD = [Range(0, 1), Range(10_000, 1), Range(16_000, 1), Range(30_000, 1)]


def test_the_narrowest_gaps_are_closed_when_there_are_too_many_ranges() -> None:
    three = [Range(0, 1), Range(10_000, 6001), Range(30_000, 1)]
    assert merge_ranges(SPREAD, few=3) == three
    assert merge_ranges(SPREAD, few=1) == [Range(0, 30_001)]


def test_gaps_are_closed_only_as_far_as_bytes_can_be_spared() -> None:
    three = [Range(0, 1), Range(10_000, 6001), Range(30_000, 1)]
    assert merge_ranges(SPREAD, few=1, spare=5000) == SPREAD
    assert merge_ranges(SPREAD, few=1, spare=6000) == three
    assert merge_ranges(SPREAD, few=1, most=3, spare=0) == three
    assert merge_ranges(SPREAD, few=1, most=1, spare=0) == [Range(0, 30_001)]


@given(
    st.lists(st.builds(Range, st.integers(0, 500), st.integers(0, 40)), max_size=30),
    st.integers(0, 20),
    st.integers(1, 6),
    st.integers(6, 9),
    st.integers(0, 300),
)
def test_merged_ranges_hold_all_that_is_asked_for_and_little_else(
    asked: list[Range], gap: int, few: int, most: int, spare: int
) -> None:
    spans = merge_ranges(asked, gap=gap, few=few, most=most, spare=spare)
    assert len(spans) <= most
    assert all(one.end + gap < next_one.offset for one, next_one in itertools.pairwise(spans))
    wanted = {at for one in asked for at in range(one.offset, one.end)}
    fetched = {at for one in spans for at in range(one.offset, one.end)}
    assert wanted <= fetched
    assert all({one.offset, one.end - 1} <= wanted for one in spans)
    apart = merge_ranges(asked, gap=gap, few=1000)
    if len(apart) <= few:
        assert spans == apart
    elif few < len(spans) < most:
        at_most = spare + sum(one.length for one in apart)
        assert sum(one.length for one in spans) <= at_most + sum(one.length for one in apart)


# One contract for all sources


ON_DISK = ["file", "feed", pytest.param("nginx", marks=pytest.mark.programs)]


@contextmanager
def publishing(kind: str, folder: Path) -> Iterator[str]:
    (folder / NAME).write_bytes(CONTENT)
    if kind == "file":
        yield (folder / "x.torrent").as_uri()
    elif kind == "nginx":
        with nginx(folder) as server:
            yield server.url_for("x.torrent")
    elif kind == "feed":
        release = ServedRelease(b"de", None, "0" * 40, "x", folder, {}, folder / NAME)
        with running_feed() as feed:
            feed.show(release, "x")
            yield feed.torrent_url("x")
    else:
        with ScriptedServer(kept(*[part_of(CONTENT)] * 100)) as honest:
            yield f"{honest.url}/x.torrent"


@pytest.fixture(params=[*ON_DISK, "scripted"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ``.torrent`` with hints beside it."""
    with publishing(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=ON_DISK)
def on_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The same, and the hints themselves."""
    with publishing(request.param, tmp_path) as url:
        yield url, tmp_path / NAME


@contextmanager
def opened(torrent_url: str, **options: Any) -> Iterator[HintsSource]:
    url = hints_url(torrent_url, NAME)
    assert url is not None
    source = open_hints(url, origin=torrent_url, **options)
    try:
        yield source
    finally:
        source.close()


@pytest.mark.parametrize(
    "asked",
    [
        [],
        [Range(0, 0)],
        [Range(0, 1)],
        [Range(0, len(CONTENT))],
        [Range(len(CONTENT) - 1, 1)],
        [Range(len(CONTENT), 0), Range(5, 5)],
        [Range(150_000, 10), Range(3, 5), Range(0, 4), Range(3, 5), Range(149_000, 2000)],
        [Range(offset, 7) for offset in range(0, 200_000 - 7, 777)],
    ],
    ids=lambda asked: f"{len(asked)}-ranges",
)
def test_exactly_the_bytes_asked_for_are_read_in_the_order_asked_for(
    published: str, asked: list[Range]
) -> None:
    with opened(published) as source:
        assert source.bytes_received == 0
        assert source.read(asked) == expected(*asked)
        assert source.bytes_received == sum(span.length for span in merge_ranges(asked))
        assert source.read(asked) == expected(*asked)


@pytest.mark.parametrize(
    "beyond",
    [
        Range(len(CONTENT) - 1, 2),
        Range(len(CONTENT), 1),
        Range(2**40, 1),
        Range(2**64, 10),
    ],
    ids=str,
)
def test_what_lies_behind_the_end_cannot_be_read(published: str, beyond: Range) -> None:
    with opened(published) as source:
        assert source.read([Range(0, 1)]) == expected(Range(0, 1))
        with pytest.raises(HintsUnavailableError, match="200000 bytes in all") as caught:
            source.read([Range(0, 1), beyond])
        assert "whole hints file" in caught.value.hint


def test_a_failure_is_final(published: str) -> None:
    with opened(published) as source:
        with pytest.raises(HintsUnavailableError) as first:
            source.read([Range(len(CONTENT) - 1, 2)])
        with pytest.raises(HintsUnavailableError) as second:
            source.read([Range(0, 1)])
    assert (first.value.message, first.value.hint) == (second.value.message, second.value.hint)


def test_no_more_is_received_than_the_limit(published: str) -> None:
    with opened(published, max_bytes=1000) as source:
        assert source.read([Range(0, 600)]) == expected(Range(0, 600))
        assert source.read([Range(700, 400)]) == expected(Range(700, 400))
        with pytest.raises(
            HintsUnavailableError, match="at most 1000 bytes are needed, found 1001"
        ):
            source.read([Range(0, 1)])
        assert source.bytes_received == 1000


def test_hints_that_change_between_two_readings_are_given_up(
    on_disk: tuple[str, Path],
) -> None:
    url, path = on_disk
    with opened(url) as source:
        source.read([Range(0, 10)])
        path.write_bytes(CONTENT[:-1])
        with pytest.raises(HintsUnavailableError, match="changed while it was read"):
            source.read([Range(100, 10)])


def test_the_hints_of_the_next_release_are_not_mixed_in(on_disk: tuple[str, Path]) -> None:
    url, path = on_disk
    with opened(url) as source:
        source.read([Range(0, 10)])
        (path.parent / "new").write_bytes(CONTENT[::-1] + b"x")
        os.replace(path.parent / "new", path)
        if url.startswith("file:"):  # it is open
            assert source.read([Range(100, 10)]) == expected(Range(100, 10))
        else:
            with pytest.raises(HintsUnavailableError, match="changed while it was read"):
                source.read([Range(100, 10)])


def test_hints_that_are_not_there_are_unavailable(on_disk: tuple[str, Path]) -> None:
    url, path = on_disk
    path.unlink()
    with opened(url) as source:
        with pytest.raises(HintsUnavailableError, match="expected hints, found") as caught:
            source.read([Range(0, 1)])
        assert NAME in caught.value.message
        assert "the publisher has to put the hints there" in caught.value.hint
        assert source.bytes_received == 0


def test_reading_stops_when_the_work_shall_stop(published: str) -> None:
    with (
        opened(published, stopping=lambda: True) as source,
        pytest.raises(InterruptedByUserError, match="stopped while hints were read"),
    ):
        source.read([Range(0, 1)])


def test_nothing_is_read_after_closing(published: str) -> None:
    with opened(published) as source:
        source.read([Range(0, 1)])
        source.close()
        source.close()
        with pytest.raises(HintsUnavailableError, match="not read any more"):
            source.read([Range(0, 1)])


# Requests


def test_one_connection_serves_all_readings_without_compression() -> None:
    etag = {"ETag": '"1"', "Last-Modified": "Fri, 17 May 2024 12:00:00 GMT"}
    with (
        ScriptedServer(kept(*[part_of(CONTENT, etag)] * 9)) as server,
        hints_at(server.url) as hints,
    ):
        hints.read([Range(0, 36)])
        hints.read([Range(100, 8), Range(90_000, 5)])
    assert server.connections == 1
    asked = [request.headers for request in server.requests]
    assert [headers["range"] for headers in asked] == [
        "bytes=0-35",
        "bytes=100-107",
        "bytes=90000-90004",
    ]
    assert {headers["accept-encoding"] for headers in asked} == {"identity"}
    assert {headers["cache-control"] for headers in asked} == {"no-cache"}
    assert [headers.get("if-range") for headers in asked] == [None, '"1"', '"1"']


@pytest.mark.parametrize("etag", ['W/"1"', "", "1", '"1", "2"'])
def test_only_a_strong_tag_is_a_condition(etag: str) -> None:
    with (
        ScriptedServer(kept(*[part_of(CONTENT, {"ETag": etag} if etag else {})] * 2)) as server,
        hints_at(server.url) as hints,
    ):
        hints.read([Range(0, 36)])
        hints.read([Range(100, 8)])
    assert "if-range" not in server.requests[1].headers


def test_what_is_wanted_in_a_hundred_places_is_fetched_with_what_lies_between() -> None:
    content = bytes(500_000)
    asked = [Range(offset, 1) for offset in range(1000, 500_000, 5000)]
    with (
        ScriptedServer(kept(*[part_of(content)] * 100)) as server,
        hints_at(server.url) as hints,
    ):
        assert hints.read(asked) == [b"\0"] * 100
    assert len(server.requests) == 64


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew_once() -> None:
    closing = [part_of(CONTENT), Receive(), Reset()]
    with ScriptedServer(closing, closing) as server, hints_at(server.url) as hints:
        for offset in (0, 10_000, 20_000):
            assert hints.read([Range(offset, 5)]) == expected(Range(offset, 5))
        assert server.connections == 3
    with ScriptedServer(closing, [Reset()]) as server, hints_at(server.url) as hints:
        hints.read([Range(0, 5)])
        with pytest.raises(HintsUnavailableError, match="closed by the other side"):
            hints.read([Range(10_000, 5)])
    assert server.connections == 2


def test_servers_that_keep_no_connection_serve() -> None:
    with (
        ScriptedServer([part_of(CONTENT, {"Connection": "close"})]) as server,
        hints_at(server.url) as hints,
    ):
        asked = [Range(0, 5), Range(10_000, 5), Range(20_000, 5)]
        assert hints.read(asked) == expected(*asked)
    assert server.connections == 3


def test_a_chunked_part_is_read() -> None:
    chunked = {"Transfer-Encoding": "chunked", "Content-Range": "bytes 0-4/200000"}
    body = b"3\r\n" + CONTENT[:3] + b"\r\n2\r\n" + CONTENT[3:5] + b"\r\n0\r\n\r\n"
    with (
        ScriptedServer([reply(206, chunked, body, length=None)]) as server,
        hints_at(server.url) as hints,
    ):
        assert hints.read([Range(0, 5)]) == expected(Range(0, 5))
        assert hints.bytes_received == 5


# Servers that ignore Range


def test_a_small_file_may_come_whole_and_is_kept() -> None:
    with (
        ScriptedServer([reply(200, body=CONTENT)], [Hang()]) as server,
        hints_at(server.url) as hints,
    ):
        asked = [Range(0, 5), Range(100_000, 5)]
        assert hints.read(asked) == expected(*asked)
        assert hints.read([Range(7, 9)]) == expected(Range(7, 9))
        assert hints.bytes_received == len(CONTENT)
        with pytest.raises(HintsUnavailableError, match="200000 bytes in all"):
            hints.read([Range(len(CONTENT) - 1, 2)])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("script", "options", "found"),
    [
        pytest.param(
            [reply(200, length=None), Endless(bytes(65536))], {}, "of unknown size", id="endless"
        ),
        pytest.param(
            [reply(200, {"Transfer-Encoding": "chunked"}, length=None), Endless(b"1\r\na\r\n")],
            {},
            "of unknown size",
            id="chunked",
        ),
        pytest.param(
            [reply(200, length=1024 * 1024 + 1), Endless(bytes(65536))],
            {},
            "sends all of a file of 1048577 bytes",
            id="large",
        ),
        pytest.param(
            [reply(200, length=10**5), Endless(bytes(65536))],
            {"max_bytes": 5000},
            "at most 5000 bytes are needed, found 100000",
            id="above-the-limit",
        ),
        pytest.param([reply(200, length=4)], {}, "4 bytes in all", id="too-short"),
    ],
)
def test_a_file_that_would_come_whole_is_not_read_if_it_is_large(
    script: list[Step], options: dict[str, Any], found: str
) -> None:
    with (
        ScriptedServer(script) as server,
        hints_at(server.url, **options) as hints,
    ):
        with pytest.raises(HintsUnavailableError, match=found):
            hints.read([Range(0, 5)])
        assert hints.bytes_received == 0
    assert server.connections == 1


# Answers that are wrong


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (b"<!DOCTYPE html><title>Log in</title>" + bytes(50), "an HTML page"),
        (b"d4:info" + bytes(93), "100 bytes that start with b'd4:info"),
    ],
    ids=["html", "torrent"],
)
def test_what_comes_instead_of_hints_is_named(page: bytes, found: str) -> None:
    for script in ([reply(200, body=page)], [part_of(page)]):
        with ScriptedServer(script) as server, hints_at(server.url) as hints:
            with pytest.raises(HintsUnavailableError, match=found) as caught:
                hints.read([Range(0, 86 if "HTML" in found else 100)])
            assert caught.value.message.startswith(f"{server.url}/{NAME}: expected hints, found")


def lying(told: str, body: bytes = CONTENT[10:20], **headers: str) -> bytes:
    return reply(206, {"Content-Range": told, **headers}, body)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(lying("bytes 11-20/200000"), "found bytes 11 to 20", id="other-offset"),
        pytest.param(lying("bytes 10-18/200000"), "found bytes 10 to 18", id="shorter"),
        pytest.param(lying("bytes 10-20/200000"), "found bytes 10 to 20", id="longer"),
        pytest.param(lying("bytes 10-18/19"), "19 bytes in all", id="at-the-end"),
        pytest.param(lying("bytes 10-19/15"), "15 bytes in all", id="nonsense"),
        pytest.param(lying("bytes 10-19/*"), r"Content-Range 'bytes 10-19/\*'", id="no-size"),
        pytest.param(lying("bytes */200000"), "Content-Range", id="unsatisfied"),
        pytest.param(lying("10-19/200000"), "Content-Range", id="no-unit"),
        pytest.param(lying("bytes 10-19/" + "9" * 5000), "Content-Range", id="huge"),
        pytest.param(
            reply(206, {"Content-Type": "multipart/byteranges; boundary=x"}, CONTENT[10:20]),
            "Content-Range ''",
            id="multipart",
        ),
        pytest.param(
            lying("bytes 10-19/200000", CONTENT[10:21]), "found 11 bytes where 10", id="long-body"
        ),
        pytest.param(
            lying("bytes 10-19/200000", CONTENT[10:19]), "found 9 bytes where 10", id="short-body"
        ),
        pytest.param(
            reply(206, {"Content-Range": "bytes 10-19/200000"}, CONTENT[10:21], length=None),
            "more than the 10 bytes",
            id="longer-than-told",
        ),
        pytest.param(
            reply(206, {"Content-Range": "bytes 10-19/200000"}, CONTENT[10:15], length=10),
            "closed after 5 of 10 bytes",
            id="cut-off",
        ),
        pytest.param(
            lying(
                "bytes 10-19/200000",
                gzip.compress(CONTENT[10:20]),
                **{"Content-Encoding": "gzip"},
            ),
            "Content-Encoding 'gzip'",
            id="gzip",
        ),
        pytest.param(
            reply(200, {"Content-Encoding": "br"}, CONTENT), "Content-Encoding 'br'", id="br"
        ),
        pytest.param(reply(206, {}, CONTENT[10:20]), "Content-Range ''", id="no-content-range"),
        pytest.param(reply(416), r"with bytes 10 to 19, found status 416", id="416"),
        pytest.param(reply(304, length=None), "status 304", id="304"),
        pytest.param(reply(503), r"status 503 \(Service Unavailable\)", id="503"),
        pytest.param(b"what?\r\n\r\n", "not HTTP", id="no-http"),
        pytest.param(
            b"HTTP/1.1 206 Partial Content\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
            "not HTTP",
            id="huge-header",
        ),
        pytest.param(
            b"HTTP/1.1 206 Partial Content\r\n" + b"X: 1\r\n" * 1000 + b"\r\n",
            "not HTTP",
            id="many-headers",
        ),
    ],
)
def test_an_answer_that_is_wrong_ends_the_reading(answer: bytes, found: str) -> None:
    with ScriptedServer([answer]) as server, hints_at(server.url) as hints:
        with pytest.raises(HintsUnavailableError, match=found) as caught:
            hints.read([Range(10, 10)])
        assert caught.value.message.startswith(f"{server.url}/{NAME}: expected hints")
        assert caught.value.hint
        assert hints.bytes_received <= 11
    assert server.connections == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_hints_that_nobody_gets_are_the_publishers_to_mend(status: int) -> None:
    with (
        ScriptedServer([reply(status)]) as server,
        hints_at(server.url) as hints,
        pytest.raises(HintsUnavailableError, match=f"found status {status}") as caught,
    ):
        hints.read([Range(0, 5)])
    assert "the publisher has to put the hints there" in caught.value.hint


def test_a_part_that_never_ends_is_not_read_on() -> None:
    told = reply(206, {"Content-Range": "bytes 0-4/200000"}, length=None)
    with ScriptedServer([told, Endless(bytes(65536))]) as server, hints_at(server.url) as hints:
        with pytest.raises(HintsUnavailableError, match="more than the 5 bytes"):
            hints.read([Range(0, 5)])
        assert hints.bytes_received == 6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"ETag": '"1"'}, {"ETag": '"2"'}, id="etag"),
        pytest.param({"ETag": 'W/"1"'}, {"ETag": 'W/"2"'}, id="weak"),
        pytest.param({"ETag": '"1"'}, {}, id="etag-gone"),
        pytest.param({}, {"ETag": '"1"'}, id="etag-come"),
        pytest.param(
            {"Last-Modified": "Fri, 17 May 2024 12:00:00 GMT"},
            {"Last-Modified": "Fri, 17 May 2024 12:00:01 GMT"},
            id="modified",
        ),
        pytest.param({}, {"Content-Range": "bytes 50000-50004/200001"}, id="size"),
    ],
)
def test_what_changes_between_two_requests_is_given_up(
    first: dict[str, str], second: dict[str, str]
) -> None:
    script = kept(part_of(CONTENT, first), part_of(CONTENT, second))
    with ScriptedServer(script) as server, hints_at(server.url) as hints:
        with pytest.raises(HintsUnavailableError, match="changed while it was read") as caught:
            hints.read([Range(0, 5), Range(50_000, 5)])
        assert "the next update" in caught.value.hint


def test_all_of_another_version_is_a_change() -> None:
    script = kept(part_of(CONTENT, {"ETag": '"1"'}), reply(200, {"ETag": '"2"'}, CONTENT))
    with ScriptedServer(script) as server, hints_at(server.url) as hints:
        hints.read([Range(0, 5)])
        with pytest.raises(HintsUnavailableError, match="changed while it was read"):
            hints.read([Range(0, 5)])
        assert hints.bytes_received == 5


# Time


@pytest.mark.parametrize(
    "script",
    [
        [Hang()],
        [reply(206, {"Content-Range": "bytes 0-4/200000"}, length=5), Hang()],
    ],
    ids=["headers", "body"],
)
def test_a_silent_server_is_left(script: list[Step]) -> None:
    timeouts = Timeouts(read_s=0.1)
    with (
        ScriptedServer(script) as server,
        hints_at(server.url, timeouts=timeouts) as hints,
        pytest.raises(HintsUnavailableError, match=r"no data in time \(limit 0\.1 s\)"),
    ):
        hints.read([Range(0, 5)])
    assert server.connections == 1


@pytest.mark.parametrize(
    "script",
    [
        [Drip(b"HTTP/1.1 206 Partial Content\r\n" + b"X: 1\r\n" * 80, 0.02)],
        [
            reply(206, {"Content-Range": "bytes 0-999/200000"}, length=1000),
            Drip(CONTENT[:1000], 0.02),
        ],
    ],
    ids=["headers", "body"],
)
def test_a_server_that_dribbles_is_left_when_the_time_is_over(script: list[Step]) -> None:
    timeouts = Timeouts(total_s=0.3)
    with (
        ScriptedServer(script) as server,
        hints_at(server.url, timeouts=timeouts) as hints,
        pytest.raises(HintsUnavailableError, match=r"no complete answer within 0\.3 s"),
    ):
        hints.read([Range(0, 1000)])


def test_the_time_is_that_of_all_readings_without_what_lies_between() -> None:
    times = iter([0.0, 9.0, 100.0, 111.0])
    with (
        ScriptedServer(kept(*[part_of(CONTENT)] * 3)) as server,
        hints_at(server.url, clock=lambda: next(times)) as hints,
    ):
        hints.read([Range(0, 5)])
        hints.read([Range(0, 5)])
        with pytest.raises(HintsUnavailableError, match="no complete answer within 20 s"):
            hints.read([Range(0, 5)])
    assert len(server.requests) == 2


@pytest.fixture
def held_look_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Looking up a host name begins, which the event tells, and does not end before the test."""
    began, ended = threading.Event(), threading.Event()

    def hold(*_: object, **__: object) -> None:
        began.set()
        ended.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hold)
    yield began
    ended.set()


@pytest.mark.usefixtures("held_look_up")
def test_a_look_up_that_hangs_is_left_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges_module, "_GRACE_S", 0.0)
    with (
        hints_at("http://mods.invalid", timeouts=Timeouts(total_s=0.1)) as hints,
        pytest.raises(HintsUnavailableError, match=r"no complete answer within 0\.1 s"),
    ):
        hints.read([Range(0, 5)])


@pytest.mark.timeout(30)
def test_a_look_up_that_hangs_is_left_when_the_work_shall_stop(
    held_look_up: threading.Event,
) -> None:
    patient = Timeouts(connect_s=1000, read_s=1000, total_s=1000)
    with (
        hints_at("http://mods.invalid", timeouts=patient, stopping=held_look_up.is_set) as hints,
        pytest.raises(InterruptedByUserError),
    ):
        hints.read([Range(0, 5)])


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "script",
    [
        [Hang()],
        [reply(206, {"Content-Range": "bytes 0-4/200000"}, length=5), Hang()],
        [Drip(b"HTTP/1.1 206 Partial Content\r\n" + b"X: 1\r\n" * 80, 0.1)],
    ],
    ids=["headers", "body", "dribble"],
)
def test_a_server_that_hangs_is_left_when_the_work_shall_stop(script: list[Step]) -> None:
    patient = Timeouts(connect_s=1000, read_s=1000, total_s=1000)
    with ScriptedServer(script) as server:
        stopping: Callable[[], bool] = lambda: bool(server.requests)  # noqa: E731
        with hints_at(server.url, timeouts=patient, stopping=stopping) as hints:
            with pytest.raises(InterruptedByUserError, match="stopped while hints were read"):
                hints.read([Range(0, 5), Range(50_000, 5)])
            with pytest.raises(HintsUnavailableError, match="not read any more"):
                hints.read([Range(0, 5)])
    assert len(server.requests) == 1


def test_what_a_job_raises_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise KeyError("job")

    with pytest.raises(KeyError, match="job"):
        run_until(fail, lambda: False)
    assert run_until(lambda: 7, lambda: False) == 7


# Connections that fail


def test_a_refused_connection_is_tried_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with (
        hints_at(f"http://127.0.0.1:{port}") as hints,
        pytest.raises(HintsUnavailableError, match="expected hints, found the connection refused"),
    ):
        hints.read([Range(0, 5)])


def test_a_reset_before_anything_was_answered_is_not_tried_again() -> None:
    with (
        ScriptedServer([Reset()]) as server,
        hints_at(server.url) as hints,
        pytest.raises(HintsUnavailableError, match="closed by the other side"),
    ):
        hints.read([Range(0, 5)])
    assert server.connections == 1


def test_a_reset_in_the_middle_of_a_part_is_not_tried_again() -> None:
    script = kept(part_of(CONTENT), reply(206, {"Content-Range": "bytes 0-4/200000"}, length=5))
    with ScriptedServer([*script, Reset()]) as server, hints_at(server.url) as hints:
        hints.read([Range(0, 5)])
        with pytest.raises(HintsUnavailableError, match="closed"):
            hints.read([Range(0, 5)])
    assert server.connections == 1


def test_a_certificate_that_is_not_accepted_ends_the_reading(tmp_path: Path) -> None:
    pem, key = self_signed(tmp_path)
    with (
        ScriptedServer([part_of(CONTENT)], certificate=pem, key=key) as server,
        hints_at(server.url) as hints,
        pytest.raises(HintsUnavailableError, match="certificate that is not accepted"),
    ):
        hints.read([Range(0, 5)])
    assert not server.requests


def test_parts_come_over_tls_on_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    script = kept(*[part_of(CONTENT)] * 3)
    with ScriptedServer(script, certificate=pem, key=key) as server, hints_at(server.url) as hints:
        asked = [Range(0, 5), Range(50_000, 50_000)]
        assert hints.read(asked) == expected(*asked)
        hints.close()
    assert server.connections == 1


# Redirects, and who gets to see what


def test_redirects_are_followed_once_and_then_known() -> None:
    with ScriptedServer(kept(*[part_of(CONTENT)] * 3)) as cdn:
        there = reply(302, {"Location": f"{cdn.url}/parts?token=hush"})
        with ScriptedServer([there]) as server, hints_at(server.url) as hints:
            asked = [Range(0, 5), Range(50_000, 5)]
            assert hints.read(asked) == expected(*asked)
            with pytest.raises(HintsUnavailableError) as caught:
                hints.read([Range(len(CONTENT), 1)])
            assert "hush" not in caught.value.message
    assert len(server.requests) == 1
    assert [request.path for request in cdn.requests] == ["/parts?token=hush"] * 2


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("file:///etc/passwd", "found a file URL"),
        ("ftp://host/x", 'the scheme "ftp"'),
        ("", "found nothing"),
        ("/again", "more than 10 of them in a row"),
    ],
)
def test_redirects_that_lead_nowhere_are_not_followed(location: str, found: str) -> None:
    with ScriptedServer([reply(302, {"Location": location})]) as server:
        with hints_at(server.url) as hints, pytest.raises(HintsUnavailableError, match=found):
            hints.read([Range(0, 5)])
        assert len(server.requests) <= 11


def test_headers_and_password_go_to_the_subscriptions_server_only() -> None:
    options = {"headers": {"X-Token": "env:TOKEN"}, "environ": {"TOKEN": "secret"}}
    with ScriptedServer(kept(*[part_of(CONTENT)] * 3)) as other:
        there = reply(302, {"Location": f"{other.url}/x"})
        with ScriptedServer([there]) as server:
            origin = server.url.replace("//", "//me:secret@") + "/x.torrent"
            with hints_at(server.url, **options, origin=origin) as hints:
                hints.read([Range(0, 5), Range(50_000, 5)])
            with hints_at(other.url, **options, origin=origin) as hints:
                hints.read([Range(0, 5)])
    assert server.requests[0].headers["x-token"] == "secret"
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert len(other.requests) == 3
    for request in other.requests:
        assert not {"x-token", "authorization"} & {*request.headers}


def test_headers_of_the_subscription_cannot_change_what_is_asked_for() -> None:
    headers = {"range": "bytes=7-9", "accept-encoding": "gzip", "if-range": "x"}
    with (
        ScriptedServer(kept(*[part_of(CONTENT, {"ETag": '"1"'})] * 2)) as server,
        hints_at(server.url, headers=headers) as hints,
    ):
        assert hints.read([Range(0, 5)]) == expected(Range(0, 5))
        assert hints.read([Range(50_000, 5)]) == expected(Range(50_000, 5))


def test_a_header_that_cannot_be_sent_makes_hints_unavailable() -> None:
    with (
        ScriptedServer([part_of(CONTENT)]) as server,
        hints_at(server.url, headers={"X-Token": "env:TOKEN"}, environ={}) as hints,
        pytest.raises(HintsUnavailableError, match='environment variable "TOKEN"'),
    ):
        hints.read([Range(0, 5)])
    assert not server.connections


def test_no_message_shows_secrets() -> None:
    scripts: list[list[Step]] = [[reply(404)], [Reset()], [reply(200, length=None)], [reply(416)]]
    for script in scripts:
        with ScriptedServer(script) as server:
            url = server.url.replace("//", "//user:hush@") + "/x.hints?hush"
            hints = RemoteHints(url, origin=url, headers={"X-Token": "hush"}, timeouts=FAST)
            with pytest.raises(HintsUnavailableError) as caught:
                hints.read([Range(0, 5)])
            assert "hush" not in caught.value.message + caught.value.hint
            assert "/x.hints?…" in caught.value.message


# Files


def test_a_local_file_that_changes_while_it_is_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    hints = LocalHints(path.as_uri(), stopping=lambda: bool(path.write_bytes(b"")), max_bytes=100)
    with pytest.raises(HintsUnavailableError):
        hints.read([Range(0, 5)])
    path.write_bytes(CONTENT)
    hints = LocalHints(path.as_uri(), stopping=lambda: False, max_bytes=100)
    hints.read([Range(0, 5)])
    path.write_bytes(b"")
    with pytest.raises(HintsUnavailableError, match="changed while it was read"):
        hints.read([Range(0, 5)])
    hints.close()


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_regular_file_is_refused_without_hanging(kind: str, tmp_path: Path) -> None:
    if kind == "folder":
        (tmp_path / NAME).mkdir()
    else:
        os.mkfifo(tmp_path / NAME)
    hints = open_hints((tmp_path / NAME).as_uri(), origin="file:///x.torrent")
    with pytest.raises(HintsUnavailableError, match=r"a folder|no regular file"):
        hints.read([Range(0, 5)])


def test_a_file_that_becomes_a_fifo_before_it_is_opened_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    regular = os.stat(tmp_path / "x")
    os.mkfifo(tmp_path / NAME)
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    hints = open_hints(f"file://{tmp_path}/{NAME}", origin="file:///x.torrent")
    with pytest.raises(HintsUnavailableError, match="no regular file"):
        hints.read([Range(0, 5)])


def test_a_file_that_cannot_be_read_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / NAME).write_bytes(CONTENT)
    monkeypatch.setattr(os, "open", fail)
    hints = open_hints(f"file://{tmp_path}/{NAME}", origin="file:///x.torrent")
    with pytest.raises(HintsUnavailableError, match="expected hints, found Input/output error"):
        hints.read([Range(0, 5)])


def test_local_hints_do_not_import_requests(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    program = (
        "import sys; from torsync.subscribe.remote.ranges import open_hints;"
        "from torsync.model.hints.format import Range;"
        "open_hints(sys.argv[1], origin=sys.argv[1]).read([Range(0, 5)]);"
        "sys.exit('requests' in sys.modules)"
    )
    url = (tmp_path / NAME).as_uri()
    subprocess.run([sys.executable, "-c", program, url], check=True, timeout=60)
