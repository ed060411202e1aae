"""What doctor finds at trackers, web seeds, peers and in the DHT: real ones, on loopback."""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.nginx import nginx
from tests.support.processes import HOST, free_port, wait_until
from tests.support.scripted_http import Hang, ScriptedServer, reply
from tests.support.torrents import info_hashes, make_libtorrent, with_trackers
from tests.support.trees import random_bytes, write_tree
from torsync.model.checkup import Finding, Verdict
from torsync.model.config import SessionConfig
from torsync.model.metainfo import parse_metainfo
from torsync.service.doctor import trackers as trackers_module
from torsync.service.doctor.peers import check_peer
from torsync.service.doctor.sources import check_sources, places_of
from torsync.service.doctor.trackers import check_tracker
from torsync.service.doctor.web_seeds import check_web_seed
from torsync.subscribe.remote.rules import Timeouts
from torsync.swarm.dht_probe import join_dht

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker

OK, WARNING, FAILED, SKIPPED = Verdict


@pytest.fixture
def content(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "www" / "pack", {"a": 200_000, "b/c d": 100_000, "e": 5})


@pytest.mark.programs
class TestTrackers:
    @pytest.mark.parametrize("kind", ["v1", "hybrid"])
    @pytest.mark.parametrize("scheme", ["http", "udp"])
    def test_a_tracker_that_knows_a_seed_delivers(
        self, content: Path, tracker: Tracker, seeder: LibtorrentSeeder, scheme: str, kind: str
    ) -> None:
        address = getattr(tracker, f"{scheme}_url")
        torrent = with_trackers(make_libtorrent(content, format=kind), [tracker.http_url])
        tracker.allow(torrent)
        seeder.add_folder(torrent, content)
        found, delivers = check_tracker(address, info_hashes(torrent))
        assert (found.verdict, delivers) == (OK, True)
        assert "1 seeds" in found.message
        assert tracker.peers(torrent) == {seeder.peer}

    @pytest.mark.parametrize("scheme", ["http", "udp"])
    def test_a_tracker_that_does_not_serve_a_torrent(
        self, content: Path, tracker: Tracker, scheme: str
    ) -> None:
        torrent = make_libtorrent(content)
        address = getattr(tracker, f"{scheme}_url")
        found, delivers = check_tracker(address, info_hashes(torrent))
        assert (found.verdict, delivers) == (FAILED, False)
        assert "refuses" in found.message
        assert "register the torrent" in found.hint

    @pytest.mark.parametrize("scheme", ["http", "udp"])
    def test_a_tracker_that_knows_nobody(
        self, content: Path, tracker: Tracker, scheme: str
    ) -> None:
        torrent = make_libtorrent(content)
        tracker.allow(torrent)
        address = getattr(tracker, f"{scheme}_url")
        found, delivers = check_tracker(address, info_hashes(torrent))
        assert (found.verdict, delivers) == (WARNING, False)
        assert "seed" in found.hint
        assert not tracker.leechers(torrent)  # it has left the swarm again


@pytest.mark.parametrize(
    "address",
    [
        f"http://{HOST}:{{}}/announce",
        f"udp://{HOST}:{{}}/announce",
        "http://no-such-tracker.invalid:{}/announce",
        "udp://no-such-tracker.invalid:{}/announce",
    ],
)
def test_a_tracker_that_is_not_there(address: str) -> None:
    found, delivers = check_tracker(address.format(free_port(udp=True)), [b"1" * 20])
    assert (found.verdict, delivers) == (FAILED, False)
    assert found.hint


def test_a_udp_tracker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers_module, "_UDP_S", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 0))
        address = f"udp://{HOST}:{silent.getsockname()[1]}"
        found, _ = check_tracker(address, [b"1" * 20])
    assert found.verdict is FAILED
    assert "no answer" in found.message


def test_an_http_tracker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers_module, "_TIMEOUTS", Timeouts(0.3, 0.3, 0.5, attempts=1))
    with ScriptedServer([Hang()]) as server:
        found, _ = check_tracker(f"{server.url}/s3cret/announce", [b"1" * 20])
    assert found.verdict is FAILED
    assert "s3cret" not in found.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(404, body=b"gone"), "status 404"),
        (reply(200, body=b"<html>"), "not bencoded"),
        (reply(400, body=b"d14:failure reason4:noooe"), "refuses: nooo"),
    ],
)
def test_what_an_http_tracker_says_is_told(answer: bytes, said: str) -> None:
    with ScriptedServer([answer]) as server:
        found, _ = check_tracker(f"{server.url}/announce", [b"1" * 20])
    assert found.verdict is FAILED
    assert said in found.message


@pytest.mark.programs
class TestWebSeeds:
    @pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
    def test_a_web_server_with_the_release_delivers(self, content: Path, kind: str) -> None:
        manifest = parse_metainfo(make_libtorrent(content, format=kind, piece_size=16 * 1024))
        with nginx(content.parent) as server:
            found, delivers = check_web_seed(f"{server.url}/", manifest)
        assert (found.verdict, delivers) == (OK, True), found
        assert "hashes are right" in found.message

    def test_a_torrent_of_a_single_file(self, content: Path) -> None:
        manifest = parse_metainfo(make_libtorrent(content / "a", piece_size=16 * 1024))
        with nginx(content) as server:
            for address in (f"{server.url}/", f"{server.url}/a"):
                assert check_web_seed(address, manifest)[1]

    def test_files_that_are_not_there(self, content: Path, tmp_path: Path) -> None:
        manifest = parse_metainfo(make_libtorrent(content))
        (tmp_path / "empty").mkdir()
        with nginx(tmp_path / "empty") as server:
            found, delivers = check_web_seed(server.url, manifest)
        assert (found.verdict, delivers) == (FAILED, False)
        assert "404" in found.message
        assert "web_seeds" in found.hint

    def test_a_release_before_of_another_size(self, content: Path) -> None:
        manifest = parse_metainfo(make_libtorrent(content))
        write_tree(content, {"a": 210_000})
        with nginx(content.parent) as server:
            found, _ = check_web_seed(server.url, manifest)
        assert found.verdict is FAILED
        assert "another release" in found.hint

    def test_other_content_of_the_same_size(self, content: Path) -> None:
        manifest = parse_metainfo(make_libtorrent(content, format="v2", piece_size=16 * 1024))
        for path in ("a", "b/c d", "e"):
            file = content / path
            file.write_bytes(random_bytes(file.stat().st_size, "other"))
        with nginx(content.parent) as server:
            found, _ = check_web_seed(server.url, manifest)
        assert found.verdict is FAILED
        assert "other content" in found.message

    def test_a_server_that_ignores_ranges(self, content: Path) -> None:
        manifest = parse_metainfo(make_libtorrent(content))
        with nginx(content.parent, extra_server_config="max_ranges 0;") as server:
            found, _ = check_web_seed(server.url, manifest)
        assert found.verdict is FAILED
        assert "Range" in found.hint


def test_a_web_seed_that_is_not_there(content: Path) -> None:
    manifest = parse_metainfo(make_libtorrent(content))
    found, delivers = check_web_seed(f"http://{HOST}:{free_port()}/", manifest)
    assert (found.verdict, delivers) == (FAILED, False)
    assert "refused" in found.message


def test_a_web_seed_of_another_kind_is_not_asked(content: Path) -> None:
    manifest = parse_metainfo(make_libtorrent(content))
    assert check_web_seed("ftp://mirror.example/", manifest)[0].verdict is SKIPPED


class TestPeers:
    def test_a_peer_that_has_the_torrent(self, content: Path, seeder: LibtorrentSeeder) -> None:
        torrent = make_libtorrent(content)
        seeder.add_folder(torrent, content)
        found, delivers = check_peer(seeder.peer, info_hashes(torrent))
        assert (found.verdict, delivers) == (OK, True)

    def test_a_peer_without_the_torrent(self, content: Path, seeder: LibtorrentSeeder) -> None:
        found, _ = check_peer(seeder.peer, info_hashes(make_libtorrent(content)))
        assert found.verdict is FAILED
        assert "does not have this torrent" in found.hint

    def test_a_peer_that_is_not_there(self) -> None:
        found, _ = check_peer((HOST, free_port()), [b"1" * 20])
        assert found.verdict is FAILED
        assert "remove it from peers" in found.hint

    def test_a_peer_whose_name_has_no_address(self) -> None:
        found, _ = check_peer(("no-such-peer.invalid", 6881), [b"1" * 20])
        assert found.verdict is FAILED
        assert "peers" in found.hint

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (b"SSH-2.0-OpenSSH" + b"x" * 60, "no BitTorrent peer"),
            (b"\x13BitTorrent protocol" + bytes(8) + b"2" * 20 + b"-" * 20, "another torrent"),
            (b"\x13BitTorrent", "closes the connection"),
        ],
    )
    def test_something_else_at_the_port_of_a_peer(self, answer: bytes, said: str) -> None:
        with ScriptedServer([answer], greeting=True) as server:
            found, _ = check_peer((HOST, server.port), [b"1" * 20])
        assert found.verdict is FAILED
        assert said in found.message


def test_one_dead_source_of_two_is_a_warning(content: Path, seeder: LibtorrentSeeder) -> None:
    torrent = make_libtorrent(content, trackers=[f"http://{HOST}:{free_port()}/announce"])
    seeder.add_folder(torrent, content, announce=False)
    manifest = parse_metainfo(torrent)
    session = SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False)
    ask = partial(check_sources, manifest, session=session, stopping=lambda: False)

    alone = verdicts(ask(places=places_of(manifest)))
    together = verdicts(ask(places=places_of(manifest, peers=[seeder.peer])))

    assert alone == {"tracker": FAILED, "sources.all": FAILED}
    assert together == {"tracker": WARNING, "peer": OK, "sources.all": OK}


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {found.check: found.verdict for found in findings}


def test_the_dht_is_joined_beside_a_running_session() -> None:
    settings = {
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False,
    }

    def node(bootstrap: str) -> lt.session:
        own = {"listen_interfaces": f"{HOST}:0", "enable_lsd": False, "enable_upnp": False}
        session = lt.session({**settings, **own, "dht_bootstrap_nodes": bootstrap})
        wait_until(lambda: bool(session.listen_port()), "it listens")
        return session

    first = node("")
    bootstrap = f"{HOST}:{first.listen_port()}"
    others = [node(bootstrap) for _ in range(2)]
    for other in others:
        first.add_dht_node((HOST, other.listen_port()))
    config = SessionConfig(
        listen=(f"{HOST}:6881",), settings={**settings, "dht_bootstrap_nodes": bootstrap}
    )
    deadline = time.monotonic() + 60
    found = join_dht(config, timeout_s=1, stopping=lambda: False)
    while not found.nodes and time.monotonic() < deadline:
        found = join_dht(config, timeout_s=1, stopping=lambda: False)
    assert found.nodes
    assert found.listens
