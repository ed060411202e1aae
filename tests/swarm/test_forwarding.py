"""Commands while the service holds the tree: the same output and exit code as without it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Torsync, trash_contents
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, edit_in_place, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Json, Outcome, Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

KIB = 1024
PIECE = 16 * KIB
FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "a/two.bin": 3 * PIECE, "dropped": 5}
SECOND: dict[str, Content] = {"a/one.bin": 41 * PIECE, "a/two.bin": 3 * PIECE, "new": 500}


class Site:
    """A subscriber whose service polls once an hour, and two releases."""

    def __init__(self, folder: Path, torsync: Torsync, publisher: Publisher) -> None:
        self.torsync = torsync
        self.publisher = publisher
        self._folder = folder
        torsync.subscribe(interval="1h")

    def release(self, number: int) -> Path:
        return self._folder / f"release-{number}"

    def publish(self, number: int, **options: int) -> None:
        folder = write_tree(self.release(number), (FIRST, SECOND)[number - 1])
        torrent = make_libtorrent(folder, format="v2", piece_size=PIECE)
        self.publisher.publish(torrent, folder, **options)

    def start(self) -> Running:
        """Start the service; it is at rest with the first release."""
        service = self.torsync.start("run")
        service.wait_for_stage("pack", "waiting")
        return service


@pytest.fixture
def site(tmp_path: Path, torsync: Torsync, publisher: Publisher) -> Site:
    found = Site(tmp_path, torsync, publisher)
    found.publish(1)
    torsync.run("check-now").assert_ok()
    return found


VOLATILE = {"seconds", "bytes_hashed", "space_free", "from"}


def told(outcome: Outcome) -> tuple[int, list[Json], list[Json], list[str]]:
    """What has to be the same: exit code, reports, errors and notices."""
    reports = [
        {key: value for key, value in one.items() if key not in VOLATILE}
        for one in outcome.of_type("subscription")
    ]
    return outcome.exit_code, reports, outcome.errors, [one["code"] for one in outcome.notices]


def edited(torsync: Torsync) -> None:
    edit_in_place(torsync.tree / "a/two.bin")
    write_tree(torsync.tree, {"extra": 7})


def as_it_is(_torsync: Torsync) -> None:
    pass


def updated(torsync: Torsync) -> None:
    torsync.run("check-now").assert_ok()


@pytest.mark.parametrize(
    ("releases", "prepare", "arguments"),
    [
        (1, as_it_is, "check-now"),
        (2, as_it_is, "check-now"),
        (2, as_it_is, "check-now --dry-run"),
        (2, as_it_is, "check-now pack --force"),
        (2, as_it_is, "check-now none"),
        (1, as_it_is, "apply pack"),
        (1, edited, "verify"),
        (1, edited, "verify --quick"),
        (1, edited, "verify --repair --clean"),
        (1, edited, "verify --clean --dry-run"),
        (2, updated, "rollback pack"),
        (2, updated, "rollback pack no-such"),
        (2, updated, "trash restore pack dropped"),
        (2, updated, "trash restore pack no-such"),
        (2, updated, "trash empty"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_command_says_and_does_the_same_whoever_does_it(
    tmp_path: Path,
    site: Site,
    releases: int,
    prepare: Callable[[Torsync], None],
    arguments: str,
) -> None:
    """One subscriber has no service; the other's does nothing by itself, as it is paused."""
    alone = site.torsync
    (tmp_path / "other").mkdir()
    with Torsync(tmp_path / "other") as held:
        held.subscriptions = {"pack": {**alone.subscriptions["pack"], "path": str(held.tree)}}
        held.run("check-now").assert_ok()
        if releases == 2:
            site.publish(2)
        for one in (alone, held):
            prepare(one)
        held.run("pause").assert_ok()
        service = held.start("run")
        service.wait_for_stage("pack", "paused")
        assert told(held.run(*arguments.split())) == told(alone.run(*arguments.split()))
        assert tree_bytes(held.tree) == tree_bytes(alone.tree)
        assert trash_contents(held.tree) == trash_contents(alone.tree)
        assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0


def test_whoever_waits_for_the_services_own_fetch_sees_how_far_it_is(site: Site) -> None:
    site.torsync.subscribe(interval="1s")
    service = site.start()
    heard = len(service.objects())
    site.publish(2, upload_limit=300 * KIB)
    service.wait_for_stage("pack", "downloading", since=heard)
    outcome = site.torsync.run("check-now").assert_ok()
    assert outcome.subscription["changed"], "that is what was waited for"
    assert "downloading" in {one["stage"] for one in outcome.of_type("progress")}
    assert_same_tree(site.torsync.tree, site.release(2))


def test_a_check_that_waits_for_a_fetch_without_peers_is_given_up_in_time(site: Site) -> None:
    torsync = site.torsync
    torsync.subscribe(interval="1s")
    service = site.start()
    heard = len(service.objects())
    folder = write_tree(site.release(2), SECOND)
    site.publisher.announce(make_libtorrent(folder, format="v2", piece_size=PIECE))
    service.wait_for_stage("pack", "downloading", since=heard)
    outcome = torsync.run("check-now", "--timeout", "1s")
    assert (outcome.exit_code, outcome.error["code"]) == (3, "no_peers")
    assert service.is_running


def test_stopping_a_command_leaves_the_work_to_the_service(site: Site) -> None:
    service = site.start()
    heard = len(service.objects())
    site.publish(2, upload_limit=300 * KIB)
    check = site.torsync.start("check-now")
    check.wait_for_stage("pack", "downloading")
    outcome = check.stop(signal.SIGINT, within_s=20)
    assert (outcome.exit_code, outcome.error["code"]) == (130, "interrupted")
    assert "the service goes on with it" in outcome.error["message"]
    service.wait_for_stage("pack", "waiting", since=heard)
    assert_same_tree(site.torsync.tree, site.release(2))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_does_itself_what_the_service_leaves(site: Site, how: int) -> None:
    service = site.start()
    site.publish(2, upload_limit=300 * KIB)
    check = site.torsync.start("check-now")
    check.wait_for_stage("pack", "downloading")
    service.send(how)
    outcome = check.wait().assert_ok()
    assert outcome.subscription["changed"]
    assert_same_tree(site.torsync.tree, site.release(2))


def test_a_pause_is_kept_until_it_is_resumed(site: Site) -> None:
    torsync = site.torsync
    torsync.subscribe(interval="1s")
    service = site.start()
    heard = len(service.objects())
    report = torsync.run("pause", "pack").assert_ok().subscription
    assert (report["command"], report["paused"], report["changed"]) == ("pause", True, True)
    service.wait_for_stage("pack", "paused", since=heard)
    assert not torsync.run("pause").assert_ok().subscription["changed"]
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0

    again = torsync.start("run")
    again.wait_for_stage("pack", "paused")
    site.publish(2)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["changed"], "it does what it is told to"
    again.wait_for_stage("pack", "paused", since=len(again.objects()) - 1)
    heard = len(again.objects())
    assert torsync.run("resume").assert_ok().subscription["changed"]
    again.wait_for_stage("pack", "waiting", since=heard)
    assert again.stop(signal.SIGTERM, within_s=20).exit_code == 0


def test_without_a_service_a_pause_is_for_the_next_one(site: Site) -> None:
    torsync = site.torsync
    assert torsync.run("pause").assert_ok().subscription["changed"]
    service = torsync.start("run")
    service.wait_for_stage("pack", "paused")
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    assert torsync.run("resume").assert_ok().subscription["changed"]
    assert site.start().stop(signal.SIGTERM, within_s=20).exit_code == 0


def test_publications_are_released_paused_and_resumed(publishing: Publishing) -> None:
    publishing.publish("pack", {"a": 100}, watch=False)
    publishing.run("check-now").assert_ok()
    service = publishing.start("run")
    service.wait_for_stage("pack", "seeding")
    write_tree(publishing.content(), {"b": 100})
    planned = publishing.run("plan")
    assert planned.exit_code == 4
    assert planned.of_type("publication")[0]["added_paths"] == ["b"]
    outcome = publishing.run("check-now").assert_ok()
    report = outcome.of_type("publication")[0]
    assert (report["changed"], report["added_paths"]) == (True, ["b"])
    assert "not_seeded" not in [one["code"] for one in outcome.notices]
    heard = len(service.objects())
    for command, paused in (("pause", True), ("resume", False)):
        report = publishing.run(command).assert_ok().of_type("publication")[0]
        assert (report["command"], report["paused"], report["changed"]) == (command, paused, True)
    service.wait_for_stage("pack", "seeding", since=heard)
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0


class TestReload:
    """``torsync reload``."""

    def test_what_is_new_changed_and_gone_is_told(self, site: Site, tmp_path: Path) -> None:
        torsync = site.torsync
        service = site.start()
        found = torsync.run("reload").assert_ok().of_type("reload")[0]
        assert found["unchanged"] == ["pack"]
        torsync.subscribe("more", url=site.publisher.url, path=str(tmp_path / "more"))
        torsync.subscribe(interval="30m")
        found = torsync.run("reload").assert_ok().of_type("reload")[0]
        assert (found["started"], found["restarted"]) == (["more"], ["pack"])
        service.wait_for_stage("more", "looking")
        del torsync.subscriptions["more"]
        found = torsync.run("reload").assert_ok().of_type("reload")[0]
        assert (found["stopped"], found["unchanged"]) == (["more"], ["pack"])
        assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0

    def test_a_broken_configuration_is_refused_with_its_problems(self, site: Site) -> None:
        torsync = site.torsync
        service = site.start()
        torsync.subscribe(surprise=1, interval="never")
        outcome = torsync.run("reload")
        assert (outcome.exit_code, outcome.error["code"]) == (2, "config")
        assert len(outcome.error["problems"]) == 2
        del torsync.subscriptions["pack"]["surprise"]
        torsync.subscribe(interval="1h")
        torsync.run("check-now").assert_ok()
        assert service.is_running

    def test_without_a_service_it_is_said_what_to_do(self, site: Site) -> None:
        outcome = site.torsync.run("reload")
        assert outcome.exit_code == 1
        assert "torsync run" in outcome.error["hint"]

    def test_without_a_control_api_there_is_a_signal(self, site: Site) -> None:
        site.torsync.service["control"] = ""
        service = site.start()
        outcome = site.torsync.run("reload")
        assert outcome.exit_code == 1
        assert f"kill -HUP {service.pid}" in outcome.error["hint"]


def test_a_service_without_a_control_api_keeps_its_trees_to_itself(site: Site) -> None:
    site.torsync.service["control"] = ""
    service = site.start()
    outcome = site.torsync.run("check-now")
    assert (outcome.exit_code, outcome.error["code"]) == (6, "busy")
    assert str(service.pid) in outcome.error["message"]
    assert 'control = ""' in outcome.error["hint"]


def test_without_the_token_the_service_takes_no_orders(site: Site) -> None:
    service = site.start()
    token = site.torsync.state_dir / "control" / "token"
    token.unlink()
    outcome = site.torsync.run("verify")
    assert (outcome.exit_code, outcome.error["code"]) == (6, "busy")
    assert "user" in outcome.error["hint"]
    assert service.is_running


def test_two_subscriptions_are_asked_for_at_once(
    tmp_path: Path, site: Site, torsync: Torsync
) -> None:
    other: Any = torsync.subscriptions["pack"]
    torsync.subscribe("other", **{**other, "path": str(tmp_path / "other")})
    service = torsync.start("run")
    for name in ("pack", "other"):
        service.wait_for_stage(name, "waiting")
    site.publish(2)
    outcome = torsync.run("check-now").assert_ok()
    assert {one["name"] for one in outcome.of_type("subscription")} == {"pack", "other"}
    for tree in (torsync.tree, tmp_path / "other"):
        assert_same_tree(tree, site.release(2))
    assert (torsync.state_dir / "control" / "address").exists()
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    assert not (torsync.state_dir / "control" / "address").exists()
