"""Blocks that are claimed are copied into the stage; a claim that does not hold is given up."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.torrents import make_raw
from tests.support.trees import edit_in_place, random_bytes
from tests.unit.test_assemble import Bench
from torsync.disk.tree import Tree
from torsync.model.errors import DiskFullError
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.metainfo import parse_metainfo
from torsync.model.placement import place_for_fetch
from torsync.model.reuse import plan_reuse
from torsync.subscribe.assembling import assemble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.manifest import Manifest
    from torsync.model.plan import Plan

PIECE = 4 * BLOCK_SIZE
KEPT = random_bytes(BLOCK_SIZE + 9, "kept")
OTHER = random_bytes(2 * BLOCK_SIZE, "other")
"""Side by side: a kept file, one that changes, another kept one: a piece of four blocks."""
OLD = {"a": KEPT, "m": b"old" * 1000, "z": OTHER}
NEW = {"a": KEPT, "m": b"new" * 1000, "z": OTHER}


def packed(files: Mapping[str, bytes], _scratch: Path) -> Manifest:
    return parse_metainfo(make_raw(files, roots=True, piece_size=PIECE), windows=False)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "tree", packed)
    yield made
    made.tree.close()


def test_what_neighbours_have_is_copied_and_nothing_else(bench: Bench) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))
    assert {piece: claim.blocks for piece, claim in plan.claims.items()} == {0: b"\1\0\1\1"}
    assert carried_out(bench, plan) == frozenset()
    whole = b"".join(NEW.values())
    found = staged(bench, plan)
    assert found[:BLOCK_SIZE] == whole[:BLOCK_SIZE]
    assert found[2 * BLOCK_SIZE : len(whole)] == whole[2 * BLOCK_SIZE :]
    assert not any(found[BLOCK_SIZE : 2 * BLOCK_SIZE])


def test_nothing_is_copied_for_a_piece_that_is_there(bench: Bench) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))
    assert carried_out(bench, plan, done={0}) == frozenset()
    assert not any(staged(bench, plan))


def test_a_neighbour_that_cannot_be_read_costs_its_claim_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))
    opened = Tree.open

    def refuse(tree: Tree, path: str, *arguments: Any) -> int:
        if path == "z":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(tree, path, *arguments)

    monkeypatch.setattr(Tree, "open", refuse)
    assert carried_out(bench, plan) == {0}


@pytest.mark.parametrize("path", ["a", "z"])
def test_a_neighbour_that_is_edited_meanwhile_costs_its_claim_only(bench: Bench, path: str) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))
    edit = lambda _count: edit_in_place(bench.tree.root / path)  # noqa: E731
    assert carried_out(bench, plan, on_bytes=edit) == {0}


def test_a_neighbour_that_is_gone_costs_its_claim_only(bench: Bench) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))
    (bench.tree.root / "z").unlink()
    assert carried_out(bench, plan) == {0}


def test_a_full_disk_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_reuse(bench.plan(OLD, NEW))

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    with pytest.raises(DiskFullError):
        carried_out(bench, plan)


def carried_out(
    bench: Bench,
    plan: Plan,
    *,
    done: set[int] | frozenset[int] = frozenset(),
    on_bytes: Callable[[int], object] = lambda _count: None,
) -> frozenset[int]:
    """Assemble in a fresh stage; gives the pieces whose claims do not hold."""
    stage = bench.stage(plan)
    stage.prepare()
    return assemble(
        bench.tree,
        stage,
        plan,
        place_for_fetch(plan),
        done=done,
        stopping=lambda: False,
        on_bytes=lambda count: (on_bytes(count), None)[1],
    )


def staged(bench: Bench, plan: Plan) -> bytes:
    """What the stage has of the release's bytes, zeros where it has nothing."""
    stage, placement = bench.stage(plan), place_for_fetch(plan)
    found = b""
    for index, file in enumerate(plan.wanted.files):
        path = bench.tree.root / stage.path(index, placement.places[index])
        content = path.read_bytes() if path.exists() else b""
        found += content.ljust(file.size, b"\0")
    return found
