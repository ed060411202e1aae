"""Approvals: what ``apply`` had the service do stays approved until it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from torsync.model.guard import Allowance
from torsync.subscribe.approval import Approvals
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = "ab" * 32
BOTH = frozenset({Allowance.DELETES, Allowance.ADOPT})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TreeState]:
    state = TreeState(tmp_path)
    yield state
    state.close()


def test_there_is_none_at_first(state: TreeState) -> None:
    assert (Approvals(state).approved, Approvals(state).allowances()) == ("", frozenset())


def test_it_outlives_the_process_until_it_is_void(state: TreeState, tmp_path: Path) -> None:
    Approvals(state).give(DIGEST, BOTH)
    again = TreeState(tmp_path)
    approvals = Approvals(again)
    assert (approvals.approved, approvals.allowances(DIGEST)) == (DIGEST, BOTH)
    approvals.void()
    again.close()
    assert (Approvals(state).approved, Approvals(state).allowances()) == ("", frozenset())


def test_what_is_allowed_holds_for_the_approved_release_alone(state: TreeState) -> None:
    approvals = Approvals(state)
    approvals.give(DIGEST, BOTH)
    assert approvals.allowances(DIGEST) == approvals.allowances() == BOTH
    assert approvals.allowances("cd" * 32) == frozenset()


def test_the_last_word_counts(state: TreeState) -> None:
    approvals = Approvals(state)
    approvals.give(DIGEST, BOTH)
    approvals.give(DIGEST)
    assert approvals.allowances(DIGEST) == frozenset()
