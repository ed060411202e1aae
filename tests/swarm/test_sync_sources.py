"""Where content comes from: real trackers, other people's seeders, and a real web server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot
from tests.support.foreign_seeders import Aria2Seeder, TransmissionSeeder
from tests.support.nginx import Nginx, nginx
from tests.support.processes import HOST, free_port
from tests.support.torrents import (
    is_single_file,
    make_libtorrent,
    make_mktorrent,
    make_transmission,
    with_trackers,
)
from tests.support.trees import assert_same_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker
    from tests.support.trees import Content

pytestmark = pytest.mark.programs

KIB = 1024
MIB = 1024 * 1024
ENTRIES: dict[str, Content] = {
    "data/big.bin": 5 * MIB + 12_345,
    "data/medium.bin": 300 * KIB,
    "data/exact.bin": 2 * MIB,
    "small/1": 1,
    "small/2": 1000,
    "names/with spaces & #hash?%41+[x].txt": 70 * KIB,
    "names/Größe 日本.txt": 20 * KIB,
    "empty": b"",
}
# Several files to a piece, of sizes that are no multiple of anything.
MANY: dict[str, Content] = {
    **ENTRIES,
    **{f"many/{number % 7}/{number}": number * 3001 for number in range(1, 60)},
}
SECOND: dict[str, Content] = {**ENTRIES, "data/medium.bin": 310 * KIB, "new": 40 * KIB}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Nginx]:
    root = tmp_path / "www"
    root.mkdir()
    with nginx(root) as server:
        yield server


def tracker_url(tracker: Tracker, scheme: str) -> str:
    return {"http": tracker.http_url, "udp": tracker.udp_url}[scheme]


@pytest.mark.parametrize(
    ("scheme", "format_"), [("http", "v1"), ("http", "hybrid"), ("udp", "v1"), ("udp", "v2")]
)
def test_peers_are_found_through_a_tracker_alone(
    tmp_path: Path,
    torsync: Torsync,
    seeder: LibtorrentSeeder,
    tracker: Tracker,
    scheme: str,
    format_: str,
) -> None:
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url)
    for name, entries in (("one", ENTRIES), ("two", SECOND)):
        folder = write_tree(tmp_path / name, entries)
        torrent = make_libtorrent(
            folder, format=format_, trackers=[tracker_url(tracker, scheme)], piece_size=64 * KIB
        )
        tracker.allow(torrent)
        publisher.publish(torrent, folder)
        tracker.wait_for_peer(torrent, seeder.port)
        torsync.run("check-now", "--timeout", "15s").assert_ok()
        assert_same_tree(torsync.tree, folder)
        assert seeder.uploaded(torrent) > 0


def test_peers_of_one_release_are_asked_for_the_next(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder
) -> None:
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    for name, entries in (("one", ENTRIES), ("two", SECOND)):
        folder = write_tree(tmp_path / name, entries)
        publisher.publish(make_libtorrent(folder, piece_size=64 * KIB), folder)
        torsync.run("check-now", "--timeout", "15s").assert_ok()
        assert_same_tree(torsync.tree, folder)
        torsync.subscribe(peers=[])


def test_transmission_seeds_what_torsync_fetches(
    tmp_path: Path, torsync: Torsync, tracker: Tracker
) -> None:
    # It leaves empty files out, and finds no files with question marks in their names.
    listed = {path: size for path, size in ENTRIES.items() if size and "?" not in path}
    folder = write_tree(tmp_path / "pack", listed)
    with TransmissionSeeder() as seeder:
        publisher = Publisher(tmp_path / "published", seeder)
        torsync.subscribe(url=publisher.url)
        torrent = make_transmission(folder, trackers=[tracker.http_url])
        tracker.allow(torrent)
        publisher.publish(torrent, folder)
        tracker.wait_for_peer(torrent, seeder.port)
        torsync.run("check-now", "--timeout", "15s").assert_ok()
        assert_same_tree(torsync.tree, folder)


def test_aria2_seeds_what_torsync_fetches(
    tmp_path: Path, torsync: Torsync, tracker: Tracker
) -> None:
    with Aria2Seeder() as seeder:
        publisher = Publisher(tmp_path / "published", seeder)
        torsync.subscribe(url=publisher.url)
        for name, entries in (("one", ENTRIES), ("two", SECOND)):
            folder = write_tree(tmp_path / name, entries)
            torrent = make_mktorrent(folder, trackers=[tracker.http_url])
            tracker.allow(torrent)
            publisher.publish(torrent, folder)
            tracker.wait_for_peer(torrent, seeder.port)
            torsync.run("check-now", "--timeout", "15s").assert_ok()
            assert_same_tree(torsync.tree, folder)


SHAPES = [
    pytest.param("v1", 64 * KIB, id="v1"),
    pytest.param("hybrid", 64 * KIB, id="hybrid"),
    pytest.param("v2", MIB, id="v2-1MiB"),
    pytest.param("v2", 2 * MIB, id="v2-2MiB"),
]


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single-file"])
@pytest.mark.parametrize(("format_", "piece_size"), SHAPES)
def test_a_web_server_is_enough(
    torsync: Torsync, web: Nginx, format_: str, piece_size: int, single: bool
) -> None:
    if single:
        folder = write_tree(web.root, {"disk image.bin": 5 * MIB + 12_345})
        published = folder / "disk image.bin"
        expected = write_tree(web.root.parent / "expected", {"disk image.bin": 5 * MIB + 12_345})
    else:
        expected = published = write_tree(web.root / "my pack", MANY)
    torrent = make_libtorrent(
        published, format=format_, piece_size=piece_size, web_seeds=[f"{web.url}/"]
    )
    assert is_single_file(torrent) == single
    (web.root / "newest.torrent").write_bytes(torrent)
    torsync.subscribe(url=web.url_for("newest.torrent"))
    outcome = torsync.run("check-now", "--timeout", "15s").assert_ok()
    assert_same_tree(torsync.tree, expected)
    report = outcome.subscription
    assert [notice for notice in outcome.notices if notice["level"] != "info"] == []
    assert report["bytes_total"] <= report["bytes_fetched"]
    # A hybrid's padding may count as payload; else not a byte comes twice.
    padding = len(MANY) * piece_size if format_ == "hybrid" else 0
    assert report["bytes_fetched"] <= report["bytes_total"] + padding
    asked = [access for access in web.access_log() if "newest.torrent" not in access.uri]
    assert {access.status for access in asked} <= {200, 206}
    assert any("torsync" in access.user_agent for access in asked)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_a_web_seed_may_come_from_the_configuration(
    tmp_path: Path, torsync: Torsync, web: Nginx, format_: str
) -> None:
    torsync.subscribe(url=web.url_for("newest.torrent"), web_seeds=[f"{web.url}/mirror/"])
    for name, entries in (("one", ENTRIES), ("two", SECOND)):
        folder = write_tree(web.root / "mirror" / name, entries)
        torrent = make_libtorrent(folder, format=format_, piece_size=MIB)
        (web.root / "newest.torrent").write_bytes(torrent)
        report = torsync.run("check-now", "--timeout", "15s").assert_ok().subscription
        assert_same_tree(torsync.tree, folder)
    assert report["patched_paths"] + report["fetched_paths"] == ["data/medium.bin", "new"]
    assert report["bytes_fetched"] <= 3 * MIB


@pytest.mark.parametrize("piece_size", [16 * KIB, 128 * KIB, 512 * KIB])
def test_web_seeds_of_v2_with_small_pieces_are_left_alone_aloud(
    tmp_path: Path, torsync: Torsync, web: Nginx, seeder: LibtorrentSeeder, piece_size: int
) -> None:
    """libtorrent 2.1.1 would take good pieces for wrong ones, again and again."""
    folder = write_tree(web.root / "my pack", MANY)
    torrent = make_libtorrent(folder, format="v2", piece_size=piece_size, web_seeds=[f"{web.url}/"])
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.announce(torrent)
    torsync.subscribe(url=publisher.url)
    outcome = torsync.run("check-now", "--timeout", "1s")
    assert outcome.exit_code == 3
    assert [notice["code"] for notice in outcome.notices] == ["web_seeds_unusable"]

    publisher.publish(torrent, folder)
    torsync.subscribe(peers=publisher.peers)
    report = torsync.run("check-now", "--timeout", "15s").assert_ok().subscription
    assert_same_tree(torsync.tree, folder)
    total = report["bytes_total"]
    assert report["bytes_fetched"] == total == seeder.uploaded(torrent, at_least=total)
    assert web.access_log() == []


def test_a_single_file_of_v2_with_small_pieces_comes_from_a_web_server(
    torsync: Torsync, web: Nginx
) -> None:
    file = write_tree(web.root, {"disk image.bin": MIB + 12_345}) / "disk image.bin"
    torrent = make_libtorrent(file, format="v2", piece_size=16 * KIB, web_seeds=[f"{web.url}/"])
    (web.root / "newest.torrent").write_bytes(torrent)
    torsync.subscribe(url=web.url_for("newest.torrent"))
    report = torsync.run("check-now", "--timeout", "15s").assert_ok().subscription
    assert report["bytes_fetched"] == report["bytes_total"]
    assert (torsync.tree / "disk image.bin").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(("format_", "piece_size"), [("v1", 64 * KIB), ("v2", MIB)])
def test_beside_a_peer_nothing_from_a_web_server_is_wasted(
    torsync: Torsync,
    web: Nginx,
    seeder: LibtorrentSeeder,
    format_: str,
    piece_size: int,
) -> None:
    folder = write_tree(web.root / "my pack", MANY)
    torrent = make_libtorrent(
        folder, format=format_, piece_size=piece_size, web_seeds=[f"{web.url}/"]
    )
    web.reload(extra_server_config="limit_rate 1m;")
    publisher = Publisher(web.root, seeder)
    publisher.publish(torrent, folder, upload_limit=8 * MIB)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    outcome = torsync.run("check-now", "--timeout", "15s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    assert outcome.notices == []
    padding = len(MANY) * piece_size if format_ == "hybrid" else 0
    fetched, total = (outcome.subscription[name] for name in ("bytes_fetched", "bytes_total"))
    # The end may be asked of both.
    assert fetched <= total + padding + 2 * MIB
    assert len(web.access_log()) > 0


def test_a_dead_web_seed_is_named_while_a_peer_delivers(
    tmp_path: Path, torsync: Torsync, web: Nginx, seeder: LibtorrentSeeder
) -> None:
    publisher = Publisher(tmp_path / "published", seeder)
    folder = write_tree(tmp_path / "pack", {"a": MIB, "b": MIB})
    torrent = make_libtorrent(folder, piece_size=64 * KIB)
    publisher.publish(torrent, folder, upload_limit=2 * MIB)
    gone = f"{web.url}/not here/"
    torsync.subscribe(
        url=publisher.url, peers=publisher.peers, web_seeds=[gone.replace(" ", "%20")]
    )
    outcome = torsync.run("check-now", "--timeout", "15s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    said = [notice["message"] for notice in outcome.notices if notice["code"] == "web_seed_failed"]
    assert said
    assert "404" in said[0]
    assert web.url in said[0]


def test_the_words_of_a_tracker_that_refuses_are_passed_on(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, tracker: Tracker
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": MIB, "b": MIB})
    url = tracker.http_url
    torrent = make_libtorrent(folder, piece_size=64 * KIB)
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(torrent, folder, upload_limit=2 * MIB)
    publisher.announce(with_trackers(torrent, [url]))
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    outcome = torsync.run("check-now", "--timeout", "15s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    said = [notice["message"] for notice in outcome.notices if notice["code"] == "tracker_failed"]
    assert said
    assert url in said[0]
    assert "not authorized" in said[0]


def test_a_tracker_that_refuses_is_named_when_nothing_arrives(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, tracker: Tracker
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": 1000})
    torrent = make_libtorrent(folder, trackers=[tracker.http_url])
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.announce(torrent)
    torsync.subscribe(url=publisher.url)
    outcome = torsync.run("check-now", "--timeout", "2s")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "no_peers"
    assert "not authorized" in outcome.error["message"]
    assert tracker.http_url in outcome.error["message"]


def test_new_trackers_of_the_same_content_are_used_without_touching_data(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, tracker: Tracker
) -> None:
    folder = write_tree(tmp_path / "pack", ENTRIES)
    torrent = make_libtorrent(folder, piece_size=64 * KIB)
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(torrent, folder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    torsync.run("check-now").assert_ok()
    before = snapshot(torsync.tree)
    tracker.allow(torrent)
    publisher.announce(with_trackers(torrent, [tracker.http_url]))
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["changed"], report["bytes_fetched"], report["bytes_hashed"]) == (False, 0, 0)
    assert snapshot(torsync.tree) == before


def test_a_running_service_announces_to_new_trackers_of_the_same_content(
    tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder, tracker: Tracker
) -> None:
    folder = write_tree(tmp_path / "pack", ENTRIES)
    torrent = make_libtorrent(folder, piece_size=64 * KIB)
    publisher = Publisher(tmp_path / "published", seeder)
    publisher.publish(torrent, folder)
    port = free_port(udp=True)
    torsync.session["listen"] = [f"{HOST}:{port}"]
    torsync.subscribe(url=publisher.url, peers=publisher.peers, interval="1s")
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    before = snapshot(torsync.tree)
    tracker.allow(torrent)
    publisher.announce(with_trackers(torrent, [tracker.http_url]))
    tracker.wait_for_peer(torrent, port)
    assert snapshot(torsync.tree) == before
