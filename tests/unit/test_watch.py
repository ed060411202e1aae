"""Edits as the operating system tells of them, and what happens where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until
from tests.support.trees import write_tree
from torsync.publish.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Watched:
    """A folder that is watched, and what was told of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        self.ends: list[tuple[str, str]] = []
        self.bell = threading.Event()
        self.watch = Watch(folder, on_edit=self.bell.set, on_end=self._note_end)

    def _note_end(self, reason: str, hint: str) -> None:
        self.ends.append((reason, hint))

    def start(self) -> Watched:
        """Watch, and return once edits are told of."""
        self.watch.start()
        number = 0

        def is_watching() -> bool:
            nonlocal number
            number += 1
            (self.folder / "first").write_text(f"{number}")
            return "first" in self.take() or bool(self.ends)

        wait_until(is_watching, "an edit is told of")
        return self

    def take(self) -> set[str]:
        self.seen |= set(self.watch.take() or ())
        return self.seen

    def wait_for(self, *paths: str) -> None:
        wait_until(lambda: self.take() >= set(paths), f"{paths} are told of")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[[], Watched]]:
    opened: list[Watched] = []

    def make() -> Watched:
        folder = write_tree(tmp_path / "pack", {"a/one": 5, "b": 5})
        (folder / ".torsync").mkdir()
        opened.append(Watched(folder))
        return opened[-1].start()

    yield make
    for one in opened:
        one.watch.stop()


def test_edits_anywhere_in_it_are_told_of_and_those_of_torsync_are_not(
    watched: Callable[[], Watched],
) -> None:
    one = watched()
    (one.folder / ".torsync" / "lock").write_text("x")
    (one.folder / "a" / "one").write_text("x")
    (one.folder / "new" / "deep").mkdir(parents=True)
    (one.folder / "b").unlink()
    one.wait_for("a/one", "new", "b")
    (one.folder / "new" / "deep" / "file").write_text("x")
    one.wait_for("new/deep/file")
    assert not [path for path in one.seen if path.startswith(".torsync")]
    assert one.bell.is_set()


def test_more_paths_than_can_be_remembered_are_anything(
    watched: Callable[[], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torsync.publish import watch

    one = watched()
    monkeypatch.setattr(watch, "_MOST_PATHS", 5)
    for number in range(20):
        (one.folder / f"{number}").write_text("x")
    wait_until(lambda: one.watch._too_many, "they are too many")
    assert one.watch.take() is None
    (one.folder / "later").write_text("x")
    one.wait_for("later")


def test_a_folder_that_goes_ends_it(watched: Callable[[], Watched]) -> None:
    one = watched()
    shutil.rmtree(one.folder)
    wait_until(lambda: bool(one.ends), "its end is told")
    assert one.ends == [("the folder is gone", "")]


def test_a_folder_that_was_gone_and_is_there_again_is_to_be_watched_anew(
    watched: Callable[[], Watched],
) -> None:
    one = watched()
    aside = one.folder.with_name("aside")
    assert not one.watch.is_lost
    one.folder.rename(aside)
    assert not one.watch.is_lost, "there is nothing to watch"
    wait_until(lambda: bool(one.ends), "its end is told")
    aside.rename(one.folder)
    wait_until(lambda: one.watch.is_lost, "it is lost")


def test_a_link_that_leads_to_another_folder_is_to_be_watched_anew(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_tree(tmp_path / name, {"file": 5})
    link = tmp_path / "current"
    link.symlink_to("first")
    watch = Watch(link, on_edit=lambda: None, on_end=lambda *_: None)
    assert not watch.is_lost
    link.unlink()
    link.symlink_to("second")
    assert watch.is_lost


_LIMITED = """
import sys
from pathlib import Path
from torsync.publish.watch import Watch
ends = []
watch = Watch(Path(sys.argv[1]), on_edit=lambda: None, on_end=lambda *end: ends.append(end))
watch.start()
watch._thread.join(20)
print(ends)
"""


@pytest.mark.parametrize(("limit", "most"), [("watches", 3), ("instances", 0)])
def test_exceeded_limits_of_the_system_are_told_with_what_raises_them(
    tmp_path: Path, limit: str, most: int
) -> None:
    """In a user namespace, which has limits of its own (Linux)."""
    folder = write_tree(tmp_path / "pack", {f"{number}/file": 5 for number in range(9)})
    unshare = shutil.which("unshare")
    if unshare is None or not Path(f"/proc/sys/user/max_inotify_{limit}").exists():
        pytest.skip("needs user namespaces")
    lower = f'echo {most} > /proc/sys/user/max_inotify_{limit} && exec "$@"'
    done = subprocess.run(
        [unshare, "-Ur", "sh", "-c", lower, "sh", sys.executable, "-c", _LIMITED, folder],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
    )
    if done.returncode:
        pytest.skip(f"cannot make a user namespace: {done.stderr.strip()[-200:]}")
    assert f"max_user_{limit}" in done.stdout or "max_user_watches" in done.stdout, done.stdout
    assert "limit" in done.stdout or "Too many open files" in done.stdout
