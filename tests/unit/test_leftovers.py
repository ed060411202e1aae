"""What an interrupted update left in the stage: what of it is taken over, hashed, thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import edit_in_place, random_bytes
from tests.unit.test_assemble import HALF, PIECE, Bench, P, v1
from torsync.model.placement import Place, Placement, place_for_fetch
from torsync.model.plan import Action
from torsync.subscribe.hashing import HashedPieces, hash_pieces
from torsync.subscribe.leftovers import Leftovers
from torsync.subscribe.stage import StagedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Of "a" the first piece changes; "b" stays, and shares its first piece with the end of "a" and its
# last one with "c", which changes; "d" is new; of "e" the second piece changes; "f" stays.
TAIL = random_bytes(PIECE, "tail")
OLD = {
    "a": P[0] + P[1] + P[2][:HALF],
    "b": P[2][HALF:] + P[3] + P[4][:HALF],
    "c": P[4][HALF:],
    "e": P[9] + random_bytes(PIECE, "old") + TAIL,
    "f": random_bytes(PIECE, "f"),
}
NEW = {
    "a": P[5] + OLD["a"][PIECE:],
    "b": OLD["b"],
    "c": P[6][HALF:],
    "d": P[7] + P[8],
    "e": P[9] + random_bytes(PIECE, "new") + TAIL,
    "f": OLD["f"],
}
A, B, C, D, E, F = range(6)
IN_TREE = [1, 7, 9, 10]


class Left:
    """A tree whose update was interrupted, and what the next one makes of its stage."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder / "tree", v1)
        self.plan = self.bench.plan(OLD, NEW)
        actions = [planned.action for planned in self.plan.files]
        keep, fetch, patch = Action.KEEP, Action.FETCH, Action.PATCH
        assert actions == [patch, keep, fetch, fetch, patch, keep]
        self.stage = self.bench.stage(self.plan)
        self.stage.prepare()
        self.placement = place_for_fetch(self.plan)
        stage = Place.STAGE
        assert self.placement.places == (stage, Place.SCRATCH, stage, stage, stage, Place.TREE)
        assert list(self.placement.have) == [0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1]
        assert list(self.plan.good) == [0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1]
        self.record = ""
        self.hashed: list[list[int]] = []

    def put(self, index: int, content: bytes) -> Path:
        path = self.bench.tree.root / self.stage.path(index, self.placement.places[index])
        path.write_bytes(content)
        return path

    def note(self, *have: int) -> None:
        """Leave a record of what is staged now."""
        pieces = bytes(piece in have for piece in range(self.plan.wanted.num_pieces))
        self.record = self.stage.record(pieces).dump()

    def take_over(self) -> list[int]:
        """The pieces that are claimed besides those that the tree has, but for lost ones.

        ``hashed`` has what was read for that.
        """
        leftovers = Leftovers(self.stage, self.plan, record=self.record, hash_pieces=self._hash)
        have = leftovers.take_over(self.placement)
        assert len(have) == self.plan.wanted.num_pieces
        claimed = {piece for piece, is_here in enumerate(have) if is_here}
        assert claimed >= {*IN_TREE}
        return sorted(claimed - {*IN_TREE})

    def _hash(self, placement: Placement, pieces: list[int]) -> HashedPieces:
        self.hashed.append(pieces)
        opener = self.stage.open_for(placement)
        return hash_pieces(placement.manifest, pieces, opener, stopping=lambda: False)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.bench.tree.root / self.stage.folder))


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    made = Left(tmp_path)
    yield made
    made.bench.tree.close()


def test_an_empty_stage_gives_what_the_tree_has(left: Left) -> None:
    assert left.take_over() == []
    assert left.hashed == []


def test_without_a_record_the_pieces_of_what_is_there_are_hashed(left: Left) -> None:
    left.put(D, NEW["d"][: PIECE + HALF] + random_bytes(HALF, "unfinished"))
    assert left.take_over() == [5]
    assert left.hashed == [[5, 6]], "in order, and of the file that is there"
    assert left.names() == [str(D)]


def test_what_the_record_has_is_right_without_reading_it(left: Left) -> None:
    left.put(A, NEW["a"])
    left.put(D, NEW["d"])
    left.note(0, 1, 6)
    assert left.take_over() == [0, 6]
    assert left.hashed == []


def test_a_record_is_nothing_once_a_staged_file_was_written_to(left: Left) -> None:
    path = left.put(D, NEW["d"])
    left.note(5, 6)
    edit_in_place(path)
    assert left.take_over() == [6]
    assert left.hashed == [[5, 6]]


def test_a_record_of_another_release_is_nothing(left: Left) -> None:
    left.put(D, NEW["d"])
    left.note(5)
    record = StagedRecord.load(left.record)
    assert record is not None
    left.record = StagedRecord("another", record.have, record.files).dump()
    assert left.take_over() == [5, 6]


def test_what_is_of_no_use_now_is_removed(left: Left) -> None:
    left.put(D, NEW["d"])
    folder = left.bench.tree.root / left.stage.folder
    for name in (str(B), str(F), "99", "note"):
        (folder / name).write_bytes(b"left")
    assert left.take_over() == [5, 6]
    assert left.names() == [str(D)]
    left.put(D, b"")
    (folder / "99").write_bytes(b"left")
    left.take_over()
    assert left.names() == [str(D)]


def test_a_piece_of_two_files_is_right_only_if_both_are_staged(left: Left) -> None:
    """The other one may have been edited in the tree since."""
    left.put(C, NEW["c"])
    left.note(4)
    assert left.take_over() == []
    left.put(B, bytes(PIECE + HALF) + OLD["b"][-HALF:])
    left.note(4)
    assert left.take_over() == [4]
    assert left.hashed == []


@pytest.mark.parametrize("has_record", [False, True])
def test_a_clone_that_lacks_what_the_tree_has_is_made_anew(left: Left, has_record: bool) -> None:
    left.put(A, NEW["a"][:PIECE] + bytes(PIECE) + NEW["a"][2 * PIECE :])
    left.put(D, NEW["d"])
    if has_record:
        left.note(0, 5, 6)
    assert left.take_over() == [5, 6], "the first piece is in the clone that is gone"
    assert left.names() == [str(D)]


def test_a_clone_in_the_middle_that_is_wrong_leaves_the_others_as_they_are(left: Left) -> None:
    left.put(D, NEW["d"])
    left.put(E, bytes(PIECE) + NEW["e"][PIECE:])
    assert left.take_over() == [5, 6]
    assert left.names() == [str(D)]


def test_a_clone_is_compared_with_its_source_where_a_neighbour_keeps_it_from_being_hashed(
    left: Left,
) -> None:
    left.put(A, NEW["a"])
    assert left.take_over() == [0]
    assert left.names() == [str(A)]
    assert left.hashed == [[0, 1]]
    left.put(A, NEW["a"][:-1] + b"!")
    assert left.take_over() == []
    assert left.names() == []
