"""The program is killed in the middle of its commit: whatever is run next, nothing is lost."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot, staged, trash_contents
from tests.support.killed_commit import MOMENTS, kill_in_commit
from tests.support.processes import wait_until
from tests.support.trees import edit_in_place, random_bytes, tree_bytes
from tests.support.updates import PIECE, overwritten
from tests.swarm.conftest import torsync, updates  # noqa: F401 - fixtures
from tests.swarm.test_lost_ledger import database, remove_logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.trees import Found
    from tests.support.updates import Updates

LARGE = random_bytes(9 * PIECE + 100, "large")
OLD = {
    "edited": random_bytes(PIECE, "edited"),
    "large": LARGE,
    "moved/from": random_bytes(3 * PIECE, "moved"),
    "removed": random_bytes(2 * PIECE, "removed"),
    "replaced": random_bytes(PIECE, "replaced"),
    "stays": b"stays",
    "swapped/1": random_bytes(PIECE, "one"),
    "swapped/2": random_bytes(PIECE, "two"),
}
NEW = {
    "edited": random_bytes(PIECE + 9, "edited, new"),
    "large": overwritten(LARGE, 3 * PIECE, b"patched"),
    "moved/to": OLD["moved/from"],
    "new": random_bytes(2 * PIECE, "new"),
    "replaced": random_bytes(PIECE, "by this"),
    "stays": b"stays",
    "swapped/1": OLD["swapped/2"],
    "swapped/2": OLD["swapped/1"],
}
MINE = {"mine": b"unlisted"}


@pytest.fixture
def before(updates: Updates) -> dict[str, Found]:  # noqa: F811
    """The old release with an edited file and an unlisted one; the new one can be fetched."""
    updates.sync_first(OLD, "packed")
    edit_in_place(updates.tree / "edited")
    (updates.tree / "mine").write_bytes(MINE["mine"])
    seen = tree_bytes(updates.tree)
    assert seen["edited"] != OLD["edited"]
    updates.publish(NEW, "packed")
    return seen


def cut_off(updates: Updates, moment: str, *command: str) -> None:  # noqa: F811
    """Kill an update in its commit; the publisher cannot be reached from then on."""
    kill_in_commit(updates.torsync, moment, *(command or ("check-now",)))
    updates.publisher.file.rename(updates.publisher.file.with_suffix(".gone"))


def be_back(updates: Updates) -> None:  # noqa: F811
    updates.publisher.file.with_suffix(".gone").rename(updates.publisher.file)


def assert_nothing_lost(updates: Updates, before: dict[str, Found]) -> None:  # noqa: F811
    """What there was before is in the tree or in the trash, wherever that was patched in place."""
    trash = trash_contents(updates.tree)
    seen = tree_bytes(updates.tree)
    there = {*seen.values(), *(content for versions in trash.values() for content in versions)}
    in_place = {"large"} if updates.torsync.subscriptions["pack"].get("apply") else set()
    lost = [path for path, was in before.items() if was not in there and path not in in_place]
    assert not lost, f"lost: {lost}"


def assert_finished(updates: Updates, before: dict[str, Found]) -> None:  # noqa: F811
    assert tree_bytes(updates.tree) == {**NEW, **MINE}
    assert_nothing_lost(updates, before)
    assert staged(updates.tree) == []
    status = updates.torsync.run("status").assert_ok().subscription
    assert (status["stage"], status["release"]) == ("stopped", "release-2")


@pytest.mark.parametrize("apply", ["staged", "in-place"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_check_whose_poll_fails_finishes_it_all_the_same(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    moment: str,
    apply: str,
) -> None:
    updates.torsync.subscribe(apply=apply)
    cut_off(updates, moment)
    outcome = updates.torsync.run("check-now")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "remote_unreachable"
    assert "finished" in {notice["code"] for notice in outcome.notices}
    assert_finished(updates, before)
    be_back(updates)
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert (report["changed"], report["bytes_fetched"]) == (False, 0)
    history = updates.torsync.run("verify").assert_ok().subscription
    assert history["ok"] == len(NEW)


@pytest.mark.parametrize("command", [["verify"], ["verify", "--quick"], ["apply", "pack"]])
def test_commands_that_work_on_the_tree_finish_it(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    command: list[str],
) -> None:
    cut_off(updates, "placed")
    updates.torsync.run(*command).assert_ok()
    assert_finished(updates, before)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_service_that_cannot_poll_finishes_it(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    moment: str,
) -> None:
    cut_off(updates, moment)
    service = updates.torsync.start("run")
    service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "finished", "it is finished"
    )
    service.wait_for_stage("pack", "waiting")
    assert tree_bytes(updates.tree) == {**NEW, **MINE}
    assert service.stop(signal.SIGTERM, within_s=20).exit_code == 0
    assert_finished(updates, before)


@pytest.mark.parametrize("moment", MOMENTS)
def test_commands_that_only_tell_change_nothing(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    moment: str,
) -> None:
    cut_off(updates, moment)
    be_back(updates)
    seen = snapshot(updates.tree)
    status = updates.torsync.run("status").assert_ok().subscription
    assert status["stage"] == "between releases"
    updates.torsync.run("trash", "list").assert_ok()
    updates.torsync.run("rollback", "pack", "--list").assert_ok()
    assert updates.torsync.run("plan").exit_code in {0, 4}
    assert updates.torsync.run("check-now", "--dry-run").exit_code in {0, 4}
    assert updates.torsync.run("verify", "--dry-run").exit_code in {0, 4}
    assert snapshot(updates.tree) == seen
    updates.torsync.run("verify").assert_ok()
    assert_finished(updates, before)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", [["empty"], ["restore", "pack", "replaced"]])
def test_the_trash_is_left_alone_until_it_is_finished(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    command: list[str],
    moment: str,
) -> None:
    cut_off(updates, moment)
    seen = snapshot(updates.tree)
    outcome = updates.torsync.run("trash", *command)
    assert outcome.exit_code == 4
    assert outcome.error["code"] == "unfinished"
    assert outcome.error["hint"].startswith("`torsync verify --quick pack` finishes it")
    assert snapshot(updates.tree) == seen
    updates.torsync.run(*outcome.error["hint"].split("`")[1].split()[1:]).assert_ok()
    assert_finished(updates, before)
    updates.torsync.run("trash", *command).assert_ok()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rollback_finishes_it_and_then_goes_back(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    moment: str,
) -> None:
    cut_off(updates, moment)
    report = updates.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok().subscription
    assert tree_bytes(updates.tree) == {**OLD, **MINE}
    assert report["bytes_fetched"] == PIECE, "what had been edited is all that is gone"
    assert_nothing_lost(updates, before)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rollback_that_is_cut_off_is_finished_and_stays(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    moment: str,
) -> None:
    updates.check(besides=MINE)
    at_new = tree_bytes(updates.tree)
    cut_off(updates, moment, "rollback", "pack")
    assert updates.torsync.run("trash", "empty").exit_code == 4
    be_back(updates)
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == {**OLD, **MINE}
    assert_nothing_lost(updates, {**before, **at_new})
    status = updates.torsync.run("status").assert_ok().subscription
    assert (status["stage"], status["release"]) == ("rolled back", "release-1")


# --- and the state is lost --------------------------------------------------------------------


def _delete(file: Path) -> None:
    file.unlink()


def _garbage(file: Path) -> None:
    file.write_bytes(os.urandom(8192))


def _no_folder(file: Path) -> None:
    """Lose the ``.torrent`` files, too."""
    folder = file.parent
    for inside in sorted(folder.rglob("*"), reverse=True):
        inside.rmdir() if inside.is_dir() else inside.unlink()
    folder.rmdir()


@pytest.mark.parametrize("apply", ["staged", "in-place"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", [_delete, _garbage, _no_folder])
def test_a_state_that_is_lost_with_its_journal_loses_nothing_of_the_tree(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
    how: Callable[[Path], None],
    moment: str,
    apply: str,
) -> None:
    updates.torsync.subscribe(apply=apply)
    kill_in_commit(updates.torsync, moment, "check-now")
    file = database(updates.torsync)
    remove_logs(file)
    how(file)
    updates.torsync.run("check-now").assert_ok()
    seen = tree_bytes(updates.tree)
    assert {path: seen.get(path) for path in NEW} == NEW
    assert set(seen) <= OLD.keys() | NEW.keys() | MINE.keys()
    assert seen["mine"] == MINE["mine"]
    assert_nothing_lost(updates, before)
    assert staged(updates.tree) == []


def test_a_journal_is_not_lost_by_a_service_that_is_killed_as_it_starts(
    updates: Updates,  # noqa: F811
    before: dict[str, Found],
) -> None:
    cut_off(updates, "placed")
    for _ in range(3):
        service = updates.torsync.start("run")
        wait_until(lambda service=service: bool(service.objects()), "it has said something")
        service.kill()
    updates.torsync.run("verify").assert_ok()
    assert_finished(updates, before)
