"""What a person has said is meant, in spite of the guards; and how it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import RefusedError
from torsync.model.guard import Refusal, override_command
from torsync.subscribe.approval import Approvals

if TYPE_CHECKING:
    from torsync.model.guard import Allowance
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings


class Override:
    """Knows what is allowed for one tree: by the command, and by an approval in its state."""

    def __init__(self, name: str, state: TreeState, around: Surroundings) -> None:
        self._name = name
        self._approvals = Approvals(state)
        self._around = around

    def spend(self, allowance: Allowance) -> None:
        """Have an approval allow one thing no more, as it has been done."""
        self._approvals.spend(allowance)

    def refused(
        self, refusals: list[Refusal], digest: str = "", *, again: tuple[str, ...] = ()
    ) -> RefusedError | None:
        """The error that tells all refusals, if one of them is not allowed.

        Args:
            refusals: all that there are.
            digest: of the release's body; allowances that were left for another one are not
                heeded. Empty where it does not matter which one it is.
            again: see ``Terms.again``, which it replaces.
        """
        terms = self._around.terms()
        allowed = terms.allowed | self._approvals.allowances(digest)
        left = [refusal for refusal in refusals if refusal.allowance not in allowed]
        if not left:
            return None
        needed = allowed.union(refusal.allowance for refusal in left)
        command = override_command(again or terms.again, self._name, needed)
        return RefusedError(
            f"refused: {'; '.join(refusal.message for refusal in left)}",
            hint=f"if that is meant: `{command}`",
        )
