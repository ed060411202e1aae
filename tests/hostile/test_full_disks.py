"""Disks that are full, of bytes or inodes, at each stage of an update: the tree's, the state's."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import Scene, fast_folder
from tests.faults.test_links_swapped_in import LinkedScene
from tests.unit.test_tree import mounted, tmpfs
from torsync.model.errors import DiskFullError, TorsyncError
from torsync.model.space import Room
from torsync.subscribe import guarding
from torsync.subscribe.trash_keeper import TrashKeeper

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096
ROOMY = "size=64m,nr_inodes=10000"


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others fill the disk after the guard has looked at it."""
    plenty = Room(PAGE, 2**40, False, {})
    monkeypatch.setattr(guarding, "measure_room", lambda *_given, **_options: plenty)
    # On a disk as small as these the trash is soon larger than it may be.
    monkeypatch.setattr(TrashKeeper, "after_update", lambda *_given: None)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def used(folder: Path) -> dict[str, int]:
    """What is used of a file system in memory, by the options that limit it."""
    seen = os.statvfs(folder)
    return {
        "size": (seen.f_blocks - seen.f_bfree) * seen.f_frsize,
        "nr_inodes": seen.f_files - seen.f_ffree,
    }


def _update_on_a_disk_with(spare: int, limit: str, of: str) -> str:
    """Update where that much is left, then where there is room; gives how the first one ended."""
    with fast_folder() as folder:
        disk = folder / of
        with mounted(disk, *tmpfs(ROOMY)):
            scene: Scene = LinkedScene(folder)
            scene.prepare()
            remount(disk, f"{limit}={max(1, used(disk)[limit] + spare)}")
            ended = "done"
            try:
                scene.check_now()
            except DiskFullError:
                ended = "full"
            except TorsyncError as error:
                ended = error.message
            scene.check_cut_off()
            with suppress(TorsyncError):  # it may be as full as before, or fuller
                scene.check_now()
            scene.check_cut_off()
            remount(disk, ROOMY)
            scene.check_now()
            scene.check_finished()
    return ended


LIMITS = {"size": PAGE, "nr_inodes": 1}


def _sweep(limit: str, of: str, step: int) -> list[str]:
    seen: list[str] = []
    number = 0
    while not seen or seen[-1] != "done":
        seen.append(_update_on_a_disk_with(number * LIMITS[limit], limit, of))
        number += step
        assert number < 400
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("of", ["tree", "state"])
def test_a_disk_that_is_full_at_some_stage_loses_nothing_and_the_update_ends_once_it_has_room(
    limit: str, of: str
) -> None:
    seen = _sweep(limit, of, 7)
    assert len(seen) > 1, "it was never full"
    if of == "tree":
        assert all(ended in {"full", "done"} or "No space left" in ended for ended in seen), seen


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("of", ["tree", "state"])
def test_a_disk_that_is_full_at_any_stage_loses_nothing_and_the_update_ends_once_it_has_room(
    limit: str, of: str
) -> None:
    _sweep(limit, of, 1)
