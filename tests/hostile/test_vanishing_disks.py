"""Disks that go away, break, or become read-only in the middle of an update, and come back."""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.test_fail_everywhere import (
    MINE,
    NEW,
    OLD,
    Scene,
    Strike,
    fast_folder,
    found,
    nth_call,
)
from tests.faults.test_links_swapped_in import LinkedScene
from tests.support.disks import MIB
from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.trees import tree_bytes
from tests.unit.test_tree import mounted, tmpfs
from torsync.model.errors import RefusedError, TorsyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
AT_ONCE = 2  # without the journal: what was not synced is lost


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _changes(call: Strike) -> bool:
    return call.name in {"link", "mkdir", "rename", "rmdir", "symlink", "unlink", "database"}


def _each(step: int, first: int, attempt: Callable[[int], bool]) -> int:
    """Try with each so-many-th call until there is none; how many there were."""
    number = first
    while attempt(number):
        number += step
    return number


# --- unmounted ------------------------------------------------------------------------------


def _mount_again(real: Path, tree: Path) -> None:
    tree.mkdir(exist_ok=True)
    command = ["mount", "--bind", real, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")


def _unmount(tree: Path) -> None:
    _run("umount", "--lazy", tree)


def _unmount_before(number: int) -> bool:
    with fast_folder() as folder:
        real, tree = folder / "real", folder / "tree"
        real.mkdir()
        _mount_again(real, tree)
        try:
            scene = LinkedScene(folder)
            scene.prepare()
            with (
                nth_call(number, lambda _strike: _unmount(tree), of=_changes) as struck,
                suppress(TorsyncError),
            ):
                scene.check_now()
            if struck:
                assert list(tree.iterdir()) == [], "something was written to where the disk was"
                with pytest.raises(RefusedError):
                    scene.check_now()
                assert list(tree.iterdir()) == []
                _mount_again(real, tree)
            scene.check_now()
            scene.check_finished()
        finally:
            with suppress(subprocess.CalledProcessError):  # not mounted any more
                _unmount(tree)
    return bool(struck)


@pytest.mark.timeout(300)
def test_a_disk_that_is_unmounted_in_the_middle_is_gone_on_with_when_it_is_back() -> None:
    assert _each(17, 3, _unmount_before) > 50


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_wherever_a_disk_is_unmounted_it_is_gone_on_with_when_it_is_back() -> None:
    assert _each(1, 0, _unmount_before) > 50


# --- read-only ------------------------------------------------------------------------------


def _make_read_only_before(number: int) -> bool:
    with fast_folder() as folder, mounted(folder / "tree", *tmpfs("size=16m")) as tree:
        scene = LinkedScene(folder)
        scene.prepare()

        def remount(_strike: Strike) -> None:
            with suppress(subprocess.CalledProcessError):  # a file is being written
                _run("mount", "-o", "remount,ro", tree)

        with nth_call(number, remount, of=_changes) as struck, suppress(TorsyncError):
            scene.check_now()
        scene.check_cut_off()
        with suppress(TorsyncError):
            scene.check_now()
        scene.check_cut_off()
        _run("mount", "-o", "remount,rw", tree)
        scene.check_now()
        scene.check_finished()
    return bool(struck)


@pytest.mark.timeout(300)
def test_a_disk_that_becomes_read_only_in_the_middle_loses_nothing() -> None:
    assert _each(17, 5, _make_read_only_before) > 50


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_wherever_a_disk_becomes_read_only_nothing_is_lost() -> None:
    assert _each(1, 0, _make_read_only_before) > 50


# --- broken ---------------------------------------------------------------------------------


class Disk:
    """An ext4 file system on an image, that can break as if its cable was pulled."""

    def __init__(self, image: Path, at: Path) -> None:
        self._image = image
        self.at = at

    def make(self) -> None:
        """Make it, and mount it."""
        with self._image.open("wb") as file:
            file.truncate(16 * MIB)
        _run(require("mkfs.ext4"), "-q", "-O", "^huge_file", self._image)
        self.at.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mount it; skip the test where that is not possible."""
        command = ["mount", "-o", "loop", self._image, self.at]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", self.at)

    def pull(self) -> None:
        """From now on everything fails, and what was not synced is lost."""
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, AT_ONCE.to_bytes(4, "little"))
        finally:
            os.close(fd)


@contextmanager
def ext4(folder: Path, at: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    disk = Disk(folder / "image", at)
    disk.make()
    try:
        yield disk
    finally:
        disk.unmount()


def _pull_before(number: int) -> bool:
    with fast_folder() as folder, ext4(folder, folder / "tree") as disk:
        scene = LinkedScene(folder)
        scene.prepare()
        os.sync()

        def pull(_strike: Strike) -> None:
            disk.pull()

        with nth_call(number, pull, of=_changes) as struck, suppress(TorsyncError):
            scene.check_now()
        if struck:
            with suppress(TorsyncError):
                scene.check_now()
            disk.unmount()
            disk.mount()
            scene.check_cut_off()
        scene.check_now()
        scene.check_finished()
        report = scene.check_now()
        assert not report.changed
    return bool(struck)


@pytest.mark.timeout(300)
def test_a_disk_that_breaks_in_the_middle_and_lost_what_was_not_synced_is_gone_on_with() -> None:
    assert _each(37, 9, _pull_before) > 50


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_wherever_a_disk_breaks_it_is_gone_on_with() -> None:
    assert _each(2, 0, _pull_before) > 50


# --- a file system in user space that ends ---------------------------------------------------


@contextmanager
def exfat(image: Path, at: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """An exfat file system on an image; gives what mounts it, by a process that may be killed."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root may mount, and it needs FUSE")
    command = require("mount.exfat-fuse")
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    _run(require("mkfs.exfat"), image)
    at.mkdir()
    started: list[subprocess.Popen[bytes]] = []
    command_on = ["losetup", "--find", "--show", image]
    done = subprocess.run(command_on, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()

    def mount() -> subprocess.Popen[bytes]:
        with suppress(subprocess.CalledProcessError):  # it is mounted only where it was before
            _run("umount", "--lazy", at)
        quiet = subprocess.DEVNULL
        running = subprocess.Popen([command, "-d", device, at], stdout=quiet, stderr=quiet)
        started.append(running)
        wait_until(lambda: os.path.ismount(at) or running.poll() is not None, "it is mounted")
        if running.poll() is not None:
            pytest.skip("cannot mount exfat")
        return running

    try:
        yield mount
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("umount", "--lazy", at)
        for running in started:
            running.kill()
            running.wait()
        _run("losetup", "--detach", device)


def _end_server_before(number: int) -> bool:
    old = {"a": b"old" * 9000, "b/c": b"1", "gone": b"2"}
    new = {"a": b"old" * 8000 + b"new" * 999, "b/c": b"11", "d": b"3"}
    with fast_folder() as folder, exfat(folder / "image", folder / "tree") as mount:
        server = mount()
        scene = LinkedScene(folder)
        scene.publish(old)
        scene.check_now()
        os.sync()
        scene.publish(new)

        def end(_strike: Strike) -> None:
            server.kill()
            server.wait()

        with nth_call(number, end, of=_changes) as struck, suppress(TorsyncError):
            scene.check_now()
        if struck:
            with pytest.raises(TorsyncError):
                scene.check_now()
            mount()
        scene.check_now()
        assert tree_bytes(scene.tree) == new
        trashed = scene.trashed()
        assert {path: trashed[path] for path in ("a", "gone")} == {
            path: {old[path]} for path in ("a", "gone")
        }
    return bool(struck)


@pytest.mark.timeout(300)
def test_a_file_system_in_user_space_that_is_killed_in_the_middle_is_gone_on_with() -> None:
    assert _each(23, 11, _end_server_before) > 20


# --- files that nobody may change -----------------------------------------------------------


@pytest.mark.parametrize("path", ["patched.bin", "gone/other", "keep.bin", "replaced"])
@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_or_folder_is_named_and_the_update_ends_once_it_is_not(
    path: str, flag: str
) -> None:
    with fast_folder() as folder, ext4(folder, folder / "tree"):
        scene = Scene(folder)
        scene.prepare()
        target = scene.tree / path
        _run(require("chattr"), f"+{flag}", target)
        try:
            if path == "keep.bin":  # it need not be changed
                scene.check_now()
            else:
                with pytest.raises(TorsyncError, match="Operation not permitted") as caught:
                    scene.check_now()
                assert path in str(caught.value)
            scene.check_cut_off()
        finally:
            _run("chattr", f"-{flag}", target)
        scene.check_now()
        scene.check_finished()
        assert tree_bytes(scene.tree) == found(NEW) | MINE
        assert scene.trashed()["patched.bin"] == {found(OLD)["patched.bin"]}
