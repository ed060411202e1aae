"""``torsync run``: it polls, updates and seeds, stops fast, and starts again without hashing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Running, Torsync, is_report, snapshot
from tests.support.leecher import assert_seeds
from tests.support.processes import wait_until
from tests.support.torrents import info_hash, make_libtorrent
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "a/two.bin": 3 * PIECE + 7, "dropped": 5}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "a/two.bin": 3 * PIECE + 7, "new": 500}


@pytest.fixture
def publisher(publisher: Publisher, torsync: Torsync) -> Publisher:
    torsync.subscribe(interval="1s")
    return publisher


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_it_applies_new_releases_and_seeds_them_when_the_publisher_is_gone(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int, format_: str
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    old, new = make(one, FIRST, format_=format_), make(two, SECOND, format_=format_)
    publisher.publish(old, one)
    service = torsync.start("run")
    report = service.wait_for(is_report, "the first sync is reported")
    assert report["info_hash"] == info_hash(old)
    service.wait_for_stage("pack", "seeding")
    assert_same_tree(torsync.tree, one)
    publisher.seeder.remove(old)
    assert_seeds(port, old, one, tmp_path / "first leecher")

    heard = len(service.objects())
    publisher.publish(new, two)
    report = service.wait_for(is_report, "the update is reported", since=heard)
    assert report["info_hash"] == info_hash(new)
    assert report["trashed_paths"]
    service.wait_for_stage("pack", "seeding", since=heard)
    assert_same_tree(torsync.tree, two)
    publisher.seeder.remove(new)
    assert_seeds(port, new, two, tmp_path / "second leecher")

    outcome = service.stop(signal.SIGTERM, within_s=2)
    assert outcome.exit_code == 0
    assert len(outcome.of_type("subscription")) == 2, "polls without news are not reported"


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_within_2_s_while_it_seeds(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    signal_number: signal.Signals,
    code: int,
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    assert service.stop(signal_number, within_s=2).exit_code == code


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_within_2_s_while_it_downloads_and_goes_on_later(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    signal_number: signal.Signals,
    code: int,
) -> None:
    size = 3 * MIB
    folder = tmp_path / "one"
    torrent = make(folder, {f"{number}.bin": size // 8 for number in range(8)})
    publisher.publish(torrent, folder, upload_limit=2 * MIB)
    service = torsync.start("run")
    service.wait_for_download(at_least=size // 3)
    assert service.stop(signal_number, within_s=2).exit_code == code
    sent = publisher.seeder.uploaded(torrent)
    assert tree_bytes(torsync.tree) == {}
    service = torsync.start("run")
    report = service.wait_for(is_report, "the sync is reported")
    assert_same_tree(torsync.tree, folder)
    assert sent + report["bytes_fetched"] <= size + 16 * PIECE
    service.wait_for_stage("pack", "seeding")


def bytes_read(service: Running) -> int:
    """What a process has read so far, by all read calls (Linux)."""
    lines = Path(f"/proc/{service.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts reads")
def test_it_seeds_at_once_after_a_restart_without_the_remote_and_without_hashing(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int
) -> None:
    size = 100 * MIB
    folder = write_tree(tmp_path / "one", {"big.bin": size})
    torrent = make_libtorrent(folder, piece_size=MIB)
    publisher.publish(torrent, folder, check=False)
    torsync.run("check-now").assert_ok()
    publisher.seeder.remove(torrent)
    publisher.file.unlink()
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    heard = service.wait_for(
        lambda one: one["type"] == "notice" and one["level"] == "error", "the failed poll is told"
    )
    assert heard["code"] == "remote_unreachable"
    assert bytes_read(service) < size // 2
    assert "verifying" not in {one.get("stage") for one in service.objects()}
    assert_seeds(port, torrent, folder, tmp_path / "leecher")
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


def test_a_restart_changes_nothing(tmp_path: Path, torsync: Torsync, publisher: Publisher) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    before = None
    for _ in range(2):
        service = torsync.start("run")
        service.wait_for_stage("pack", "waiting")
        before = before or snapshot(torsync.tree)
        assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0
        assert snapshot(torsync.tree) == before
    assert not service.wait().of_type("subscription")


def test_status_tells_what_the_service_has_and_does(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    report = torsync.run("status").assert_ok().subscription
    assert (report["stage"], report["release"]) == ("never checked", "")
    assert report["last_check_s"] is report["last_update_s"] is report["holder_pid"] is None

    torrent = make(tmp_path / "one", FIRST)
    publisher.publish(torrent, tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    report = torsync.run("status").assert_ok().subscription
    assert report["holder_pid"] == service.pid
    assert report["stage"] in {"seeding", "waiting", "checking remote", "looking"}
    assert report["release"] == "one"
    assert report["info_hash"] == info_hash(torrent)
    assert report["files"] == len(FIRST)
    assert report["bytes_total"] == sum(map(len, tree_bytes(tmp_path / "one").values()))
    assert 0 < report["last_update_s"] <= report["last_check_s"]
    assert report["last_error"] == ""

    publisher.file.write_bytes(b"<html>")
    wait_until(
        lambda: torsync.run("status").assert_ok().subscription["last_error"] != "",
        "status tells of the bad poll",
    )
    service.stop(signal.SIGTERM, within_s=2)
    report = torsync.run("status").assert_ok().subscription
    assert (report["holder_pid"], report["stage"]) == (None, "stopped")
    assert "HTML" in report["last_error"]
    assert report["last_error_hint"]
    assert report["release"] == "one"


def test_a_subscription_that_fails_does_not_stop_the_others(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    """One whose URL is wrong, one that nobody seeds, and one whose tree is a file."""
    lonely = make(tmp_path / "lonely", {"x": 10})
    (tmp_path / "lonely.torrent").write_bytes(lonely)
    (tmp_path / "a file").write_bytes(b"mine")
    wrong = {
        "gone": {"url": (tmp_path / "gone.torrent").as_uri()},
        "lonely": {"url": (tmp_path / "lonely.torrent").as_uri()},
        "no-folder": {"url": publisher.url, "path": str(tmp_path / "a file")},
    }
    for name, options in wrong.items():
        torsync.subscribe(name, **{"path": str(tmp_path / f"tree of {name}"), **options})
    # The good one comes first and last.
    torsync.subscribe(
        "zz", path=str(tmp_path / "zz"), url=publisher.url, peers=publisher.peers, interval="1s"
    )
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    service = torsync.start("run")
    for name in ("pack", "zz"):
        service.wait_for_stage(name, "seeding")
    for name in ("gone", "no-folder"):
        service.wait_for(
            lambda one, name=name: (
                one["type"] == "notice" and one["level"] == "error" and one["name"] == name
            ),
            f"the trouble of {name} is told",
        )
    service.wait_for_stage("lonely", "downloading")
    heard = len(service.objects())
    publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
    for name, tree in (("pack", torsync.tree), ("zz", tmp_path / "zz")):
        service.wait_for_stage(name, "seeding", since=heard)
        assert_same_tree(tree, tmp_path / "two")
    assert (tmp_path / "a file").read_bytes() == b"mine"
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


def test_a_release_that_is_superseded_while_nobody_seeds_it_is_given_up(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publisher.announce(make(tmp_path / "one", FIRST))
    service = torsync.start("run")
    service.wait_for_stage("pack", "downloading")
    publisher.publish(make(tmp_path / "two", SECOND), tmp_path / "two")
    service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "superseded", "it is given up"
    )
    service.wait_for_stage("pack", "seeding")
    assert_same_tree(torsync.tree, tmp_path / "two")


def test_a_file_that_is_edited_while_it_runs_is_restored(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publisher.publish(make(tmp_path / "one", FIRST), tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")  # after its report
    heard = len(service.objects())
    with (torsync.tree / "a/one.bin").open("r+b") as file:
        file.write(b"edited")
    report = service.wait_for(is_report, "the repair is reported", since=heard)
    assert report["patched_paths"] == ["a/one.bin"]
    assert_same_tree(torsync.tree, tmp_path / "one")
