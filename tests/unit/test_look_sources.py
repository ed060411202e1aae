"""A look opens the files that content is to be taken from unhashed, to see that it can be."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import random_bytes, write_tree
from tests.support.updates import MAKERS
from torsync.disk.tree import Tree
from torsync.model.assessment import Here
from torsync.model.config import CleanMode
from torsync.model.events import Level, Notice
from torsync.model.known import Synced
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import Action, Plan
from torsync.model.tree_index import ledger_row
from torsync.subscribe.look import Look, look_further, take_look
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torsync.model.events import Event
    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
A = random_bytes(4 * PIECE, "A")
B = random_bytes(4 * PIECE, "B")
STAYS = {"stays": b"stays"}


class Picky(Tree):
    """A tree of which some files can be looked at, but not opened; it notes what was."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, clock_ns=itertools.count(2**62).__next__)
        self.refused: dict[str, int] = {}
        self.opened: list[str] = []

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        self.opened.append(path)
        if path in self.refused:
            raise OSError(self.refused[path], os.strerror(self.refused[path]), path)
        return super().open(path, flags, mode)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Picky]:
    made = Picky(write_tree(tmp_path / "tree", {}))
    yield made
    made.close()


def release(folder: Path, files: Mapping[str, bytes], format_: str) -> Manifest:
    torrent = MAKERS[format_](write_tree(folder, files), piece_size=PIECE)
    return parse_metainfo(torrent, windows=False)


class Looked:
    """What a look found, and what it said."""

    def __init__(
        self,
        tree: Picky,
        old: Mapping[str, bytes],
        new: Mapping[str, bytes],
        *,
        strays: Mapping[str, bytes] | None = None,
        formats: tuple[str, str] = ("v2", "v2"),
    ) -> None:
        write_tree(tree.root, {**old, **(strays or {})})
        before = release(tree.root.parent / "old", old, formats[0])
        entries = tree.scan().entries
        events: list[Event] = []
        ledger = {
            file.path: ledger_row(entries[file.path], before.digest(index))
            for index, file in enumerate(before.files)
        }
        first = take_look(
            tree,
            release(tree.root.parent / "new", new, formats[1]),
            ledger,
            Voice("pack", events.append),
            keep=lambda _path: False,
            synced=Synced(lambda: before),
            trust_ledger=True,
            stopping=lambda: False,
        )
        self.look: Look = look_further(
            tree,
            first,
            Voice("pack", events.append),
            keep=lambda _path: False,
            stopping=lambda: False,
        )
        self.notices = [event for event in events if isinstance(event, Notice)]

    def plan(self) -> Plan:
        return self.look.plan(keep=lambda _path: False, clean=CleanMode.MIRROR)

    def actions(self) -> dict[str, tuple[Action, str]]:
        """Path → action and source."""
        plan = self.plan()
        return {
            file.path: (planned.action, planned.source)
            for file, planned in zip(plan.wanted.files, plan.files, strict=True)
        }


def test_only_what_is_a_source_is_opened(tree: Picky) -> None:
    found = Looked(tree, {"stays": A, "old": B, "goes": A[:PIECE]}, {"stays": A, "new": B})
    assert tree.opened == ["old"]
    assert found.actions() == {"new": (Action.MOVE, "old"), "stays": (Action.KEEP, "")}
    assert found.look.hashed.bytes_hashed == 0
    assert found.notices == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOENT])
def test_a_source_that_cannot_be_opened_is_told_and_not_used(tree: Picky, number: int) -> None:
    tree.refused = {"old": number}
    found = Looked(tree, {"old": A}, {"new": A})
    (notice,) = found.notices
    assert (notice.level, notice.code) == (Level.WARNING, "unreadable")
    assert "'old'" in notice.message
    assert os.strerror(number) in notice.message
    assert notice.hint
    assert found.actions() == {"new": (Action.FETCH, "")}
    assert found.look.assessment.index.problems == {"old": os.strerror(number)}


def test_another_source_is_found_in_its_stead(tree: Picky) -> None:
    tree.refused = {"a": errno.EACCES}
    found = Looked(tree, {"a": A, "b": A}, {"c": A})
    assert tree.opened == ["a", "b"]
    assert found.actions() == {"c": (Action.COPY, "b")}, "nothing leaves while one is unreadable"
    assert len(found.notices) == 1


def test_each_that_cannot_be_opened_is_told_once_until_none_is_left(tree: Picky) -> None:
    tree.refused = dict.fromkeys("abc", errno.EACCES)
    found = Looked(tree, {"a": A, "b": A, "c": A}, {"d": A, "e": A})
    assert [notice.message.split("'")[1] for notice in found.notices] == ["a", "b", "c"]
    assert {action for action, _source in found.actions().values()} == {Action.FETCH}


def test_nothing_is_removed_while_a_source_cannot_be_opened(tree: Picky) -> None:
    tree.refused = {"old": errno.EACCES}
    found = Looked(tree, {"old": A, "goes": B}, {"new": A}, strays={"stray": b"stray"})
    assert found.plan().removals == ()


def test_what_single_pieces_are_copied_from_is_opened_too(tree: Picky) -> None:
    old, new = {"old": A}, {"new": A[:PIECE] + B[PIECE:]}
    found = Looked(tree, old, new)
    assert tree.opened == ["old"]
    assert found.plan().copies.keys() == {0}
    tree.refused = {"old": errno.EACCES}
    found = Looked(tree, old, new)
    assert (found.plan().copies, len(found.notices)) == ({}, 1)


def test_the_base_of_a_patch_is_opened_too(tree: Picky) -> None:
    old, new = {"old": A}, {"new": A[: 3 * PIECE] + B[:PIECE]}
    assert Looked(tree, old, new).actions() == {"new": (Action.PATCH, "old")}
    tree.refused = {"old": errno.EACCES}
    found = Looked(tree, old, new)
    assert found.actions() == {"new": (Action.FETCH, "")}
    assert [notice.code for notice in found.notices] == ["unreadable"]


def test_a_file_of_the_same_size_that_cannot_be_hashed_does_not_make_the_wanted_one_unreadable(
    tree: Picky,
) -> None:
    tree.refused = {"stray": errno.EACCES}
    found = Looked(tree, STAYS, {"new": A, **STAYS}, strays={"stray": A})
    assert found.look.assessment.here == (Here.DOUBTFUL, Here.RIGHT)
    assert found.look.assessment.sources == {0: "stray"}
    assert found.look.hashed.unreadable == {}
    assert found.actions()["new"] == (Action.FETCH, "")


def test_a_file_of_the_same_size_that_turns_out_right_is_used(tree: Picky) -> None:
    found = Looked(tree, STAYS, {"new": A, **STAYS}, strays={"stray": A})
    assert found.look.hashed.bytes_hashed == len(A)
    assert found.actions()["new"] == (Action.MOVE, "stray"), "it would be removed by a mirror"


def test_of_several_files_of_the_same_size_the_right_one_is_told_by_its_digest(
    tree: Picky,
) -> None:
    new = {"new": A, "twin": A, **STAYS}
    found = Looked(tree, {"old": B, **STAYS}, new, strays={"a": B[::-1], "stray": A})
    assert found.actions() == {
        "new": (Action.MOVE, "stray"),
        "twin": (Action.COPY, "stray"),
        "stays": (Action.KEEP, ""),
    }
    assert found.plan().needed == ()


def test_one_of_them_that_cannot_be_read_is_not_used(tree: Picky) -> None:
    tree.refused = {"stray": errno.EACCES}
    found = Looked(tree, STAYS, {"new": A, **STAYS}, strays={"a": B, "stray": A})
    assert found.actions()["new"] == (Action.FETCH, "")


def test_a_file_that_was_only_vouched_for_is_opened_before_its_content_is_shared(
    tree: Picky,
) -> None:
    """The old release identifies it by its v1 pieces, the new one by its root."""
    old = {"a": b"first", "b": A[: PIECE - 1]}
    new = {**old, "c": b"first"}
    found = Looked(tree, old, new, formats=("v1", "packed"))
    assert found.look.assessment.here[0] is Here.RIGHT
    assert found.actions()["c"] == (Action.COPY, "a")
    assert found.plan().needed == ()
    tree.refused = {"a": errno.EACCES}
    found = Looked(tree, old, new, formats=("v1", "packed"))
    assert found.actions()["c"] == (Action.FETCH, "")
    assert ["'a'" in notice.message for notice in found.notices] == [True]
    assert found.look.assessment.index.problems == {"a": os.strerror(errno.EACCES)}
