"""What of a release is selected: files, the folders they need, bytes."""

from __future__ import annotations

from tests.support.releases import make_release
from torsync.model.selection import selected_bytes, selected_folders, unselected_files

RELEASE = make_release({"a/b/c": b"123", "a/d": b"4567", "e/f": b"", "g": b"8"}).manifest


def test_without_select_everything_is_wanted() -> None:
    assert unselected_files(RELEASE, None) == frozenset()
    assert selected_folders(RELEASE, frozenset()) == {"a", "a/b", "e"}
    assert selected_bytes(RELEASE, frozenset()) == 8


def test_what_select_does_not_match_is_left_out_with_folders_that_only_it_needs() -> None:
    unselected = unselected_files(RELEASE, lambda path: path in {"a/d", "g"})
    assert {RELEASE.files[index].path for index in unselected} == {"a/b/c", "e/f"}
    assert selected_folders(RELEASE, unselected) == {"a"}
    assert selected_bytes(RELEASE, unselected) == 5


def test_nothing_may_be_selected() -> None:
    unselected = unselected_files(RELEASE, lambda _path: False)
    assert len(unselected) == 4
    assert selected_folders(RELEASE, unselected) == frozenset()
    assert selected_bytes(RELEASE, unselected) == 0
