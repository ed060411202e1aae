"""``torsync run`` with publications: watched, released, seeded, and kept from doing harm."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.leecher import assert_seeds
from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.publishers import (
    KIB,
    NAME,
    PIECE,
    all_errors,
    paths_in,
    publication,
    released,
    releases,
    subscriber,
    wait_for_problem,
    wait_for_release,
)
from tests.support.torrents import info_hash
from tests.support.trees import assert_same_tree, edit_in_place, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

FILES: dict[str, Content] = {"big": 20 * PIECE + 1, "two": 6 * PIECE, "d/small": 100, "d/x": 200}


@pytest.fixture
def service(publishing: Publishing) -> Running:
    """Seeds its first release."""
    publishing.publish(entries=FILES)
    running = publishing.start("run")
    running.wait_for_stage(NAME, "seeding")
    return running


def newest(publishing: Publishing) -> bytes:
    return publishing.torrent().read_bytes()


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_an_edit_leads_to_a_release_by_itself(
    publishing: Publishing, tmp_path: Path, format_: str
) -> None:
    folder = publishing.publish(entries=FILES, format=format_)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    heard = len(service.objects())
    edit_in_place(folder / "two")
    report = wait_for_release(service, since=heard)
    assert report["command"] == "run"
    assert report["modified_paths"] == ["two"]
    assert report["bytes_hashed"] <= 6 * PIECE
    assert report["info_hash"] == info_hash(newest(publishing))
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert_seeds(publishing.port, newest(publishing), folder, tmp_path / "leecher")


def _rename(folder: Path) -> None:
    (folder / "d").rename(folder / "e")


def _remove(folder: Path) -> None:
    (folder / "d/x").unlink()


def _new_folder(folder: Path) -> None:
    write_tree(folder, {"new/deep/er/file": 3 * PIECE})


def _chmod(folder: Path) -> None:
    (folder / "two").chmod(0o755)


def _replace(folder: Path) -> None:
    (folder / "fresh").write_bytes(b"other")
    (folder / "fresh").replace(folder / "two")


@pytest.mark.parametrize(
    "change", [_rename, _remove, _new_folder, _chmod, _replace], ids=lambda given: given.__name__
)
def test_any_change_is_noticed_and_seeded(
    publishing: Publishing, service: Running, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    heard = len(service.objects())
    change(publishing.content())
    wait_for_release(service, since=heard)
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert_seeds(publishing.port, newest(publishing), publishing.content(), tmp_path / "leecher")


def test_many_edits_in_a_row_are_one_release(publishing: Publishing) -> None:
    folder = publishing.publish(entries=FILES, settle="3s")
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    heard = len(service.objects())
    for number in range(300):
        write_tree(folder, {f"new/{number}": 1000})
    report = wait_for_release(service, since=heard)
    assert report["added"] == 300
    service.wait_for_stage(NAME, "seeding", since=heard)
    assert len(releases(service)) == 2


@contextmanager
def never_at_rest(folder: Path) -> Iterator[None]:
    """Append to a log in the folder, without a pause that is as long as it settles."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            with (folder / "log").open("ab") as file:
                file.write(b"%d\n" % number)
            number += 1
            stop.wait(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_folder_that_changes_all_the_time_is_released_all_the_same(
    publishing: Publishing, service: Running
) -> None:
    with never_at_rest(publishing.content()):
        heard = len(service.objects())
        report = service.wait_for(
            lambda one: (
                one["type"] == "publication" and one["changed"] and "log" in one["added_paths"]
            ),
            "a release in spite of it",
            since=heard,
            deadline_s=60,
        )
        assert "log" in paths_in(newest(publishing))
    assert report["number"] == 2
    # And once it is at rest, the last of it is released.
    size = sum(file.stat().st_size for file in publishing.content().rglob("*") if file.is_file())
    wait_until(lambda: releases(service)[-1]["bytes_total"] == size, "all of it is released")


def test_without_watching_a_release_comes_when_it_is_asked_for(
    publishing: Publishing, tmp_path: Path
) -> None:
    folder = publishing.publish(entries=FILES, watch=False)
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    torrent = newest(publishing)
    edit_in_place(folder / "two")
    plan = publishing.run("plan", NAME)
    assert plan.exit_code == 4
    assert publication(plan)["modified_paths"] == ["two"]
    assert newest(publishing) == torrent
    report = released(publishing.run("check-now", NAME))
    assert report["command"] == "check-now"
    assert report["info_hash"] == info_hash(newest(publishing)) == publication(plan)["info_hash"]
    assert service.is_running
    assert_seeds(publishing.port, newest(publishing), folder, tmp_path / "leecher")


def test_without_watching_a_release_comes_at_the_interval(publishing: Publishing) -> None:
    folder = publishing.publish(entries=FILES, watch=False, interval="1s")
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    heard = len(service.objects())
    edit_in_place(folder / "two")
    assert wait_for_release(service, since=heard)["modified_paths"] == ["two"]


def _rename_away(folder: Path, scratch: Path) -> None:
    folder.rename(scratch)


def _rename_back(folder: Path, scratch: Path) -> None:
    scratch.rename(folder)


def _mount_over(folder: Path, scratch: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    done = subprocess.run(
        [require("mount"), "-t", "tmpfs", "none", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr}")


def _unmount(folder: Path, scratch: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(
    ("take", "give"), [(_rename_away, _rename_back), (_mount_over, _unmount)], ids=["away", "under"]
)
def test_a_folder_that_vanishes_leaves_the_release_public_until_it_is_back(
    publishing: Publishing,
    service: Running,
    tmp_path: Path,
    take: Callable[[Path, Path], None],
    give: Callable[[Path, Path], None],
) -> None:
    folder, scratch, torrent = publishing.content(), tmp_path / "away", newest(publishing)
    take(folder, scratch)
    try:
        outcome = publishing.run("check-now", NAME)
        assert outcome.exit_code in {1, 5}
        assert str(folder) in all_errors(outcome)
        status = publication(publishing.run("status"))
        assert status["last_error"]
        assert status["info_hash"] == info_hash(torrent)
        assert newest(publishing) == torrent
        assert service.is_running
    finally:
        give(folder, scratch)
    report = publication(publishing.run("check-now", NAME).assert_ok())
    assert report["info_hash"] == info_hash(torrent)
    wait_until(
        lambda: publication(publishing.run("status"))["last_error"] == "", "the error is over"
    )
    assert_seeds(publishing.port, newest(publishing), folder, tmp_path / "leecher")
    heard = len(service.objects())
    edit_in_place(folder / "two")
    assert wait_for_release(service, since=heard)["modified_paths"] == ["two"]


def test_a_folder_that_vanishes_is_told_without_being_asked(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    folder = publishing.content()
    heard = len(service.objects())
    folder.rename(tmp_path / "away")
    problem = wait_for_problem(service, since=heard)
    assert str(folder) in problem["message"]
    (tmp_path / "away").rename(folder)


def test_a_broken_publication_does_not_stop_the_other(
    publishing: Publishing, tmp_path: Path
) -> None:
    good = publishing.publish("good", FILES)
    bad = publishing.publish("bad", FILES)
    os.mkfifo(bad / "a pipe")
    publishing.publish("gone", path=str(tmp_path / "nowhere"))
    service = publishing.start("run")
    service.wait_for_stage("good", "seeding")
    assert "a pipe" in wait_for_problem(service, "bad")["message"]
    assert "nowhere" in wait_for_problem(service, "gone")["message"]
    heard = len(service.objects())
    edit_in_place(good / "two")
    wait_for_release(service, "good", since=heard)
    assert publishing.run("check-now").exit_code == 1
    assert publishing.run("check-now", "good").exit_code == 0
    (bad / "a pipe").unlink()
    wait_for_release(service, "bad", since=heard)
    assert not publishing.torrent("gone").exists()
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


def test_status_tells_what_is_published(publishing: Publishing) -> None:
    folder = publishing.publish(entries=FILES)
    status = publication(publishing.run("status").assert_ok())
    assert (status["stage"], status["number"], status["info_hash"]) == ("never published", 0, "")
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    status = publication(publishing.run("status").assert_ok())
    assert status["path"] == str(folder)
    assert status["torrent"] == str(publishing.torrent())
    assert status["holder_pid"] == service.pid
    assert status["info_hash"] == info_hash(newest(publishing))
    assert (status["files"], status["number"], status["last_error"]) == (len(FILES), 1, "")
    assert status["last_release_s"] > 0
    assert status["stage"] in {"seeding", "scanning"}
    service.stop(signal.SIGTERM, within_s=5)
    status = publication(publishing.run("status").assert_ok())
    assert (status["stage"], status["holder_pid"]) == ("stopped", None)


def test_status_as_text_names_the_publication_and_its_release(publishing: Publishing) -> None:
    publishing.publish(entries=FILES)
    released(publishing.run("check-now"))
    command = [part for part in publishing.command("status") if part != "--json"]
    done = subprocess.run(
        command, env=publishing.environment(), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert f"{NAME}: stopped, release 1" in done.stdout


def test_a_subscription_and_a_publication_live_in_one_service(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    """A mirror: what it subscribes to is not what it publishes, and both go on."""
    with subscriber(tmp_path / "mirror", publishing, interval="1s") as mirror:
        running = mirror.start("run")
        running.wait_for_stage(NAME, "waiting")  # after its first report
        heard = len(running.objects())
        write_tree(publishing.content(), {"later": 50 * KIB})
        wait_for_release(service)
        running.wait_for(lambda one: one["type"] == "subscription", "it is synced", since=heard)
        assert_same_tree(mirror.tree, publishing.content())


def test_a_service_can_subscribe_to_what_it_publishes(
    publishing: Publishing, tmp_path: Path
) -> None:
    """The same info-hash twice: libtorrent would have them share a session's torrent."""
    folder, own = publishing.publish(entries=FILES), tmp_path / "own"
    released(publishing.run("check-now"))
    publishing.subscribe(
        "own",
        url=publishing.torrent().as_uri(),
        path=str(own),
        interval="1s",
        peers=[publishing.peer()],
    )
    service = publishing.start("run")
    service.wait_for_stage(NAME, "seeding")
    service.wait_for_stage("own", "seeding")
    assert_same_tree(own, folder)
    heard = len(service.objects())
    edit_in_place(folder / "two")
    wait_for_release(service, since=heard)
    service.wait_for(lambda one: one["type"] == "subscription", "it is synced", since=heard)
    assert_same_tree(own, folder)


def test_a_folder_that_another_takes_the_place_of_is_released_and_watched(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    """As with a build that is made elsewhere and renamed into place."""
    folder = publishing.content()
    heard = len(service.objects())
    fresh = write_tree(tmp_path / "fresh", {"big": 20 * PIECE, "e/new": 5}, seed=1)
    folder.rename(tmp_path / "old")
    fresh.rename(folder)
    service.wait_for(
        lambda one: one["type"] == "publication" and one["files"] == 2,
        "it is released",
        since=heard,
    )
    heard = len(service.objects())
    write_tree(folder, {"e/later": 6})
    assert wait_for_release(service, since=heard)["added_paths"] == ["e/later"]


def test_a_torrent_besides_the_services_release_takes_another_state_directory(
    publishing: Publishing, service: Running, tmp_path: Path
) -> None:
    line = ("publish", str(publishing.content()), "-o", str(tmp_path / "other.torrent"))
    outcome = publishing.run(*line)
    assert outcome.exit_code == 6
    assert str(service.pid) in outcome.error["message"]
    assert "another --state-dir" in outcome.error["hint"]
    publishing.run(*line, "--state-dir", str(tmp_path / "other state")).assert_ok()
    assert (tmp_path / "other.torrent").exists()


def test_a_second_service_is_told_which_one_has_the_folder(
    publishing: Publishing, service: Running
) -> None:
    outcome = publishing.start("run").wait(20)
    assert outcome.exit_code == 6
    assert str(service.pid) in outcome.error["message"]
