"""A state that is lost costs hashing once, and is nobody's to mend by hand."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, trash_contents
from tests.support.torrents import info_hash, make_libtorrent
from tests.support.trees import assert_same_tree, write_tree
from tests.unit.test_state import ruin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

PIECE = 16 * 1024


@pytest.fixture
def torrent(tmp_path: Path, torsync: Torsync, seeder: LibtorrentSeeder) -> bytes:
    """A release that the tree is in sync with."""
    publisher = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=publisher.url, peers=publisher.peers, interval="1h")
    folder = write_tree(tmp_path / "one", {"a/one": 20 * PIECE, "b": 3 * PIECE + 1, "c": 0})
    torrent = make_libtorrent(folder, piece_size=PIECE)
    publisher.publish(torrent, folder)
    torsync.run("check-now").assert_ok()
    return torrent


def database(torsync: Torsync) -> Path:
    return next((torsync.state_dir / "trees").iterdir()) / "state.sqlite"


@pytest.mark.parametrize("damage", ["garbage", "zeroed pages", "newer"])
def test_a_useless_state_is_told_by_status_and_begun_anew_by_a_check(
    tmp_path: Path, torsync: Torsync, torrent: bytes, damage: str
) -> None:
    file = database(torsync)
    ruin(file, damage)
    ruined = file.read_bytes()
    status = torsync.run("status").assert_ok().subscription
    assert status["stage"] == "unknown"
    assert str(file) in status["last_error"]
    assert "next check" in status["last_error_hint"]
    assert file.read_bytes() == ruined
    before = snapshot(torsync.tree)

    outcome = torsync.run("check-now").assert_ok()
    report = outcome.subscription
    assert (report["changed"], report["bytes_fetched"]) == (False, 0)
    assert report["bytes_hashed"] == report["bytes_total"]
    [notice] = [one for one in outcome.notices if one["code"] == "state_rebuilt"]
    assert (notice["name"], notice["level"]) == ("pack", "warning")
    assert str(file) in notice["message"]
    kind = "newer" if damage == "newer" else "damaged"
    assert [path.read_bytes() for path in file.parent.glob(f"*.{kind}-*Z")] == [ruined]
    assert snapshot(torsync.tree) == before
    assert_same_tree(torsync.tree, tmp_path / "one")
    assert trash_contents(torsync.tree) == {}

    status = torsync.run("status").assert_ok().subscription
    assert (status["info_hash"], status["files"]) == (info_hash(torrent), 3)
    again = torsync.run("check-now").assert_ok()
    assert again.subscription["bytes_hashed"] == 0
    assert again.notices == []


def test_status_leaves_the_state_of_a_running_service_alone(
    torsync: Torsync, torrent: bytes
) -> None:
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    file = database(torsync)
    ruin(file, "garbage")
    torsync.run("status").assert_ok()
    assert [path.name for path in file.parent.glob("*Z*")] == []
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["info_hash"], report["bytes_fetched"]) == (info_hash(torrent), 0)
