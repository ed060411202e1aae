"""Trees on file systems that share blocks, and on one that has hardly anything."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import trash_contents
from tests.support.disks import MIB, disk
from tests.support.trees import random_bytes
from tests.support.updates import PIECE, overwritten, relocated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.updates import Updates


def used(folder: Path) -> int:
    """Bytes that the file system of a folder has no longer free, once all of it is written."""
    subprocess.run(["sync", "--file-system", folder], check=True)
    seen = os.statvfs(folder)
    return (seen.f_blocks - seen.f_bfree) * seen.f_frsize


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_patched_file_and_its_old_version_in_the_trash_share_what_is_the_same(
    updates: Updates, tmp_path: Path, kind: str
) -> None:
    huge = random_bytes(64 * MIB, "huge")
    patched = overwritten(huge, 20 * MIB + 77, random_bytes(100_000, "patch"))
    updates.torsync.subscribe(trash_size="1 GB")
    with disk(kind, tmp_path / "image", updates.tree):
        updates.publish({"folder/huge": huge, "x": b"1"}, "packed", piece_size=MIB)
        updates.check()
        before = used(updates.tree)
        assert before > len(huge)
        updates.publish({"folder/huge": patched, "x": b"2"}, "packed", piece_size=MIB)
        report = updates.check().subscription
        assert report["patched_paths"] == ["folder/huge"]
        assert used(updates.tree) - before < 8 * MIB
        assert trash_contents(updates.tree) == {"folder/huge": [huge], "x": [b"1"]}


X, Y, Z = (random_bytes(5 * PIECE + number, f"{number}") for number in range(3))
LONG = random_bytes(12 * PIECE, "long")
FIRST = {
    "becomes/a/folder": Y[::-1],
    "deleted": b"deleted",
    "from/moved": X[::-1],
    "kept": Z[::-1],
    "patched": LONG,
    "swap 1": Y,
    "swap 2": Z,
}
SECOND = {
    "becomes": b"a file",
    "kept": Z[::-1],
    "patched": overwritten(LONG, 5 * PIECE, b"patched"),
    "swap 1": Z,
    "swap 2": Y,
    "to/moved": X[::-1],
}


def test_a_file_system_without_hard_links_modes_and_regard_to_case(
    updates: Updates, tmp_path: Path
) -> None:
    with disk("exfat", tmp_path / "image", updates.tree) as root:
        updates.sync_first(FIRST, "packed")
        report = updates.update(SECOND, "packed")
        assert relocated(report) == ["swap 1", "swap 2", "to/moved"]
        assert report["bytes_fetched"] <= 2 * PIECE
        trash = trash_contents(root)
        assert trash["deleted"] == [b"deleted"]
        assert trash["patched"] == [LONG]
        report = updates.torsync.run("verify").assert_ok().subscription
        assert report["ok"] == len(SECOND)
        updates.update(FIRST, "packed")
        updates.torsync.run("verify").assert_ok()


CASES = [
    ({"Readme": X}, {"README": X}),
    ({"Readme": X}, {"README": Y}),
    ({"Data/x": X, "Data/y": Y}, {"data/x": X, "data/y": Z}),
    ({"a": X, "b": Y}, {"A": Y, "B": X}),
    ({"a": X}, {"A": Y, "z": X}),
]


@pytest.mark.parametrize(
    ("old", "new"), CASES, ids=["name", "and content", "folder", "swapped", "handed on"]
)
def test_names_that_change_only_in_case_where_that_makes_no_difference(
    updates: Updates, tmp_path: Path, old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    other = {"other": b"1"}
    with disk("exfat", tmp_path / "image", updates.tree) as root:
        (root / "Probe").touch()
        assert (root / "pROBE").exists(), "names are without regard to case"
        (root / "Probe").unlink()
        updates.publish({**old, **other}, "packed")
        updates.check()
        updates.update({**new, **other}, "packed")
        lost = set(old.values()) - set(new.values())
        assert lost <= {found for all_ in trash_contents(root).values() for found in all_}
        updates.assert_at_rest()
        updates.torsync.run("verify").assert_ok()
