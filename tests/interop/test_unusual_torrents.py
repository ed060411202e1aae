"""Torrents as they are found in the wild: unpadded, with odd pieces, old names, or keys left out.

Where a client by others can open one, that client seeds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Publisher
from tests.support.seeders import LibtorrentSeeder
from tests.support.torrents import RawFile, edited, make_raw, make_torf, with_trackers
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Torsync
    from tests.support.foreign_seeders import Aria2Seeder
    from tests.support.qbittorrent import QBittorrent
    from tests.support.tracker import Tracker

pytestmark = pytest.mark.programs

LONG = pytest.mark.long
KIB = 1024
CONTENTS = {
    "a": random_bytes(100_001, "a"),
    "b/c": random_bytes(7, "c"),
    "b/d": random_bytes(50_000, "d"),
    "e": b"",
    "f": random_bytes(16 * KIB, "f"),
}


@pytest.fixture(scope="module")
def libtorrent() -> Iterator[LibtorrentSeeder]:
    with LibtorrentSeeder() as running:
        yield running


def arrives(
    torsync: Torsync, publisher: Publisher, torrent: bytes, folder: Path, expected: Path
) -> dict[str, Any]:
    """Seed it, have torsync fetch it, and compare with what is expected."""
    publisher.publish(torrent, folder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    report = torsync.run("check-now", "--timeout", "60s").assert_ok().subscription
    assert_same_tree(torsync.tree, expected)
    torsync.run("verify").assert_ok()
    publisher.seeder.remove(torrent)
    return report


@pytest.mark.parametrize("piece_size", [50_000, pytest.param(16 * KIB + 4, marks=LONG)])
def test_piece_sizes_that_are_no_power_of_two_arrive(
    tmp_path: Path, torsync: Torsync, libtorrent: LibtorrentSeeder, piece_size: int
) -> None:
    folder = write_tree(tmp_path / "odd", CONTENTS)
    publisher = Publisher(tmp_path / "published", libtorrent)
    torrent = make_raw(CONTENTS, name="odd", piece_size=piece_size)
    arrives(torsync, publisher, torrent, folder, folder)
    changed = {**CONTENTS, "b/d": CONTENTS["b/d"][:-1] + b"!"}
    folder = write_tree(tmp_path / "next" / "odd", changed)
    torrent = make_raw(changed, name="odd", piece_size=piece_size)
    report = arrives(torsync, publisher, torrent, folder, folder)
    assert report["bytes_fetched"] <= 2 * piece_size


def test_aria2_seeds_pieces_that_are_no_power_of_two(
    tmp_path: Path, torsync: Torsync, aria2: Aria2Seeder
) -> None:
    folder = write_tree(tmp_path / "odd", CONTENTS)
    publisher = Publisher(tmp_path / "published", aria2)
    torrent = make_raw(CONTENTS, name="odd for aria2", piece_size=50_000)
    arrives(torsync, publisher, torrent, folder, folder)


@pytest.mark.parametrize("client", ["libtorrent", "qbittorrent", pytest.param("aria2", marks=LONG)])
def test_pad_files_of_bitcomet_are_not_files(
    request: pytest.FixtureRequest, tmp_path: Path, torsync: Torsync, client: str
) -> None:
    """They have no attribute (BEP 47); clients that do not know them have files of zeros."""
    pad = "_____padding_file_{}_if you see this file, please update to BitComet 0.85 or above____"
    name = f"BitComet for {client}"
    files = {path: content for path, content in CONTENTS.items() if content}
    folder = write_tree(tmp_path / name, files)
    listed: list[tuple[Any, Any]] = []
    for number, (path, content) in enumerate(files.items()):
        listed += [(path, content), (pad.format(number), bytes(-len(content) % (16 * KIB)))]
    if client == "aria2":
        write_tree(folder, dict(listed))
    torrent = make_raw(listed, name=name)
    publisher = Publisher(tmp_path / "published", request.getfixturevalue(client))
    expected = write_tree(tmp_path / "expected", files)
    arrives(torsync, publisher, torrent, folder, expected)


def test_names_in_an_old_encoding_have_their_variant_in_utf8(
    tmp_path: Path, torsync: Torsync, qbittorrent: QBittorrent
) -> None:
    """qBittorrent takes the same names, so it finds the files by them."""
    content = random_bytes(40_000, "x")
    root = "Größen"
    folder = write_tree(tmp_path / root, {"naïve/größe.bin": content, "plain": b"p"})
    listed = RawFile(content, {b"path.utf-8": ["naïve".encode(), "größe.bin".encode()]})
    torrent = make_raw(
        [(("naïve".encode("latin-1"), "größe.bin".encode("latin-1")), listed), ("plain", b"p")],
        name=root.encode("latin-1"),
        info={b"name.utf-8": root.encode()},
        outer={b"encoding": b"ISO-8859-1"},
    )
    qbittorrent.fetch(torrent, tmp_path)
    qbittorrent.wait_until_complete(torrent)
    assert qbittorrent.files(torrent) == [f"{root}/naïve/größe.bin", f"{root}/plain"]
    publisher = Publisher(tmp_path / "published", qbittorrent)
    publisher.announce(torrent)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    report = torsync.run("check-now", "--timeout", "60s").assert_ok().subscription
    assert_same_tree(torsync.tree, folder)
    assert report["release"] == root
    qbittorrent.remove(torrent)


def test_names_in_an_old_encoding_alone_are_refused_by_name(
    tmp_path: Path, torsync: Torsync, libtorrent: LibtorrentSeeder
) -> None:
    before = write_tree(tmp_path / "before", CONTENTS)
    publisher = Publisher(tmp_path / "published", libtorrent)
    arrives(torsync, publisher, make_raw(CONTENTS, name="before"), before, before)
    publisher.announce(make_raw([((b"gr\xf6\xdfe",), b"content")]))
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 3
    assert "not UTF-8" in outcome.error["message"]
    assert_same_tree(torsync.tree, before)


@pytest.mark.parametrize(
    ("info", "outer"),
    [
        pytest.param({}, {b"creation date": -1}, id="made before 1970", marks=LONG),
        pytest.param({}, {b"creation date": 2**62}, id="made in a far future"),
        pytest.param({}, {b"creation date": b"yesterday"}, id="made yesterday", marks=LONG),
        pytest.param({}, {b"comment": b"\xff\xfe", b"created by": 5}, id="unreadable notes"),
        pytest.param({b"source": b"X", b"x": {b"y": [1]}}, {b"z": {}}, id="keys nobody knows"),
        pytest.param({b"private": 0}, {b"announce": b""}, id="empty announce", marks=LONG),
    ],
)
def test_keys_that_are_left_out_or_wrong_do_not_matter(
    tmp_path: Path,
    torsync: Torsync,
    libtorrent: LibtorrentSeeder,
    info: dict[bytes, Any],
    outer: dict[bytes, Any],
) -> None:
    """Nothing but the info dictionary's files and hashes is needed."""
    folder = write_tree(tmp_path / "bare", CONTENTS)
    publisher = Publisher(tmp_path / "published", libtorrent)
    torrent = make_raw(CONTENTS, name="bare", info=info, outer=outer)
    arrives(torsync, publisher, torrent, folder, folder)


def test_a_private_torrent_arrives_from_its_tracker_alone(
    tmp_path: Path, torsync: Torsync, aria2: Aria2Seeder, announced: Tracker
) -> None:
    folder = write_tree(tmp_path / "private", CONTENTS)
    torrent = make_torf(folder, trackers=[announced.http_url], private=True)
    announced.allow(torrent)
    publisher = Publisher(tmp_path / "published", aria2)
    publisher.publish(torrent, folder)
    announced.wait_for_peer(torrent, aria2.port)
    torsync.subscribe(url=publisher.url)
    torsync.run("check-now", "--timeout", "60s").assert_ok()
    assert_same_tree(torsync.tree, folder)
    publisher.announce(with_trackers(torrent, []))
    torsync.run("check-now").assert_ok()
    aria2.remove(torrent)


def test_magnet_like_leftovers_are_refused(tmp_path: Path, torsync: Torsync) -> None:
    """What a client has kept of a magnet link is no ``.torrent`` yet."""
    publisher = tmp_path / "newest.torrent"
    whole = make_raw(CONTENTS)
    publisher.write_bytes(edited(whole, info={b"pieces": None}))
    torsync.subscribe(url=publisher.as_uri())
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 3
    assert "pieces" in outcome.error["message"]
    assert not torsync.tree.exists() or tree_bytes(torsync.tree) == {}
