"""Files that changed just when they were looked at: a further change might not show in stat."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind, ledger_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECOND = 10**9
DAY = 24 * 3600 * SECOND
NOW = 1_800_000_000 * SECOND


def entry(*, ctime_ns: int, mtime_ns: int = 5) -> DiskEntry:
    return DiskEntry(Kind.FILE, 3, mtime_ns, ctime_ns, 7, 0o644)


# --- rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ctime_ns", "smudged"),
    [
        (NOW - 1, False),
        (NOW, True),
        (NOW + 1, True),
        (NOW + DAY - 1, True),
        (NOW + DAY, False),  # the clock was set back; a change now gives it another ctime
    ],
)
def test_a_row_vouches_only_for_a_file_that_the_clock_has_passed(
    ctime_ns: int, smudged: bool
) -> None:
    found = entry(ctime_ns=ctime_ns)
    row = ledger_row(found, "digest", NOW)
    assert row.is_smudged is smudged
    assert row.vouches_for(found) is not smudged
    assert row.as_seen().vouches_for(found)
    assert row.as_seen() == ledger_row(found, "digest")


@pytest.mark.parametrize("ctime_ns", [0, 1, NOW])
def test_a_smudged_row_does_not_vouch_whatever_time_a_file_system_makes_up(ctime_ns: int) -> None:
    row = ledger_row(entry(ctime_ns=ctime_ns, mtime_ns=NOW), "digest", ctime_ns or NOW)
    assert row.is_smudged
    assert not row.vouches_for(entry(ctime_ns=~ctime_ns, mtime_ns=NOW))


def test_without_a_ctime_the_mtime_has_to_do() -> None:
    assert ledger_row(entry(ctime_ns=0, mtime_ns=NOW), "digest", NOW).is_smudged
    assert not ledger_row(entry(ctime_ns=0, mtime_ns=NOW - 1), "digest", NOW).is_smudged
    assert not ledger_row(entry(ctime_ns=NOW - 1, mtime_ns=NOW), "digest", NOW).is_smudged


def test_an_index_that_names_no_clock_is_of_files_long_past() -> None:
    row = ledger_row(entry(ctime_ns=NOW), "digest", DiskIndex({}).clock_ns)
    assert not row.is_smudged


# --- the clock of a file system -------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    opened = Tree(root)
    opened.hold()
    yield opened
    opened.close()


def racy_changes(root: Path, tree: Tree, rounds: int) -> int:
    """How many changes right after a look left the row of the look vouching."""
    missed = 0
    file = root / "file"
    for number in range(rounds):
        file.write_bytes(b"%06d a" % number)
        seen = tree.scan()
        row = ledger_row(seen.entries["file"], "digest", seen.clock_ns)
        status = file.stat()
        with file.open("r+b") as opened:
            opened.write(b"%06d b" % number)
        os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
        missed += row.vouches_for(tree.scan().entries["file"])
    return missed


def coarse(image: Path) -> list[str]:
    """What ``mounted`` needs for a file system that has time stamps of whole seconds."""
    with image.open("wb") as file:
        file.truncate(8 * 1024**2)
    # Small inodes have no room for parts of a second.
    command = ["mkfs.ext4", "-q", "-F", "-I", "128", image]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot make a file system: {error}")
    return ["-o", "loop", str(image)]


def test_no_change_goes_unnoticed_however_soon_it_comes(root: Path, tree: Tree) -> None:
    assert racy_changes(root, tree, 300) == 0


@pytest.mark.parametrize("kind", ["seconds", "memory"])
def test_no_change_goes_unnoticed_on_other_file_systems(tmp_path: Path, kind: str) -> None:
    options = coarse(tmp_path / "image") if kind == "seconds" else tmpfs()
    with mounted(tmp_path / "disk", *options) as root:
        tree = Tree(root)
        tree.hold()
        try:
            assert racy_changes(root, tree, 50) == 0
        finally:
            tree.close()


def test_the_clock_is_that_of_the_file_system(root: Path, tree: Tree) -> None:
    before = tree.clock_ns()
    (root / "file").write_bytes(b"1")
    after = tree.wait_for_tick()
    found = tree.stat("file")
    assert found is not None
    assert before <= found.ctime_ns < after
    assert not ledger_row(found, "digest", after).is_smudged


def test_a_scan_tells_the_time_of_its_beginning(root: Path) -> None:
    (root / "file").write_bytes(b"1")
    tree = Tree(root, clock_ns=itertools.count(41).__next__)
    times: list[int] = []
    index = tree.scan(lambda _count: times.append(tree.clock_ns()))
    assert index.clock_ns == 41
    assert times == [42]
    tree.close()


def test_a_tree_that_is_not_held_has_a_clock_that_is_surely_slow(root: Path) -> None:
    (root / "file").write_bytes(b"1")
    tree = Tree(root)
    found = tree.stat("file")
    assert found is not None
    assert tree.clock_ns() < found.ctime_ns
    tree.close()


def clock_of(*times: int) -> Callable[[], int]:
    """A clock that tells these times, and then the last one for ever."""
    given = iter(times)
    return lambda: next(given, times[-1])


def test_a_tick_is_waited_for(root: Path) -> None:
    tree = Tree(root, clock_ns=clock_of(10, 10, 10, 14, 18))
    assert tree.wait_for_tick() == 14
    tree.close()


def test_a_coarse_clock_is_not_waited_for_so_that_rows_are_smudged(root: Path) -> None:
    tree = Tree(root, clock_ns=lambda: 2 * SECOND)
    clock_ns = tree.wait_for_tick()
    assert ledger_row(entry(ctime_ns=2 * SECOND), "digest", clock_ns).is_smudged
    tree.close()
