"""Approvals of releases: what ``torsync apply`` had the service do stays approved until it is done.

Facts in the state of a tree: ``approved`` names the release (SHA-256 of its body), and ``allowed``
what guards shall let pass for it. An approval stays in force after a try that failed, but that
another folder is meant is said once: it then has the subscription's marker. An approval is void
once a newer release has been polled, and gone once its release is in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.guard import ALLOWABLE, Allowance

if TYPE_CHECKING:
    from collections.abc import Collection

    from torsync.subscribe.state import TreeState


class Approvals:
    """The approval of one tree's update, if there is one."""

    def __init__(self, state: TreeState) -> None:
        self._state = state

    def give(self, digest: str, allowances: Collection[Allowance] = ()) -> None:
        """Approve the release whose body has this digest, in spite of some guards."""
        names = [name for name, allowance in ALLOWABLE.items() if allowance in allowances]
        self._state.put(approved=digest, allowed=" ".join(names))

    def allowances(self, digest: str = "") -> frozenset[Allowance]:
        """What the approval says to guards; nothing if it is of another release than is asked for.

        Args:
            digest: of the release's body; empty where it does not matter which one it is.
        """
        if digest and digest != self.approved:
            return frozenset()
        names = self._state.get("allowed").split()
        return frozenset(ALLOWABLE[name] for name in names if name in ALLOWABLE)

    @property
    def approved(self) -> str:
        """The digest of the body that is approved; empty if none is."""
        return self._state.get("approved")

    def spend(self, allowance: Allowance) -> None:
        """Have one thing be allowed no more, as it has been done."""
        names = self._state.get("allowed").split()
        left = [name for name in names if ALLOWABLE.get(name) is not allowance]
        if left != names:
            self._state.put(allowed=" ".join(left))

    def void(self) -> None:
        """Withdraw the approval: a newer release is there, or this one is in place."""
        self._state.put(approved="", allowed="")
