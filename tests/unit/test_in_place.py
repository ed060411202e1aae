"""Patching files where they are: which ones, and how that leaves their other names alone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.test_assemble import Bench, P, padded
from torsync.model.plan import Action
from torsync.model.space import Room, stage_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torsync.model.plan import Plan

OLD = {"a": P[0] + P[1] + P[2], "b": P[3] + P[4]}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "tree", padded)
    yield made
    made.tree.close()


def chosen(plan: Plan) -> set[str]:
    return {plan.wanted.files[index].path for index in plan.in_place}


@pytest.mark.parametrize(
    ("new", "in_place", "copies"),
    [
        ({**OLD, "a": P[0] + P[5] + P[2]}, {"a"}, 0),
        ({**OLD, "a": P[0] + P[1]}, {"a"}, 0),
        ({**OLD, "a": OLD["a"] + P[5]}, {"a"}, 0),
        ({**OLD, "new": P[5]}, set(), 0),
        # A file that is patched in place is no source, one that stays is.
        ({"a": P[0] + P[5] + P[2], "b": P[3] + P[1]}, {"a", "b"}, 0),
        ({**OLD, "a": P[0] + P[5] + P[4]}, {"a"}, 1),
        # What is moved away as well is needed as it was.
        ({**OLD, "a": P[0] + P[5] + P[2], "c": OLD["a"]}, set(), 0),
    ],
)
def test_what_is_patched_from_its_own_path_is_patched_in_place(
    bench: Bench, new: Mapping[str, bytes], in_place: set[str], copies: int
) -> None:
    staged = bench.plan(OLD, new)
    plan = staged.patching_in_place()
    assert staged.in_place == frozenset()
    assert chosen(plan) == in_place
    assert plan.to_save == frozenset()
    assert len(plan.copies) == copies
    assert {*plan.needed} | {*plan.copies} == {*staged.needed} | {*staged.copies}
    assert plan.files == staged.files


def test_a_users_version_of_what_is_patched_in_place_is_saved_first(bench: Bench) -> None:
    new = {"a": P[0] + P[5] + P[2], "b": P[3] + P[6]}
    plan = bench.plan(OLD, new).patching_in_place(lambda path: path == "b")
    assert {plan.wanted.files[index].path for index in plan.to_save} == {"b"}
    copied = Room(block_bytes=1, free_bytes=0)
    assert stage_bytes(plan, copied) == len(OLD["b"])
    assert stage_bytes(plan, replace(copied, reflinks=True)) == 0


def test_a_file_that_is_patched_in_place_has_a_second_name_in_the_stage(bench: Bench) -> None:
    plan = bench.plan(OLD, {**OLD, "a": P[0] + P[5] + P[2]}).patching_in_place()
    bench.assemble(plan)
    root = bench.tree.root
    index = plan.wanted.by_path["a"]
    staged = next(root.glob(f".torsync/stage/*/{index}"))
    assert staged.stat().st_ino == (root / "a").stat().st_ino
    assert (root / "a").read_bytes() == OLD["a"]


def test_a_file_with_a_name_elsewhere_is_patched_in_the_stage(bench: Bench, tmp_path: Path) -> None:
    """Its other name is perhaps somebody's backup."""
    plan = bench.plan(OLD, {**OLD, "a": P[0] + P[5] + P[2]})
    root = bench.tree.root
    os.link(root / "a", tmp_path / "elsewhere")
    plan = bench.plan(OLD, {**OLD, "a": P[0] + P[5] + P[2]}).patching_in_place()
    assert plan.files[plan.wanted.by_path["a"]].action is Action.PATCH
    bench.assemble(plan)
    staged = next(root.glob(f".torsync/stage/*/{plan.wanted.by_path['a']}"))
    assert staged.stat().st_ino != (root / "a").stat().st_ino
    assert staged.stat().st_size == len(OLD["a"])
    assert staged.read_bytes().startswith(P[0])
