"""Names of a release that are many, long or strange."""

from __future__ import annotations

import pytest

from torsync.model import names
from torsync.model.errors import ManifestError
from torsync.model.names import NameChecker, resolve_meeting_names, shown_path, shown_value


def test_folders_whose_paths_are_too_much_to_remember_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = ["a/bc/d/file", "a/bc/e/file"]
    monkeypatch.setattr(names, "MAX_FOLDER_CHARACTERS", 1 + 4 + 6 + 6)
    assert resolve_meeting_names(paths) == paths
    monkeypatch.setattr(names, "MAX_FOLDER_CHARACTERS", 1 + 4 + 6 + 5)
    with pytest.raises(ManifestError, match="more than 16 characters"):
        resolve_meeting_names(paths)


def test_names_are_checked_also_after_more_than_are_remembered() -> None:
    checker = NameChecker(windows=False)
    many = [f"{number} é".encode() for number in range(names._MOST_PASSED + 10)]
    for _ in range(2):
        assert [checker.path([b"f", name]) for name in many] == [f"f/{n.decode()}" for n in many]
    with pytest.raises(ManifestError, match="is not UTF-8"):
        checker.path([b"f", b"\xff"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5, "5"),
        (1.5, "1.5"),
        (b"a\n", "b'a\\n'"),
        (None, "nothing"),
        ([], "an empty list"),
        ([[]], "a list"),
        ({}, "a dict"),
        ("x" * 158, f"'{'x' * 158}'"),
        ("x" * 159, f"'{'x' * 116}…{'x' * 39}'"),
        (10**200, f"1{'0' * 116}…{'0' * 40}"),
    ],
)
def test_what_was_found_is_shown_in_few_characters(value: object, shown: str) -> None:
    assert shown_value(value) == shown


def test_a_path_is_shown_whatever_its_names_are() -> None:
    assert shown_path([b"a", b"\xff", 5, []]) == r"'a/\\xff/5/an empty list'"
    assert shown_path("d/é") == "'d/é'"
