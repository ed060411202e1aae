"""An update that moves files, cut off at its n-th file-system call, or interfered with there."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.test_fail_everywhere import (
    PIECE,
    HandTorrent,
    Scene,
    Strike,
    calls_told_to,
    fast_folder,
    found,
    nth_call,
)
from tests.support.torrents import link, make_raw
from tests.support.trees import random_bytes, tree_bytes
from torsync.model.errors import NoPeersError, TorsyncError
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.torrents import RawFile
    from torsync.swarm.torrent import AddRequest

Files = dict[str, "bytes | RawFile"]


def _content(name: str, pieces: float = 1.5) -> bytes:
    """A size of its own for each name: a file that nobody vouches for is found by its size."""
    return random_bytes(int(pieces * PIECE) + sum(name.encode()), name)


LONG = _content("long", 6)
OLD: Files = {
    "becomes/a file": _content("becomes a file"),
    "becomes folder": _content("becomes a folder"),
    "copied": _content("copied"),
    "cycle/1": _content("one"),
    "cycle/2": _content("two"),
    "cycle/3": _content("three"),
    "gone": b"gone",
    "log": _content("log"),
    "patched": LONG,
    "place": _content("place"),
    "places/inside": _content("places"),
    "renamed/old": _content("renamed"),
    "swap 1": _content("swap 1"),
    "swap 2": _content("swap 2", 2.25),
}
NEW: Files = {
    "assembled": _content("new", 3) + LONG[3 * PIECE :],
    "becomes": OLD["becomes/a file"],
    "becomes folder/a/file": OLD["becomes folder"],
    "copied": OLD["copied"],
    "copied too": OLD["copied"],
    "cycle/1": OLD["cycle/3"],
    "cycle/2": OLD["cycle/1"],
    "cycle/3": OLD["cycle/2"],
    "log": _content("new log"),
    "log.1": OLD["log"],
    "patched": LONG[:PIECE] + b"patched" + LONG[PIECE + 7 :],
    "place/inside": OLD["places/inside"],
    "places": OLD["place"],
    "renamed/new": OLD["renamed/old"],
    "swap 1": OLD["swap 2"],
    "swap 2": OLD["swap 1"],
}
RELOCATED = {path for path, content in NEW.items() if content in OLD.values()}


class Killed(BaseException):
    """No file-system call is made any more."""


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Let no call of ``CALLS`` through from the ``number``-th on; gives a list of these."""
    count = 0
    refused: list[str] = []

    def on_call(name: str, _arguments: object, _options: object) -> None:
        nonlocal count
        count += 1
        if count > number:
            refused.append(name)
            raise Killed

    with calls_told_to(on_call):
        yield refused


@contextmanager
def failing_at(number: int) -> Iterator[list[Strike]]:
    def fail(_strike: Strike) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with nth_call(number, fail) as struck:
        yield struck


def _everything(tree: Path) -> set[bytes]:
    """All contents in the tree, its stage and its trash."""
    paths = (Path(folder, name) for folder, _folders, names in os.walk(tree) for name in names)
    return {path.read_bytes() for path in paths}


class AlignedScene(Scene):
    """Its releases are padded: no piece mixes files."""

    def publish(self, files: Mapping[str, bytes | RawFile]) -> None:
        super().publish(files)
        self._url_file.write_bytes(make_raw(files, roots=True, align=True))


class DesertedScene(Scene):
    """Its swarm has no peers if ``is_deserted``."""

    is_deserted = False

    def add(self, request: AddRequest) -> HandTorrent:
        if self.is_deserted:
            raise NoPeersError("nobody is there")
        return super().add(request)


def _prepared(folder: Path, old: Files, new: Files) -> Scene:
    scene = AlignedScene(folder)
    scene.publish(old)
    scene.check_now()
    scene.publish(new)
    return scene


def _check_in_sync(scene: Scene, new: Files) -> None:
    report = scene.check_now()
    assert (report.changed, report.bytes_fetched) == (False, 0)
    assert tree_bytes(scene.tree) == found(new)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cut_off", [killed_at, failing_at])
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_wherever_it_is_cut_off_no_content_is_lost_and_what_was_moved_is_not_fetched(
    cut_off: Callable[[int], Any], step: int
) -> None:
    number, struck = 0, True
    while struck:
        with fast_folder() as folder:
            scene = _prepared(folder, OLD, NEW)
            ended = True
            with cut_off(number) as calls:
                try:
                    scene.check_now()
                except (Killed, TorsyncError):
                    ended = False
            struck = bool(calls)
            contents = set(found(OLD).values())
            assert contents <= _everything(scene.tree), f"call {number}, {calls}: lost"
            report = scene.check_now()
            again = RELOCATED & {*report.fetched, *report.patched}
            # What could not be read may have been left out, and its new content trashed.
            assert not again or ended, f"call {number}, {calls}: fetched again"
            assert contents <= _everything(scene.tree), f"call {number}, {calls}: lost after all"
            assert tree_bytes(scene.tree) == found(NEW), f"call {number}, {calls}"
            _check_in_sync(scene, NEW)
        number += step
    assert number > 150


def _cut_off_swap(folder: Path) -> Scene:
    """One of two files that change places has its new place; the other is in the stage only."""
    scene = _prepared(folder, {"a": LONG, "b": b"b"}, {"a": b"b", "b": LONG})

    def fail(_strike: Strike) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def places_b(call: Strike) -> bool:
        return call.name == "rename" and call.arguments[1] == "b"

    with nth_call(0, fail, of=places_b), pytest.raises(TorsyncError):
        scene.check_now()
    assert tree_bytes(scene.tree) == {"a": b"b", "b": b"b"}
    return scene


def test_what_was_being_moved_goes_to_the_trash_if_the_next_release_has_it_no_more() -> None:
    with fast_folder() as folder:
        scene = _cut_off_swap(folder)
        scene.publish({"a": b"b", "c": b"c"})
        report = scene.check_now()
        assert tree_bytes(scene.tree) == {"a": b"b", "c": b"c"}
        assert report.fetched == ["c"]
        assert LONG in _everything(scene.tree / ".torsync/trash")


def test_what_was_being_moved_is_not_put_over_what_somebody_else_saved_meanwhile() -> None:
    with fast_folder() as folder:
        scene = _cut_off_swap(folder)
        (scene.tree / "b").unlink()
        (scene.tree / "b").write_bytes(b"mine")
        assert scene.check_now().bytes_fetched == 0
        assert tree_bytes(scene.tree) == {"a": b"b", "b": LONG}
        assert scene.trashed()["b"] == {b"mine"}


def test_what_is_saved_over_a_file_while_it_changes_places_goes_to_the_trash() -> None:
    def save(_strike: Strike) -> None:
        (scene.tree / "mine").write_bytes(b"mine")
        (scene.tree / "mine").rename(scene.tree / "a")

    links = 0

    def after_all_are_held(call: Strike) -> bool:
        nonlocal links
        links += call.name == "link"
        return links == 2 and call.name != "link"

    with fast_folder() as folder:
        scene = _prepared(folder, {"a": LONG, "b": b"b"}, {"a": b"b", "b": LONG})
        with nth_call(0, save, of=after_all_are_held) as struck:
            report = scene.check_now()
        assert struck
        assert tree_bytes(scene.tree) == {"a": b"b", "b": LONG}
        assert scene.trashed() == {"a": {b"mine"}}
        assert report.trashed == ["a"]


@pytest.mark.parametrize("call", ["pread", "rename"])
def test_an_edit_of_a_file_that_was_staged_in_vain_is_not_vouched_for(call: str) -> None:
    """It is staged as it has a piece in common with one that changes."""

    def edit(_strike: Strike) -> None:
        with (scene.tree / "a").open("r+b") as file:
            file.write(b"mine")

    def is_commit(strike: Strike) -> bool:
        return strike.name == call and (call == "pread" or strike.arguments[1] == "b")

    content = random_bytes(3 * PIECE + PIECE // 2, "a")
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.publish({"a": content, "b": b"old"})
        scene.check_now()
        (scene.tree / "a").touch()
        scene.publish({"a": content, "b": b"new"})
        with nth_call(0, edit, of=is_commit) as struck:
            scene.check_now()
        assert struck
        scene.check_now()
        assert tree_bytes(scene.tree) == {"a": content, "b": b"new"}
        assert scene.trashed()["a"] == {b"mine" + content[4:]}


def test_a_leftover_clone_is_not_used_for_a_piece_that_cannot_be_checked_in_the_stage() -> None:
    """Its neighbour is in the stage as a scratch file only, for the sake of another piece."""
    file, neighbour = random_bytes(2 * PIECE + PIECE // 2, "f"), random_bytes(PIECE, "n")

    def write(*offsets: int) -> None:
        damaged = bytearray(file)
        for offset in offsets:
            damaged[offset] ^= 1
        (scene.tree / "a").write_bytes(damaged)

    with fast_folder() as folder:
        scene = DesertedScene(folder)
        scene.publish({"a": file, "b": neighbour, "c": b"old"})
        scene.check_now()
        new: Files = {"a": file, "b": neighbour, "c": b"new"}
        scene.publish(new)
        write(0, len(file) - 1)
        scene.is_deserted = True
        with pytest.raises(NoPeersError):
            scene.check_now()
        write(0)
        scene.is_deserted = False
        scene.check_now()
        assert tree_bytes(scene.tree) == new


def test_what_a_commit_placed_that_was_not_recorded_is_torsyncs_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kill(*_arguments: Any, **_options: Any) -> None:
        raise Killed

    with fast_folder() as folder:
        scene = _prepared(
            folder,
            {"moved": LONG, "stays": b"1"},
            {"fetched/file": b"2", "link": link("stays"), "moved too": LONG, "stays": b"1"},
        )
        with monkeypatch.context() as patched:
            patched.setattr(TreeState, "record_sync", kill)
            with pytest.raises(Killed):
                scene.check_now()
        (scene.tree / "stays too").write_bytes(b"mine")
        scene.publish({"fetched": b"a file now", "stays": b"1"})
        report = scene.check_now()
        assert report.trashed == ["fetched/file", "link", "moved too"]
        assert tree_bytes(scene.tree) == {
            "fetched": b"a file now",
            "stays": b"1",
            "stays too": b"mine",
        }
