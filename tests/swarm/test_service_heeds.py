"""What is seeded is watched: edits are withdrawn and mended. And how commands stop, or wait."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Running, Torsync, is_report, snapshot, trash_contents
from tests.support.leecher import DownloadError, assert_seeds, libtorrent_download
from tests.support.processes import HOST, wait_until
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes, write_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
NOTICED_S = 40
FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "a/two.bin": 3 * PIECE, "b": 20 * PIECE}


@pytest.fixture
def publisher(publisher: Publisher, torsync: Torsync) -> Publisher:
    torsync.subscribe(interval="1h")
    return publisher


def stages(service: Running, since: int) -> list[str]:
    """The stages it has entered, and been in, since it had said so many objects."""
    return [one["stage"] for one in service.objects()[since:] if one["type"] == "progress"]


def edit(file: Path) -> bytes:
    """Change some bytes in the middle of a file, in place; its new content."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"edited behind torsync's back")
    return file.read_bytes()


def wait_for_the_alarm(service: Running, since: int) -> None:
    service.wait_for(
        lambda one: (
            one["type"] == "notice" and one["level"] == "error" and "withdrawn" in one["message"]
        ),
        "the change is noticed",
        since=since,
        deadline_s=NOTICED_S,
    )


# --- edits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [pytest.param("v1", marks=pytest.mark.long), "v2"])
def test_an_edited_keep_file_is_no_longer_offered_and_the_rest_is(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int, format_: str
) -> None:
    torsync.subscribe(keep=["/a/two.bin"], interval="1s")
    torrent = make(tmp_path / "one", FIRST, format_=format_)
    publisher.publish(torrent, tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "seeding")
    publisher.seeder.remove(torrent)
    assert_seeds(port, torrent, tmp_path / "one", tmp_path / "before")

    heard = len(service.objects())
    mine = edit(torsync.tree / "a/two.bin")
    since = len(service.objects())
    # The check that comes after a check that ended after the edit sees it.
    wait_until(lambda: stages(service, since).count("waiting") >= 2, "it has checked")
    assert "seeding" in stages(service, heard), "it is seeded anew, without that file"
    total = sum(map(len, tree_bytes(tmp_path / "one").values()))
    rest = f"^{total - len(mine)} of {total} bytes"
    with pytest.raises(DownloadError, match=rest):
        libtorrent_download(torrent, tmp_path / "after", peers=[(HOST, port)], timeout_s=4)
    assert (torsync.tree / "a/two.bin").read_bytes() == mine
    assert trash_contents(torsync.tree) == {}
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


@pytest.mark.parametrize("format_", [pytest.param("v1", marks=pytest.mark.long), "v2"])
def test_an_edited_file_is_noticed_between_polls_restored_and_seeded_again(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int, format_: str
) -> None:
    torrent = make(tmp_path / "one", FIRST, format_=format_)
    publisher.publish(torrent, tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    heard = len(service.objects())
    edited = edit(torsync.tree / "a/one.bin")
    wait_for_the_alarm(service, heard)
    report = service.wait_for(is_report, "the repair is reported", since=heard)
    assert report["patched_paths"] == ["a/one.bin"]
    assert 0 < report["bytes_fetched"] <= 3 * PIECE
    assert_same_tree(torsync.tree, tmp_path / "one")
    assert trash_contents(torsync.tree) == {"a/one.bin": [edited]}
    service.wait_for_stage("pack", "waiting", since=heard)
    publisher.seeder.remove(torrent)
    assert_seeds(port, torrent, tmp_path / "one", tmp_path / "leecher")
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


def test_a_file_that_became_a_link_to_outside_is_noticed_between_polls_and_restored(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int
) -> None:
    outside = write_tree(tmp_path / "outside", {"secret": random_bytes(40 * PIECE, "secret")})
    torrent = make(tmp_path / "one", FIRST)
    publisher.publish(torrent, tmp_path / "one")
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    heard = len(service.objects())
    before = snapshot(outside)
    link = torsync.tree / "link"
    link.symlink_to(outside / "secret")
    link.replace(torsync.tree / "a/one.bin")
    wait_for_the_alarm(service, heard)
    report = service.wait_for(is_report, "the repair is reported", since=heard)
    assert report["fetched_paths"] == ["a/one.bin"]
    assert snapshot(outside) == before
    assert not (torsync.tree / "a/one.bin").is_symlink()
    assert_same_tree(torsync.tree, tmp_path / "one")
    trashed = list((torsync.tree / ".torsync/trash").glob("*/a/one.bin"))
    assert [os.readlink(path) for path in trashed] == [str(outside / "secret")]
    service.wait_for_stage("pack", "waiting", since=heard)
    publisher.seeder.remove(torrent)
    assert_seeds(port, torrent, tmp_path / "one", tmp_path / "leecher")
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0


# --- repair and newer releases --------------------------------------------------------------


def test_a_repair_of_what_nobody_seeds_any_more_gives_up_although_a_newer_release_is_there(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    torsync.subscribe(interval="1s")
    old = make(tmp_path / "one", FIRST)
    publisher.publish(old, tmp_path / "one")
    torsync.run("check-now").assert_ok()
    publisher.seeder.remove(old)
    publisher.publish(make(tmp_path / "two", {**FIRST, "b": 21 * PIECE}), tmp_path / "two")
    edited = edit(torsync.tree / "a/one.bin")
    outcome = torsync.run("verify", "--repair", "--timeout", "5s")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "no_peers"
    assert "Traceback" not in outcome.stderr
    assert (torsync.tree / "a/one.bin").read_bytes() == edited
    assert trash_contents(torsync.tree) == {}
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")


# --- several, and stopping ------------------------------------------------------------------


def test_a_subscription_without_peers_does_not_keep_the_next_one_waiting(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    (tmp_path / "lonely.torrent").write_bytes(make(tmp_path / "lonely", {"x": 10}))
    torsync.subscriptions = {}
    lonely_url = (tmp_path / "lonely.torrent").as_uri()
    torsync.subscribe("lonely", path=str(tmp_path / "tree of lonely"), url=lonely_url)
    torsync.subscribe("pack", url=publisher.url, peers=publisher.peers)
    torrent = make(tmp_path / "one", FIRST)
    publisher.publish(torrent, tmp_path / "one")
    running = torsync.start("check-now")
    report = running.wait_for(is_report, "the second is in sync")
    assert (report["name"], report["info_hash"]) == ("pack", info_hash(torrent))
    assert_same_tree(torsync.tree, tmp_path / "one")
    running.wait_for_stage("lonely", "downloading")
    assert running.is_running
    outcome = running.stop(signal.SIGINT, within_s=2)
    assert outcome.exit_code == 130
    assert "Traceback" not in outcome.stderr


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)]
)
def test_two_signals_end_a_download_without_a_traceback(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    signals: tuple[signal.Signals, ...],
    at_once: bool,
) -> None:
    if at_once and not os.path.exists("/proc/self/stat"):
        pytest.skip("only Linux tells of stopped processes in /proc")
    size = 3 * MIB
    publisher.publish(make(tmp_path / "one", {"x": size}), tmp_path / "one", upload_limit=size // 2)
    running = torsync.start("check-now")
    running.wait_for_download(at_least=size // 8)
    if at_once:  # both are there when it goes on
        running.send(signal.SIGSTOP)
        wait_until(lambda: is_stopped(running.pid), "it has stopped")
    for number in signals:
        running.send(number)
    if at_once:
        running.send(signal.SIGCONT)
    outcome = running.wait(5)
    assert outcome.exit_code in {130, -signal.SIGINT}
    assert "Traceback" not in outcome.stderr
    assert tree_bytes(torsync.tree) == {}
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "one")
