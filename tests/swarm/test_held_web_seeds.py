"""A publisher that is a peer and a web seed on one machine: the web seed is for when it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bencode2
import pytest

from tests.support.nginx import Nginx, nginx
from tests.support.processes import HOST, free_port, wait_until
from tests.support.torrents import make_libtorrent, with_trackers
from tests.support.trees import assert_same_tree, write_tree
from torsync.model.config import SessionConfig
from torsync.model.metainfo import parse_metainfo
from torsync.swarm.held_web_seeds import hosts_to_match
from torsync.swarm.session import Swarm
from torsync.swarm.torrent import AddRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Torsync
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.tracker import Tracker
    from torsync.swarm.torrent import Torrent

MIB = 1024**2
# So slow that a web seed would have its share of it, also one that comes after a while.
SIZE, RATE = 6 * MIB, 2 * MIB


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Nginx]:
    (tmp_path / "www").mkdir()
    with nginx(tmp_path / "www") as server:
        yield server


@pytest.fixture
def folder(web: Nginx) -> Path:
    return write_tree(web.root / "pack", {"a": SIZE - 3 * MIB, "b/c": 3 * MIB - 11, "d": 11})


@pytest.fixture
def torrent(web: Nginx, folder: Path) -> bytes:
    return make_libtorrent(folder, web_seeds=[f"{web.url}/"])


def with_node(torrent: bytes, port: int) -> bytes:
    return bencode2.bencode({**bencode2.bdecode(torrent), b"nodes": [[HOST.encode(), port]]})


def subscribe(torsync: Torsync, torrent: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack.torrent").write_bytes(torrent)
    torsync.subscribe(url=(tmp_path / "pack.torrent").as_uri())


@pytest.mark.parametrize("begins_at", ["node", "tracker"])
def test_nothing_is_asked_of_the_web_seed_while_the_seed_sends(
    tmp_path: Path,
    torsync: Torsync,
    web: Nginx,
    folder: Path,
    torrent: bytes,
    seeder: LibtorrentSeeder,
    tracker: Tracker,
    begins_at: str,
) -> None:
    if begins_at == "tracker":
        tracker.allow(torrent)
        torrent = with_trackers(torrent, [tracker.http_url])
    else:
        torrent = with_node(torrent, seeder.port)
    seeder.add_folder(torrent, folder, upload_limit=RATE)
    subscribe(torsync, torrent, tmp_path)
    torsync.run("check-now", "--timeout", "20s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    assert web.access_log() == []


def test_where_no_peer_can_be_reached_everything_comes_from_the_web_seed(
    tmp_path: Path, torsync: Torsync, web: Nginx, folder: Path, torrent: bytes
) -> None:
    subscribe(torsync, with_node(torrent, free_port()), tmp_path)
    torsync.run("check-now", "--timeout", "20s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    assert sum(access.body_bytes for access in web.access_log(at_least=1)) >= SIZE


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    started = Swarm(SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False))
    yield started
    started.close()


def fetch(swarm: Swarm, torrent: bytes, target: Path, *peers: tuple[str, int]) -> Torrent:
    manifest = parse_metainfo(with_node(torrent, 1), windows=False)
    return swarm.add(
        AddRequest(
            metainfo=lambda: torrent,
            save_path=str(target),
            paths=tuple(file.path for file in manifest.files),
            sizes=tuple(file.size for file in manifest.files),
            have=bytes(manifest.num_pieces),
            wanted=b"\1" * manifest.num_pieces,
            peers=peers,
            web_seed_machines=hosts_to_match(manifest, lambda _: []),
        )
    )


def test_when_the_seed_goes_away_the_web_seed_takes_over(
    tmp_path: Path,
    swarm: Swarm,
    web: Nginx,
    folder: Path,
    torrent: bytes,
    seeder: LibtorrentSeeder,
) -> None:
    seeder.add_folder(torrent, folder, upload_limit=RATE // 4)
    added = fetch(swarm, torrent, tmp_path / "target", seeder.peer)

    def arrived() -> int:
        assert not added.wait(0.1)
        return added.progress().bytes_done

    wait_until(lambda: arrived() >= MIB, "a part has arrived")
    assert web.access_log() == []
    assert added.sources() == (set(), set())
    seeder.close()
    wait_until(lambda: added.wait(0.1), "the rest has arrived")
    assert added.news.hash_failures == 0
    added.remove()
    assert_same_tree(tmp_path / "target", folder)
    assert 0 < sum(access.body_bytes for access in web.access_log(at_least=1)) < SIZE


@pytest.mark.parametrize("format_", [pytest.param("v1", marks=pytest.mark.long), "v2"])
def test_when_the_seed_comes_late_the_web_seed_is_left_alone_with_nothing_banned(
    tmp_path: Path,
    swarm: Swarm,
    web: Nginx,
    folder: Path,
    seeder: LibtorrentSeeder,
    format_: str,
) -> None:
    torrent = make_libtorrent(folder, format=format_, piece_size=MIB, web_seeds=[f"{web.url}/"])
    web.reload(extra_server_config="limit_rate 400k;")
    seeder.add_folder(torrent, folder, upload_limit=RATE // 8)
    added = fetch(swarm, torrent, tmp_path / "target")
    in_use = (set(), {f"{web.url}/"})

    def uses() -> tuple[set[str], set[str]]:
        assert not added.wait(0.1)
        return added.sources()

    wait_until(lambda: uses() == in_use, "nobody else is there")
    seeder.connect(torrent, (HOST, swarm.listen_port()))
    wait_until(lambda: uses() == (set(), set()), "the seed sends")
    seeder.close()
    wait_until(lambda: uses() == in_use, "nobody else is there again")
    web.reload(extra_server_config="")
    wait_until(lambda: added.wait(0.1), "the rest has arrived")
    assert set(added.listening_peers()) <= {(HOST, seeder.port)}  # it may be called just now
    assert (added.news.hash_failures, added.news.web_seeds) == (0, {})
    added.remove()
    assert_same_tree(tmp_path / "target", folder)
