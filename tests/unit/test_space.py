"""How much of the file system a stage takes, to the block."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given

from tests.support.releases import Link, make_release
from tests.support.situations import Item, Situation, situations, with_folders
from torsync.model import reuse
from torsync.model.errors import TreeError
from torsync.model.placement import Place, place_for_fetch
from torsync.model.plan import Action, content_bytes_of
from torsync.model.reuse import plan_reuse
from torsync.model.shifts import Run, Shifts
from torsync.model.space import Room, Staged, bytes_in_place, stage_bytes
from torsync.model.tree_index import ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from tests.support.releases import Content
    from torsync.model.plan import Plan

BLOCK = 4
TO_THE_BYTE = Room(1, 0)
IN_BLOCKS = Room(BLOCK, 0)
WITH_REFLINKS = Room(BLOCK, 0, reflinks=True)
A, B, C = (letter * 20 for letter in (b"A", b"B", b"C"))


def plan_of(old: Mapping[str, bytes], new: Mapping[str, Content], layout: str = "v2") -> Plan:
    """The update of a tree that has exactly the old release; pieces have 8 bytes."""
    before = make_release(old, layout=layout, digests="root")
    wanted = make_release(new, layout=layout, digests="root")
    items = {path: Item(content=content, stamp=1) for path, content in old.items()}
    ledger = {
        path: ledger_row(item.entry(), before.manifest.digest(before.manifest.by_path[path]))
        for path, item in items.items()
    }
    return Situation(wanted, with_folders(items), ledger, before=before).plan()


def test_each_new_file_takes_whole_blocks() -> None:
    plan = plan_of({}, {"a": b"1", "b": b"1234", "c": b"12345", "empty": b"", "l": Link("a")})
    assert stage_bytes(plan, IN_BLOCKS) == 4 + 4 + 8
    assert stage_bytes(plan, TO_THE_BYTE) == 10


def test_nothing_to_do_and_what_moves_take_nothing() -> None:
    assert stage_bytes(plan_of({"a": A}, {"a": A}), IN_BLOCKS) == 0
    assert stage_bytes(plan_of({"a": A, "k": C}, {"b": A, "k": C}), IN_BLOCKS) == 0
    assert stage_bytes(plan_of({"a": A, "b": B}, {"a": B, "b": A}), IN_BLOCKS) == 0


def test_a_patched_or_copied_file_is_a_whole_copy_where_there_are_no_reflinks() -> None:
    patched = plan_of({"a": A + B}, {"a": A + B[:-1] + b"x"})
    assert [planned.action for planned in patched.files] == [Action.PATCH]
    assert stage_bytes(patched, IN_BLOCKS) == 40
    copied = plan_of({"a": A}, {"a": A, "b": A})
    assert [planned.action for planned in copied.files] == [Action.KEEP, Action.COPY]
    assert stage_bytes(copied, IN_BLOCKS) == 20


def test_a_reflinked_clone_takes_what_is_overwritten_or_appended() -> None:
    patched = plan_of({"a": A + B}, {"a": A + B[:-1] + b"x"})
    assert stage_bytes(patched, WITH_REFLINKS) == 8, "the last piece"
    appended = plan_of({"a": A + B}, {"a": A + B + C + b"1"})
    assert stage_bytes(appended, WITH_REFLINKS) == 24, "from the last whole piece on: 21 bytes"
    assert stage_bytes(plan_of({"a": A}, {"a": A, "b": A}), WITH_REFLINKS) == 0
    assert stage_bytes(plan_of({}, {"a": A}), WITH_REFLINKS) == 20, "nothing to clone"


def test_a_block_that_two_pieces_touch_counts_once() -> None:
    plan = plan_of({"a": A + B}, {"a": b"x" * 24 + (A + B)[24:]})
    assert stage_bytes(plan, Room(5, 0, reflinks=True)) == 25


def test_a_clone_that_is_cut_short_takes_its_last_block() -> None:
    content = A + B[:4]  # three pieces
    plan = plan_of({"a": content}, {"a": content[:16]})
    assert [planned.action for planned in plan.files] == [Action.PATCH]
    assert stage_bytes(plan, WITH_REFLINKS) == 0, "it ends with a block"
    assert stage_bytes(plan, Room(5, 0, reflinks=True)) == 5


def test_the_block_that_a_clone_is_cut_in_counts_wherever_in_it_the_file_ends() -> None:
    plan = plan_of({"a": A + B}, {"a": A + B[:4]})
    assert stage_bytes(plan, Room(25, 0, reflinks=True)) == 25
    assert stage_bytes(plan, Room(23, 0, reflinks=True)) == 23


def test_a_clone_that_is_not_cut_takes_nothing_at_its_end() -> None:
    content = A + b"1"
    plan = plan_of({"a": content}, {"a": b"x" + content[1:]})
    assert [planned.action for planned in plan.files] == [Action.PATCH]
    assert stage_bytes(plan, WITH_REFLINKS) == 8, "the first piece"


def test_in_place_a_patched_file_takes_its_growth_only() -> None:
    same = plan_of({"a": A + B}, {"a": A + B[:-1] + b"x"})
    assert stage_bytes(same.patching_in_place(), IN_BLOCKS) == 0
    grows = plan_of({"a": A + B}, {"a": A + B + C})
    assert stage_bytes(grows.patching_in_place(), IN_BLOCKS) == 20
    shrinks = plan_of({"a": A + B}, {"a": b"x" * 8 + A[8:16]})
    assert stage_bytes(shrinks.patching_in_place(), IN_BLOCKS) == 0
    elsewhere = plan_of({"old": A}, {"new": A[:16] + b"1234"})
    assert stage_bytes(elsewhere.patching_in_place(), IN_BLOCKS) == 20
    assert stage_bytes(plan_of({}, {"a": A}).patching_in_place(), IN_BLOCKS) == 20


def test_in_place_what_has_shifted_can_do_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "BLOCK_SIZE", 4)
    old = bytes(range(40))
    plan = plan_of({"a": old}, {"a": old[:16] + b"x" + old[16:39]})
    shifted = plan_reuse(plan, Shifts({0: (Run(17, 23, "a", 16),)}))
    assert shifted.shifted == {0}
    assert stage_bytes(shifted.patching_in_place(), IN_BLOCKS) == 40
    assert bytes_in_place(shifted, IN_BLOCKS) == bytes_in_place(plan, IN_BLOCKS) == 0


def test_a_neighbour_takes_the_blocks_that_it_has_of_a_fetched_piece() -> None:
    old = {"a": b"a" * 20, "b": b"b" * 9}
    plan = plan_of(old, {"a": b"a" * 20, "b": b"B" * 9}, "v1")
    assert [planned.action for planned in plan.files] == [Action.KEEP, Action.FETCH]
    assert stage_bytes(plan, IN_BLOCKS) == 12 + 4, "of a the last 4 bytes are in the piece"
    assert stage_bytes(plan, Room(8, 0)) == 16 + 8, "which lie in one block of 8"
    assert stage_bytes(plan, Room(3, 0)) == 9 + 6, "or two of 3"


def test_pieces_that_are_put_together_from_elsewhere_take_space_as_fetched_ones_do() -> None:
    plan = plan_of({"a": A[:8] + B[:8] + C[:8] + A}, {"b": b"12345678" * 3 + B[:8]})
    assert plan.copies
    assert stage_bytes(plan, WITH_REFLINKS) == stage_bytes(plan, IN_BLOCKS) == 32


def test_what_an_interrupted_update_left_is_there() -> None:
    plan = plan_of({}, {"a": A, "b": B})
    room = replace(IN_BLOCKS, staged={Staged(0, Place.STAGE): 12, Staged(1, Place.STAGE): 400})
    assert stage_bytes(plan, room) == 8
    old = {"a": b"a" * 20, "b": b"b" * 9}
    plan = plan_of(old, {"a": b"a" * 20, "b": b"B" * 9}, "v1")
    room = replace(IN_BLOCKS, staged={Staged(0, Place.SCRATCH): 4, Staged(1, Place.SCRATCH): 4})
    assert stage_bytes(plan, room) == 12, "no scratch file stands for a staged one"


def test_what_was_left_of_a_fetched_file_is_there_with_reflinks_too() -> None:
    left = {Staged(0, Place.STAGE): 12}
    assert stage_bytes(plan_of({}, {"a": A}), replace(WITH_REFLINKS, staged=left)) == 8


def test_a_clone_that_was_left_may_still_share_its_blocks() -> None:
    plan = plan_of({"a": A + B}, {"a": A + B[:-1] + b"x"})
    left = {Staged(0, Place.STAGE): 40}
    assert stage_bytes(plan, replace(WITH_REFLINKS, staged=left)) == 8
    assert stage_bytes(plan, replace(IN_BLOCKS, staged=left)) == 0


@given(situations())
def test_it_is_the_size_of_what_is_staged(situation: Situation) -> None:
    """Whole files, and of those that only lend a place the bytes of the pieces that arrive."""
    try:
        plan = situation.plan()
    except TreeError:
        return
    places = place_for_fetch(plan).places
    staged = [index for index, place in enumerate(places) if place is Place.STAGE]
    scratch = sum(
        segment.length
        for piece in plan.lacking
        for segment in plan.wanted.segments(piece)
        if segment.file_index is not None and places[segment.file_index] is Place.SCRATCH
    )
    needed = stage_bytes(plan, TO_THE_BYTE)
    assert needed == sum(plan.wanted.files[index].size for index in staged) + scratch
    assert needed >= content_bytes_of(plan.wanted, plan.lacking)
    assert stage_bytes(plan, replace(TO_THE_BYTE, reflinks=True)) <= needed + len(staged)
    assert stage_bytes(plan.patching_in_place(), TO_THE_BYTE) <= needed
