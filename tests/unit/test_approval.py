"""Approvals: what one process leaves for another in the state, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from torsync.disk.lock import hold_tree
from torsync.model.errors import (
    ExitCode,
    InterruptedByUserError,
    NoPeersError,
    RelayedError,
)
from torsync.model.guard import Allowance
from torsync.model.reports import CheckReport
from torsync.subscribe.approval import Approvals, approve_and_wait, is_approved
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIGEST = "ab" * 32
REPORT = CheckReport("pack", release="r", changed=True, fetched=["a"], seconds=0.5)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TreeState]:
    state = TreeState(tmp_path)
    yield state
    state.close()


def acting(act: Callable[[Approvals], None], state: TreeState) -> Callable[[float], bool]:
    """A wait in which the other process acts on the approval."""

    def wait(_seconds: float) -> bool:
        approvals = Approvals(state)
        assert (approvals.is_waiting, approvals.approved) == (True, DIGEST)
        act(approvals)
        return False

    return wait


def test_there_is_none_at_first(state: TreeState) -> None:
    approvals = Approvals(state)
    assert (approvals.is_waiting, approvals.approved, approvals.outcome()) == (False, "", None)


def test_the_report_comes_back_and_the_approval_is_gone(state: TreeState) -> None:
    wait = acting(lambda approvals: approvals.fulfil(REPORT), state)
    assert approve_and_wait(state.folder, DIGEST, wait) == REPORT
    assert (Approvals(state).is_waiting, Approvals(state).approved) == (False, "")


def test_a_failure_comes_back_and_the_approval_stays_for_the_next_try(state: TreeState) -> None:
    error = NoPeersError("nobody is there", hint="wait")
    wait = acting(lambda approvals: approvals.fail(error), state)
    with pytest.raises(RelayedError) as caught:
        approve_and_wait(state.folder, DIGEST, wait)
    told = caught.value
    assert (told.code, told.exit_code) == ("no_peers", ExitCode.REMOTE)
    assert (told.message, told.hint) == ("nobody is there", "wait")
    assert (Approvals(state).is_waiting, Approvals(state).approved) == (False, DIGEST)
    wait = acting(lambda approvals: approvals.fulfil(REPORT), state)
    assert approve_and_wait(state.folder, DIGEST, wait) == REPORT, "old words are forgotten"


def test_a_newer_release_makes_it_void(state: TreeState) -> None:
    wait = acting(lambda approvals: approvals.void("pack-3"), state)
    with pytest.raises(RelayedError, match="'pack-3' is a newer release") as caught:
        approve_and_wait(state.folder, DIGEST, wait)
    assert (caught.value.code, caught.value.exit_code) == ("superseded", ExitCode.DIFFERS)
    assert Approvals(state).approved == ""


def test_waiting_may_be_stopped_and_the_approval_stays(state: TreeState) -> None:
    with pytest.raises(InterruptedByUserError):
        approve_and_wait(state.folder, DIGEST, lambda _seconds: True)
    assert Approvals(state).is_waiting


def test_waiting_goes_on_while_the_tree_is_held_and_ends_with_its_holder(state: TreeState) -> None:
    waited = 0

    def wait(_seconds: float) -> bool:
        nonlocal waited
        waited += 1
        return False

    assert approve_and_wait(state.folder, DIGEST, wait) is None
    once = waited
    with hold_tree(state.folder, name="pack", command="torsync run"):

        def wait_and_act(_seconds: float) -> bool:
            if wait(0) or waited > 4 * once:
                Approvals(state).fulfil(REPORT)
            return False

        assert approve_and_wait(state.folder, DIGEST, wait_and_act) == REPORT


BOTH = frozenset({Allowance.DELETES, Allowance.ADOPT})


def test_what_is_allowed_holds_for_the_approved_release_alone(state: TreeState) -> None:
    approvals = Approvals(state)
    assert approvals.allowances() == frozenset()
    approvals.give(DIGEST, BOTH)
    assert approvals.allowances(DIGEST) == approvals.allowances() == BOTH
    assert approvals.allowances("cd" * 32) == frozenset()


def test_what_is_allowed_outlives_a_failure_and_no_success(state: TreeState) -> None:
    approvals = Approvals(state)
    approvals.give(DIGEST, BOTH)
    approvals.fail(NoPeersError("nobody is there"))
    assert approvals.allowances(DIGEST) == BOTH
    approvals.fulfil(REPORT)
    assert approvals.allowances() == frozenset()
    approvals.give(DIGEST, BOTH)
    approvals.void("newer")
    assert approvals.allowances() == frozenset()
    approvals.give(DIGEST, BOTH)
    approvals.give(DIGEST)
    assert approvals.allowances(DIGEST) == frozenset(), "the last word counts"


def test_only_an_approval_that_waits_is_failed(state: TreeState) -> None:
    approvals = Approvals(state)
    approvals.fail_if_waiting(NoPeersError("nobody is there"))
    assert approvals.outcome() is None
    approvals.give(DIGEST)
    approvals.fail_if_waiting(NoPeersError("nobody is there"))
    with pytest.raises(RelayedError, match="nobody is there"):
        approvals.outcome()


def test_an_approval_can_be_seen_from_outside(state: TreeState) -> None:
    assert not is_approved(state.folder)
    Approvals(state).give(DIGEST)
    assert is_approved(state.folder)
    Approvals(state).fail(NoPeersError("nobody is there"))
    assert not is_approved(state.folder)
