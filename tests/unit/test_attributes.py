"""Modes and times that a release asks for, and what of the user's modes stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.torrents import RawFile, make_raw
from torsync.model.known import NEVER_SYNCED, Synced
from torsync.model.metainfo import parse_metainfo
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind
from torsync.subscribe.attributes import Attributes, set_attributes

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.manifest import Manifest


def release(*, executable: bool = False, mtime_s: int | None = None) -> Manifest:
    keys: dict[bytes, object] = {b"attr": b"x"} if executable else {}
    if mtime_s is not None:
        keys[b"mtime"] = mtime_s
    return parse_metainfo(make_raw({"file": RawFile(b"content", keys)}), windows=False)


def attributes(
    before: Manifest | None, *, there: DiskEntry | None = None, path: str = "file"
) -> Attributes:
    index = DiskIndex({path: there} if there is not None else {})
    return Attributes(index, NEVER_SYNCED if before is None else Synced(lambda: before))


def entry(mode: int, *, mtime_ns: int = 5, kind: Kind = Kind.FILE) -> DiskEntry:
    return DiskEntry(kind, 7, mtime_ns, 5, 1, mode)


@pytest.mark.parametrize(
    ("executable", "was_executable", "mode", "wanted"),
    [
        (True, None, 0o644, 0o755),
        (True, None, 0o640, 0o750),
        (True, None, 0o600, 0o700),
        (True, False, 0o711, 0o711),
        (False, None, 0o755, 0o755),  # the user made it so
        (False, False, 0o755, 0o755),
        (False, True, 0o755, 0o644),
        (False, True, 0o644, 0o644),
        (False, True, 0o4711, 0o4600),
    ],
)
def test_the_bits_of_the_release_come_and_go_and_the_users_stay(
    executable: bool, was_executable: bool | None, mode: int, wanted: int
) -> None:
    before = None if was_executable is None else release(executable=was_executable)
    file = release(executable=executable).files[0]
    found = attributes(before)
    assert found.wanted_mode(file, mode) == wanted
    assert found.are_right(file, entry(mode)) == (mode == wanted)
    assert found.are_right(file, entry(wanted))


def test_what_the_last_release_did_not_have_was_not_made_executable_by_it() -> None:
    before = parse_metainfo(
        make_raw({"other": RawFile(b"content", {b"attr": b"x"})}), windows=False
    )
    assert attributes(before).wanted_mode(release().files[0], 0o755) == 0o755


def test_a_time_is_right_to_the_nanosecond() -> None:
    found, file = attributes(None), release(mtime_s=1000).files[0]
    assert found.are_right(file, entry(0o644, mtime_ns=1000 * 10**9))
    assert not found.are_right(file, entry(0o644, mtime_ns=1000 * 10**9 + 1))
    assert found.are_right(release().files[0], entry(0o644, mtime_ns=123))


def test_a_file_has_the_mode_of_the_one_that_it_replaces_but_not_that_of_a_link() -> None:
    file = release().files[0]
    assert attributes(None, there=entry(0o640)).mode_in_place(file, 0o600) == 0o640
    link = entry(0o777, kind=Kind.LINK)
    assert attributes(None, there=link).mode_in_place(file, 0o600) == 0o600
    assert attributes(None, there=entry(0o640), path="other").mode_in_place(file, 0o600) == 0o600


@pytest.mark.parametrize(
    ("mode", "mtime_s", "expected"),
    [
        (-1, None, (0o640, 5 * 10**9)),
        (0o755, None, (0o755, 5 * 10**9)),
        (-1, 0, (0o640, 0)),
        (0, 7, (0, 7 * 10**9)),
    ],
)
def test_only_what_is_asked_for_is_set(
    tmp_path: Path, mode: int, mtime_s: int | None, expected: tuple[int, int]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    path.chmod(0o640)
    os.utime(path, ns=(5 * 10**9,) * 2)
    fd = os.open(path, os.O_RDONLY)
    try:
        set_attributes(fd, mode, mtime_s)
        status = os.fstat(fd)
    finally:
        os.close(fd)
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == expected
