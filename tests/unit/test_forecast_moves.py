"""What a plan that moves, copies and assembles files is told to do, and what it fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.releases import make_release
from tests.support.situations import Item, Situation, with_folders
from torsync.model.forecast import forecast
from torsync.model.tree_index import ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.reports import CheckReport

A, B, C = (letter * 20 for letter in (b"A", b"B", b"C"))


def told(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> CheckReport:
    """The report of a dry run in a tree that has exactly the old release."""
    before, wanted = make_release(old, layout="v2", name="before"), make_release(new, layout="v2")
    items = {path: Item(content=content, stamp=1) for path, content in old.items()}
    ledger = {
        path: ledger_row(item.entry(), before.manifest.digest(before.manifest.by_path[path]))
        for path, item in items.items()
    }
    situation = Situation(wanted, with_folders(items), ledger, before=before)
    return forecast("pack", situation.plan(), dry_run=True)


def actions(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(action.action, action.path, action.source) for action in report.actions]


def test_a_move_costs_nothing_and_removes_nothing() -> None:
    report = told({"a": A, "k": C}, {"b": A, "k": C})
    assert actions(report) == [("move", "b", "a")]
    assert (report.moved, report.trashed, report.fetched) == (["b"], [], [])
    assert (report.bytes_to_fetch, report.changed) == (0, True)


def test_a_swap_replaces_nothing() -> None:
    report = told({"a": A, "b": B}, {"a": B, "b": A})
    assert actions(report) == [("move", "a", "b"), ("move", "b", "a")]
    assert report.trashed == []


def test_what_a_move_replaces_is_told_as_trashed() -> None:
    report = told({"a": A, "b": B}, {"b": A})
    assert actions(report) == [("move", "b", "a")]
    assert report.trashed == ["b"]


def test_a_file_that_moves_into_a_folder_of_its_name_is_not_removed() -> None:
    report = told({"x": A}, {"x/y": A})
    assert actions(report) == [("move", "x/y", "x")]
    assert report.trashed == []


def test_of_a_folder_that_becomes_a_file_the_rest_is_removed() -> None:
    report = told({"x/y": A, "x/z": B}, {"x": A})
    assert actions(report) == [("move", "x", "x/y"), ("trash", "x/z", "")]
    assert report.trashed == ["x/z"]


def test_a_copy_fetches_nothing() -> None:
    report = told({"a": A}, {"a": A, "b": A})
    assert actions(report) == [("copy", "b", "a")]
    assert (report.copied, report.kept) == (["b"], 1)
    assert report.bytes_to_fetch == 0


def test_pieces_from_elsewhere_are_not_fetched() -> None:
    report = told({"a": A[:8] + B[:8] + C[:8] + A}, {"b": b"12345678abcdefghABCDEFGH" + B[:8]})
    assert actions(report) == [("patch", "b", ""), ("trash", "a", "")]
    assert report.actions[0].reason == "1 of 4 pieces are in other places of the tree"
    assert report.bytes_to_fetch == 24


def test_a_renamed_and_changed_file_is_patched_from_its_old_path() -> None:
    report = told({"old": A}, {"new": A[:16] + b"1234"})
    assert actions(report) == [("patch", "new", "old"), ("trash", "old", "")]
    assert report.bytes_to_fetch == 4
    assert report.trashed == ["old"]
