"""Files that are moved inside a tree: each path goes from its old to its new content at once."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.torrents import link
from tests.support.trees import edit_in_place, random_bytes, tree_bytes, write_tree
from tests.unit.test_commit import (
    Files,
    Site,
    _a_reader,
    dated,
    executable,
    plain,
)
from tests.unit.test_stage import ledger_of
from torsync.model.errors import TreeError
from torsync.model.plan import Action
from torsync.subscribe.commit import Commit
from torsync.subscribe.moves import Moves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torsync.model.journal import Placed
    from torsync.model.plan import Plan
    from torsync.model.tree_index import DiskEntry

A, B, C = (random_bytes(1000, letter) for letter in "ABC")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "tree")
    yield made
    made.tree.close()


@pytest.fixture(params=["hard links", "no hard links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: as it is, and as on a file system that has no hard links."""
    if request.param == "no hard links":
        refuse_links(monkeypatch, errno.EPERM)


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)


def moves_of(plan: Plan) -> dict[str, str]:
    """Path → where it is moved from."""
    return {
        file.path: planned.source
        for file, planned in zip(plan.wanted.files, plan.files, strict=True)
        if planned.action is Action.MOVE
    }


def inodes(root: Path, *paths: str) -> dict[str, int]:
    return {path: (root / path).stat().st_ino for path in paths}


SHAPES: dict[str, tuple[Files, Files, dict[str, str], dict[str, object]]] = {
    # old, new, moves (path → source), trash
    "rename": ({"a": A, "s": C}, {"b": A, "s": C}, {"b": "a"}, {}),
    "into a folder": ({"a": A}, {"x/y/a": A}, {"x/y/a": "a"}, {}),
    "case": ({"Name": A}, {"name": A}, {"name": "Name"}, {}),
    "swap": ({"a": A, "b": B}, {"a": B, "b": A}, {"a": "b", "b": "a"}, {}),
    "three-cycle": (
        {"a": A, "x/b": B, "y/c": C},
        {"a": B, "x/b": C, "y/c": A},
        {"a": "x/b", "x/b": "y/c", "y/c": "a"},
        {},
    ),
    "chain": (
        {"a": A, "b": B, "c": C},
        {"b": A, "c": B, "d": C},
        {"b": "a", "c": "b", "d": "c"},
        {},
    ),
    "onto another": ({"a": A, "b": B}, {"b": A}, {"b": "a"}, {"b": B}),
    "chain onto another": (
        {"a": A, "b": B, "c": C},
        {"b": A, "c": B},
        {"b": "a", "c": "b"},
        {"c": C},
    ),
    "away from where another is fetched": ({"a": A}, {"a": B, "b": A}, {"b": "a"}, {}),
    "onto a link": (
        {"a": A, "l": link("s"), "s": C},
        {"l": A, "s": C},
        {"l": "a"},
        {"l": ("link", "s")},
    ),
    "a file becomes a folder": ({"x": A}, {"x/y/z": A}, {"x/y/z": "x"}, {}),
    "a folder becomes a file": ({"x/y/z": A}, {"x": A}, {"x": "x/y/z"}, {}),
    "the rest of the folder goes": (
        {"x/y/z": A, "x/y/u": B, "x/v": C},
        {"x": A},
        {"x": "x/y/z"},
        {"x/y/u": B, "x/v": C},
    ),
    "file and folder change places": (
        {"a": A, "b/c": B},
        {"a/c": B, "b": A},
        {"a/c": "b/c", "b": "a"},
        {},
    ),
    "a folder takes the place of a file that goes": (
        {"a": A, "b/c": B},
        {"a/c": B},
        {"a/c": "b/c"},
        {"a": A},
    ),
    "two folders change places": (
        {"x/1": A, "x/2": B, "y/1": C},
        {"y/1": A, "y/2": B, "x/1": C},
        {"y/1": "x/1", "y/2": "x/2", "x/1": "y/1"},
        {},
    ),
}


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("shape", SHAPES)
def test_files_are_moved_and_nothing_else_happens(site: Site, shape: str) -> None:
    old, new, moves, trash = SHAPES[shape]
    site.update(old)
    before = inodes(site.root, *moves.values())
    done = site.update(new)
    assert moves_of(done.plan) == moves
    assert tree_bytes(site.root) == plain(new)
    assert inodes(site.root, *moves) == {path: before[source] for path, source in moves.items()}
    assert dict(site.trashed()) == trash
    assert sorted(done.outcome.moved) == sorted(moves)
    assert sorted(done.outcome.trashed) == sorted(trash)
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)
    folders = {path.rpartition("/")[0] for path in new} | set(done.plan.wanted.folders)
    assert folders_in(site.root) == folders - {""}, "emptied folders go"
    assert all((site.root / path).stat().st_nlink == 1 for path in moves)
    again = site.update(new)
    assert again.plan.is_empty


def folders_in(root: Path) -> set[str]:
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}
    return {path for path in found if not path.startswith(".torsync")}


def test_one_file_is_moved_and_the_others_of_its_content_are_copied(site: Site) -> None:
    site.update({"a": A})
    done = site.update({"b": A, "c": A})
    assert (done.outcome.moved, done.outcome.copied) == (["b"], ["c"])
    assert tree_bytes(site.root) == {"b": A, "c": A}
    assert site.trashed() == []
    assert len(set(inodes(site.root, "b", "c").values())) == 2


def test_a_folder_that_still_holds_something_of_the_users_stays(site: Site) -> None:
    site.update({"d/e/a": A, "d/f/b": B})
    write_tree(site.root, {"d/e/mine": b"mine"})
    site.update({"a": A, "b": B})
    assert tree_bytes(site.root) == {"a": A, "b": B, "d/e/mine": b"mine"}
    assert folders_in(site.root) == {"d", "d/e"}


# --- modes and times ------------------------------------------------------------------------


@pytest.mark.usefixtures("links")
def test_moved_files_have_the_mode_and_time_of_the_release(site: Site) -> None:
    site.update({"a": executable(A), "b": dated(B, 1000), "c": C})
    done = site.update({"a2": dated(A, 2000), "b": executable(C), "c": dated(B, 3000)})
    assert moves_of(done.plan) == {"a2": "a", "b": "c", "c": "b"}
    found = {path: (site.root / path).stat() for path in ("a2", "b", "c")}
    assert found["a2"].st_mtime_ns == 2000 * 10**9
    assert found["c"].st_mtime_ns == 3000 * 10**9
    assert found["b"].st_mode & 0o100
    assert not found["c"].st_mode & 0o111
    assert site.ledger == ledger_of(site.tree, done.plan.wanted)
    assert site.update(
        {"a2": dated(A, 2000), "b": executable(C), "c": dated(B, 3000)}
    ).plan.is_empty


def test_the_users_mode_and_the_files_time_move_along(site: Site) -> None:
    site.update({"a": dated(A, 1000)})
    (site.root / "a").chmod(0o640)
    site.update({"a": dated(A, 1000)})
    site.update({"b": A})
    found = (site.root / "b").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o640, 1000 * 10**9)


# --- what others do meanwhile ---------------------------------------------------------------


def _edit(path: Path) -> None:
    edit_in_place(path)


def _edit_and_hide_it(path: Path) -> None:
    edit_in_place(path, set_mtime_back=True)


def _replace(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "change", [_edit, _edit_and_hide_it, _replace, os.unlink, _to_link], ids=lambda it: it.__name__
)
@pytest.mark.parametrize("shape", ["rename", "swap", "chain onto another", "file and folder"])
def test_a_source_that_changed_since_the_look_stops_everything(
    site: Site, shape: str, change: Callable[[Path], object]
) -> None:
    known = {**SHAPES, "file and folder": SHAPES["file and folder change places"]}
    old, new, moves, _trash = known[shape]
    site.update(old)
    source = list(moves.values())[-1]
    seen: list[object] = []

    def meddle() -> None:
        change(site.root / source)
        seen.append(tree_bytes(site.root))

    with pytest.raises(TreeError, match="changed while the update was under way") as caught:
        site.update(new, before_commit=meddle)
    assert caught.value.path == source
    assert caught.value.hint
    assert seen == [tree_bytes(site.root)]
    assert site.trashed() == []
    assert not list((site.root / ".torsync").rglob("*.moved"))


@pytest.mark.usefixtures("links")
def test_a_file_that_appeared_where_one_is_moved_to_goes_to_the_trash(site: Site) -> None:
    site.update({"a": A})
    done = site.update(
        {"x/b": A}, before_commit=lambda: write_tree(site.root, {"x/b": b"of the user"})
    )
    assert tree_bytes(site.root) == {"x/b": A}
    assert site.trashed() == [("x/b", b"of the user")]
    assert done.outcome.trashed == ["x/b"]


def test_what_appears_at_an_old_name_meanwhile_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old name is only taken away if it still is that of the file that was moved."""
    site.update({"a": A, "b": B})
    leave = Moves.leave_sources

    def appear_first(self: Moves, **options: Any) -> None:
        (site.root / "new").write_bytes(b"of the user")
        (site.root / "new").rename(site.root / "a")
        leave(self, **options)

    monkeypatch.setattr(Moves, "leave_sources", appear_first)
    site.update({"b": A})
    assert tree_bytes(site.root) == {"a": b"of the user", "b": A}


@pytest.mark.parametrize("mtime_s", [None, 1000])
def test_a_moved_file_that_is_edited_at_its_new_path_is_not_vouched_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, mtime_s: int | None
) -> None:
    """Not even if the release has a time for it, which would hide the edit."""
    site.update({"a": A})
    rename = Commit._rename_into_place

    def rename_and_edit(self: Commit, placed: Placed, there: DiskEntry | None) -> None:
        rename(self, placed, there)
        edit_in_place(site.root / placed.path)

    monkeypatch.setattr(Commit, "_rename_into_place", rename_and_edit)
    outcome = site.update({"b": A if mtime_s is None else dated(A, mtime_s)}).outcome
    assert outcome.rows["b"].digest == ""
    assert (site.root / "b").stat().st_mtime != mtime_s


# --- hard links -----------------------------------------------------------------------------


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    "new",
    [{"c": A, "d": A}, {"b": A, "c": A, "z": C}, {"a": C, "b": A}, {"z": A}, {"a": C, "z": A}],
)
def test_two_names_of_one_file_are_moved_one_by_one(site: Site, new: Files) -> None:
    old: Files = {"a": A, "b": A, "z": C}
    site.update(old)
    (site.root / "b").unlink()
    os_link(site.root / "a", site.root / "b")
    assert site.update(old).plan.is_empty  # it is hashed, and known again
    assert len(set(inodes(site.root, "a", "b").values())) == 1
    done = site.update(new)
    assert tree_bytes(site.root) == new
    assert done.outcome.fetched == []
    assert {content for _path, content in site.trashed()} <= {A, C}
    assert site.update(new).plan.is_empty


os_link = os.link  # as it is, even where tests refuse it to torsync


def test_a_second_name_outside_keeps_its_content(site: Site, tmp_path: Path) -> None:
    site.update({"a": A, "b": B})
    os_link(site.root / "a", tmp_path / "outside")
    site.update({"a": A, "b": B})
    site.update({"a": B, "b": executable(A)})
    assert (tmp_path / "outside").read_bytes() == A
    assert tree_bytes(site.root) == {"a": B, "b": A}


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_any_other_failure_to_set_a_file_aside_is_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    site.update({"a": A, "b": B})
    refuse_links(monkeypatch, number)
    with pytest.raises(TreeError, match="set aside") as caught:
        site.update({"a": B, "b": A})
    assert caught.value.path in {"a", "b"}
    assert tree_bytes(site.root) == {"a": A, "b": B}


# --- readers --------------------------------------------------------------------------------


def test_a_reader_never_misses_a_file_that_is_swapped_or_replaced(site: Site) -> None:
    letters = {letter: letter.encode() * 5000 for letter in "ABCD"}
    paths = ["a", "x/b", "x/y/c"]
    orders = ["ABC", "BAC", "CBA", "DBC", "BCA", "ACD"]

    def files(number: int) -> Files:
        """Swaps and cycles, and now and then one is replaced by what was at a path of its own."""
        order = orders[number % len(orders)]
        found: Files = {path: letters[at] for path, at in zip(paths, order, strict=True)}
        return {**found, f"spare {number}": letters[next(iter(set("ABCD") - set(order)))]}

    site.update(files(0))
    moved = 0
    with _a_reader(site.root, *paths):
        for number in range(1, 19):
            done = site.update(files(number))
            assert done.outcome.fetched == []
            moved += len(done.outcome.moved)
    assert moved >= 18 * 3
