"""The feed on a real socket: what it hands out, to whom, and how it ends."""

from __future__ import annotations

import errno
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.feeds import NAME, PublicFeed, released, running_feed
from tests.support.packed import make_packed
from tests.support.processes import HOST, free_port, wait_until
from tests.support.programs import require
from tests.support.trees import random_bytes, write_tree
from torsync.model.errors import FeedError
from torsync.publish.feed.content import CHUNK_BYTES
from torsync.publish.serving import Limits
from torsync.subscribe.remote.poll import Fetched, NotModified, Remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.publish.feed import ServedRelease

KIB = 1024
BIG = 3 * CHUNK_BYTES + 17
HUGE = 64 * CHUNK_BYTES  # more than sockets buffer
DEADLINE_S = 10
RUNNING_LIMITS = "torsync.publish.feed.running.Limits"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def feed() -> Iterator[PublicFeed]:
    with running_feed() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(
        tmp_path / "pack",
        {
            "a/b.bin": 1000,
            "big.bin": BIG,
            "empty": 0,
            "a/ä #?%2f.txt": 10,
            "link": ("link", "big.bin"),
        },
    )


@pytest.fixture
def release(feed: PublicFeed, folder: Path) -> ServedRelease:
    return feed.show(released(folder, make_packed(folder / "a"), signature=b"a signature"))


class Client:
    """Sends what no well-behaved library would."""

    def __init__(self, feed: PublicFeed) -> None:
        self.socket = socket.create_connection((HOST, feed.port), timeout=DEADLINE_S)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, path: str, *headers: str, method: str = "GET") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def answer(self, method: str = "GET") -> http.client.HTTPResponse:
        found = http.client.HTTPResponse(self.socket, method=method)
        found.begin()
        return found

    def everything(self) -> bytes:
        """What comes until the server closes the connection."""
        parts = []
        with suppress(ConnectionError):
            while part := self.socket.recv(1 << 20):
                parts.append(part)
        return b"".join(parts)

    def is_cut(self) -> bool:
        """Whether the server closes the connection; if not, it times out."""
        self.everything()
        return True

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def client(feed: PublicFeed) -> Iterator[Client]:
    with closing(Client(feed)) as connected:
        yield connected


def get(feed: PublicFeed, path: str, **headers: str) -> requests.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(feed.url + path, headers=sent, timeout=DEADLINE_S)


def status_of(feed: PublicFeed, path: str, method: str = "GET") -> int:
    """Ask for exactly this path."""
    with closing(Client(feed)) as one:
        one.ask(path, method=method)
        return one.answer(method).status


class TestDocuments:
    def test_the_torrent_and_its_signature(self, feed: PublicFeed, release: ServedRelease) -> None:
        torrent = get(feed, f"/{NAME}.torrent")
        assert torrent.content == release.metainfo
        assert torrent.headers["Content-Type"] == "application/x-bittorrent"
        assert torrent.headers["Vary"] == "Prefer"
        assert "Last-Modified" not in torrent.headers
        signature = get(feed, f"/{NAME}.torrent.minisig")
        assert signature.content == b"a signature"
        etag = torrent.headers["ETag"]
        assert get(feed, f"/{NAME}.torrent", If_None_Match=etag).status_code == 304
        assert get(feed, f"/{NAME}.torrent.minisig", If_None_Match=etag).status_code == 200

    def test_a_large_torrent_comes_whole(self, feed: PublicFeed, folder: Path) -> None:
        body = random_bytes(3 * CHUNK_BYTES + 1)
        feed.show(replace(released(folder, make_packed(folder)), metainfo=body))
        assert get(feed, f"/{NAME}.torrent").content == body
        assert requests.head(feed.torrent_url()).headers["Content-Length"] == str(len(body))

    def test_an_unsigned_release_has_no_signature(self, feed: PublicFeed, folder: Path) -> None:
        feed.show(released(folder, make_packed(folder)))
        assert status_of(feed, f"/{NAME}.torrent.minisig") == 404

    def test_its_validator_is_good_for_the_very_next_poll(
        self, feed: PublicFeed, folder: Path, release: ServedRelease
    ) -> None:
        remote = Remote(feed.torrent_url())
        first = remote.poll()
        assert isinstance(first, Fetched)
        assert first.body == release.metainfo
        assert remote.poll(first.validators) == NotModified()
        feed.show(released(folder, make_packed(folder, piece_size=32 * KIB)))
        second = remote.poll(first.validators)
        assert isinstance(second, Fetched)
        assert second.sha256 != first.sha256

    def test_the_front_page_lists_what_is_published(
        self, feed: PublicFeed, release: ServedRelease
    ) -> None:
        feed.show(release, "other-1.2")
        page = get(feed, "/")
        assert page.status_code == 200
        for expected in ('href="pack.torrent"', 'href="other-1.2.torrent"', release.info_hash):
            assert expected in page.text

    def test_what_is_not_published_is_not_there(
        self, feed: PublicFeed, release: ServedRelease
    ) -> None:
        content = f"/content/{release.info_hash}"
        for path in (
            *(
                "/x.torrent",
                "/pack",
                "/pack.torrent/",
                "//pack.torrent",
                "/PACK.torrent",
                "/content",
            ),
            *("/content/", content, f"{content}/", f"{content}/pack", f"{content}/pack/"),
            *("/pack.torrent.hints", "/favicon.ico", "/.", "/%70ack%2etorrent/x", "*"),
        ):
            assert status_of(feed, path) == 404, path
        assert status_of(feed, "/%70ack%2etorrent") == 200

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X"])
    def test_nothing_can_be_changed(
        self, feed: PublicFeed, release: ServedRelease, method: str
    ) -> None:
        for path in ("/", f"/{NAME}.torrent", feed.content_path(release, "a/b.bin"), "/unknown"):
            assert status_of(feed, path, method) == 405


class TestContent:
    def test_files_come_as_they_are(
        self, feed: PublicFeed, folder: Path, release: ServedRelease
    ) -> None:
        for path in ("a/b.bin", "big.bin", "empty", "a/ä #?%2f.txt"):
            found = get(feed, feed.content_path(release, path))
            assert found.content == (folder / path).read_bytes(), path
            assert found.headers["Accept-Ranges"] == "bytes"
        assert feed.edited == []

    @pytest.mark.parametrize("path", ["a/b.bin", "big.bin", "empty"])
    def test_head_is_get_without_the_body(
        self, feed: PublicFeed, release: ServedRelease, path: str
    ) -> None:
        url = feed.url + feed.content_path(release, path)
        with requests.Session() as session:
            whole, head = session.get(url), session.head(url)
            again = session.get(url)  # the connection is good for another request
        assert head.content == b""
        assert again.content == whole.content
        for name in ("Content-Length", "ETag", "Content-Type", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            *((0, 0), (0, BIG - 1), (BIG - 1, BIG - 1), (CHUNK_BYTES - 1, CHUNK_BYTES)),
            *((1, CHUNK_BYTES), (0, CHUNK_BYTES - 1), (CHUNK_BYTES, 3 * CHUNK_BYTES - 1)),
        ],
    )
    def test_ranges(
        self, feed: PublicFeed, folder: Path, release: ServedRelease, start: int, end: int
    ) -> None:
        path = feed.content_path(release, "big.bin")
        found = get(feed, path, Range=f"bytes={start}-{end}")
        assert found.status_code == 206
        assert found.headers["Content-Range"] == f"bytes {start}-{end}/{BIG}"
        assert found.content == (folder / "big.bin").read_bytes()[start : end + 1]

    def test_ranges_that_depend_on_the_version(
        self, feed: PublicFeed, release: ServedRelease
    ) -> None:
        path = feed.content_path(release, "big.bin")
        etag = get(feed, path, Range="bytes=0-0").headers["ETag"]
        assert get(feed, path, Range="bytes=0-0", If_Range=etag).status_code == 206
        assert get(feed, path, Range="bytes=0-0", If_Range='"other"').status_code == 200
        assert get(feed, path, If_None_Match=etag).status_code == 304
        assert get(feed, path, If_None_Match=etag, Range="bytes=0-0").status_code == 304
        assert get(feed, path, Range="bytes=0-0,5-6").status_code == 200
        beyond = get(feed, path, Range=f"bytes={BIG}-")
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{BIG}")

    def test_curl_goes_on_where_it_was_cut_off(
        self, feed: PublicFeed, folder: Path, release: ServedRelease, tmp_path: Path
    ) -> None:
        target = tmp_path / "got"
        target.write_bytes((folder / "big.bin").read_bytes()[:12345])
        url = feed.url + feed.content_path(release, "big.bin")
        command = [require("curl"), "-sS", "--fail", "-C", "-", "-o", target, url]
        subprocess.run(command, check=True, timeout=DEADLINE_S)
        assert target.read_bytes() == (folder / "big.bin").read_bytes()

    def test_pad_files_are_zeros(self, feed: PublicFeed, release: ServedRelease) -> None:
        size = CHUNK_BYTES + 5
        found = get(feed, feed.content_path(release, f".pad/{size}"))
        assert found.content == bytes(size)
        assert get(feed, feed.content_path(release, ".pad/9"), Range="bytes=2-4").content == bytes(
            3
        )

    @pytest.mark.parametrize(
        "path",
        [
            *("../secret", "%2e%2e/secret", "a/../../secret", "a%2fb.bin", "a%5cb.bin", "a//b.bin"),
            *("/a/b.bin", "a/b.bin/", "a/./b.bin", "a/b.bin%00", "a/b%2ebin%00.txt", "A/b.bin"),
            *("a%252fb.bin", "%61%252fb.bin", "a/%ff", "link", "a", "new", ".torsync/marker"),
            *("a\\b.bin", "a/b.bin;x", "%252e%252e/secret", "..%2fsecret", "a/b.bin%20"),
        ],
    )
    def test_other_paths_lead_nowhere(
        self, feed: PublicFeed, folder: Path, release: ServedRelease, path: str
    ) -> None:
        write_tree(folder.parent, {"secret": 10})
        write_tree(folder, {"new": 10, ".torsync/marker": 10})
        url = f"/content/{release.info_hash}/{release.root_name}/{path}"
        assert status_of(feed, url) == 404
        assert feed.edited == []

    def test_a_query_changes_nothing(self, feed: PublicFeed, release: ServedRelease) -> None:
        assert get(feed, feed.content_path(release, "a/b.bin") + "?x=/../y").status_code == 200

    def test_several_requests_on_a_connection(
        self, feed: PublicFeed, client: Client, folder: Path, release: ServedRelease
    ) -> None:
        client.ask(feed.content_path(release, "a/b.bin"))  # nobody waits for the answers
        client.ask(feed.content_path(release, "empty"))
        client.ask(feed.content_path(release, "a/b.bin"), "Connection: close")
        answers = client.everything()
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert answers.count((folder / "a/b.bin").read_bytes()) == 2
        assert answers.endswith((folder / "a/b.bin").read_bytes())


class TestEdits:
    def edit(self, file: Path) -> None:
        """Another content of the same size, with the old times as far as they can be set."""
        before = file.stat()
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    def swap_file(self, file: Path) -> None:
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        os.replace(copy, file)

    def swap_in_link(self, file: Path) -> None:
        os.replace(file, file.parent.parent / "moved")
        file.symlink_to(file.parent.parent / "moved")

    def swap_folder_for_link(self, file: Path) -> None:
        moved = file.parent.parent.parent / "moved"
        os.replace(file.parent, moved)
        file.parent.symlink_to(moved)

    def swap_in_fifo(self, file: Path) -> None:
        file.unlink()
        os.mkfifo(file)

    def swap_in_folder(self, file: Path) -> None:
        file.unlink()
        file.mkdir()

    def remove(self, file: Path) -> None:
        file.unlink()

    def append(self, file: Path) -> None:
        with file.open("ab") as opened:
            opened.write(b"x")

    @pytest.mark.parametrize(
        "how",
        [
            *("edit", "swap_file", "swap_in_link", "swap_folder_for_link", "swap_in_fifo"),
            *("swap_in_folder", "remove", "append"),
        ],
    )
    def test_what_is_not_what_was_published_is_gone_and_the_owner_is_told(
        self, feed: PublicFeed, folder: Path, release: ServedRelease, how: str
    ) -> None:
        path = feed.content_path(release, "a/b.bin")
        assert status_of(feed, path) == 200
        getattr(self, how)(folder / "a/b.bin")
        assert status_of(feed, path) == 410
        assert status_of(feed, path, "HEAD") == 410
        assert feed.edited == [(NAME, "a/b.bin")]
        assert status_of(feed, feed.content_path(release, "big.bin")) == 200

    @pytest.mark.parametrize("how", ["edit", "withdraw"])
    def test_a_transfer_is_cut_before_a_wrong_byte(
        self, feed: PublicFeed, client: Client, tmp_path: Path, how: str
    ) -> None:
        folder = write_tree(tmp_path / "huge", {"huge.bin": HUGE})
        content = (folder / "huge.bin").read_bytes()
        release = feed.show(released(folder, make_packed(folder)))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        client.ask(feed.content_path(release, "huge.bin"))
        answer = client.answer()
        got = answer.read(1000)
        if how == "withdraw":
            feed.withdraw(NAME, ["huge.bin"])
        else:
            with (folder / "huge.bin").open("r+b") as file:
                file.seek(HUGE // 2)
                file.write(bytes(HUGE // 2))
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
        got += cut.value.partial
        assert len(got) < HUGE
        assert content.startswith(got)
        assert feed.edited == ([(NAME, "huge.bin")] if how == "edit" else [])

    def test_a_download_goes_on_through_a_release_that_leaves_its_file_alone(
        self, feed: PublicFeed, client: Client, tmp_path: Path
    ) -> None:
        folder = write_tree(tmp_path / "huge", {"huge.bin": HUGE, "x": 10})
        old = feed.show(released(folder, make_packed(folder)))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        client.ask(feed.content_path(old, "huge.bin"))
        answer = client.answer()
        got = answer.read(1000)
        write_tree(folder, {"x": 20})
        new = feed.show(released(folder, make_packed(folder)))
        assert new.info_hash != old.info_hash
        got += answer.read()
        assert got == (folder / "huge.bin").read_bytes()
        found = [status_of(feed, feed.content_path(old, path)) for path in ("huge.bin", "x")]
        assert found == [200, 410]
        assert feed.edited == []


class TestHeldPolls:
    def hold(self, client: Client, etag: str, wait_s: int = 30) -> None:
        client.ask(f"/{NAME}.torrent", f"If-None-Match: {etag}", f"Prefer: wait={wait_s}")

    def etag(self, feed: PublicFeed) -> str:
        return get(feed, f"/{NAME}.torrent").headers["ETag"]

    def test_a_release_ends_the_wait(
        self, feed: PublicFeed, client: Client, folder: Path, release: ServedRelease
    ) -> None:
        self.hold(client, self.etag(feed))
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(DEADLINE_S)
        feed.publish("other", release)
        feed.show(release)  # the same once more is no news
        new = feed.show(released(folder, make_packed(folder, piece_size=32 * KIB)))
        answer = client.answer()
        assert answer.status == 200
        assert answer.headers["Preference-Applied"] == "wait=30"
        assert answer.headers["Vary"] == "Prefer"
        assert answer.read() == new.metainfo

    @pytest.mark.usefixtures("release")
    def test_without_news_it_ends_in_time(self, feed: PublicFeed, client: Client) -> None:
        etag, began = self.etag(feed), time.monotonic()
        self.hold(client, etag, wait_s=1)
        answer = client.answer()
        assert (answer.status, answer.headers["ETag"]) == (304, etag)
        assert answer.headers["Preference-Applied"] == "wait=1"
        assert time.monotonic() - began >= 0.9

    def test_what_is_new_already_is_sent_at_once(
        self, client: Client, release: ServedRelease
    ) -> None:
        self.hold(client, '"older"', wait_s=10**9)
        answer = client.answer()
        assert (answer.status, answer.read()) == (200, release.metainfo)
        assert answer.headers["Preference-Applied"] == "wait=300", "it is capped"
        client.ask(f"/{NAME}.torrent", "Prefer: wait=30")
        assert client.answer().status == 200, "without a condition there is nothing to wait for"

    @pytest.mark.usefixtures("release")
    def test_hundreds_of_polls_are_held_and_ended_at_once(
        self, feed: PublicFeed, folder: Path
    ) -> None:
        etag, threads = self.etag(feed), threading.active_count()
        clients = [Client(feed) for _ in range(300)]
        for one in clients:
            self.hold(one, etag)
        for one in clients[::3]:
            one.close()
        assert get(feed, f"/{NAME}.torrent").status_code == 200
        assert threading.active_count() <= threads + 1
        new = feed.show(released(folder, make_packed(folder, piece_size=32 * KIB)))
        for number, one in enumerate(clients):
            if number % 3:
                assert one.answer().read() == new.metainfo
                one.close()


class TestLimits:
    def test_huge_headers_are_refused(self, client: Client) -> None:
        with suppress(ConnectionError):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(100):
                client.send(b"y" * 64 * KIB)
        with suppress(ConnectionError):
            assert client.answer().status == 400
        assert client.is_cut()

    @pytest.mark.parametrize(
        "data",
        [
            *(b"\x00\xff\r\n\r\n", b"GET /\r\n\r\n", b"GET  / HTTP/9\r\nHost: x\r\n\r\n"),
            *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n",),
            *(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",),
            *(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        ],
    )
    def test_what_is_no_http_is_refused(
        self, feed: PublicFeed, client: Client, data: bytes
    ) -> None:
        client.send(data)
        assert client.answer().status == 400
        assert client.is_cut()
        assert status_of(feed, "/") == 200

    def test_what_cannot_be_answered_any_more_is_cut_off(
        self, feed: PublicFeed, release: ServedRelease
    ) -> None:
        last = f"GET {feed.content_path(release, 'big.bin')} HTTP/1.1\r\nHost: x\r\n"
        for data in (
            f"{last}Connection: close\r\n\r\n".encode() * 2,
            f"{last}Connection: close\r\n\r\njunk\r\n\r\n".encode(),
            f"{last}\r\njunk\r\n\r\n".encode(),
            f"{last}Content-Length: 5\r\n\r\n".encode() * 2,
            f"{last}Transfer-Encoding: chunked\r\n\r\njunk\r\n".encode(),
            b"GET / HTTP/1.0\r\n\r\n" * 3,
            b"GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" * 3,
            b"HEAD /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" * 3,
            b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\njunk\r\n\r\n",
        ):
            with closing(Client(feed)) as one:
                one.send(data)
                if b"chunked" not in data:
                    one.socket.shutdown(socket.SHUT_WR)
                assert one.is_cut()
        assert status_of(feed, "/") == 200

    def test_nobody_sends_to_clients_that_are_gone(
        self, feed: PublicFeed, release: ServedRelease, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(5):
            with closing(Client(feed)) as one:
                one.ask(feed.content_path(release, ".pad/100000000"))
                assert one.answer().status == 200
        assert status_of(feed, "/") == 200
        assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []

    def test_whoever_sends_no_whole_request_is_cut_off(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RUNNING_LIMITS, partial(Limits, headers_s=0.2))
        with running_feed() as feed:
            silent, slow, kept = (Client(feed) for _ in range(3))
            slow.send(b"GET / HT")
            kept.ask("/")
            assert kept.answer().read()
            kept.send(b"GET / HT")
            for one in (silent, slow, kept):
                with closing(one):
                    assert one.is_cut()

    def test_whoever_takes_nothing_is_cut_off(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(RUNNING_LIMITS, partial(Limits, stalled_s=0.2))
        folder = write_tree(tmp_path / "huge", {"huge.bin": HUGE})
        with running_feed() as feed:
            release = feed.show(released(folder, make_packed(folder)))
            with closing(Client(feed)) as lazy:
                lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
                lazy.ask(feed.content_path(release, "huge.bin"))
                huge = os.stat(folder / "huge.bin").st_ino
                wait_until(lambda: huge in open_inodes(), "it is being sent")
                wait_until(lambda: huge not in open_inodes(), "it is closed")
                assert len(lazy.everything()) < HUGE

    def test_where_no_more_files_can_be_opened_the_connection_is_cut(
        self, feed: PublicFeed, release: ServedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """libtorrent 2.1.1 asks again then, and never after a 503."""

        def no_room(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        url = feed.url + feed.content_path(release, "a/b.bin")
        with monkeypatch.context() as patched:
            patched.setattr("torsync.publish.feed.app.read_first", no_room)
            with pytest.raises(requests.exceptions.RequestException):
                requests.get(url, timeout=DEADLINE_S)
        assert requests.get(url, timeout=DEADLINE_S).status_code == 200
        assert not feed.edited

    def test_for_more_connections_the_one_that_is_idle_longest_is_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torsync.publish.feed.running._connection_limit", lambda: 3)
        with running_feed() as feed, ExitStack() as stack:
            clients = [stack.enter_context(closing(Client(feed))) for _ in range(3)]
            for one in (clients[1], clients[0], clients[2]):
                one.ask("/")
                assert one.answer().read()
            one_more = stack.enter_context(closing(Client(feed)))
            one_more.ask("/")
            assert one_more.answer().read()
            assert clients[1].is_cut()
            for one in (clients[0], clients[2]):
                one.ask("/")
                assert one.answer().read()

    def test_where_none_is_idle_there_are_only_so_many_connections(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        monkeypatch.setattr("torsync.publish.feed.running._connection_limit", lambda: 3)
        with running_feed() as feed, ExitStack() as stack:
            feed.show(released(folder, make_packed(folder)))
            tag = requests.get(feed.torrent_url(), timeout=DEADLINE_S).headers["ETag"]
            asked = ("Prefer: wait=60", f"If-None-Match: {tag}")
            holding = [stack.enter_context(closing(Client(feed))) for _ in range(3)]
            for one in holding:
                one.ask(f"/{NAME}.torrent", *asked)
            server = feed._running._server._server.server_state
            wait_until(lambda: len(server.tasks) == 3, "all are held")
            with closing(Client(feed)) as one_more:
                assert one_more.is_cut()
            holding[0].close()
            wait_until(lambda: answers(feed), "there is room again")

    def test_slow_clients_hold_up_nobody(self, feed: PublicFeed, tmp_path: Path) -> None:
        folder = write_tree(tmp_path / "huge", {"huge.bin": HUGE, "x": 10})
        release = feed.show(released(folder, make_packed(folder)))
        slow = [Client(feed) for _ in range(20)]
        for one in slow:
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
            one.ask(feed.content_path(release, "huge.bin"))
            assert one.answer().status == 200
        assert get(feed, feed.content_path(release, "x")).content
        for one in slow:
            one.close()
        huge = os.stat(folder / "huge.bin").st_ino
        wait_until(lambda: huge not in open_inodes(), "the file is closed")


def open_inodes() -> set[int]:
    """What this process has open (Linux)."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.add(os.stat(f"/proc/self/fd/{number}").st_ino)
    return found


def answers(feed: PublicFeed) -> bool:
    try:
        return status_of(feed, "/") == 200
    except (OSError, http.client.HTTPException):
        return False


class TestItsLife:
    def test_it_ends_at_once_with_polls_and_downloads_under_way(self, tmp_path: Path) -> None:
        folder = write_tree(tmp_path / "huge", {"huge.bin": HUGE})
        threads = threading.active_count()
        with running_feed() as feed:
            release = feed.show(released(folder, make_packed(folder)))
            etag = get(feed, f"/{NAME}.torrent").headers["ETag"]
            idle, download, poll, half = (Client(feed) for _ in range(4))
            download.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
            download.ask(feed.content_path(release, "huge.bin"))
            assert download.answer().status == 200
            poll.ask(f"/{NAME}.torrent", f"If-None-Match: {etag}", "Prefer: wait=300")
            half.send(b"GET / HT")
            feed.close()
            assert "feed" not in {thread.name for thread in threading.enumerate()}
            feed.close()
            feed.publish(NAME, release)  # harmless
            for one in (idle, download, poll, half):
                with closing(one):
                    assert one.is_cut()
        wait_until(lambda: threading.active_count() <= threads, "its threads have ended")
        with pytest.raises(ConnectionRefusedError):
            Client(feed)

    def test_what_goes_well_is_not_told(self, feed: PublicFeed, release: ServedRelease) -> None:
        assert status_of(feed, feed.content_path(release, "a/b.bin")) == 200
        feed.close()
        assert feed.events == []

    def test_what_waits_for_its_first_release_is_not_there_yet_instead_of_gone(
        self, folder: Path
    ) -> None:
        with running_feed(awaited=[NAME]) as feed, ThreadPoolExecutor(1) as clients:
            release = released(folder, make_packed(folder / "a"), signature=b"a signature")
            for name in (f"{NAME}.torrent", f"{NAME}.torrent.minisig"):
                answer = requests.get(f"{feed.url}/{name}", timeout=DEADLINE_S)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert requests.get(f"{feed.url}/x.torrent", timeout=DEADLINE_S).status_code == 404
            url = feed.url + feed.content_path(release, "a/b.bin")
            asked = clients.submit(requests.get, url, timeout=DEADLINE_S)
            wait_until(lambda: "" in feed._running._app._changed, "the request is held")  # type: ignore[union-attr]
            feed.show(release)
            assert asked.result().content == (folder / "a/b.bin").read_bytes()
            missing = f"{feed.url}/content/{'0' * 40}/x/y"
            assert requests.get(missing, timeout=DEADLINE_S).status_code == 404

    def test_a_port_in_use_is_named(self) -> None:
        with running_feed() as feed, pytest.raises(FeedError, match="Address already") as found:
            PublicFeed(port=feed.port).start()
        assert f"127.0.0.1:{feed.port}" in found.value.message
        assert "another port" in found.value.hint

    @pytest.mark.parametrize(
        ("host", "message"),
        [("192.0.2.200", "Cannot assign"), ("no.such.host.invalid", "no address for")],
    )
    def test_an_address_that_is_not_ours_is_named(self, host: str, message: str) -> None:
        with pytest.raises(FeedError, match=message) as found:
            PublicFeed(host=host).start()
        assert host in found.value.message
        assert "listen in [feed]" in found.value.hint

    def test_it_comes_back_on_the_same_port_at_once(self) -> None:
        port = free_port()
        for _ in range(3):
            with running_feed(port=port) as feed:
                assert feed.url == f"http://{HOST}:{port}"
                assert status_of(feed, "/") == 200

    def test_signals_are_left_to_the_program(self) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with running_feed() as feed:
            assert status_of(feed, "/") == 200
            assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
