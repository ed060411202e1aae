"""The long poll: when it asks, what it takes for news, and how it ends."""

from __future__ import annotations

import queue
import socket
import subprocess
import threading
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.scripted_http import Drip, Hang, Reset, ScriptedServer, reply
from torsync.subscribe.remote.long_poll import Known, LongPoll, Outcome, Pace, judge
from torsync.subscribe.remote.poll import Validators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEWS, UNCHANGED, IGNORED, FAILED, UNREACHED = Outcome
URL = "http://127.0.0.1/x.torrent"
ONE, TWO = Validators('"1"', "then"), Validators('"2"', "now")
DEADLINE_S = 10.0
APPLIED = {"Preference-Applied": "wait=50"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize(
    ("status", "etag", "is_applied", "outcome"),
    [
        (200, '"2"', True, NEWS),
        (304, '"1"', True, UNCHANGED),
        (304, "", True, UNCHANGED),
        (200, '"1"', True, IGNORED),
        (200, 'W/"1"', True, IGNORED),
        (200, "", True, IGNORED),
        (200, '"2"', False, IGNORED),
        (304, '"1"', False, IGNORED),
        *((status, '"2"', True, FAILED) for status in (204, 206, 401, 404, 405, 500, 503, 504)),
    ],
)
def test_what_an_answer_means(status: int, etag: str, is_applied: bool, outcome: Outcome) -> None:
    assert judge(status, etag, '"1"', is_applied=is_applied) is outcome


class TestPace:
    def test_a_request_that_was_held_is_followed_by_another(self) -> None:
        pace = Pace()
        for outcome in (UNCHANGED, FAILED):  # such as a proxy that cuts what is silent
            for took_s in (10, 30, 50, 60):
                assert pace.pause_s(outcome, took_s) == 0.5

    @pytest.mark.parametrize("outcome", [UNCHANGED, FAILED])
    def test_one_that_was_not_held_is_followed_ever_later(self, outcome: Outcome) -> None:
        pace = Pace()
        pauses_s = [pace.pause_s(outcome, 1) for _ in range(11)]
        assert pauses_s == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        assert pace.pause_s(UNCHANGED, 50) == 0.5
        assert pace.pause_s(outcome, 9.9) == 1
        assert [pace.pause_s(outcome, 9.9) for _ in range(5000)][-1] == 300

    def test_a_server_that_nobody_reaches_is_asked_ever_later_however_long_that_took(self) -> None:
        pace = Pace()
        pauses_s = [pace.pause_s(UNREACHED, 10) for _ in range(11)]
        assert pauses_s[0] < pauses_s[5] < pauses_s[-1] == 300

    def test_a_server_that_ignores_it_is_asked_at_ever_fewer_checks(self) -> None:
        pace, asked = Pace(), []
        for check in range(200):
            if not pace.passes_over():
                asked.append(check)
                assert pace.pause_s(IGNORED, 0.1) is None
        assert asked == [0, 1, 3, 7, 15, 31, 63, 127, 191]

    def test_one_that_heeds_it_once_is_asked_at_each_check_again(self) -> None:
        pace = Pace()
        for _ in range(5):
            pace.pause_s(IGNORED, 0.1)
        while pace.passes_over():
            pass
        pace.pause_s(UNCHANGED, 50)
        assert not pace.passes_over()
        assert pace.pause_s(IGNORED, 0.1) is None
        assert not pace.passes_over()

    def test_news_without_end_are_not_acted_on(self) -> None:
        pace = Pace()
        taken = [pace.takes_news(now_s) for now_s in range(59)]
        assert taken.count(True) == 10
        assert pace.takes_news(60)

    def test_releases_in_a_row_are_acted_on(self) -> None:
        pace = Pace()
        assert all(pace.takes_news(now_s) for now_s in range(0, 600, 7))


@dataclass
class Server:
    """Answers when a test says so."""

    asked: queue.Queue[Known] = field(default_factory=queue.Queue)
    answers: queue.Queue[Outcome] = field(default_factory=queue.Queue)

    def ask(self, known: Known) -> Outcome:
        self.asked.put(known)
        return self.answers.get(timeout=DEADLINE_S)

    def was_asked(self) -> str:
        return self.asked.get(timeout=DEADLINE_S).etag

    def is_quiet(self) -> bool:
        """Whether nobody has asked; what could ask has been waited for."""
        return self.asked.empty()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def poll(server: Server) -> Iterator[LongPoll]:
    one = LongPoll(URL, {}, ask=server.ask, random=lambda: 0.5)
    yield one
    server.answers.put(FAILED)  # for a request that is held
    one.close()


def news(poll: LongPoll) -> None:
    wait_until(poll.take_news, "there are news")
    assert not poll.take_news(), "they are told once"


def idle(poll: LongPoll) -> None:
    wait_until(lambda: not poll.is_listening, "it waits for the next check")


def test_news_lead_to_a_check_and_then_the_new_release_is_waited_for(
    poll: LongPoll, server: Server
) -> None:
    assert not poll.is_listening
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    assert poll.is_listening
    server.answers.put(NEWS)
    news(poll)
    assert server.is_quiet(), "nothing is asked before the check"
    poll.arm(TWO, "two")
    assert server.was_asked() == '"2"'


def test_a_check_that_finds_nothing_new_leaves_a_held_request_alone(
    poll: LongPoll, server: Server
) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    poll.arm(ONE, "one")
    server.answers.put(NEWS)
    news(poll)
    assert server.is_quiet()


def test_news_that_come_during_a_check_are_kept(poll: LongPoll, server: Server) -> None:
    poll.arm(ONE, "one")
    server.answers.put(NEWS)
    wait_until(lambda: poll.is_listening and poll._is_news, "there are news")
    poll.arm(ONE, "one")  # the check had polled before
    news(poll)


def test_news_that_the_check_has_found_itself_are_dropped(poll: LongPoll, server: Server) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(NEWS)
    wait_until(lambda: poll._is_news, "there are news")
    poll.arm(TWO, "two")
    assert server.was_asked() == '"2"'
    assert not poll.take_news()


def test_an_answer_for_what_is_known_no_more_is_dropped(poll: LongPoll, server: Server) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    poll.arm(TWO, "two")
    server.answers.put(NEWS)
    assert server.was_asked() == '"2"'
    assert not poll.take_news()


def test_news_that_are_none_are_not_believed_before_the_next_check(
    poll: LongPoll, server: Server
) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(NEWS)
    news(poll)
    poll.arm(Validators('"other"'), "one")  # the check led to the same bytes
    assert not poll.is_listening
    assert server.is_quiet()
    poll.arm(Validators('"other"'), "one")
    assert server.was_asked() == '"other"'


def test_a_server_that_ignores_it_is_asked_again_after_the_next_check(
    poll: LongPoll, server: Server
) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(IGNORED)
    idle(poll)
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(IGNORED)
    idle(poll)
    poll.arm(ONE, "one")
    assert not poll.is_listening, "this check is passed over"
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'


def test_a_check_ends_the_pause_after_a_failure(poll: LongPoll, server: Server) -> None:
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(FAILED)
    wait_until(server.answers.empty, "the answer is taken")
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'


def test_without_a_tag_nothing_is_asked(poll: LongPoll, server: Server) -> None:
    poll.arm(Validators("", "then"), "one")
    assert not poll.is_listening
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    poll.arm(Validators("", "then"), "two")
    assert not poll.is_listening


@pytest.mark.parametrize("url", ["file:///srv/x.torrent", "FILE:/x"])
def test_of_a_file_nothing_is_asked(server: Server, url: str) -> None:
    poll = LongPoll(url, {}, ask=server.ask)
    poll.arm(ONE, "one")
    assert not poll.is_listening
    poll.close()


def test_it_needs_no_thread_before_it_is_armed_and_none_after_it_is_closed(server: Server) -> None:
    before = threading.active_count()
    poll = LongPoll(URL, {}, ask=server.ask)
    assert threading.active_count() == before
    poll.arm(ONE, "one")
    assert server.was_asked() == '"1"'
    server.answers.put(UNCHANGED)
    wait_until(server.answers.empty, "it pauses")
    poll.close()
    assert threading.active_count() == before
    poll.arm(TWO, "two")
    assert not poll.is_listening


class TestRequests:
    """With the poll's own HTTP, against servers that do as they are told."""

    @pytest.fixture
    def made(self) -> Iterator[list[LongPoll]]:
        polls: list[LongPoll] = []
        yield polls
        for one in polls:
            one.close()
        assert "long-poll" not in {thread.name for thread in threading.enumerate()}

    def armed(self, made: list[LongPoll], url: str, **headers: str) -> LongPoll:
        made.append(LongPoll(url, headers))
        made[-1].arm(ONE, "one")
        return made[-1]

    def test_what_is_sent(self, made: list[LongPoll], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKEN", "secret")
        with ScriptedServer([reply(200, {"ETag": '"2"', **APPLIED})]) as server:
            poll = self.armed(made, f"{server.url}/x.torrent?key=1", Authorization="env:TOKEN")
            news(poll)
            (request,) = server.requests
        assert (request.method, request.path) == ("HEAD", "/x.torrent?key=1")
        sent = {name: request.headers.get(name) for name in ("prefer", "authorization")}
        assert sent == {"prefer": "wait=50", "authorization": "secret"}
        assert request.headers["if-none-match"] == '"1"'
        assert request.headers["if-modified-since"] == "then"

    def test_redirects_are_followed_and_headers_stay_with_their_host(
        self, made: list[LongPoll]
    ) -> None:
        with (
            ScriptedServer([reply(200, {"ETag": '"2"', **APPLIED})]) as other,
            ScriptedServer([reply(302, {"Location": f"{other.url}/y"})]) as server,
        ):
            news(self.armed(made, f"{server.url}/x", Authorization="secret"))
            assert server.requests[0].headers["authorization"] == "secret"
            assert "authorization" not in other.requests[0].headers
            assert other.requests[0].headers["prefer"] == "wait=50"
            assert other.requests[0].method == "HEAD"

    @pytest.mark.parametrize(
        "script",
        [
            [reply(304)],
            [reply(200, {"ETag": '"2"'})],
            [reply(200, {"ETag": '"1"', **APPLIED})],
            [reply(304, {"Preference-Applied": "respond-async"})],
        ],
    )
    def test_a_server_that_does_not_know_it_is_asked_once(
        self, made: list[LongPoll], script: list[bytes]
    ) -> None:
        with ScriptedServer(script) as server:
            idle(self.armed(made, server.url))
            assert server.connections == 1

    @pytest.mark.parametrize(
        "script",
        [
            *([Reset()], [b"junk\r\n\r\n"], [reply(503)], [reply(404)], [reply(304, APPLIED)]),
            *([reply(302, {"Location": "ftp://x"})], [reply(302, {"Location": "/"})], [b""]),
        ],
    )
    def test_a_server_that_fails_at_once_is_left_alone_for_a_while(
        self, made: list[LongPoll], script: list[bytes]
    ) -> None:
        with ScriptedServer(script) as server:
            poll = self.armed(made, server.url)
            wait_until(lambda: poll._pace._unheld == 1, "it has failed")
            assert poll.is_listening
            assert not poll.take_news()
            assert server.connections <= 12, "a redirect to itself is followed ten times"

    def test_a_header_that_is_missing_is_told_by_the_check_alone(
        self, made: list[LongPoll], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TOKEN", raising=False)
        with ScriptedServer([reply(304)]) as server:
            poll = self.armed(made, server.url, Authorization="env:TOKEN")
            wait_until(lambda: poll._pace._unheld == 1, "it has failed")
            assert server.connections == 0

    @pytest.mark.parametrize(
        "script", [[Hang()], [Drip(reply(304, APPLIED), 0.05)], [b"HTTP/1.1 "]]
    )
    def test_closing_ends_it_at_once(self, made: list[LongPoll], script: list[bytes]) -> None:
        with ScriptedServer([*script, Hang()]) as server:
            poll = self.armed(made, server.url)
            wait_until(lambda: poll._socket is not None, "it waits for an answer")
            poll.close()
            assert "long-poll" not in {thread.name for thread in threading.enumerate()}

    def test_closing_ends_it_at_once_over_tls(
        self, made: list[LongPoll], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(
            [
                *(require("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", *subject),
                *(
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-days",
                    "2",
                    "-keyout",
                    key,
                    "-out",
                    pem,
                ),
            ],
            check=True,
            capture_output=True,
        )
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        with ScriptedServer([Hang()], certificate=pem, key=key) as server:
            poll = self.armed(made, server.url)
            wait_until(lambda: poll._socket is not None, "it waits for an answer")
            poll.close()
            assert "long-poll" not in {thread.name for thread in threading.enumerate()}

    def test_a_newer_release_ends_a_held_request(self, made: list[LongPoll]) -> None:
        with ScriptedServer([Hang()], [Hang()]) as server:
            poll = self.armed(made, server.url)
            wait_until(lambda: poll._socket is not None, "it waits for an answer")
            poll.arm(TWO, "two")
            wait_until(lambda: len(server.requests) == 2, "it asks anew")
            assert server.requests[1].headers["if-none-match"] == '"2"'

    def test_nobody_there_is_a_failure(self, made: list[LongPoll]) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
        poll = self.armed(made, f"http://127.0.0.1:{port}/x.torrent")
        wait_until(lambda: poll._pace._unheld == 1, "it has failed")
        assert poll._hold(Known('"1"', "", "one")) is UNREACHED

    def test_a_connection_that_is_cut_is_no_server_that_nobody_reaches(
        self, made: list[LongPoll]
    ) -> None:
        with ScriptedServer([Reset()]) as server:
            poll = LongPoll(server.url, {})
            made.append(poll)
            assert poll._hold(Known('"1"', "", "one")) is FAILED
