"""The hints file at the feed: read from disk, part by part."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.feeds import PublicFeed, released, running_feed
from tests.support.packed import make_packed
from tests.support.trees import random_bytes, write_tree
from torsync.publish.feed.content import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.publish.feed import ServedRelease

SIZE = 3 * CHUNK_BYTES + 17
DATA = random_bytes(SIZE)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def feed() -> Iterator[PublicFeed]:
    with running_feed(awaited=["later"]) as running:
        yield running


@pytest.fixture
def hints(tmp_path: Path) -> Path:
    found = tmp_path / "www" / "other name.torrent.hints"
    found.parent.mkdir()
    found.write_bytes(DATA)
    return found


@pytest.fixture
def release(feed: PublicFeed, tmp_path: Path, hints: Path) -> ServedRelease:
    folder = write_tree(tmp_path / "pack", {"a": 1000})
    return feed.show(replace(released(folder, make_packed(folder)), hints=hints))


def _get(feed: PublicFeed, name: str, method: str = "GET", **headers: str) -> requests.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, f"{feed.url}/{name}", headers=given, timeout=10)


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("name", ["pack.torrent.hints", "other%20name.torrent.hints"])
def test_it_is_served_under_both_names(feed: PublicFeed, name: str) -> None:
    found = _get(feed, name)
    assert (found.status_code, found.content) == (200, DATA)
    assert found.headers["Accept-Ranges"] == "bytes"
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Cache-Control"] == "no-cache"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    head = _get(feed, name, "HEAD")
    assert (head.content, head.headers["Content-Length"]) == (b"", str(SIZE))
    assert head.headers["ETag"] == found.headers["ETag"]
    assert not found.headers["ETag"].startswith("W/")


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 31), (SIZE - 1, SIZE - 1), (1, CHUNK_BYTES), (CHUNK_BYTES - 1, SIZE - 2)],
)
def test_ranges(feed: PublicFeed, start: int, end: int) -> None:
    found = _get(feed, "pack.torrent.hints", Range=f"bytes={start}-{end}")
    assert (found.status_code, found.content) == (206, DATA[start : end + 1])
    assert found.headers["Content-Range"] == f"bytes {start}-{end}/{SIZE}"


@pytest.mark.usefixtures("release")
def test_requests_that_depend_on_the_version(feed: PublicFeed, hints: Path) -> None:
    def get(**headers: str) -> requests.Response:
        return _get(feed, "pack.torrent.hints", **headers)

    etag = get(Range="bytes=0-0").headers["ETag"]
    assert get(Range="bytes=0-0", If_Range=etag).status_code == 206
    assert get(Range="bytes=0-0", If_Range='"other"').status_code == 200
    assert get(If_None_Match=etag).status_code == 304
    beyond = get(Range=f"bytes={SIZE}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{SIZE}")

    fresh = hints.with_name("fresh")
    fresh.write_bytes(DATA)
    os.utime(fresh, ns=(0, 0))
    fresh.replace(hints)
    other = get(Range="bytes=0-0", If_Range=etag)
    assert other.status_code == 200, "another file has another entity tag"
    assert other.headers["ETag"] != etag


@pytest.mark.usefixtures("release")
def test_an_answer_under_way_goes_on_with_the_old_file(feed: PublicFeed, hints: Path) -> None:
    large = random_bytes(64 * CHUNK_BYTES)  # more than sockets buffer
    hints.write_bytes(large)
    url = f"{feed.url}/pack.torrent.hints"
    with requests.get(url, stream=True, timeout=10) as answer:
        first = answer.raw.read(1000)
        fresh = hints.with_name("fresh")
        fresh.write_bytes(b"new")
        fresh.replace(hints)
        assert first + answer.raw.read() == large
    assert _get(feed, "pack.torrent.hints").content == b"new"


@pytest.mark.usefixtures("release")
def test_what_is_not_there_is_not_found_and_what_is_to_come_is_not_available_yet(
    feed: PublicFeed, hints: Path
) -> None:
    assert _get(feed, "other.torrent.hints").status_code == 404
    assert _get(feed, "later.torrent.hints").status_code == 503
    hints.unlink()
    assert _get(feed, "pack.torrent.hints").status_code == 404
    hints.mkdir()
    assert _get(feed, "pack.torrent.hints").status_code == 404
    hints.rmdir()
    hints.write_bytes(b"")
    assert _get(feed, "pack.torrent.hints").content == b""


def test_a_release_without_hints_has_none(feed: PublicFeed, release: ServedRelease) -> None:
    feed.show(replace(release, hints=None))
    assert _get(feed, "pack.torrent.hints").status_code == 404
    assert _get(feed, "other%20name.torrent.hints").status_code == 404


@pytest.mark.usefixtures("release")
def test_a_file_that_becomes_shorter_ends_the_answer_too_early(
    feed: PublicFeed, hints: Path
) -> None:
    hints.write_bytes(bytes(64 * CHUNK_BYTES))
    with requests.get(f"{feed.url}/pack.torrent.hints", stream=True, timeout=10) as answer:
        answer.raw.read(1000)
        os.truncate(hints, 1000)
        with pytest.raises(Exception, match=r"IncompleteRead|Connection broken"):
            for _part in answer.iter_content(CHUNK_BYTES):
                pass


@pytest.mark.usefixtures("release")
def test_no_file_stays_open_whatever_the_client_does(feed: PublicFeed, hints: Path) -> None:
    def opened() -> int:
        links = []
        for fd in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
        return links.count(str(hints))

    hints.write_bytes(bytes(64 * CHUNK_BYTES))
    url = f"{feed.url}/pack.torrent.hints"
    etag = _get(feed, "pack.torrent.hints", "HEAD").headers["ETag"]
    for method, headers in [
        ("HEAD", {}),
        ("GET", {"If-None-Match": etag}),
        ("GET", {"Range": "bytes=999999999-"}),
        ("GET", {"Range": "bytes=0-9"}),
    ]:
        requests.request(method, url, headers=headers, timeout=10)
    answers = [requests.get(url, stream=True, timeout=10) for _ in range(3)]
    for answer in answers:
        answer.raw.read(100)
    assert opened() == 3
    for answer in answers:
        answer.close()
    ends = threading.Event()
    for _ in range(1000):
        if not opened():
            break
        ends.wait(0.01)
    assert opened() == 0
