"""How subscribers find the publisher and one another, with a tracker, the feed, and LSD."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import HOST, free_port
from tests.support.programs import require
from tests.support.publishers import (
    NAME,
    PIECE,
    Publishing,
    decoded,
    released,
    subscriber,
    wait_for_release,
)
from tests.support.trees import assert_same_tree, edit_in_place, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tracker import Tracker
    from tests.support.trees import Content

FILES: dict[str, Content] = {"big": 20 * PIECE + 1, "d/small": 100, "d/other": ("exec", 200)}


def feed_url(publishing: Publishing) -> str:
    """The URL that the service has for subscribers; the feed listens on a free port."""
    port = free_port()
    publishing.feed = {"listen": f"{HOST}:{port}"}
    return f"http://{HOST}:{port}/{NAME}.torrent"


@pytest.mark.programs
@pytest.mark.parametrize("protocol", ["http", "udp"])
def test_with_a_tracker_two_subscribers_know_the_url_alone(
    publishing: Publishing, tmp_path: Path, tracker: Tracker, protocol: str
) -> None:
    announce = tracker.http_url if protocol == "http" else tracker.udp_url
    # opentracker here serves what is on its list; elsewhere it serves anything.
    folder = publishing.publish(entries=FILES, trackers=[announce])
    tracker.allow(released(publishing.run("check-now"))["info_hash"])
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    torrent = publishing.torrent().read_bytes()
    assert b"nodes" not in decoded(publishing.torrent())
    tracker.wait_for_peer(torrent, publishing.port)
    with ExitStack() as stack:
        subscribers = [
            stack.enter_context(subscriber(tmp_path / name, publishing, peers=[]))
            for name in ("one", "two")
        ]
        for torsync in subscribers:
            torsync.start("run").wait_for_stage(NAME, "seeding")
            assert_same_tree(torsync.tree, folder)
        tracker.wait_for_seeds(torrent, 3)
        # The publisher is gone; the swarm goes on.
        service.stop(signal.SIGTERM, within_s=5)
        late = stack.enter_context(subscriber(tmp_path / "late", publishing, peers=[]))
        late.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(late.tree, folder)


def test_the_feed_alone_is_enough(publishing: Publishing, tmp_path: Path) -> None:
    """No tracker, DHT, LSD, peers, or file beside it: the URL leads to everything."""
    url = feed_url(publishing)
    folder = publishing.publish(entries=FILES, torrent="")
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with subscriber(tmp_path / "s", publishing, url=url, peers=[]) as torsync:
        torsync.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(torsync.tree, folder)
        heard = len(service.objects())
        edit_in_place(folder / "big")
        write_tree(folder, {"later/one": 3 * PIECE})
        assert wait_for_release(service, since=heard)["url"] == url
        report = torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
        assert_same_tree(torsync.tree, folder)
        assert report["patched_paths"] == ["big"]


@pytest.mark.parametrize("format_", ["v2", "hybrid"])
def test_the_feed_alone_is_enough_for_other_formats(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    url = feed_url(publishing)
    folder = publishing.publish(entries=FILES, torrent="", format=format_)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with subscriber(tmp_path / "s", publishing, url=url, peers=[]) as torsync:
        torsync.run("check-now", "--timeout", "20s").assert_ok()
        assert_same_tree(torsync.tree, folder)


def test_without_a_tracker_the_torrent_names_the_feed_and_the_publisher(
    publishing: Publishing, tmp_path: Path
) -> None:
    url = feed_url(publishing)
    publishing.publish(entries=FILES)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    outer = decoded(publishing.torrent())
    seeds = outer[b"url-list"]
    seeds = [seeds] if isinstance(seeds, bytes) else seeds
    assert [seed.decode().rpartition("/content/")[0] for seed in seeds] == [
        url.rpartition("/")[0],
    ]
    assert outer[b"nodes"] == [[HOST.encode(), publishing.port]]
    served = urllib.request.urlopen(url, timeout=10).read()
    assert served == publishing.torrent().read_bytes()


def test_subscribers_find_the_publisher_by_its_nodes_without_web_seed_and_tracker(
    publishing: Publishing, tmp_path: Path
) -> None:
    """BEP 5: ``nodes`` is where the DHT is entered; here that is the publisher itself."""
    publishing.session["dht"] = True
    publishing.session["settings"] = {"dht_bootstrap_nodes": ""}
    folder = publishing.publish(entries=FILES)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    assert decoded(publishing.torrent())[b"nodes"] == [[HOST.encode(), publishing.port]]
    with subscriber(tmp_path / "s", publishing, peers=[]) as torsync:
        torsync.session["dht"] = True
        torsync.session["settings"] = {"dht_bootstrap_nodes": ""}
        torsync.run("check-now", "--timeout", "40s", timeout_s=60).assert_ok()
        assert_same_tree(torsync.tree, folder)


def test_a_release_reaches_waiting_subscribers_at_once(
    publishing: Publishing, tmp_path: Path
) -> None:
    """The feed tells them: their interval is an hour."""
    url = feed_url(publishing)
    folder = publishing.publish(entries=FILES)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    with ExitStack() as stack:
        running = []
        for name in ("one", "two"):
            torsync = stack.enter_context(
                subscriber(tmp_path / name, publishing, url=url, peers=[], interval="1h")
            )
            running.append((torsync, torsync.start("run")))
        for _, subscription in running:
            subscription.wait_for_stage(NAME, "seeding")
        for number in range(3):
            heard = [len(subscription.objects()) for _, subscription in running]
            write_tree(folder, {f"new/{number}": PIECE})
            for (torsync, subscription), since in zip(running, heard, strict=True):
                subscription.wait_for(
                    lambda one: one["type"] == "subscription", "it is synced", since=since
                )
                assert_same_tree(torsync.tree, folder)


def ip(*arguments: str) -> None:
    subprocess.run([require("ip"), *arguments], check=True, capture_output=True)


@contextmanager
def two_hosts(stem: str) -> Iterator[list[str]]:
    """Two network namespaces on one bridge in a third: addresses 10.66.0.1 and 10.66.0.2."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root makes network namespaces")
    hosts = [f"{stem}{number}" for number in (1, 2)]
    try:
        try:
            for host in hosts:
                ip("netns", "add", host)
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("no network namespaces here")
        ip(
            "-n",
            hosts[0],
            "link",
            "add",
            "e",
            "type",
            "veth",
            "peer",
            "name",
            "e",
            "netns",
            hosts[1],
        )
        for number, host in enumerate(hosts, 1):
            ip("-n", host, "addr", "add", f"10.66.0.{number}/24", "dev", "e")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", "e", "up")
            ip("-n", host, "route", "add", "224.0.0.0/4", "dev", "e")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run([require("ip"), "netns", "del", host], capture_output=True)


class InHost(Publishing):
    """torsync in a network namespace; it has to be started, not run."""

    def __init__(self, folder: Path, host: str) -> None:
        super().__init__(folder)
        self._host = host

    def command(self, *arguments: str | Path) -> list[str]:
        return [require("ip"), "netns", "exec", self._host, *super().command(*arguments)]


def test_lsd_alone_leads_subscribers_to_the_publisher(tmp_path: Path) -> None:
    with (
        two_hosts(f"ts{os.getpid()}-") as hosts,
        InHost(tmp_path / "publisher", hosts[0]) as publishing,
        InHost(tmp_path / "subscriber", hosts[1]) as torsync,
    ):
        folder = publishing.publish(entries=FILES)
        for number, host in enumerate((publishing, torsync), 1):
            host.session = {"listen": [f"10.66.0.{number}:6881"], "dht": False, "lsd": True}
        service = publishing.start("run")
        service.wait_for_stage(NAME, "seeding")
        torsync.subscribe(NAME, url=publishing.torrent().as_uri())
        torsync.start("check-now", "--timeout", "40s").wait(60).assert_ok()
        assert_same_tree(torsync.tree, folder)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_an_address_that_others_cannot_reach_is_not_named(
    publishing: Publishing, listen: str
) -> None:
    """``0.0.0.0`` and ``::`` are no addresses of a node, nor is port 0."""
    publishing.session["listen"] = [listen]
    publishing.publish(entries=FILES)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    for host, port in decoded(publishing.torrent()).get(b"nodes", []):
        assert host not in {b"0.0.0.0", b"::", b""}
        assert port
