"""A folder of the tree is replaced by a link that leads out of it, at any call of an update."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import (
    OLD,
    HandTorrent,
    Scene,
    Strike,
    fast_folder,
    found,
    nth_call,
)
from tests.support.cli import snapshot
from tests.support.trees import write_tree
from torsync.model.errors import TorsyncError, TreeError

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.swarm.torrent import AddRequest

_real = {name: getattr(os, name) for name in ("rename", "symlink")}


class Swapped:
    """Moves a folder aside and puts a link to another one in its place, and back."""

    def __init__(self, folder: Path, outside: Path) -> None:
        self._folder, self._aside, self._outside = folder, folder.with_name("aside"), outside
        self.is_done = False

    def do(self, _strike: Strike) -> None:
        # What the update calls is watched, and this is no part of it.
        try:
            _real["rename"](self._folder, self._aside)
        except FileNotFoundError:
            return
        _real["symlink"](self._outside, self._folder)
        self.is_done = True

    def undo(self) -> None:
        if self.is_done:
            self._folder.unlink()
            self._aside.rename(self._folder)


class LinkedScene(Scene):
    """Its stage may become a link: then what is fetched cannot be written."""

    def add(self, request: AddRequest) -> HandTorrent:
        try:
            return super().add(request)
        except OSError as error:
            raise TreeError(str(error), path=request.save_path, hint="") from error


NOT_YOURS = ("0", "1", "deep", "file", "inside", "inside.txt", "marker", "other", "stage", "trash")


def _outside(folder: Path) -> Path:
    """A folder with the names that the tree's folders hold, and files that nobody has read."""
    outside = write_tree(folder / "outside", {name: name.encode() for name in NOT_YOURS})
    for file in outside.iterdir():
        os.utime(file, ns=(0, file.stat().st_mtime_ns))
    return outside


def _access_times_are_told(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_bytes(b"probe")
    os.utime(probe, ns=(0, probe.stat().st_mtime_ns))
    probe.read_bytes()
    return probe.stat().st_atime_ns != 0


def _contents(tree: Path) -> set[bytes]:
    """What all files hold, those in the stage and the trash included."""
    return {path.read_bytes() for path in tree.rglob("*") if path.is_file()}


STEP = 17  # For each place, other calls: all of them would take long.
OWN = [".torsync", ".torsync/stage", ".torsync/trash"]
PLACES = ["gone", "new", "replaced", "y", *OWN]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_is_read_written_or_removed_when_a_folder_becomes_a_link(
    place: str,
) -> None:
    number, swaps, is_over = PLACES.index(place), 0, False
    while not is_over:
        with fast_folder() as folder:
            scene = LinkedScene(folder)
            scene.prepare()
            outside = _outside(folder)
            before = snapshot(outside)
            swapped = Swapped(scene.tree / place, outside)
            with nth_call(number, swapped.do) as struck, suppress(TorsyncError):
                scene.check_now()
            is_over = not struck
            swaps += swapped.is_done
            told = f"before call {number}: {struck}"
            assert snapshot(outside) == before, told
            if _access_times_are_told(folder):
                read = [file.name for file in outside.iterdir() if file.stat().st_atime_ns]
                assert read == [], told
            swapped.undo()
            lost = set(found(OLD).values()) - _contents(scene.tree)
            assert {content for content in lost if isinstance(content, bytes)} == set(), told
        number += STEP
    assert swaps > 5
