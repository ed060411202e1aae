"""Users save, create and write files at any moment of an update: nothing of theirs is lost."""

from __future__ import annotations

import errno
import os
import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import (
    NEW,
    OLD,
    Scene,
    Strike,
    calls_told_to,
    fast_folder,
    found,
    nth_call,
)
from tests.support.trees import tree_bytes
from torsync.disk import syscalls
from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.torrents import RawFile
    from tests.support.trees import Found

_real = {name: getattr(os, name) for name in ("link", "open", "rename", "unlink")}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL

# What an update calls is watched, and edits are no part of it: they use what was there before.


def create(path: Path, content: bytes) -> bool:
    """Make a file where nothing is."""
    with suppress(OSError):
        fd = _real["open"](path, _NEW_FILE)
        os.write(fd, content)
        os.close(fd)
        return True
    return False


def save(path: Path, content: bytes) -> bool:
    """Replace a file, as editors do: by a rename."""
    beside = path.with_name(f"{path.name}~")
    if not path.is_file() or not create(beside, content):
        return False
    try:
        _real["rename"](beside, path)
    except OSError:
        _real["unlink"](beside)
        return False
    return True


def append(path: Path, content: bytes) -> bool:
    """Write to a file as it is."""
    with suppress(OSError):
        fd = _real["open"](path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        os.write(fd, content)
        os.close(fd)
        return True
    return False


class Editor:
    """Edits each of some files once, when it is called."""

    def __init__(self, tree: Path, paths: Mapping[str, Callable[[Path, bytes], bool]]) -> None:
        self._tree = tree
        self._edits = paths
        self.done: dict[str, bytes] = {}

    def __call__(self, strike: Strike) -> None:
        for path, edit in self._edits.items():
            content = f"mine at {path} before {strike.name}".encode()
            if edit(self._tree / path, content):
                self.done[path] = content

    def check_kept(self, told: str) -> None:
        """See that all of that is in the tree or in the trash."""
        private = self._tree / ".torsync"
        there = [
            file.read_bytes()
            for file in self._tree.rglob("*")
            if file.is_file() and not file.is_relative_to(private / "stage")
        ]
        for path, content in self.done.items():
            assert any(one.endswith(content) for one in there), f"{path!r} is lost; {told}"


class Moving(Scene):
    """An update in which files change places, and one is moved onto another."""

    OLD: Mapping[str, bytes | RawFile] = {
        "one": b"1" * 40_000,
        "two": b"2" * 40_000,
        "onto": b"gives way",
        "source": b"3" * 40_000,
        "renamed": b"4" * 40_000,
        "stays": b"stays",
    }
    NEW: Mapping[str, bytes | RawFile] = {
        "one": b"2" * 40_000,
        "two": b"1" * 40_000,
        "onto": b"3" * 40_000,
        "folder/anew": b"4" * 40_000,
        "stays": b"stays",
    }

    def prepare(self) -> None:
        self.publish(self.OLD)
        self.check_now()
        self.publish(self.NEW)


def _changes_names(strike: Strike) -> bool:
    return strike.name in {"link", "rename", "unlink", "rmdir"}


# Where the other release has no folder, and no file that is a folder here: that is refused.
SAVED = (
    *("empties", "gone/other", "half gone/file", "keep.bin", "new/folder/file"),
    *("patched.bin", "replaced/inside.txt", "shrinks.bin", "tool"),
)
SCENES: dict[str, tuple[type[Scene], Mapping[str, bytes | RawFile], tuple[str, ...]]] = {
    "replaced": (Scene, NEW, SAVED),
    "moved": (Moving, Moving.NEW, (*Moving.OLD, "folder/anew")),
}
EDITS = {"create": create, "save": save, "append": append}


def _edit_before(number: int, edit: str, scene_name: str) -> tuple[bool, int]:
    """Edit all files before one call of an update; whether there was one, and how many it were."""
    kind, new, paths = SCENES[scene_name]
    with fast_folder() as folder:
        scene = kind(folder)
        scene.prepare()
        editor = Editor(scene.tree, dict.fromkeys(paths, EDITS[edit]))
        with (
            nth_call(number, editor, of=_changes_names) as struck,
            suppress(TorsyncError),
        ):
            scene.check_now()
        told = f"before call {number}: {struck}"
        scene.check_now()  # one that failed may have left what was staged
        editor.check_kept(told)
        report = scene.check_now()
        editor.check_kept(told)
        assert not report.changed, told
        there = tree_bytes(scene.tree)
        assert {path: there.get(path) for path in new} == found(new), told
        beyond = there.keys() - found(new).keys() - {"half gone/mine", "mine"}
        assert beyond <= editor.done.keys(), told
    return bool(struck), len(editor.done)


def _edit_everywhere(edit: str, scene: str, step: int) -> int:
    number, edits, is_over = 0, 0, False
    while not is_over:
        was_struck, count = _edit_before(number, edit, scene)
        is_over = not was_struck
        edits += count
        number += step
    return edits


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scene", SCENES)
def test_an_edit_before_some_step_of_a_commit_is_kept(scene: str) -> None:
    assert sum(_edit_everywhere(edit, scene, 7) for edit in EDITS) > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_before_any_step_of_a_commit_is_kept(edit: str, scene: str) -> None:
    assert _edit_everywhere(edit, scene, 1) > 0


@pytest.mark.parametrize("scene", ["replaced", "moved"])
def test_what_is_saved_in_the_very_moment_of_the_replacement_is_in_the_trash(scene: str) -> None:
    kind, new, _paths = SCENES[scene]
    path = {"replaced": "patched.bin", "moved": "one"}[scene]
    with fast_folder() as folder:
        made = kind(folder)
        made.prepare()
        edited = []

        def edit(_strike: Strike) -> None:
            edited.append(save(made.tree / path, b"saved just then"))

        def replaces(call: Strike) -> bool:
            return call.name == "rename" and call.arguments[1] == path

        with nth_call(0, edit, of=replaces):
            made.check_now()
        assert edited == [True]
        assert b"saved just then" in made.trashed()[path]
        assert tree_bytes(made.tree)[path] == found(new)[path]


def test_what_comes_to_a_free_path_in_the_moment_of_its_rename_is_in_the_trash() -> None:
    path = "new/folder/file"
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        edited = []

        def edit(_strike: Strike) -> None:
            edited.append(create(scene.tree / path, b"came just then"))

        def places(call: Strike) -> bool:
            return call.name == "rename" and call.arguments[1] == "file"

        with nth_call(0, edit, of=places):
            scene.check_now()
        assert edited == [True]
        assert scene.trashed()[path] == {b"came just then"}
        assert tree_bytes(scene.tree)[path] == b"new"


def test_a_file_that_is_written_to_in_the_trash_is_not_taken_for_the_old_release_s() -> None:
    """Who had it open goes on to write to it there."""
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        with (scene.tree / "gone/other").open("r+b") as held:

            def write(_strike: Strike) -> None:
                held.write(b"mine")
                held.flush()

            def is_after(call: Strike) -> bool:
                return call.name == "rmdir" and call.arguments[0] == "gone"

            with nth_call(0, write, of=is_after) as struck:
                scene.check_now()
        assert struck
        scene.publish(OLD)
        report = scene.check_now()
        assert tree_bytes(scene.tree)["gone/other"] == b"gone too"
        assert "gone/other" in report.fetched


def test_without_renameat2_the_update_is_carried_out_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syscalls, "renameat2", lambda *_arguments: False)
    for kind, new, _paths in SCENES.values():
        with fast_folder() as folder:
            scene = kind(folder)
            scene.prepare()
            scene.check_now()
            there: dict[str, Found] = tree_bytes(scene.tree)
            assert {path: there[path] for path in new} == found(new)


def test_a_failure_to_exchange_is_told_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        with monkeypatch.context() as broken:
            broken.setattr(syscalls, "renameat2", fail)
            with pytest.raises(TorsyncError, match="put in place"):
                scene.check_now()
        scene.check_cut_off()
        scene.check_now()
        scene.check_finished()


# --- a user who never stops -----------------------------------------------------------------


class Walker:
    """Saves, creates, writes, renames, deletes and chmods, again and again, as a seed has it."""

    def __init__(self, tree: Path, seed: int, one_in: int) -> None:
        self._tree = tree
        self._choose = random.Random(seed)
        self._one_in = one_in
        self._count = 0
        self._is_busy = threading.Lock()
        self.kept: set[bytes] = set()

    def __call__(self, _strike: Strike) -> None:
        # Threads copy and hash, and looking at a file is a call as well: one edit at a time.
        if self._is_busy.acquire(blocking=False):
            try:
                if not self._choose.randrange(self._one_in):
                    self._do_something()
            finally:
                self._is_busy.release()

    def _do_something(self) -> None:
        self._count += 1
        path = self._tree / self._choose.choice((*SAVED, "mine 1", "mine 2", "gone/mine"))
        content = b"mine, number %d" % self._count
        what = self._choose.choice(["save", "create", "append", "rename", "delete", "chmod"])
        with suppress(OSError):
            if what in EDITS:
                self._edit(what, path, content)
            elif what == "rename":
                target = path.with_name(f"renamed {self._count}")
                _real["rename"](path, target)
            elif what == "delete":
                before = self._read(path)
                _real["unlink"](path)
                self.kept.discard(before)
            else:
                path.chmod(self._choose.choice([0o600, 0o644, 0o755]))

    def _edit(self, what: str, path: Path, content: bytes) -> None:
        before = self._read(path) if what != "create" else b""
        if not EDITS[what](path, content):
            return
        self.kept.discard(before)
        self.kept.add(self._read(path) if what == "append" else content)

    @staticmethod
    def _read(path: Path) -> bytes:
        fd = _real["open"](path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return os.read(fd, 2**20)
        finally:
            os.close(fd)


def _walk(seed: int, one_in: int) -> int:
    with fast_folder() as folder:
        scene = Scene(folder)
        scene.prepare()
        walker = Walker(scene.tree, seed, one_in)
        for new in (NEW, OLD, NEW):
            scene.publish(new)
            with (
                calls_told_to(lambda name, given, options: walker(Strike(name, given, options))),
                suppress(TorsyncError),
            ):
                scene.check_now()
        scene.check_now()
        scene.check_now()
        there = tree_bytes(scene.tree)
        assert {path: there.get(path) for path in NEW} == found(NEW)
        stages = scene.tree / ".torsync/stage"
        contents = {
            file.read_bytes()
            for file in scene.tree.rglob("*")
            if file.is_file() and not file.is_relative_to(stages)
        }
        lost = {one for one in walker.kept if not any(one in content for content in contents)}
        assert not lost, f"seed {seed}"
    return len(walker.kept)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("one_in", [3, 40])
def test_what_a_user_did_who_edits_all_the_time_is_in_the_tree_or_in_the_trash(
    one_in: int,
) -> None:
    assert sum(_walk(seed, one_in) for seed in range(4)) > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_many_users_did_who_edit_all_the_time_is_in_the_tree_or_in_the_trash() -> None:
    assert sum(_walk(seed, one_in) for seed in range(1000, 1200) for one_in in (2, 10, 80)) > 0
