"""A commit that is cut off while it moves files loses nothing, and the next one goes on."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.torrents import link
from tests.support.trees import edit_in_place, tree_bytes, write_tree
from tests.unit.test_commit import Files, Site, plain
from tests.unit.test_moves import SHAPES, A, B, C, links, refuse_links, site
from torsync.model.errors import TreeError
from torsync.subscribe.commit import Commit
from torsync.subscribe.moves import Moves
from torsync.subscribe.recovery import rescue_held
from torsync.subscribe.trash import Trash

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.journal import Placed
    from torsync.model.tree_index import DiskEntry

__all__ = ["links", "site"]  # fixtures


@pytest.mark.usefixtures("links")
def test_a_name_that_a_commit_that_was_cut_off_left_is_no_obstacle(site: Site) -> None:
    site.update({"a": A, "b": B})

    def leave_names() -> None:
        stage = next((site.root / ".torsync/stage").glob("*"))
        (stage / "0.moved").write_bytes(b"left")
        (stage / "1.moved").write_bytes(b"left")

    site.update({"a": B, "b": A}, before_commit=leave_names)
    assert tree_bytes(site.root) == {"a": B, "b": A}
    assert site.trashed() == []


class CutOffError(Exception):
    """Stands for the end of the process."""


def _end(_self: object, **_options: object) -> NoReturn:
    raise CutOffError


def _cut_off(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """End a commit before the file of that number is placed; 0: when all are."""
    place = Commit._rename_into_place
    numbers = itertools.count(1)

    def place_or_end(self: Commit, placed: Placed, there: DiskEntry | None) -> None:
        if next(numbers) == at:
            raise CutOffError
        place(self, placed, there)

    monkeypatch.setattr(Commit, "_rename_into_place", place_or_end)
    if not at:
        monkeypatch.setattr(Moves, "leave_sources", _end)


CUTS = [(shape, at) for shape, found in SHAPES.items() for at in range(len(found[2]) + 1)]


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(("shape", "at"), CUTS)
def test_a_commit_that_is_cut_off_is_finished_from_its_journal(
    site: Site, monkeypatch: pytest.MonkeyPatch, shape: str, at: int
) -> None:
    old, new, moves, trash = SHAPES[shape]
    site.update(old)
    with monkeypatch.context() as patch:
        _cut_off(patch, at)
        with pytest.raises(CutOffError):
            site.update(new)
    files = (path for path in site.root.rglob("*") if path.is_file())
    assert {path.read_bytes() for path in files} >= {*plain(old).values()}
    outcome = site.finish(new)
    assert sorted(outcome.moved) == sorted(moves)
    assert outcome.lost == []
    assert tree_bytes(site.root) == plain(new)
    assert dict(site.trashed()) == trash
    assert site.update(new).plan.is_empty


def test_a_journal_may_be_carried_out_any_number_of_times(site: Site) -> None:
    old, new, _moves, trash = SHAPES["three-cycle"]
    site.update(old)
    site.update(new)
    for _time in range(3):
        site.finish(new)
    assert tree_bytes(site.root) == plain(new)
    assert dict(site.trashed()) == trash


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_commit_that_is_cut_off_leaves_no_path_absent(
    site: Site, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    old, new, _moves, _trash = SHAPES["three-cycle"]
    site.update(old)
    _cut_off(monkeypatch, at)
    with pytest.raises(CutOffError):
        site.update(new)
    found = tree_bytes(site.root)
    assert found.keys() == new.keys()
    assert all(found[path] in {old[path], new[path]} for path in new)


# --- what others do between the cut-off and the next start ---------------------------------


def _cut_off_swap(site: Site, monkeypatch: pytest.MonkeyPatch) -> Files:
    """One of two files that change places has its new place; the other is in the stage only."""
    site.update({"a": A, "b": B})
    new: Files = {"a": B, "b": A}
    with monkeypatch.context() as patch:
        _cut_off(patch, 2)
        with pytest.raises(CutOffError):
            site.update(new)
    return new


def test_what_was_put_in_the_place_of_a_file_meanwhile_goes_to_the_trash(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = _cut_off_swap(site, monkeypatch)
    (site.root / "b").unlink()
    (site.root / "b").write_bytes(b"mine")
    assert site.finish(new).lost == []
    assert tree_bytes(site.root) == {"a": B, "b": A}
    assert site.trashed() == [("b", b"mine")]


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_folder_that_was_put_in_the_place_of_a_file_stays_and_nothing_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    new = _cut_off_swap(site, monkeypatch)
    (site.root / at).unlink()
    write_tree(site.root, {f"{at}/mine": b"mine"})
    outcome = site.finish(new)
    assert outcome.lost == [at]
    assert tree_bytes(site.root)[f"{at}/mine"] == b"mine"
    contents = {path.read_bytes() for path in site.root.rglob("*") if path.is_file()}
    assert A in contents


def test_what_was_edited_after_it_got_to_its_place_stays_and_is_not_vouched_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = _cut_off_swap(site, monkeypatch)
    edit_in_place(site.root / "a")
    outcome = site.finish(new)
    assert outcome.rows["a"].digest == ""
    assert outcome.rows["b"].digest
    assert (site.root / "a").read_bytes() != B


def test_what_was_saved_at_a_path_that_was_emptied_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "gone": C})
    (site.root / "other").write_bytes(b"takes an inode")

    def end(_tree: Tree, _paths: object) -> NoReturn:
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr("torsync.subscribe.commit.remove_emptied_folders", end)
        with pytest.raises(CutOffError):
            site.update({"a": A})
    (site.root / "other").rename(site.root / "gone")
    site.finish({"a": A})
    assert tree_bytes(site.root) == {"a": A, "gone": b"takes an inode"}
    assert site.trashed() == [("gone", C)]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_what_fails_when_it_goes_on_is_an_error_and_not_taken_for_the_work_of_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    new = _cut_off_swap(site, monkeypatch)
    before = tree_bytes(site.root)

    def fail(*_arguments: object, **_options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_rename_into_place", fail)
        with pytest.raises(TreeError):
            site.finish(new)
    assert tree_bytes(site.root) == before
    assert site.finish(new).lost == []
    assert tree_bytes(site.root) == {"a": B, "b": A}


def test_a_link_that_was_placed_before_the_cut_off_is_no_users_file(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A})
    new: Files = {"a": A, "l": link("a")}
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_write_rows", _end)
        with pytest.raises(CutOffError):
            site.update(new, keep=lambda path: path == "l")
    outcome = site.finish(new)
    assert (outcome.kept_local, outcome.lost) == ([], [])
    assert outcome.rows.keys() == {"l"}


def test_what_appears_at_an_old_name_after_the_cut_off_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "s": C})
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_write_rows", _end)
        with pytest.raises(CutOffError):
            site.update({"b": A, "s": C})
    (site.root / "a").write_bytes(b"mine")
    outcome = site.finish({"b": A, "s": C})
    assert (outcome.moved, outcome.lost) == (["b"], [])
    assert tree_bytes(site.root) == {"a": b"mine", "b": A, "s": C}
    assert site.trashed() == []


def test_what_somebody_removed_from_the_stage_is_lost_and_the_old_version_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "b": B})
    new: Files = {"a": C, "b": B, "new": A + B}
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "run", _end)
        with pytest.raises(CutOffError):
            site.update(new)
    shutil.rmtree(site.root / ".torsync/stage")
    site.tree.forget_folders()
    outcome = site.finish(new)
    assert sorted(outcome.lost) == ["a", "new"]
    assert (outcome.fetched, outcome.rows) == ([], {})
    assert tree_bytes(site.root) == {"a": A, "b": B}
    assert site.trashed() == []


# --- without a journal ----------------------------------------------------------------------


def test_what_is_kept_and_appeared_after_the_cut_off_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A})
    new: Files = {"a": A, "b": B}
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "run", _end)
        with pytest.raises(CutOffError):
            site.update(new, keep=lambda path: path == "b")
    (site.root / "b").write_bytes(C)
    outcome = site.finish(new)
    assert (outcome.kept_local, outcome.lost) == (["b"], [])
    assert tree_bytes(site.root) == {"a": A, "b": C}


def test_links_are_made_though_somebody_removed_the_stage(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A})
    new: Files = {"a": A, "l": link("a")}
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "run", _end)
        with pytest.raises(CutOffError):
            site.update(new)
    shutil.rmtree(site.root / ".torsync/stage")
    site.tree.forget_folders()
    assert site.finish(new).lost == []
    assert os.readlink(site.root / "l") == "a"


def test_what_a_commit_saved_before_it_was_cut_off_is_known_to_be_in_the_trash(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "b": B, "c": C})
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_write_rows", _end)
        with pytest.raises(CutOffError):
            site.update({"a": B * 2, "c": C})
    outcome = site.finish({"a": B * 2, "c": C})
    assert sorted(path for path, _row in outcome.kept_content.values()) == ["a", "b"]


def test_what_only_the_stage_has_goes_to_the_trash_if_the_journal_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut_off_swap(site, monkeypatch)  # "b" is still A's; B's old name is taken, and its new one not
    (site.root / "b").unlink()
    (site.root / "a").unlink()
    held = rescue_held(site.tree, Trash(site.tree, "rescued"))
    assert len(held) == 1
    rescued = [path for path in (site.root / ".torsync/trash").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in rescued] == [A]


def test_what_has_another_name_in_the_tree_is_not_moved_to_the_trash(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "b": B})
    _cut_off(monkeypatch, 1)
    with pytest.raises(CutOffError):
        site.update({"a": B, "b": A})
    held = list((site.root / ".torsync/stage").rglob("*.moved"))
    assert held
    assert rescue_held(site.tree, Trash(site.tree, "rescued")) == []
    assert not (site.root / ".torsync/trash").exists()
    assert not any(path.exists() for path in held)


# --- without hard links ---------------------------------------------------------------------


def test_a_commit_that_is_cut_off_while_two_files_change_places_keeps_both(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no hard links, the new file and the old one are exchanged."""
    site.update({"a": A, "s": C})

    def end(*_arguments: object, **_options: object) -> NoReturn:
        raise CutOffError

    with monkeypatch.context() as patch:
        refuse_links(patch, errno.EPERM)
        patch.setattr(Trash, "take", end)
        with pytest.raises(CutOffError):
            site.update({"a": B, "s": C})
    assert tree_bytes(site.root) == {"a": B, "s": C}
    assert site.trashed() == []
    assert site.finish({"a": B, "s": C}).patched == []
    assert site.trashed() == [("a", A)]
    released = site.root / ".torsync/trash" / f"{site.journal.stamp}-release"
    assert tree_bytes(released) == {"a": A}, "it was an old release's"


def test_without_hard_links_and_exchange_the_old_file_is_moved_away_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update({"a": A, "s": C})
    refuse_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr("torsync.subscribe.replacing.exchange", lambda *_names: False)
    outcome = site.update({"a": B, "s": C}).outcome
    assert tree_bytes(site.root) == {"a": B, "s": C}
    assert site.trashed() == [("a", A)]
    assert outcome.trashed == ["a"]
