"""torsync and clients by others in one swarm: they have it from one another."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Publisher
from tests.support.foreign_seeders import Aria2Seeder, TransmissionSeeder
from tests.support.processes import HOST, free_port, wait_until
from tests.support.publishers import NAME, PIECE, Publishing, released, subscriber
from tests.support.qbittorrent import QBittorrent
from tests.support.seeders import LibtorrentSeeder
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Running, Torsync
    from tests.support.rqbit import Rqbit
    from tests.support.tracker import Tracker
    from tests.support.trees import Content

pytestmark = pytest.mark.programs

FILES: dict[str, Content] = {"big": 60 * PIECE, "d/small": 100, "d/other": 5000}
DEADLINE_S = 60
NO_ENCRYPTION = {"in_enc_policy": 2, "out_enc_policy": 2}


@pytest.fixture
def publishing(tmp_path: Path) -> Iterator[Publishing]:
    """The program as a publisher, with a configuration that holds no publication yet."""
    with Publishing(tmp_path / "publisher") as program:
        yield program


def seeding(publishing: Publishing) -> Running:
    """The publisher's service, once it seeds."""
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    return service


def listening(torsync: Torsync, host: str = HOST) -> int:
    """Have a subscriber listen on a known port, without finding peers by itself."""
    port = free_port(udp=True)
    shown = f"[{host}]" if ":" in host else host
    torsync.session["listen"] = [f"{shown}:{port}"]
    return port


def running(torsync: Torsync) -> Running:
    """A subscriber's service, once it has everything and seeds."""
    service = torsync.start("run")
    service.wait_for(
        lambda one: one["type"] == "progress" and one["stage"] == "seeding",
        "it seeds",
        deadline_s=DEADLINE_S,
    )
    return service


def test_it_goes_from_hand_to_hand(
    publishing: Publishing,
    announced: Tracker,
    aria2: Aria2Seeder,
    rqbit: Rqbit,
    tmp_path: Path,
) -> None:
    """torsync → aria2 → torsync → librqbit → torsync; each giver leaves before the next taker."""
    folder = publishing.publish(entries=FILES, trackers=[announced.http_url])
    announced.allow(released(publishing.run("check-now"))["info_hash"])
    publisher = seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    announced.wait_for_peer(torrent, publishing.port)
    aria2.fetch(torrent, tmp_path / "aria2")
    aria2.wait_until_complete(torrent)
    publisher.stop(signal.SIGTERM, within_s=20)

    with subscriber(tmp_path / "one", publishing, peers=[]) as one:
        port = listening(one)
        service = running(one)
        assert_same_tree(one.tree, folder)
        assert aria2.uploaded(torrent) >= 60 * PIECE
        announced.wait_for_peer(torrent, port)
        aria2.remove(torrent)
        rqbit.fetch(torrent, tmp_path / "librqbit")
        rqbit.wait_until_complete(torrent)
        service.stop(signal.SIGTERM, within_s=20)

    with subscriber(tmp_path / "two", publishing, peers=[]) as two:
        two.run("check-now", "--timeout", "60s").assert_ok()
        assert_same_tree(two.tree, folder)
    assert rqbit.uploaded(torrent) > 0
    rqbit.remove(torrent)


def test_subscribers_and_others_share_what_each_has(
    publishing: Publishing, qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    """Each fetches while it gives: neither is a seed, and the publisher is known to one alone."""
    limit = {"upload_limit": "2 MB/s"}
    publishing.session.update(limit)
    folder = publishing.publish(entries=FILES | {"more": 200 * PIECE})
    released(publishing.run("check-now"))
    seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    with subscriber(tmp_path / "one", publishing) as torsync:
        port = listening(torsync)
        service = torsync.start("run")
        service.wait_for_download(1)
        qbittorrent.fetch(torrent, tmp_path / "qBittorrent", peers=[(HOST, port)])
        qbittorrent.wait_until_complete(torrent)
        assert tree_bytes(tmp_path / "qBittorrent" / NAME) == tree_bytes(folder)
        service.wait_for_stage(NAME, "seeding")
        assert_same_tree(torsync.tree, folder)
    qbittorrent.remove(torrent)


# --- encryption (MSE) ---------------------------------------------------------------------


def test_who_requires_encryption_fetches_from_a_publisher(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    with QBittorrent(encrypted=True, deadline_s=DEADLINE_S) as client:
        client.fetch(torrent, tmp_path / "got", peers=[(HOST, publishing.port)])
        client.wait_until_complete(torrent)
    assert_same_tree(tmp_path / "got" / NAME, folder)


@pytest.mark.parametrize(
    "client",
    [
        Aria2Seeder,
        pytest.param(TransmissionSeeder, marks=pytest.mark.long),
        pytest.param(QBittorrent, marks=pytest.mark.long),
    ],
)
def test_a_subscriber_fetches_from_who_requires_encryption(
    torsync: Torsync, tmp_path: Path, client: type[Any]
) -> None:
    folder = write_tree(tmp_path / NAME, FILES)
    torrent = make_libtorrent(folder, piece_size=PIECE)
    with client(encrypted=True, deadline_s=DEADLINE_S) as seeder:
        publisher = Publisher(tmp_path / "published", seeder)
        publisher.publish(torrent, folder)
        torsync.subscribe(url=publisher.url, peers=publisher.peers)
        torsync.session["settings"] = NO_ENCRYPTION
        outcome = torsync.run("check-now", "--timeout", "1s")
        assert outcome.error["code"] == "no_peers"
        torsync.session["settings"] = {}
        torsync.run("check-now", "--timeout", "60s").assert_ok()
    assert_same_tree(torsync.tree, folder)


# --- transports ---------------------------------------------------------------------------


def test_who_speaks_utp_alone_fetches_from_a_publisher(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    with QBittorrent(transport="UTP", deadline_s=DEADLINE_S) as client:
        client.fetch(torrent, tmp_path / "got", peers=[(HOST, publishing.port)])
        client.wait_until_complete(torrent)
    assert_same_tree(tmp_path / "got" / NAME, folder)


@pytest.mark.long
def test_a_seed_that_speaks_utp_alone_calls_the_subscriber(
    torsync: Torsync, tmp_path: Path
) -> None:
    """Told not to call by uTP, torsync takes calls by it all the same."""
    folder = write_tree(tmp_path / NAME, FILES)
    torrent = make_libtorrent(folder, piece_size=PIECE)
    with QBittorrent(transport="UTP", deadline_s=DEADLINE_S) as seeder:
        publisher = Publisher(tmp_path / "published", seeder)
        publisher.publish(torrent, folder)
        port = listening(torsync)
        torsync.session["settings"] = {"enable_outgoing_utp": False}
        torsync.subscribe(url=publisher.url, peers=publisher.peers)
        outcome = torsync.run("check-now", "--timeout", "1s")
        assert outcome.error["code"] == "no_peers"
        torsync.subscribe(peers=[])
        service = torsync.start("run")
        service.wait_for_stage(NAME, "downloading")
        seeder.connect(torrent, [(HOST, port)])
        service.wait_for_stage(NAME, "seeding")
    assert_same_tree(torsync.tree, folder)


def test_a_subscriber_fetches_from_who_speaks_utp_alone(torsync: Torsync, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / NAME, FILES)
    torrent = make_libtorrent(folder, piece_size=PIECE)
    only_utp = {
        "enable_incoming_tcp": False,
        "enable_outgoing_tcp": False,
        "enable_incoming_utp": True,
        "enable_outgoing_utp": True,
    }
    with LibtorrentSeeder(settings=only_utp) as seeder:
        publisher = Publisher(tmp_path / "published", seeder)
        publisher.publish(torrent, folder)
        torsync.subscribe(url=publisher.url, peers=publisher.peers)
        torsync.session["settings"] = {"enable_outgoing_utp": False}
        outcome = torsync.run("check-now", "--timeout", "1s")
        assert outcome.exit_code == 3
        assert outcome.error["code"] == "no_peers"
        torsync.session["settings"] = {}
        torsync.run("check-now", "--timeout", "60s").assert_ok()
    assert_same_tree(torsync.tree, folder)


# --- IPv6 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["v2", pytest.param("v1", marks=pytest.mark.long)])
def test_all_goes_over_ipv6(publishing: Publishing, tmp_path: Path, format_: str) -> None:
    """Publisher → qBittorrent → subscriber, each with an address of IPv6 alone."""
    publishing.session["listen"] = [f"[::1]:{publishing.port}"]
    folder = publishing.publish(entries=FILES, format=format_)
    released(publishing.run("check-now"))
    service = seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    with QBittorrent(host="::1", deadline_s=DEADLINE_S) as client:
        client.fetch(torrent, tmp_path / "got", peers=[("::1", publishing.port)])
        client.wait_until_complete(torrent)
        assert_same_tree(tmp_path / "got" / NAME, folder)
        service.stop(signal.SIGTERM, within_s=20)
        peers = [f"[::1]:{client.port}"]
        with subscriber(tmp_path / "one", publishing, peers=peers) as torsync:
            listening(torsync, "::1")
            torsync.run("check-now", "--timeout", "60s").assert_ok()
            assert_same_tree(torsync.tree, folder)


# --- peer exchange (BEP 11) ---------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(600)
def test_peers_are_exchanged(publishing: Publishing, tmp_path: Path) -> None:
    """qBittorrent is told of a subscriber, and hears of the publisher from it: once a minute."""
    publishing.session["upload_limit"] = "20 kB/s"  # nobody is done before that
    publishing.publish(entries={"big": 600 * PIECE})
    released(publishing.run("check-now"))
    seeding(publishing)
    torrent = publishing.torrent().read_bytes()
    with ExitStack() as stack:
        torsync = stack.enter_context(subscriber(tmp_path / "one", publishing))
        port = listening(torsync)
        torsync.start("run").wait_for_download(1)
        client = stack.enter_context(QBittorrent(exchange=True, deadline_s=DEADLINE_S))
        client.fetch(torrent, tmp_path / "got", peers=[(HOST, port)])
        wait_until(
            lambda: f"{HOST}:{publishing.port}" in client.peers(torrent),
            "it knows the publisher",
            deadline_s=400,
        )
