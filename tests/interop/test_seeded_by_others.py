"""Torrents that others make and seed, subscribed to by torsync: a first release, and the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher
from tests.support.torrents import (
    info_hash,
    make_libtorrent,
    make_mktorrent,
    make_torf,
    make_transmission,
    with_trackers,
)
from tests.support.trees import assert_same_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Seeder, Torsync
    from tests.support.qbittorrent import QBittorrent
    from tests.support.trees import Content

    Maker = Callable[[Path], bytes]

pytestmark = pytest.mark.programs

KIB = 1024
PIECE = 32 * KIB
FIRST: dict[str, Content] = {
    "data/big.bin": 600 * KIB + 123,
    "data/exact.bin": 4 * PIECE,
    **{f"many/{number % 3}/{number}": number * 301 for number in range(1, 30)},
    "names/with spaces & #hash%41+[x].txt": 20 * KIB,
    "names/Größe 日本 é.txt": 4 * KIB,
}
SECOND: dict[str, Content] = {
    **FIRST,
    "data/exact.bin": 5 * PIECE,
    "many/0/3": 2000,
    "new/file": 70 * KIB,
}
EMPTY: dict[str, Content] = {"empty": b""}

MAKERS: dict[str, Maker] = {
    "transmission-create": lambda folder: make_transmission(folder, piece_size=PIECE),
    "mktorrent": lambda folder: make_mktorrent(folder, piece_size=PIECE),
    "torf": lambda folder: make_torf(folder, piece_size=PIECE),
    "libtorrent v1": lambda folder: make_libtorrent(folder, piece_size=PIECE),
    "libtorrent v2": lambda folder: make_libtorrent(folder, format="v2", piece_size=PIECE),
    "libtorrent hybrid": lambda folder: make_libtorrent(folder, format="hybrid", piece_size=PIECE),
}
PAIRS = [
    # transmission unchokes a peer only every ten seconds.
    pytest.param("transmission-create", "transmission", marks=pytest.mark.long),
    ("mktorrent", "aria2"),
    ("torf", "rqbit"),
    pytest.param("torf", "qbittorrent", marks=pytest.mark.long),
    pytest.param("libtorrent v1", "qbittorrent", marks=pytest.mark.long),
    ("libtorrent v2", "qbittorrent"),
    pytest.param("libtorrent hybrid", "qbittorrent", marks=pytest.mark.long),
    ("libtorrent hybrid", "rqbit"),
]


def entries_for(maker: str, entries: dict[str, Content]) -> dict[str, Content]:
    """What a maker lists: transmission-create leaves empty files out."""
    return entries if maker == "transmission-create" else {**entries, **EMPTY}


@pytest.mark.parametrize(("maker", "client"), PAIRS)
def test_two_releases_arrive(
    request: pytest.FixtureRequest, tmp_path: Path, torsync: Torsync, maker: str, client: str
) -> None:
    seeder: Seeder = request.getfixturevalue(client)
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    first = write_tree(tmp_path / "1" / f"pack {maker}", entries_for(maker, FIRST))
    one = MAKERS[maker](first)
    publisher.publish(one, first)
    report = torsync.run("check-now", "--timeout", "60s").assert_ok().subscription
    assert_same_tree(torsync.tree, first)
    assert report["info_hash"] == info_hash(one)

    second = write_tree(tmp_path / "2" / f"pack {maker}", entries_for(maker, SECOND))
    two = MAKERS[maker](second)
    publisher.publish(two, second)
    report = torsync.run("check-now", "--timeout", "60s").assert_ok().subscription
    assert_same_tree(torsync.tree, second)
    assert 0 < report["bytes_fetched"] < report["bytes_total"]
    torsync.run("verify").assert_ok()
    for torrent in (one, two):
        seeder.remove(torrent)


@pytest.mark.parametrize(
    ("maker", "client"),
    [
        ("torf", "rqbit"),
        ("libtorrent v2", "qbittorrent"),
        pytest.param("libtorrent hybrid", "qbittorrent", marks=pytest.mark.long),
    ],
)
def test_a_single_file_arrives(
    request: pytest.FixtureRequest, tmp_path: Path, torsync: Torsync, maker: str, client: str
) -> None:
    seeder: Seeder = request.getfixturevalue(client)
    publisher = Publisher(tmp_path / "published", seeder)
    folder = write_tree(tmp_path / "made", {f"ein Bild {maker}.img": 300 * KIB + 1})
    (file,) = folder.iterdir()
    torrent = MAKERS[maker](file)
    publisher.publish(torrent, folder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    torsync.run("check-now", "--timeout", "60s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    seeder.remove(torrent)


@pytest.mark.parametrize(
    "format_", ["hybrid", *(pytest.param(name, marks=pytest.mark.long) for name in ("v1", "v2"))]
)
def test_what_qbittorrent_exports_is_the_same_release(
    tmp_path: Path, torsync: Torsync, qbittorrent: QBittorrent, format_: str
) -> None:
    """It writes the ``.torrent`` anew, with trackers of its own choice."""
    folder = write_tree(tmp_path / "made" / f"exported {format_}", {**FIRST, **EMPTY})
    torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
    torrent = with_trackers(torrent, ["http://127.0.0.1:9/announce"])
    publisher = Publisher(tmp_path / "published", qbittorrent)
    publisher.publish(torrent, folder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    torsync.run("check-now", "--timeout", "60s").assert_ok()
    exported = qbittorrent.exported(torrent)
    assert exported != torrent
    assert info_hash(exported) == info_hash(torrent)
    publisher.announce(exported)
    report = torsync.run("check-now", "--timeout", "60s").assert_ok().subscription
    assert (report["changed"], report["bytes_fetched"]) == (False, 0)
    assert_same_tree(torsync.tree, folder)
    qbittorrent.remove(torrent)
