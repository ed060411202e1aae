"""Keys that a full disk keeps from being written: both or neither, and the old ones stay."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from torsync.model.errors import ConfigError
from torsync.publish import keys

if TYPE_CHECKING:
    from pathlib import Path


def _fail_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the n-th fsync tell that the disk is full."""
    fsync, calls = os.fsync, iter(range(1, 100))

    def full(descriptor: int) -> None:
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("force", [True, False])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, force: bool
) -> None:
    path = tmp_path / "torsync.key"
    if force:
        keys.generate_keys(path, password="", force=False)
    before = _contents(tmp_path)
    _fail_at(number, monkeypatch)
    with pytest.raises(ConfigError, match="No space left on device") as caught:
        keys.generate_keys(path, password="", force=force)
    assert "-o" in caught.value.hint
    assert _contents(tmp_path) == before
    monkeypatch.undo()
    report = keys.generate_keys(path, password="", force=force)
    assert sorted(_contents(tmp_path)) == ["torsync.key", "torsync.key.pub"]
    assert report.public_key in (tmp_path / "torsync.key.pub").read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write the key"):
        keys.generate_keys(tmp_path / "file/below/torsync.key", password="", force=False)
