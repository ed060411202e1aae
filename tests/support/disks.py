"""File systems on images of disks, mounted for a test."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
# Neither xfs nor btrfs can be made smaller.
SIZE = 320 * MIB


@contextmanager
def disk(kind: str, image: Path, target: Path, *, size: int = SIZE) -> Iterator[Path]:
    """Make a file system on an image and mount it; skip the test where that is not possible.

    Args:
        kind: ``ext4``, ``xfs``, ``btrfs``, or ``exfat``, which goes through FUSE: no hard links,
            no links, no modes, names without regard to case, times in steps of up to 2 s.
        image: the file to make.
        target: the folder to make and mount it at.
        size: of the image in bytes, which takes what is written to it.
    """
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mkfs = require(f"mkfs.{kind}")
    mount = [require("mount.exfat-fuse")] if kind == "exfat" else ["mount", "-t", kind]
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([mkfs, image], check=True, capture_output=True)
    with _loop_device(image) as device:
        target.mkdir(exist_ok=True)
        done = subprocess.run([*mount, device, target], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
        try:
            yield target
        finally:
            subprocess.run(["umount", target], check=True)


@contextmanager
def _loop_device(image: Path) -> Iterator[str]:
    command = [require("losetup"), "--find", "--show", image]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
