"""Approvals of releases: ``torsync apply`` leaves one where the service finds it.

Facts in the state of a tree: ``approved`` names the release (SHA-256 of its body), ``allowed``
what guards shall let pass for it, and ``approval_outcome`` what became of it. An approval waits
until there is an outcome. If that is a failure, the approval stays in force for the service's
next tries. It is void once a newer release has been polled, and gone once its release is in
place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from torsync.disk.lock import holder_pid
from torsync.model.errors import (
    ExitCode,
    InterruptedByUserError,
    RelayedError,
    SupersededError,
    TorsyncError,
)
from torsync.model.guard import ALLOWABLE, Allowance
from torsync.model.reports import CheckReport
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

_LOOK_EVERY_S = 0.2
_LOOKS_PER_HOLDER = 10


class Approvals:
    """The approval of one tree's update, if there is one."""

    def __init__(self, state: TreeState) -> None:
        self._state = state

    def give(self, digest: str, allowances: Collection[Allowance] = ()) -> None:
        """Approve the release whose body has this digest, in spite of some guards."""
        names = [name for name, allowance in ALLOWABLE.items() if allowance in allowances]
        self._state.put(approved=digest, allowed=" ".join(names), approval_outcome="")

    def allowances(self, digest: str = "") -> frozenset[Allowance]:
        """What the approval says to guards; nothing if it is of another release than is asked for.

        Args:
            digest: of the release's body; empty where it does not matter which one it is.
        """
        if digest and digest != self.approved:
            return frozenset()
        return frozenset(ALLOWABLE[name] for name in self._state.get("allowed").split())

    @property
    def approved(self) -> str:
        """The digest of the body that is approved; empty if none is."""
        return self._state.get("approved")

    @property
    def is_waiting(self) -> bool:
        """Whether nobody has acted on the approval so far."""
        return bool(self.approved) and not self._state.get("approval_outcome")

    def void(self, newer: str) -> None:
        """Withdraw the approval, as a release named ``newer`` is there."""
        error = SupersededError(
            f"{newer!r} is a newer release than the one that was approved, which was not applied",
            hint="look at it with `torsync plan`, then approve that",
        )
        self._settle({"error": _as_json(error)}, approved="")

    def fulfil(self, report: CheckReport) -> None:
        """Note that the approved release is in place."""
        self._settle({"report": report.as_json()}, approved="")

    def fail(self, error: TorsyncError) -> None:
        """Note that a try failed; the approval stays in force."""
        self._settle({"error": _as_json(error)}, approved=self.approved)

    def fail_if_waiting(self, error: TorsyncError) -> None:
        """Note that a try failed, if there is an approval that nobody has acted on."""
        if self.is_waiting:
            self.fail(error)

    def outcome(self) -> CheckReport | None:
        """What became of the approval; None while that is open.

        Raises:
            RelayedError: it failed.
        """
        text = self._state.get("approval_outcome")
        if not text:
            return None
        found = json.loads(text)
        if "error" in found:
            raise RelayedError(**found["error"])
        return CheckReport.from_json(found["report"])

    def _settle(self, outcome: dict[str, object], *, approved: str) -> None:
        facts = {"approved": approved, "approval_outcome": json.dumps(outcome)}
        if not approved:
            facts["allowed"] = ""
        self._state.put(**facts)


def is_approved(folder: Path) -> bool:
    """Whether an approval lies in a state that is not open here, and nobody has acted on it.

    Raises:
        StateError: the state cannot be read.
    """
    state = TreeState(folder, read_only=True)
    try:
        return Approvals(state).is_waiting
    finally:
        state.close()


def approve_and_wait(
    folder: Path,
    digest: str,
    wait: Callable[[float], bool],
    allowances: Collection[Allowance] = (),
) -> CheckReport | None:
    """Approve a release, and wait until the process that holds the tree has acted on it.

    Args:
        folder: of the tree's state.
        digest: of the release's body.
        wait: sleeps so many seconds, True if the waiting shall end.
        allowances: what guards shall let pass for it.

    Returns:
        The report on what was done; None if nobody holds the tree any more.

    Raises:
        RelayedError: it failed.
        InterruptedByUserError: ``wait`` said so; the approval stays.
    """
    state = TreeState(folder)
    try:
        approvals = Approvals(state)
        approvals.give(digest, allowances)
        looks = 0
        while (report := approvals.outcome()) is None:
            if wait(_LOOK_EVERY_S):
                raise InterruptedByUserError(
                    "stopped waiting; the service goes on with the update that was approved"
                )
            looks += 1
            if looks % _LOOKS_PER_HOLDER == 0 and holder_pid(folder) is None:
                return None
        return report
    finally:
        state.close()


def _as_json(error: TorsyncError) -> dict[str, object]:
    return {
        "code": error.code,
        "exit_code": int(ExitCode(error.exit_code)),
        "message": error.message,
        "hint": error.hint,
    }
