"""The trackers, seeders and torrent makers that tests use, tried against each other."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.foreign_seeders import Aria2Seeder, TransmissionSeeder
from tests.support.leecher import DownloadError, libtorrent_download
from tests.support.seeders import HOST, LibtorrentSeeder, SeederError
from tests.support.torrents import (
    is_single_file,
    link,
    make_libtorrent,
    make_mktorrent,
    make_raw,
    make_transmission,
    with_trackers,
)
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tracker import Tracker

pytestmark = pytest.mark.programs

PIECE_SIZE = 32 * 1024
SIZE = 100_000

TREE = {
    "a.txt": b"a",
    "data/big.bin": SIZE,
    "data/small.bin": 300,
    "empty": b"",
    "run": ("exec", b"#!/bin/sh\n"),
    "shortcut": ("link", "data/big.bin"),
}


def packed(folder: Path) -> bytes:
    """v1 with pad files, and roots beside the entries: what torsync publishes."""
    files = {
        path: content if isinstance(content, bytes) else link(*content[1].split("/"))
        for path, content in sorted(tree_bytes(folder).items())
    }
    return make_raw(files, name=folder.name, piece_size=PIECE_SIZE, align=True, roots=True)


def by_libtorrent(format_: str) -> Callable[[Path], bytes]:
    return lambda folder: make_libtorrent(folder, format=format_, piece_size=PIECE_SIZE)


V1_MAKERS: dict[str, Callable[[Path], bytes]] = {
    "libtorrent v1": by_libtorrent("v1"),
    "mktorrent": lambda folder: make_mktorrent(folder, piece_size=PIECE_SIZE),
    "transmission-create": lambda folder: make_transmission(folder, piece_size=PIECE_SIZE),
    "packed": packed,
}
MAKERS = V1_MAKERS | {
    "libtorrent v2": by_libtorrent("v2"),
    "libtorrent hybrid": by_libtorrent("hybrid"),
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "release", TREE)


def announce_url(tracker: Tracker, protocol: str) -> str:
    return {"http": tracker.http_url, "udp": tracker.udp_url}[protocol]


def assert_downloaded(folder: Path, release: Path) -> None:
    """Compare contents only: not every maker records links, empty files and executable bits."""
    have, want = tree_bytes(folder), tree_bytes(release)
    for path in ("shortcut", "empty"):
        have.pop(path, None)
        del want[path]
    assert have == want


@pytest.mark.parametrize("protocol", ["http", "udp"])
@pytest.mark.parametrize("maker", MAKERS)
def test_libtorrent_seeds_what_every_maker_makes(
    maker: str,
    protocol: str,
    release: Path,
    tracker: Tracker,
    seeder: LibtorrentSeeder,
    tmp_path: Path,
) -> None:
    url = announce_url(tracker, protocol)
    torrent = with_trackers(MAKERS[maker](release), [url])
    tracker.allow(torrent)
    assert seeder.add(torrent, release.parent) == {url: ""}
    assert tracker.peers(torrent) == {(HOST, seeder.port)}
    libtorrent_download(torrent, tmp_path / "got")
    assert_downloaded(tmp_path / "got" / "release", release)
    assert seeder.uploaded(torrent) >= SIZE


@pytest.mark.parametrize("seeder_class", [TransmissionSeeder, Aria2Seeder])
def test_foreign_clients_seed_v1_found_by_either_tracker_protocol(
    seeder_class: type[TransmissionSeeder | Aria2Seeder],
    release: Path,
    tracker: Tracker,
    tmp_path: Path,
) -> None:
    # All at once: transmission takes as long for many torrents as for one.
    options = {"udp_trackers": True} if seeder_class is Aria2Seeder else {}
    before = tree_bytes(release)
    with seeder_class(**options) as foreign:
        torrents: dict[str, bytes] = {}
        protocols = itertools.cycle(("http", "udp"))
        for maker, protocol in zip(V1_MAKERS, protocols):  # noqa: B905  one of them is endless
            torrent = V1_MAKERS[maker](release)
            torrent = with_trackers(torrent, [announce_url(tracker, protocol)])
            tracker.allow(torrent)
            foreign.add(torrent, release.parent)
            torrents[maker] = torrent
        for torrent in torrents.values():
            tracker.wait_for_peer(torrent, foreign.port)

        def download(name: str) -> None:
            libtorrent_download(torrents[name], tmp_path / name, timeout_s=60)

        with ThreadPoolExecutor(len(torrents)) as threads:
            list(threads.map(download, torrents))
        for name, torrent in torrents.items():
            assert_downloaded(tmp_path / name / "release", release)
            assert foreign.uploaded(torrent) >= SIZE
            foreign.remove(torrent)
    assert tree_bytes(release) == before


@pytest.mark.parametrize("seeder_class", [TransmissionSeeder, Aria2Seeder])
def test_foreign_clients_refuse_v2_and_hybrids(
    seeder_class: type[TransmissionSeeder | Aria2Seeder], release: Path
) -> None:
    with seeder_class() as foreign:
        for format_ in ("v2", "hybrid"):
            with pytest.raises(SeederError):
                foreign.add(by_libtorrent(format_)(release), release.parent)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_links_and_executable_bits_come_through_libtorrent(
    format_: str, release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    torrent = by_libtorrent(format_)(release)
    seeder.add(torrent, release.parent)
    libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])
    assert_same_tree(tmp_path / "got" / "release", release)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_bad_pieces_fail_the_leechers_hash_check(
    format_: str, release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    before = tree_bytes(release)
    torrent = by_libtorrent(format_)(release)
    seeder.add(torrent, release.parent, bad_pieces=[2])
    with pytest.raises(DownloadError, match="hash for piece 2 failed"):
        libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])
    assert seeder.uploaded(torrent) > 0
    assert tree_bytes(release) == before


def test_a_seeder_can_send_nothing_but_garbage(
    release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    torrent = make_mktorrent(release, piece_size=PIECE_SIZE)
    seeder.add(torrent, release.parent, bad_pieces="all")
    with pytest.raises(DownloadError, match=r"hash for piece \d+ failed"):
        libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])


def test_a_seeder_refuses_a_folder_that_is_not_complete_and_leaves_it(
    release: Path, seeder: LibtorrentSeeder
) -> None:
    torrent = by_libtorrent("v1")(release)
    (release / "data" / "small.bin").write_bytes(b"other")
    (release / "a.txt").unlink()
    before = tree_bytes(release)
    with pytest.raises(SeederError, match="not a seed"):
        seeder.add(torrent, release.parent)
    assert tree_bytes(release) == before


def test_a_folder_is_seeded_whatever_it_is_called(
    release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    torrent = by_libtorrent("v1")(release)
    seeder.add_folder(torrent, release.rename(tmp_path / "elsewhere"))
    libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])
    assert_same_tree(tmp_path / "got" / "release", tmp_path / "elsewhere")


def test_a_single_file_torrent_is_seeded_from_its_folder(
    seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    folder = write_tree(tmp_path / "pack", {"only.bin": SIZE})
    torrent = by_libtorrent("v1")(folder / "only.bin")
    assert is_single_file(torrent)
    seeder.add_folder(torrent, folder)
    libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])
    assert_same_tree(tmp_path / "got", folder)


def test_an_upload_limit_slows_a_seeder(
    release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    torrent = by_libtorrent("v1")(release)
    seeder.add(torrent, release.parent, upload_limit=50_000)
    begin = time.monotonic()
    libtorrent_download(torrent, tmp_path / "got", peers=[seeder.peer])
    assert time.monotonic() - begin > 1


def test_a_removed_torrent_is_seeded_no_more(
    release: Path, seeder: LibtorrentSeeder, tmp_path: Path
) -> None:
    torrents = [by_libtorrent(format_)(release) for format_ in ("v1", "v2")]
    for torrent in torrents:
        seeder.add(torrent, release.parent)
    seeder.remove(torrents[0])
    with pytest.raises(DownloadError, match="0 of"):
        libtorrent_download(torrents[0], tmp_path / "no", peers=[seeder.peer], timeout_s=1)
    libtorrent_download(torrents[1], tmp_path / "yes", peers=[seeder.peer])


def test_the_tracker_serves_only_what_it_was_told_and_forgets_no_peer(
    release: Path, tracker: Tracker, seeder: LibtorrentSeeder
) -> None:
    url = tracker.http_url
    first, second = (with_trackers(by_libtorrent(kind)(release), [url]) for kind in ("v1", "v2"))
    tracker.allow(first)
    assert seeder.add(first, release.parent) == {url: ""}
    assert "not authorized" in seeder.add(second, release.parent)[url]
    seeder.remove(second)
    tracker.allow(second)
    assert seeder.add(second, release.parent) == {url: ""}
    for torrent in (first, second):
        assert (tracker.seeds(torrent), tracker.leechers(torrent)) == (1, 0)


def test_trees_that_differ_are_told_apart(release: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", TREE)
    write_tree(other, {".torsync/marker": b"ours"})
    # Random content depends on the path alone, so that both are equal.
    assert_same_tree(other, release)
    write_tree(other, {"extra": b"", "data/small.bin": 301, "shortcut": ("link", "a.txt")})
    (other / "run").chmod(0o644)
    (other / "empty").unlink()
    with pytest.raises(AssertionError) as caught:
        assert_same_tree(other, release)
    told = str(caught.value)
    for problem in (
        "missing: empty",
        "extra: extra",
        "differs: data/small.bin",
        "differs: shortcut",
        "executable bit differs: run",
    ):
        assert problem in told
