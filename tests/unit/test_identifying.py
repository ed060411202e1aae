"""Files are read whole to know them by their digest."""

from __future__ import annotations

import itertools
import os
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest

from tests.support.torrents import pieces_root
from tests.support.trees import random_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.model.errors import InterruptedByUserError
from torsync.model.manifest import content_digest
from torsync.subscribe.identifying import identify_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIB = 1024
FILES = {
    f"{size}": random_bytes(size)
    for size in (1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 256 * KIB, 600 * KIB + 7)
}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(write_tree(tmp_path / "tree", FILES), clock_ns=itertools.count(2**62).__next__)
    yield made
    made.close()


def test_by_pieces_root(tree: Tree) -> None:
    found = identify_files(tree, tree.scan().entries, [*FILES], "root", stopping=lambda: False)
    assert found.digests == {
        path: content_digest("root", pieces_root(content), len(content))
        for path, content in FILES.items()
    }
    assert found.bytes_hashed == sum(map(len, FILES.values()))


def test_by_sha1(tree: Tree) -> None:
    found = identify_files(tree, tree.scan().entries, [*FILES], "sha1", stopping=lambda: False)
    assert found.digests == {
        path: content_digest("sha1", sha1(content).digest(), len(content))
        for path, content in FILES.items()
    }


def test_without_files_nothing_is_done(tree: Tree) -> None:
    assert identify_files(tree, {}, [], "root", stopping=lambda: True) == ({}, 0)


@pytest.mark.parametrize("kind", ["root", "sha1"])
@pytest.mark.parametrize("content", [b"", b"2", b"longer"])
def test_what_changed_since_the_look_is_left_out(tree: Tree, kind: str, content: bytes) -> None:
    entries = tree.scan().entries
    (tree.root / "new").write_bytes(content)
    os.replace(tree.root / "new", tree.root / "1")
    found = identify_files(tree, entries, ["1", "16384"], kind, stopping=lambda: False)
    assert [*found.digests] == ["16384"]


def test_what_cannot_be_opened_is_left_out(tree: Tree) -> None:
    entries = tree.scan().entries
    (tree.root / "1").unlink()
    found = identify_files(tree, entries, ["1", "16384"], "root", stopping=lambda: False)
    assert [*found.digests] == ["16384"]


@pytest.mark.parametrize("kind", ["root", "sha1"])
def test_it_ends_when_it_is_told_to(tree: Tree, kind: str) -> None:
    with pytest.raises(InterruptedByUserError):
        identify_files(tree, tree.scan().entries, [*FILES], kind, stopping=lambda: True)
