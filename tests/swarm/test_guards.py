"""Guards: what may be a mistake is refused with exit code 5, and done once that is allowed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import snapshot, staged, trash_contents
from tests.support.torrents import make_raw
from tests.support.trees import OWN_FOLDER, assert_same_tree, tree_bytes, write_tree
from tests.support.updates import KIB, MIB, PIECE
from tests.unit.test_stage import _make_file_system
from tests.unit.test_tree import mounted, tmpfs
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Json, Outcome, Running
    from tests.support.trees import Content
    from tests.support.updates import Updates

THREE: dict[str, Content] = {"a/one": 3 * PIECE, "a/two": 2 * PIECE, "three": 500}
TWO: dict[str, Content] = {"a/one": 3 * PIECE, "three": 500}
ONE: dict[str, Content] = {"a/one": 3 * PIECE}
MARKER = f"{OWN_FOLDER}/marker"


@pytest.fixture(autouse=True)
def _default_max_delete(updates: Updates) -> None:
    del updates.torsync.subscriptions["pack"]["max_delete"]


def assert_refused(outcome: Outcome, *said: str, hint: str) -> Json:
    """It was refused for some reasons, and for no other number of them."""
    assert outcome.exit_code == 5, (outcome.exit_code, outcome.errors)
    error = outcome.error
    assert error["code"] == "refused"
    for text in said:
        assert text in error["message"]
    assert error["message"].startswith("refused: ")
    assert error["hint"] == f"if that is meant: `torsync {hint}`"
    return error


def overridden(updates: Updates, error: Json) -> Outcome:
    """Run the command that a refusal names."""
    return updates.torsync.run(*error["hint"].split("`")[1].split()[1:])


def files_of(tree: Path) -> dict[str, tuple[int, ...]]:
    """Every file in a tree as it is, in torsync's own folder too; only its lock may come."""
    seen = snapshot(tree)
    return {path: found for path, found in seen.items() if (tree / path).is_file()}


# --- max_delete -----------------------------------------------------------------------------


def test_more_removals_than_half_of_the_files_are_refused_until_they_are_allowed(
    updates: Updates,
) -> None:
    updates.sync_first(THREE, "packed")
    updates.publish(ONE, "packed")
    before = snapshot(updates.tree)
    outcome = updates.torsync.run("check-now")
    said = "it would remove 2 of 3 files that torsync put there (67 %)"
    error = assert_refused(outcome, said, "'a/two', 'three'", hint="check-now pack --allow deletes")
    assert snapshot(updates.tree) == before
    status = updates.torsync.run("status").assert_ok().subscription
    assert status["last_error"] == error["message"]
    assert_refused(updates.torsync.run("apply", "pack"), said, hint="apply pack --allow deletes")
    wrong = updates.torsync.run("check-now", "--allow", "space", "--allow", "empty")
    hint = "check-now pack --allow deletes --allow space --allow empty"
    assert_refused(wrong, said, hint=hint)
    assert snapshot(updates.tree) == before

    report = overridden(updates, error).assert_ok().subscription
    assert report["trashed_paths"] == ["a/two", "three"]
    assert_same_tree(updates.tree, updates.folder)
    assert set(trash_contents(updates.tree)) == {"a/two", "three"}


def test_a_third_of_the_files_may_go_and_a_limit_may_be_a_number(updates: Updates) -> None:
    updates.sync_first(THREE, "packed")
    updates.torsync.subscribe(max_delete=0)
    updates.publish(TWO, "packed")
    outcome = updates.torsync.run("check-now")
    assert_refused(outcome, "1 of 3 files", hint="check-now pack --allow deletes")
    updates.torsync.subscribe(max_delete="50%")
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert report["trashed_paths"] == ["a/two"]


def test_a_plan_tells_what_would_be_refused_and_is_no_refusal(updates: Updates) -> None:
    updates.sync_first(THREE, "packed")
    updates.publish(ONE, "packed")
    for command in (["check-now", "--dry-run"], ["plan"]):
        outcome = updates.torsync.run(*command)
        assert outcome.exit_code == 4
        [notice] = outcome.notices
        assert (notice["code"], notice["level"]) == ("would_be_refused", "warning")
        assert "2 of 3 files" in notice["message"]
        assert notice["hint"] == "if that is meant: `torsync apply pack --allow deletes`"
    updates.torsync.run("apply", "pack", "--allow", "deletes").assert_ok()


def test_cleaning_counts_all_files_in_the_folder(updates: Updates) -> None:
    updates.sync_first(THREE, "packed")
    write_tree(updates.tree, {f"mine/{number}": 10 for number in range(4)})
    before = files_of(updates.tree)
    outcome = updates.torsync.run("verify", "--clean")
    error = assert_refused(
        outcome,
        "4 of 7 files in the folder (58 %)",
        hint="verify pack --clean --allow deletes",
    )
    assert files_of(updates.tree) == before
    updates.torsync.run("verify").assert_ok()
    report = overridden(updates, error).assert_ok().subscription
    assert report["cleaned"] == 4
    assert_same_tree(updates.tree, updates.folder)

    write_tree(updates.tree, {f"mine/{number}": 10 for number in range(3)})
    updates.torsync.subscribe(clean="mirror")
    updates.torsync.run("check-now").assert_ok()  # three of six
    assert_same_tree(updates.tree, updates.folder)


# --- an empty release -----------------------------------------------------------------------


@pytest.mark.parametrize("allowed_deletes", [False, True])
def test_a_release_that_shrinks_to_nothing_is_refused_whatever_may_be_deleted(
    updates: Updates, allowed_deletes: bool
) -> None:
    updates.sync_first(THREE, "packed")
    if allowed_deletes:
        updates.torsync.subscribe(max_delete="100%")
    updates.publisher.announce(make_raw({"empty": b"", "empty too": b""}))
    before = snapshot(updates.tree)
    outcome = updates.torsync.run("check-now")
    hint = "--allow empty" if allowed_deletes else "--allow deletes --allow empty"
    error = assert_refused(outcome, "is empty (2 files, no bytes)", hint=f"check-now pack {hint}")
    assert ("3 of 3 files" in error["message"]) != allowed_deletes, "all reasons are told"
    assert snapshot(updates.tree) == before
    overridden(updates, error).assert_ok()
    assert tree_bytes(updates.tree) == {"empty": b"", "empty too": b""}
    assert set(trash_contents(updates.tree)) == set(THREE)


# --- a first sync into a folder with other files --------------------------------------------


def test_a_first_sync_into_a_folder_with_unrelated_files_has_to_be_meant(
    updates: Updates,
) -> None:
    mine = {f"mine/{number}": b"mine" for number in range(5)}
    write_tree(updates.tree, {**mine, "three": b"an older three"})
    updates.publish(THREE, "packed")
    before = files_of(updates.tree)
    for _ in range(2):
        outcome = updates.torsync.run("check-now")
        error = assert_refused(
            outcome,
            "holds 5 files that are not in the release: 'mine/0', 'mine/1', 'mine/2' and 2 more",
            'they would stay, unless clean = "mirror" is set',
            hint="check-now pack --adopt",
        )
        assert files_of(updates.tree) == before
    assert "--adopt" in updates.torsync.run("plan").notices[0]["hint"]
    overridden(updates, error).assert_ok()
    assert tree_bytes(updates.tree) == {**tree_bytes(updates.folder), **mine}
    updates.publish(TWO, "packed")
    updates.torsync.run("check-now").assert_ok()  # it is not asked again


def test_older_or_damaged_files_of_the_release_empty_folders_and_kept_files_need_no_adoption(
    updates: Updates,
) -> None:
    updates.torsync.subscribe(keep=["*.ini"])
    write_tree(updates.tree, {**THREE, "a/one": b"older", "my.ini": b"mine", "e/f": ("dir", None)})
    updates.publish(THREE, "packed")
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert report["fetched_paths"] == ["a/one"]


@pytest.mark.parametrize("command", ["apply", "init"])
def test_a_folder_is_adopted_by_apply_or_when_it_is_added(updates: Updates, command: str) -> None:
    write_tree(updates.tree, {"mine": b"mine"})
    updates.publish(THREE, "packed")
    torsync = updates.torsync
    if command == "init":
        given = torsync.subscriptions.pop("pack")
        # Each run writes the configuration anew: ``init`` finds none, and leaves its own.
        torsync.run("init", given["url"], updates.tree, "--name", "pack", "--adopt").assert_ok()
        torsync.subscriptions["pack"] = given
        assert (updates.tree / MARKER).exists()
        torsync.run("check-now").assert_ok()
    else:
        assert torsync.run("check-now", "--dry-run").exit_code == 4
        outcome = torsync.run("apply", "pack")
        assert_refused(outcome, "'mine'", hint="apply pack --adopt")
        torsync.run("apply", "pack", "--adopt").assert_ok()
    assert tree_bytes(updates.tree) == {**tree_bytes(updates.folder), "mine": b"mine"}


# --- space ----------------------------------------------------------------------------------


@pytest.fixture
def small(updates: Updates) -> Iterator[Path]:
    """A tree on a file system of 4 MiB."""
    with mounted(updates.tree, *tmpfs("size=4m")) as folder:
        yield folder


def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    updates: Updates, small: Path
) -> None:
    updates.publish({"large": 4 * MIB + 1, "small": 10}, "packed", piece_size=64 * KIB)
    for _ in range(2):
        outcome = updates.torsync.run("check-now")
        assert_refused(
            outcome,
            f"it needs 4.2 MB in {str(small)!r}, where 4.19 MB are free",
            hint="check-now pack --allow space",
        )
        assert files_of(small) == {}
    assert updates.publisher.seeder.uploaded(updates.torrent) == 0
    planned = updates.torsync.run("plan").subscription
    assert planned["space_needed"] == 4 * MIB + 2 * 4 * KIB
    assert planned["space_free"] == 4 * MIB
    outcome = updates.torsync.run("check-now", "--allow", "space")
    assert (outcome.exit_code, outcome.error["code"]) == (1, "disk_full"), "it is tried"


def test_what_fits_to_the_block_is_no_refusal(updates: Updates, small: Path) -> None:
    entries: dict[str, Content] = {"large": 3 * MIB, "small": 10}
    updates.sync_first(entries, "packed", piece_size=64 * KIB)
    folder = small / "mine"
    found = os.statvfs(small)
    patched = {**entries, "new": 100 * KIB + 1, "small": 11}
    needed = (100 + 4 + 4) * KIB
    folder.write_bytes(bytes(found.f_bavail * found.f_frsize - needed + 1))
    updates.publish(patched, "packed", piece_size=64 * KIB)
    outcome = updates.torsync.run("check-now")
    assert_refused(outcome, "it needs 111 kB", hint="check-now pack --allow space")
    folder.write_bytes(bytes(folder.stat().st_size - 4 * KIB))
    updates.torsync.run("check-now").assert_ok()
    assert (small / "new").stat().st_size == 100 * KIB + 1


def test_what_an_interrupted_update_has_staged_is_there(updates: Updates, small: Path) -> None:
    updates.publish({"large": 3 * MIB}, "packed", piece_size=64 * KIB, upload_limit=MIB)
    first = updates.torsync.start("check-now")
    first.wait_for_download(MIB)
    assert first.stop(signal.SIGINT, within_s=10).exit_code == 130
    assert staged(small)
    planned = updates.torsync.run("plan").subscription
    assert planned["space_needed"] + (4 * MIB - planned["space_free"]) < 3 * MIB + 64 * KIB
    updates.torsync.run("check-now").assert_ok()
    assert_same_tree(small, updates.folder)


def test_old_releases_in_the_trash_are_given_up_before_an_update_is_refused(
    updates: Updates, small: Path
) -> None:
    updates.torsync.subscribe(trash_size="100%")
    first, second, third, fourth = (os.urandom(size * 256 * KIB) for size in (6, 6, 5, 16))
    updates.sync_first({"large": first}, "packed", piece_size=64 * KIB)
    updates.publish({"large": second}, "packed", piece_size=64 * KIB)
    updates.torsync.run("check-now").assert_ok()
    assert trash_contents(small) == {"large": [first]}

    updates.publish({"large": fourth}, "packed", piece_size=64 * KIB)
    outcome = updates.torsync.run("check-now")
    assert_refused(outcome, "it needs 4.19 MB", hint="check-now pack --allow space")
    assert trash_contents(small) == {"large": [first]}, "nothing is given up in vain"

    updates.publish({"large": third}, "packed", piece_size=64 * KIB)
    dry = updates.torsync.run("check-now", "--dry-run")
    assert dry.subscription["space_needed"] > dry.subscription["space_free"]
    assert dry.notices == []
    assert trash_contents(small) == {"large": [first]}
    updates.torsync.run("check-now").assert_ok()
    assert trash_contents(small) == {"large": [second]}
    assert_same_tree(small, updates.folder)


def test_what_fits_in_place_is_told_to(updates: Updates, small: Path) -> None:
    content = os.urandom(3 * MIB)
    updates.sync_first({"large": content}, "packed", piece_size=64 * KIB)
    updates.publish({"large": content[:-5] + b"patch"}, "packed", piece_size=64 * KIB)
    outcome = updates.torsync.run("check-now")
    assert_refused(
        outcome,
        "it needs 3.15 MB",
        'with apply = "in-place" it would fit, as it needs 0 B',
        hint="check-now pack --allow space",
    )
    assert (small / "large").read_bytes() == content
    assert staged(small) == []
    updates.torsync.subscribe(apply="in-place")
    assert updates.torsync.run("check-now", "--dry-run").subscription["space_needed"] == 0
    updates.torsync.run("check-now").assert_ok()
    assert_same_tree(small, updates.folder)


def test_a_clone_that_shares_its_blocks_takes_what_changes(
    updates: Updates, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    _make_file_system("xfs", image)
    with mounted(updates.tree, "-o", "loop", image) as disk:
        content = os.urandom(5 * MIB)
        updates.sync_first({"large": content}, "packed", piece_size=64 * KIB)
        updates.publish({"large": content[:-5] + b"patch"}, "packed", piece_size=64 * KIB)
        before = snapshot(disk)
        updates.torsync.run("check-now", "--dry-run")
        assert snapshot(disk) == before, "to find that out leaves no trace"
        planned = updates.torsync.run("plan").subscription
        assert planned["space_needed"] == 64 * KIB
        updates.torsync.run("check-now").assert_ok()


# --- the marker -----------------------------------------------------------------------------


@pytest.fixture
def disk(updates: Updates, tmp_path: Path) -> Path:
    """A folder that is mounted at the tree's path with ``mount``, and may be unmounted."""
    found = tmp_path / "disk"
    found.mkdir()
    updates.tree.mkdir()
    return found


COMMANDS = [
    ["check-now"],
    ["check-now", "--dry-run"],
    ["plan"],
    ["apply", "pack"],
    ["verify"],
    ["verify", "--repair", "--clean"],
]


def test_an_unmounted_disk_is_missed_and_nothing_is_made_where_it_was(
    updates: Updates, disk: Path
) -> None:
    with mounted(updates.tree, "--bind", disk):
        updates.sync_first(THREE, "packed")
    assert os.listdir(updates.tree) == []
    updates.publish(TWO, "packed")
    for command in COMMANDS:
        outcome = updates.torsync.run(*command)
        name = "verify" if "verify" in command else "apply" if "plan" in command else command[0]
        options = "".join(f" {option}" for option in command if option in {"--repair", "--clean"})
        assert_refused(
            outcome,
            f"{str(updates.tree)!r} was kept in sync",
            "is its disk not mounted?",
            hint=f"{name} pack{options} --allow marker",
        )
        assert os.listdir(updates.tree) == []
    updates.tree.rmdir()
    for command in COMMANDS:
        assert updates.torsync.run(*command).exit_code == 5
        assert not updates.tree.exists()
    updates.tree.mkdir()
    with mounted(updates.tree, "--bind", disk):
        report = updates.torsync.run("check-now").assert_ok().subscription
        assert (report["fetched"], report["trashed_paths"]) == (0, ["a/two"])
        assert_same_tree(updates.tree, updates.folder)


def test_another_disk_is_not_taken_for_the_tree(
    updates: Updates, disk: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    updates.publish(THREE, "packed")
    with mounted(updates.tree, "--bind", other):
        updates.torsync.run("check-now").assert_ok()
    shutil.rmtree(updates.torsync.state_dir)
    with mounted(updates.tree, "--bind", disk):
        updates.torsync.run("check-now").assert_ok()
    updates.publish(TWO, "packed")
    before = snapshot(other)
    with mounted(updates.tree, "--bind", other):
        outcome = updates.torsync.run("check-now")
        hint = "check-now pack --allow marker"
        error = assert_refused(outcome, "is that of another folder", hint=hint)
        assert snapshot(other) == before
        # Allowed, it is a first sync into a folder with a file that the release does not list.
        error = assert_refused(
            overridden(updates, error), "'a/two'", hint="check-now pack --allow marker --adopt"
        )
        assert files_of(other).keys() == {path for path in before if (other / path).is_file()}
        overridden(updates, error).assert_ok()
        assert tree_bytes(other).keys() == set(THREE), "what the state knew is not of this folder"
        updates.torsync.run("check-now").assert_ok()


def test_a_folder_that_lost_its_marker_gets_another_one_by_allowing_that(
    updates: Updates,
) -> None:
    updates.sync_first(THREE, "packed")
    shutil.rmtree(updates.tree / OWN_FOLDER)
    for command in (["verify"], ["check-now"]):
        outcome = updates.torsync.run(*command)
        assert_refused(outcome, "not mounted", hint=f"{command[0]} pack --allow marker")
        assert not (updates.tree / OWN_FOLDER).exists()
    report = updates.torsync.run("check-now", "--allow", "marker").assert_ok().subscription
    assert (report["changed"], report["bytes_fetched"]) == (False, 0)
    assert report["bytes_hashed"] > 0, "it is looked at as if it were new"
    updates.torsync.run("check-now").assert_ok()

    shutil.rmtree(updates.tree / OWN_FOLDER)
    updates.torsync.run("verify", "--allow", "marker").assert_ok()
    updates.torsync.run("check-now").assert_ok()


def test_a_lost_state_takes_the_marker_over_and_asks_nothing(updates: Updates) -> None:
    write_tree(updates.tree, {"mine": b"mine"})
    updates.publish(THREE, "packed")
    updates.torsync.run("check-now", "--adopt").assert_ok()
    marker = (updates.tree / MARKER).read_text()
    assert "torsync" in marker
    shutil.rmtree(updates.torsync.state_dir)
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert not report["changed"]
    assert (updates.tree / MARKER).read_text() == marker
    (updates.tree / MARKER).unlink()
    assert updates.torsync.run("check-now").exit_code == 5, "it knows the id now"


def test_a_tree_from_before_there_were_markers_gets_one(updates: Updates) -> None:
    updates.sync_first(THREE, "packed")
    write_tree(updates.tree, {"mine": b"mine"})
    forget_marker(updates)
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert (report["changed"], report["bytes_hashed"]) == (False, 0)
    assert (updates.tree / MARKER).exists()
    (updates.tree / MARKER).unlink()
    assert updates.torsync.run("check-now").exit_code == 5


def forget_marker(updates: Updates) -> None:
    """Make tree and state what they were before there were markers."""
    (updates.tree / MARKER).unlink()
    state = TreeState(state_folder(updates.torsync.state_dir, updates.tree))
    state.put(marker="")
    state.close()


# --- the service ----------------------------------------------------------------------------


def start_service(updates: Updates) -> Running:
    updates.torsync.subscribe(interval="1s")
    # What is refused again and again is told once, and then for debugging.
    return updates.torsync.start("-v", "run")


def wait_for_refusal(service: Running, *, since: int = 0) -> Json:
    return service.wait_for(
        lambda one: one["type"] == "notice" and one["code"] == "refused",
        "it is refused",
        since=since,
    )


def assert_stops(service: Running) -> None:
    assert service.stop(signal.SIGTERM, within_s=5).exit_code == 0


@pytest.mark.parametrize("update", ["auto", "ask"])
def test_a_refusal_by_the_service_is_overridden_while_it_runs(
    updates: Updates, update: str
) -> None:
    updates.sync_first(THREE, "packed")
    updates.torsync.subscribe(update=update)
    service = start_service(updates)
    service.wait_for_stage("pack", "seeding")
    before = snapshot(updates.tree)
    updates.publish(ONE, "packed")
    if update == "auto":
        told = wait_for_refusal(service)
        assert "2 of 3 files" in told["message"]
        wait_for_refusal(service, since=len(service.objects()))  # it goes on to try
        status = updates.torsync.run("status").assert_ok().subscription
        assert status["last_error"] == told["message"]
        assert status["last_error_hint"] == told["hint"]
    else:
        service.wait_for(
            lambda one: one["type"] == "notice" and one["code"] == "would_be_refused",
            "it is told in advance",
        )
    outcome = updates.torsync.run("apply", "pack")
    hint = "apply pack --allow deletes"
    error = assert_refused(outcome, "2 of 3 files", hint=hint)
    assert snapshot(updates.tree) == before
    report = overridden(updates, error).assert_ok().subscription
    assert report["trashed_paths"] == ["a/two", "three"]
    assert_same_tree(updates.tree, updates.folder)

    updates.publish(THREE, "packed")
    if update == "ask":
        service.wait_for_stage("pack", "needs approval", since=len(service.objects()))
        updates.torsync.run("apply", "pack").assert_ok()
    else:
        service.wait_for(
            lambda one: one["type"] == "subscription" and one["moved"] == 2, "it goes on"
        )
    heard = len(service.objects())
    updates.publish(ONE, "packed")  # what was allowed once is not allowed again
    if update == "auto":
        wait_for_refusal(service, since=heard)
    else:
        service.wait_for_stage("pack", "needs approval", since=heard)
        assert updates.torsync.run("apply", "pack").exit_code == 5
    assert_stops(service)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_unmounted_while_the_service_runs_is_missed_and_found_again(
    updates: Updates, disk: Path
) -> None:
    bind: list[Any] = ["--bind", disk]
    with mounted(updates.tree, *bind):
        updates.sync_first(THREE, "packed")
        service = start_service(updates)
        service.wait_for_stage("pack", "seeding")
    assert "not mounted" in wait_for_refusal(service)["message"]
    updates.publish(TWO, "packed")
    wait_for_refusal(service, since=len(service.objects()))
    assert os.listdir(updates.tree) == []
    outcome = updates.torsync.run("apply", "pack")
    assert_refused(outcome, "not mounted", hint="apply pack --allow marker")
    with mounted(updates.tree, *bind):
        service.wait_for(
            lambda one: one["type"] == "subscription" and one["trashed_paths"] == ["a/two"],
            "it goes on",
        )
        assert_same_tree(updates.tree, updates.folder)
        assert_stops(service)


@pytest.mark.parametrize("missing_from_the_start", [False, True])
def test_a_folder_may_be_put_in_the_place_of_another_while_the_service_runs(
    updates: Updates, tmp_path: Path, missing_from_the_start: bool
) -> None:
    updates.sync_first(THREE, "packed")
    if missing_from_the_start:
        updates.tree.rename(tmp_path / "old")
        updates.tree.mkdir()
    service = start_service(updates)
    if not missing_from_the_start:
        service.wait_for_stage("pack", "seeding")
        updates.tree.rename(tmp_path / "old")
        updates.tree.mkdir()
    wait_for_refusal(service)
    assert os.listdir(updates.tree) == []
    status = updates.torsync.run("status").assert_ok().subscription
    assert "not mounted" in status["last_error"]
    outcome = updates.torsync.run("apply", "pack")
    error = assert_refused(outcome, "not mounted", hint="apply pack --allow marker")
    overridden(updates, error).assert_ok()
    assert_same_tree(updates.tree, updates.folder)
    assert_stops(service)


def test_a_file_system_that_does_not_tell_its_size_has_room(updates: Updates) -> None:
    with mounted(updates.tree, "-t", "ramfs", "none") as folder:
        assert os.statvfs(folder).f_blocks == 0
        updates.publish({"a": 100 * KIB, "b": 10}, "packed")
        updates.torsync.run("check-now").assert_ok()
        updates.publish({"a": 200 * KIB}, "packed")
        updates.torsync.run("check-now").assert_ok()
        assert sorted(trash_contents(folder)) == ["a", "b"]


# --- the trash ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("restore", "pack", "a"), ("empty", "pack")])
def test_the_trash_of_a_disk_that_is_not_mounted_is_left_alone(
    updates: Updates, command: tuple[str, ...]
) -> None:
    updates.sync_first({"a": 10}, "packed")
    updates.tree.rename(updates.tree.with_name("disk"))
    updates.tree.mkdir()
    outcome = updates.torsync.run("trash", *command)
    assert (outcome.exit_code, outcome.error["code"]) == (5, "refused")
    assert "is its disk not mounted?" in outcome.error["message"]
    assert "`torsync check-now pack --allow marker`" in outcome.error["hint"]
    assert list(updates.tree.iterdir()) == []
