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


def test_paths_that_are_too_much_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, fits in ((7, True), (6, False)):
        monkeypatch.setattr(names, "MAX_PATH_CHARACTERS", limit)
        checker = NameChecker(windows=False)
        assert [checker.path([b"d", b"a"]), checker.path([b"e"])] == ["d/a", "e"]
        if fits:
            assert checker.path([b"d", b"b"]) == "d/b"
        else:
            with pytest.raises(ManifestError, match="have more than 6 characters"):
                checker.path([b"d", b"b"])


def test_a_suffix_may_fill_a_name_and_no_more() -> None:
    assert resolve_meeting_names(["x" * 253] * 2) == ["x" * 253, "x" * 253 + ".1"]
    with pytest.raises(ManifestError, match="with no room for a suffix"):
        resolve_meeting_names(["x" * 254] * 2)
    deep = "/".join(["y" * 199] * 20)[:-1]  # 3,998 bytes
    assert resolve_meeting_names([deep] * 2) == [deep, f"{deep}.1"]
    with pytest.raises(ManifestError, match="with no room for a suffix"):
        resolve_meeting_names([f"{deep}y"] * 2)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ([b"a", b".."], "in 'a/..' the name '..' is no name for a file: it could leave the tree"),
        ([b"a", b"b/c"], "the name 'b/c' holds a slash or a NUL: it could leave the tree"),
        ([b"x" * 256], "is longer than 255 bytes, which file systems cannot hold"),
        ([b"\xff"], " is not UTF-8"),
        ([b"a", 5], "in 'a/5' the name '5' is not a string"),
        ([b"x"] * 101, "is 101 names deep, more than the 100 that are accepted"),
        ([b"nul.txt"], "the name 'nul.txt' is a device on Windows"),
        ([b"a "], "the name 'a ' ends in a dot or a space, which Windows drops"),
        ([b"a:"], "the name 'a:' holds a character that Windows does not allow"),
        (5, "a path must be a list of names, found 5"),
        ([b"aX"], ""),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_full(path: object, problem: str) -> None:
    checker = NameChecker(windows=True)
    if problem:
        with pytest.raises(ManifestError) as caught:
            checker.path(path)
        assert caught.value.problem.endswith(problem)
    else:
        assert checker.path(path) == "aX"


def test_windows_devices_are_found_in_a_folder_that_was_passed() -> None:
    checker = NameChecker(windows=True)
    assert checker.path([b"d", b"fine"]) == "d/fine"
    for device in ("CON", "PRN", "AUX", "NUL", "COM1", "COM9", "LPT1", "LPT9"):
        with pytest.raises(ManifestError, match="is a device on Windows"):
            checker.path([b"d", device.encode()])
    assert checker.path([b"d", b"COM0"]) == "d/COM0"
