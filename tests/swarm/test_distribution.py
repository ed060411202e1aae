"""Several subscribers at once: they get it from one another, not each from the publisher."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.netns import NoNetworkError, network
from tests.support.processes import HOST, wait_until
from tests.support.seeders import LibtorrentSeeder
from tests.support.torrents import make_libtorrent, with_trackers
from tests.support.tracker import Tracker
from tests.support.trees import assert_same_tree, write_tree
from torsync.model.config import SessionConfig
from torsync.swarm.session import Swarm
from torsync.swarm.settings import session_settings
from torsync.swarm.torrent import AddRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Running
    from tests.support.netns import Machine
    from torsync.swarm.torrent import Torrent

SUBSCRIBERS = 4
MIB = 1024**2
PIECE = 64 * 1024
PORT = 6881
# Slow enough that what a link carries decides, not what the processor does.
RATE = "80mbit"


@contextmanager
def machines_or_skip(count: int) -> Iterator[list[Machine]]:
    with ExitStack() as stack:
        try:
            machines = stack.enter_context(network(count, rate=RATE))
        except NoNetworkError as error:
            pytest.skip(str(error))
        yield machines


def subscribed(folder: Path, url: str, machine: Machine) -> Torsync:
    folder.mkdir()
    torsync = Torsync(folder)
    torsync.session["listen"] = [f"{machine.address}:{PORT}"]
    torsync.subscribe(url=url)
    return torsync


def test_the_publisher_sends_far_less_than_a_copy_to_each_of_four_subscribers(
    tmp_path: Path,
) -> None:
    content = write_tree(tmp_path / "pack", {"a": 13 * MIB + 11, "b/c": 11 * MIB, "b/d": 7})
    plain = make_libtorrent(content, piece_size=PIECE)
    settings = session_settings(SessionConfig())
    del settings["listen_interfaces"], settings["alert_mask"]
    with ExitStack() as stack:
        home, *others = stack.enter_context(machines_or_skip(1 + SUBSCRIBERS))
        with home.entered():
            tracker = stack.enter_context(Tracker([plain], host=home.address))
            publisher = stack.enter_context(
                LibtorrentSeeder(host=home.address, port=PORT, settings=settings)
            )
            torrent = with_trackers(plain, [tracker.http_url])
            assert publisher.add(torrent, content.parent) == {tracker.http_url: ""}
        torrent_file = tmp_path / "pack.torrent"
        torrent_file.write_bytes(torrent)
        running: list[tuple[Torsync, Running]] = []
        for number, machine in enumerate(others):
            torsync = subscribed(tmp_path / str(number), torrent_file.as_uri(), machine)
            stack.enter_context(torsync)
            with machine.entered():
                running.append((torsync, torsync.start("check-now")))
        for torsync, one in running:
            one.wait().assert_ok()
            assert_same_tree(torsync.tree, content)
        copies = publisher.uploaded(torrent) / (24 * MIB)
    # Each from the publisher alone would be 4; measured: 1.4 to 1.6, and 1.9 as libtorrent does it.
    assert 1 <= copies <= 2.2


@pytest.fixture
def swarms() -> Iterator[list[Swarm]]:
    """Three sessions on loopback."""
    config = SessionConfig(listen=(f"{HOST}:0",), dht=False, lsd=False)
    with ExitStack() as stack:
        started = [Swarm(config) for _ in range(3)]
        for swarm in started:
            stack.callback(swarm.close)
        yield started


def fetch(swarm: Swarm, metainfo: bytes, folder: Path, wanted: bytes, *peers: Swarm) -> Torrent:
    folder.mkdir()
    return swarm.add(
        AddRequest(
            metainfo=lambda: metainfo,
            save_path=str(folder),
            paths=("a",),
            sizes=(40 * PIECE,),
            have=bytes(40),
            wanted=wanted,
            peers=tuple((HOST, peer.listen_port()) for peer in peers),
        )
    )


def test_subscribers_share_out_the_pieces_among_them_until_they_are_alone_again(
    tmp_path: Path, swarms: list[Swarm]
) -> None:
    content = write_tree(tmp_path / "pack", {"a": 40 * PIECE})
    metainfo = make_libtorrent(content, piece_size=PIECE)
    wanted = bytes([1] * 39 + [0])
    # Nobody has anything, so that they stay.
    torrents = [
        fetch(swarm, metainfo, tmp_path / str(at), wanted, *swarms[:at])
        for at, swarm in enumerate(swarms)
    ]

    def shares() -> list[set[int]]:
        found = []
        for torrent in torrents:
            assert not torrent.wait(0.01)
            given = torrent._handle.get_piece_priorities()
            assert given[39] == 0
            found.append({piece for piece, one in enumerate(given) if one == max(given)})
        return found

    def are_shared_out() -> bool:
        found = shares()
        return sum(map(len, found)) == 39 and set().union(*found) == set(range(39))

    wait_until(are_shared_out, "each has a share of its own")
    torrents.pop().remove()
    wait_until(are_shared_out, "the two that are left share everything")
    torrents.pop().remove()
    wait_until(are_shared_out, "the last one has it all")
