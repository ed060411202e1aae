"""What an update would do where content has shifted and files are patched in place."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.support.torrents import make_raw
from tests.support.trees import random_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.model.config import ApplyMode, SubscriptionConfig
from torsync.model.known import Synced
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.metainfo import parse_metainfo
from torsync.model.patterns import nothing
from torsync.model.plan import Action
from torsync.model.shifts import Run, Shifts
from torsync.model.tree_index import ledger_row
from torsync.subscribe.foresight import foresee
from torsync.subscribe.look import Look, take_look
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD = random_bytes(4 * BLOCK_SIZE, "old")
NEW = OLD[:BLOCK_SIZE] + b"!" + OLD[BLOCK_SIZE:-1]
"""Pieces of one block: the first stays, the others have moved by a byte."""
SHIFTS = Shifts({0: (Run(BLOCK_SIZE + 1, 3 * BLOCK_SIZE - 1, "a", BLOCK_SIZE),)}, 7, 5)


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    # A clock far ahead: files need not grow old before their rows vouch for them.
    tree = Tree(write_tree(tmp_path / "tree", {"a": OLD}), clock_ns=itertools.count(2**62).__next__)
    before, wanted = (
        parse_metainfo(make_raw({"a": content}, roots=True), windows=False)
        for content in (OLD, NEW)
    )
    yield take_look(
        tree,
        wanted,
        {"a": ledger_row(tree.scan().entries["a"], before.digest(0))},
        Voice("pack", lambda _event: None),
        keep=nothing,
        synced=Synced(lambda: before),
        trust_ledger=True,
        stopping=lambda: False,
    )
    tree.close()


@pytest.mark.parametrize(
    ("apply", "has_room", "is_shifted"),
    [
        (ApplyMode.STAGED, False, True),
        (ApplyMode.IN_PLACE, True, True),
        (ApplyMode.IN_PLACE, False, False),
    ],
)
def test_what_has_shifted_is_built_as_a_copy_unless_there_is_no_room_and_it_may_be_patched_in_place(
    look: Look, tmp_path: Path, apply: ApplyMode, has_room: bool, is_shifted: bool
) -> None:
    config = SubscriptionConfig("pack", "file:///pack.torrent", tmp_path / "tree", apply=apply)
    plan, report = foresee(
        config,
        look,
        keep=nothing,
        find=lambda _plan: SHIFTS,
        fits=lambda _plan: has_room,
        from_release="",
    )
    assert plan.files[0].action is Action.PATCH
    assert plan.shifted == ({0} if is_shifted else set())
    assert plan.in_place == (set() if is_shifted else {0})
    assert report.bytes_to_fetch == (1 if is_shifted else 3) * BLOCK_SIZE
    assert report.bytes_reused.shifted == (2 * BLOCK_SIZE if is_shifted else 0)
    assert report.bytes_reused.same_place == BLOCK_SIZE
    assert report.bytes_hints == 5
    assert report.bytes_hashed == look.hashed.bytes_hashed + 7
