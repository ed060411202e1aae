"""Names of a release that are many, long or strange."""

from __future__ import annotations

import pytest

from torsync.model import names
from torsync.model.errors import ManifestError
from torsync.model.names import NameChecker, resolve_meeting_names


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
