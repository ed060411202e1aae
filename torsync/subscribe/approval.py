"""Approvals of releases: ``torsync apply`` leaves one where the service finds it.

Two facts in the state of a tree: ``approved`` names the release (SHA-256 of its body), and
``approval_outcome`` what became of it. An approval waits until there is an outcome. If that is
a failure, the approval stays in force for the service's next tries. It is void once a newer
release has been polled, and gone once its release is in place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from torsync.model.errors import (
    ExitCode,
    InterruptedByUserError,
    RelayedError,
    SupersededError,
    TorsyncError,
)
from torsync.model.reports import CheckReport
from torsync.subscribe.lock import holder_pid
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOOK_EVERY_S = 0.2
_LOOKS_PER_HOLDER = 10


class Approvals:
    """The approval of one tree's update, if there is one."""

    def __init__(self, state: TreeState) -> None:
        self._state = state

    def give(self, digest: str) -> None:
        """Approve the release whose body has this digest."""
        self._state.put(approved=digest, approval_outcome="")

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
        self._state.put(approved=approved, approval_outcome=json.dumps(outcome))


def approve_and_wait(
    folder: Path, digest: str, wait: Callable[[float], bool]
) -> CheckReport | None:
    """Approve a release, and wait until the process that holds the tree has acted on it.

    Args:
        folder: of the tree's state.
        digest: of the release's body.
        wait: sleeps so many seconds, True if the waiting shall end.

    Returns:
        The report on what was done; None if nobody holds the tree any more.

    Raises:
        RelayedError: it failed.
        InterruptedByUserError: ``wait`` said so; the approval stays.
    """
    state = TreeState(folder)
    try:
        approvals = Approvals(state)
        approvals.give(digest)
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
