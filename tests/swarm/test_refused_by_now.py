"""A release in place that a newer version's parser would refuse is in nobody's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, trash_contents
from tests.support.torrents import info_hash, make_libtorrent
from tests.support.trees import assert_same_tree, write_tree
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

PIECE = 16 * 1024


@pytest.fixture
def newest(tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder) -> bytes:
    """The second release; the tree is at the first, which cannot be parsed any more."""
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers)
    one = write_tree(tmp_path / "one", {"a": 20 * PIECE, "b": 3 * PIECE + 1, "gone": 100})
    publisher.publish(make_libtorrent(one, piece_size=PIECE), one)
    torsync.run("check-now").assert_ok()
    state = TreeState(next((torsync.state_dir / "trees").iterdir()))
    state.put(synced=state.store_body(b"d4:infod4:name2:..ee"))
    state.close()
    two = write_tree(tmp_path / "two", {"a": 20 * PIECE, "b": 4 * PIECE, "new": 9})
    torrent = make_libtorrent(two, piece_size=PIECE)
    publisher.publish(torrent, two)
    return torrent


def test_it_is_updated_from_what_the_ledger_vouches_for(
    tmp_path: Path, torsync: Torsync, newest: bytes
) -> None:
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["info_hash"], report["kept"]) == (info_hash(newest), 1)
    assert report["trashed_paths"] == ["b", "gone"]
    assert_same_tree(torsync.tree, tmp_path / "two")
    assert sorted(trash_contents(torsync.tree)) == ["b", "gone"]


def test_what_only_tells_of_it_tells_what_is_known(torsync: Torsync, newest: bytes) -> None:
    assert torsync.run("status").assert_ok().subscription["stage"] == "stopped"
    verify = torsync.run("verify")
    assert (verify.exit_code, verify.error["code"]) == (4, "not_synced")
    assert "check-now" in verify.error["hint"]
    (torsync.tree / "gone").unlink()
    plan = torsync.run("check-now", "--dry-run").subscription
    assert plan["info_hash"] == info_hash(newest)
