"""``torsync run`` and a feed: a release is noticed when it is made, whatever the interval."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Running, Torsync, is_report
from tests.support.feeds import PublicFeed, released, running_feed, with_web_seed
from tests.support.nginx import Nginx, nginx
from tests.support.processes import free_port, wait_until
from tests.support.scripted_http import Hang, Reset, ScriptedServer, reply
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, write_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
NEWS_S = 20  # how long a release may take: far less than the interval


def release(feed: PublicFeed, folder: Path, size: int) -> bytes:
    """Publish a release whose only source is the feed."""
    torrent = with_web_seed(make(folder, {"a.bin": size, "b.bin": 100}), feed)
    feed.show(released(folder, torrent))
    return torrent


def wait_for_release(service: Running, torrent: bytes, *, since: int = 0) -> None:
    service.wait_for(
        lambda one: is_report(one) and one["info_hash"] == info_hash(torrent),
        "the release is in place",
        since=since,
        deadline_s=NEWS_S,
    )


def test_releases_are_noticed_at_once_and_the_service_stops_at_once(
    tmp_path: Path, torsync: Torsync, record_property: pytest.RecordProperty
) -> None:
    with running_feed() as feed:
        first = release(feed, tmp_path / "one", 40 * KIB)
        torsync.subscribe(url=feed.torrent_url(), interval="1h")
        service = torsync.start("run")
        wait_for_release(service, first)
        took_s = []
        for number in range(3):
            heard, began = len(service.objects()), time.monotonic()
            folder = tmp_path / f"again {number}"
            wait_for_release(service, release(feed, folder, 50 * KIB + number), since=heard)
            took_s.append(time.monotonic() - began)
            assert_same_tree(torsync.tree, folder)
        record_property("took_s", took_s)
        outcome = service.stop(signal.SIGTERM, within_s=2)
        assert outcome.exit_code == 0
        assert not outcome.notices


def test_a_release_ends_the_download_of_the_one_before(tmp_path: Path, torsync: Torsync) -> None:
    with running_feed() as feed:
        nobody_has = make(tmp_path / "one", {"a.bin": 40 * KIB})
        feed.show(released(tmp_path / "one", nobody_has))
        torsync.subscribe(url=feed.torrent_url(), interval="1h")
        service = torsync.start("run")
        service.wait_for_stage("pack", "downloading")
        wait_for_release(service, release(feed, tmp_path / "two", 50 * KIB))
        assert_same_tree(torsync.tree, tmp_path / "two")
        assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


def test_a_release_after_the_feed_was_restarted_is_noticed(
    tmp_path: Path, torsync: Torsync
) -> None:
    with running_feed() as feed:
        first = release(feed, tmp_path / "one", 40 * KIB)
        torsync.subscribe(url=feed.torrent_url(), interval="1h")
        service = torsync.start("run")
        wait_for_release(service, first)
        service.wait_for_stage("pack", "waiting")
        port = feed.port
    with running_feed(port=port) as feed:
        second = release(feed, tmp_path / "two", 50 * KIB)
        wait_for_release(service, second)
        assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


@pytest.mark.programs
def test_a_server_that_ignores_the_preference_is_asked_at_the_interval(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    www = tmp_path / "www"
    torrent = make(tmp_path / "one", {"a.bin": 40 * KIB})
    publisher.seeder.add_folder(torrent, tmp_path / "one")
    write_tree(www, {"pack.torrent": torrent})
    os.utime(www / "pack.torrent", (10**9, 10**9))  # a new one's validators are not trusted
    with nginx(www) as server:
        torsync.subscribe(url=server.url_for("pack.torrent"), interval="1s")
        service = torsync.start("run")

        def asked() -> list[str]:
            return [line.method for line in server.access_log()]

        wait_until(lambda: asked().count("GET") >= 5, "it has polled at the interval")
        assert 1 <= asked().count("HEAD") <= 3, "it learns that it is ignored"
        assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


ANSWERS = {
    "cut": Reset(),
    "busy": reply(503),
    "early": reply(304, {"Preference-Applied": "wait=50"}),
    "silent": Hang(),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_does_not_hold_what_it_promises_to_is_not_hammered(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, answer: str
) -> None:
    torrent = make(tmp_path / "one", {"a.bin": 40 * KIB})
    publisher.seeder.add_folder(torrent, tmp_path / "one")
    with ScriptedServer([reply(200, {"ETag": '"one"'}, torrent)], [ANSWERS[answer]]) as server:
        torsync.subscribe(url=f"{server.url}/pack.torrent", interval="1h")
        service = torsync.start("run")
        wait_until(lambda: len(server.requests) >= 2, "it has asked to be held")
        service.wait_for_stage("pack", "waiting")
        outcome = service.stop(signal.SIGTERM, within_s=2)
        assert outcome.exit_code == 0
        assert not outcome.notices, "that is nobody's business"
        assert 2 <= len(server.requests) <= 6, "it would be hundreds"
    assert server.requests[1].method == "HEAD"
    assert server.requests[1].headers["if-none-match"] == '"one"'
    assert server.requests[1].headers["prefer"] == "wait=50"


@pytest.mark.programs
def test_releases_are_noticed_behind_a_web_server_that_has_little_patience(
    tmp_path: Path, torsync: Torsync
) -> None:
    """It cuts what is silent for two seconds: that is asked again, and told to nobody."""
    with running_feed(port=free_port()) as feed:
        config = f"location / {{ proxy_pass {feed.url}; proxy_read_timeout 2s; }}"
        first = release(feed, tmp_path / "one", 40 * KIB)
        with nginx(tmp_path, extra_server_config=config) as server:
            torsync.subscribe(url=f"{server.url}/pack.torrent", interval="1h")
            service = torsync.start("run")
            wait_for_release(service, first)
            wait_until(lambda: held(server), "the server has cut it off")
            heard = len(service.objects())
            wait_for_release(service, release(feed, tmp_path / "two", 50 * KIB), since=heard)
            outcome = service.stop(signal.SIGTERM, within_s=2)
            assert (outcome.exit_code, outcome.notices) == (0, [])


def held(server: Nginx) -> bool:
    """Whether a request was held until the server had no more patience."""
    return any(line.method == "HEAD" and line.status == 504 for line in server.access_log())
