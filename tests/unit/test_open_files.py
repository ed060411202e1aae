"""The files that pieces are copied from and to are open for as long as that is worth it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import write_tree
from torsync.disk.copying import OpenFiles
from torsync.disk.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    files = {f"{number}": b"%d" % number for number in range(40)}
    tree = Tree(write_tree(tmp_path / "tree", files))
    yield tree
    tree.close()


def test_the_last_few_stay_open_and_each_is_opened_anew_when_it_is_needed(
    tree: Tree,
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    files = OpenFiles(tree)
    for _round in range(2):
        for number in range(40):
            assert os.pread(files.get(f"{number}"), 9, 0) == b"%d" % number
            assert len(os.listdir("/proc/self/fd")) <= before + 16
    assert files.get("39") == files.get("39")
    assert files.seen == {f"{number}" for number in range(40)}
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_to_write_are_made_and_keep_what_they_have(tree: Tree) -> None:
    files = OpenFiles(tree, os.O_RDWR | os.O_CREAT)
    os.pwrite(files.get("new"), b"new", 0)
    os.pwrite(files.get("39"), b"!", 1)
    files.close()
    assert (tree.root / "new").read_bytes() == b"new"
    assert (tree.root / "39").read_bytes() == b"3!"


def test_one_that_cannot_be_opened_is_not_noted(tree: Tree) -> None:
    files = OpenFiles(tree)
    with pytest.raises(FileNotFoundError):
        files.get("missing")
    assert files.seen == set()
    files.close()
