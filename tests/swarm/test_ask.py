"""``update = "ask"``: a new release waits for ``torsync apply``, here or by the service."""

from __future__ import annotations

import signal
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Running, Torsync, snapshot, trash_contents
from tests.support.leecher import libtorrent_download
from tests.support.processes import HOST, wait_until
from tests.support.torrents import info_hash, make_libtorrent, root_name
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from torsync.subscribe.approval import Approvals
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Json, Outcome
    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "a/two.bin": 3 * PIECE, "dropped": 5}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "a/two.bin": 3 * PIECE, "new": 500}
THIRD: dict[str, Content] = {"a/one.bin": 41 * PIECE, "a/two.bin": 4 * PIECE, "newer": 50}


@pytest.fixture
def publisher(publisher: Publisher, torsync: Torsync) -> Publisher:
    torsync.subscribe(interval="1s", update="ask")
    return publisher


class Releases:
    """Three releases, made and published as they are asked for."""

    def __init__(self, folder: Path, publisher: Publisher) -> None:
        self._folder = folder
        self._publisher = publisher

    def folder(self, number: int) -> Path:
        return self._folder / f"release-{number}"

    def publish(self, number: int, **options: int) -> bytes:
        entries = (FIRST, SECOND, THIRD)[number - 1]
        folder = write_tree(self.folder(number), entries)
        torrent = make_libtorrent(folder, format="v2", piece_size=PIECE)
        self._publisher.publish(torrent, folder, **options)
        return torrent


@pytest.fixture
def releases(tmp_path: Path, publisher: Publisher) -> Releases:
    return Releases(tmp_path, publisher)


def codes(outcome: Outcome) -> list[str]:
    return [notice["code"] for notice in outcome.notices]


def waits(service: Running, since: int = 0) -> Json:
    """The notice that a release waits for approval, once the service says so."""
    return service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "needs_approval",
        "a release waits",
        since=since,
    )


def polls(service: Running, since: int) -> int:
    """How often it has polled since it had said so many objects."""
    said = service.objects()[since:]
    return sum(one.get("stage") == "checking remote" for one in said)


# --- check-now ------------------------------------------------------------------------------


def test_the_first_release_waits_too(torsync: Torsync, releases: Releases) -> None:
    torrent = releases.publish(1)
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 4
    assert codes(outcome) == ["needs_approval"]
    assert "torsync apply pack" in outcome.notices[0]["message"]
    report = outcome.subscription
    assert (report["command"], report["dry_run"]) == ("check-now", True)
    assert report["info_hash"] == info_hash(torrent)
    assert {action["action"] for action in report["actions"]} == {"fetch"}
    assert report["bytes_fetched"] == 0
    assert tree_bytes(torsync.tree) == {}
    report = torsync.run("apply", "pack").assert_ok().subscription
    assert report["fetched"] == len(FIRST)
    assert_same_tree(torsync.tree, releases.folder(1))
    torsync.run("check-now").assert_ok()


def test_a_new_release_waits_until_it_is_applied(torsync: Torsync, releases: Releases) -> None:
    releases.publish(1)
    torsync.run("check-now")
    torsync.run("apply", "pack").assert_ok()
    torrent = releases.publish(2)
    before = snapshot(torsync.tree)
    for _ in range(2):  # it goes on to say so
        outcome = torsync.run("check-now")
        assert (outcome.exit_code, codes(outcome)) == (4, ["needs_approval"])
        assert snapshot(torsync.tree) == before
    assert torsync.run("status").assert_ok().subscription["stage"] == "needs approval"
    planned = torsync.run("plan")
    assert planned.exit_code == 4
    for volatile in ("seconds", "space_free", "command"):
        del planned.subscription[volatile], outcome.subscription[volatile]
    assert planned.subscription == outcome.subscription
    report = torsync.run("apply", "pack").assert_ok().subscription
    assert report["info_hash"] == info_hash(torrent)
    assert_same_tree(torsync.tree, releases.folder(2))
    assert torsync.run("status").assert_ok().subscription["stage"] == "stopped"


def test_damage_of_the_synced_release_is_mended_without_asking(
    torsync: Torsync, releases: Releases
) -> None:
    releases.publish(1)
    torsync.run("check-now")
    torsync.run("apply", "pack").assert_ok()
    (torsync.tree / "a/two.bin").unlink()
    outcome = torsync.run("check-now").assert_ok()
    assert outcome.subscription["fetched_paths"] == ["a/two.bin"]

    releases.publish(2)
    (torsync.tree / "a/two.bin").write_bytes(b"edited")
    outcome = torsync.run("check-now")
    assert outcome.exit_code == 4
    assert codes(outcome) == ["needs_approval", "mended"]
    assert_same_tree(torsync.tree, releases.folder(1))
    report = outcome.subscription
    assert report["bytes_fetched"] == 3 * PIECE
    assert {action["path"] for action in report["actions"]} == {"a/one.bin", "new", "dropped"}
    assert trash_contents(torsync.tree)["a/two.bin"] == [b"edited"]
    assert torsync.run("plan").exit_code == 4, "mending keeps what the poll got"


def test_a_release_that_changes_no_file_is_taken_as_it_is(
    tmp_path: Path, torsync: Torsync, releases: Releases
) -> None:
    releases.publish(1)
    write_tree(torsync.tree, FIRST)
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["dry_run"], report["fetched"], report["kept"]) == (False, 0, len(FIRST))
    assert torsync.run("verify").exit_code == 0, "it is the synced release"


def test_a_release_that_is_taken_back_no_longer_waits(
    torsync: Torsync, publisher: Publisher, releases: Releases
) -> None:
    torrent = releases.publish(1)
    torsync.run("check-now")
    torsync.run("apply", "pack").assert_ok()
    releases.publish(2)
    assert torsync.run("check-now").exit_code == 4
    publisher.announce(torrent)
    torsync.run("check-now").assert_ok()
    outcome = torsync.run("apply", "pack").assert_ok()
    assert codes(outcome) == ["nothing_pending"]
    assert_same_tree(torsync.tree, releases.folder(1))


# --- the service ----------------------------------------------------------------------------


@pytest.fixture
def service(torsync: Torsync, releases: Releases, port: int) -> Running:
    """A service with the first release in place."""
    releases.publish(1)
    torsync.run("check-now")
    torsync.run("apply", "pack").assert_ok()
    service = torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    return service


def test_the_service_tells_once_seeds_on_and_does_what_another_process_approves(
    tmp_path: Path, torsync: Torsync, releases: Releases, service: Running, port: int
) -> None:
    heard = len(service.objects())
    torrent = releases.publish(2)
    notice = waits(service, heard)
    assert "torsync apply pack" in notice["message"]
    service.wait_for_stage("pack", "needs approval", since=heard)
    wait_until(lambda: polls(service, heard) >= 4, "it has polled again and again")
    told = [one for one in service.objects()[heard:] if one["type"] == "notice"]
    assert told == [notice]
    assert not [one for one in service.objects()[heard:] if one["type"] == "subscription"]
    status = torsync.run("status").assert_ok().subscription
    assert (status["stage"], status["last_error"]) == ("needs approval", "")
    assert_same_tree(torsync.tree, releases.folder(1))
    old = make_libtorrent(releases.folder(1), format="v2", piece_size=PIECE)
    libtorrent_download(old, tmp_path / "leecher", peers=[(HOST, port)])
    assert_same_tree(tmp_path / "leecher" / root_name(old), releases.folder(1))

    before = snapshot(torsync.tree)
    planned = torsync.run("plan")
    assert planned.exit_code == 4, "it can be asked while the service works"
    assert snapshot(torsync.tree) == before
    heard = len(service.objects())
    outcome = torsync.run("apply", "pack").assert_ok()
    report = outcome.subscription
    assert (report["command"], report["changed"]) == ("apply", True)
    assert report["info_hash"] == info_hash(torrent)
    for paths in ("patched_paths", "fetched_paths", "trashed_paths"):
        assert sorted(report[paths]) == sorted(planned.subscription[paths]), paths
    assert report["bytes_fetched"] == planned.subscription["bytes_to_fetch"]
    assert_same_tree(torsync.tree, releases.folder(2))
    service.wait_for(
        lambda one: one["type"] == "subscription" and one["changed"],
        "the service tells of it",
        since=heard,
    )
    service.wait_for_stage("pack", "waiting", since=heard)
    again = torsync.run("apply", "pack").assert_ok()
    assert codes(again) == ["nothing_pending"]
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0


def test_a_second_release_takes_the_place_of_the_first_that_waits(
    torsync: Torsync, releases: Releases, service: Running
) -> None:
    heard = len(service.objects())
    releases.publish(2)
    waits(service, heard)
    heard = len(service.objects())
    torrent = releases.publish(3)
    waits(service, heard)
    report = torsync.run("apply", "pack").assert_ok().subscription
    assert report["info_hash"] == info_hash(torrent)
    assert_same_tree(torsync.tree, releases.folder(3))
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0


def test_an_approval_that_failed_is_told_with_the_services_own_words(
    torsync: Torsync, releases: Releases, service: Running
) -> None:
    heard = len(service.objects())
    releases.publish(2)
    waits(service, heard)
    trash = torsync.tree / ".torsync/trash"
    trash.write_bytes(b"in the way")
    outcome = torsync.run("apply", "pack")
    assert outcome.exit_code == 1
    error = outcome.error
    wait_until(lambda: bool(service.errors()), "the service tells of it too")
    told = service.errors()[0]
    assert (error["code"], error["message"]) == ("tree", told["message"])
    assert "trash" in error["message"]
    assert_same_tree(torsync.tree, releases.folder(1))

    trash.unlink()
    torsync.run("apply", "pack").assert_ok()
    # By that command, or by the poll before it: the approval was still in force.
    service.wait_for(
        lambda one: one["type"] == "subscription" and one["changed"],
        "the service has tried again",
        since=heard,
    )
    assert_same_tree(torsync.tree, releases.folder(2))


def test_an_approval_of_what_is_no_longer_the_newest_is_void(
    torsync: Torsync, releases: Releases, service: Running
) -> None:
    heard = len(service.objects())
    superseded = sha256(releases.publish(2)).hexdigest()
    waits(service, heard)
    heard = len(service.objects())
    releases.publish(3)
    waits(service, heard)
    with closing(TreeState(state_folder(torsync.state_dir, torsync.tree))) as state:
        approvals = Approvals(state)
        approvals.give(superseded)
        wait_until(lambda: approvals.approved == "", "it is void")
    polled = polls(service, heard)
    wait_until(lambda: polls(service, heard) >= polled + 2, "it goes on")
    assert_same_tree(torsync.tree, releases.folder(1))


def test_stopping_apply_stops_only_its_waiting(
    torsync: Torsync, releases: Releases, service: Running
) -> None:
    heard = len(service.objects())
    releases.publish(2, upload_limit=300 * KIB)
    waits(service, heard)
    apply = torsync.start("apply", "pack")
    service.wait_for_stage("pack", "downloading", since=heard)
    outcome = apply.stop(signal.SIGINT, within_s=3)
    assert outcome.exit_code == 130
    assert outcome.error["code"] == "interrupted"
    service.wait_for_stage("pack", "waiting", since=heard)
    assert_same_tree(torsync.tree, releases.folder(2))


def test_an_approval_outlives_the_service(
    torsync: Torsync, releases: Releases, service: Running
) -> None:
    heard = len(service.objects())
    releases.publish(2, upload_limit=300 * KIB)
    waits(service, heard)
    apply = torsync.start("apply", "pack")
    service.wait_for_stage("pack", "downloading", since=heard)
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0
    report = apply.wait().assert_ok().subscription
    assert report["changed"], "it does itself what the service left"
    assert_same_tree(torsync.tree, releases.folder(2))


def test_mending_that_gets_nowhere_ends_with_the_approval_of_the_next_release(
    torsync: Torsync, publisher: Publisher, releases: Releases, service: Running
) -> None:
    old = make_libtorrent(releases.folder(1), format="v2", piece_size=PIECE)
    publisher.seeder.remove(old)
    heard = len(service.objects())
    releases.publish(2)
    waits(service, heard)
    heard = len(service.objects())
    (torsync.tree / "a/two.bin").unlink()
    service.wait_for_stage("pack", "downloading", since=heard)
    torsync.run("apply", "pack").assert_ok()
    assert_same_tree(torsync.tree, releases.folder(2))
    assert service.stop(signal.SIGTERM, within_s=3).exit_code == 0


def test_a_tree_that_another_command_holds_is_busy(
    torsync: Torsync, releases: Releases, publisher: Publisher
) -> None:
    torsync.subscribe(update="auto")
    releases.publish(1, upload_limit=100 * KIB)
    holder = torsync.start("check-now")
    holder.wait_for_stage("pack", "downloading")
    outcome = torsync.run("apply", "pack")
    assert (outcome.exit_code, outcome.error["code"]) == (6, "busy")
    assert "torsync check-now" in outcome.error["message"]


def test_apply_may_be_left_to_a_service_that_updates_by_itself(
    torsync: Torsync, releases: Releases
) -> None:
    torsync.subscribe(update="auto")
    torrent = releases.publish(1, upload_limit=300 * KIB)
    service = torsync.start("run")
    service.wait_for_stage("pack", "downloading")
    report = torsync.run("apply", "pack").assert_ok().subscription
    assert (report["info_hash"], report["changed"]) == (info_hash(torrent), True)
    assert_same_tree(torsync.tree, releases.folder(1))
