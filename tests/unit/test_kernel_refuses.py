"""Where kernel, C library or file system lack something, or say no: what is done instead."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.trees import random_bytes
from torsync.disk import syscalls
from torsync.disk.copying import copy_runs, share_blocks
from torsync.disk.lock import hold_tree, holder_command, holder_pid
from torsync.disk.scan import mounts_in
from torsync.disk.syscalls import exchange, sync_file_system
from torsync.disk.tree import Tree
from torsync.model.errors import BusyError, InterruptedByUserError, StateError, TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = random_bytes(10_000)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A file with content, and an empty one."""
    (tmp_path / "source").write_bytes(CONTENT)
    with ExitStack() as opened:
        source = os.open(tmp_path / "source", os.O_RDONLY)
        opened.callback(os.close, source)
        target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
        opened.callback(os.close, target)
        yield source, target


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*_arguments: Any, **_named: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


# --- copies -----------------------------------------------------------------------------------


def test_a_file_system_without_reflinks_is_no_failure_but_a_bad_disk_is(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EOPNOTSUPP))
    assert not share_blocks(*pair)
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        share_blocks(*pair)


def test_what_the_kernel_does_not_copy_between_two_file_systems_is_copied_here(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(errno.EXDEV))
    copied: list[int] = []
    copy_runs(*pair, [(1000, 2000), (5000, 9000)], lambda: False, copied.append)
    assert sum(copied) == 2000 + 5000, "the source ends within the second run"
    assert os.pread(pair[1], 20_000, 1000) == (CONTENT[1000:3000] + bytes(2000) + CONTENT[5000:])


def test_a_copy_that_the_disk_refuses_fails(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        copy_runs(*pair, [(0, 10)], lambda: False, lambda _count: None)


def test_a_copy_is_stopped(pair: tuple[int, int]) -> None:
    with pytest.raises(InterruptedByUserError):
        copy_runs(*pair, [(0, 10)], lambda: True, lambda _count: None)
    assert os.fstat(pair[1]).st_size == 0


# --- system calls -----------------------------------------------------------------------------


def test_without_syncfs_all_file_systems_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(syscalls, "_libc", SimpleNamespace)
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    sync_file_system(-1)
    assert synced == ["all"]


def test_a_descriptor_that_is_none_is_not_synced() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_file_system(-1)


def test_names_change_places_only_where_the_kernel_can_do_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileNotFoundError):
            exchange("one", "three", folder, folder)
        with monkeypatch.context() as older:
            older.setattr(syscalls, "_libc", SimpleNamespace)
            assert not exchange("one", "two", folder, folder)
        with monkeypatch.context() as older:
            older.setattr(syscalls, "_RENAME_EXCHANGE", 1 << 30)  # a flag that no kernel knows
            assert not exchange("one", "two", folder, folder)
        assert (tmp_path / "one").read_text() == "one"
        assert exchange("one", "two", folder, folder)
    finally:
        os.close(folder)
    assert (tmp_path / "one").read_text() == "two"


def test_without_proc_no_mount_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", failing(errno.ENOENT))
    assert mounts_in(tmp_path) == set()


def test_mount_points_have_their_names_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.fsencode(os.path.realpath(tmp_path))
    lines = [
        b"22 1 8:1 / " + root + rb"/with\040space\134 rw - ext4 /dev/a rw",
        b"23 1 8:1 / " + root + b"-beside rw - ext4 /dev/b rw",
        b"24 1 8:1 / / rw - ext4 /dev/c rw",
    ]
    monkeypatch.setattr(Path, "read_bytes", lambda _self: b"\n".join(lines))
    assert mounts_in(tmp_path) == {"with space\\"}


# --- locks ------------------------------------------------------------------------------------


def test_a_state_whose_lock_cannot_be_made_is_held_by_nobody_and_cannot_be_held(
    tmp_path: Path,
) -> None:
    (tmp_path / "lock").mkdir()
    assert holder_pid(tmp_path) is None
    assert holder_command(tmp_path) == ""
    with (
        pytest.raises(StateError, match="lock") as caught,
        hold_tree(tmp_path, name="pack", command="torsync run"),
    ):
        pass
    assert "permissions" in caught.value.hint


def test_a_tree_that_another_state_directory_holds_is_busy(tmp_path: Path) -> None:
    one, other = Tree(tmp_path), Tree(tmp_path)
    try:
        one.hold()
        with pytest.raises(BusyError, match="has another state directory"):
            other.hold()
    finally:
        one.close()
        other.close()


def test_where_a_file_system_has_no_locks_it_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, broken = Tree(tmp_path), Tree(tmp_path)
    try:
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
        without.hold()
        monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
        with pytest.raises(TreeError, match=r"could not open '.torsync/lock'"):
            broken.hold()
    finally:
        without.close()
        broken.close()
