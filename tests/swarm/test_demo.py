"""``torsync demo`` shows what it says, on this machine alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torsync", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".torsync" not in file.parts
    }


def test_two_subscribers_follow_a_signed_publication(tmp_path: Path) -> None:
    base = tmp_path / "demo"
    done = run_demo("demo", "--keep", str(base))
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "release 1 published: all of 5 files" in told
    assert "release 2 published: 1 file added, 2 modified, 1 moved, 1 removed" in told
    assert "All three folders are equal" in told
    published = content(base / "publisher" / "game")
    assert published["README.txt"] == b"version 1.1\n"
    assert "data/old-intro.mp4" not in published
    saved = content(base / "alice" / "game")
    assert saved.pop("saves/slot1.sav") == b"level 3\n"
    assert saved == published
    assert content(base / "bob" / "game") == published


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = run_demo("demo", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert "is not an empty folder" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
