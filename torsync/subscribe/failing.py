"""Leaving word of a failure: in the state for ``status``, and with whoever wants to be told."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, is_same_failure

if TYPE_CHECKING:
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings


def note_failure(
    config: SubscriptionConfig, state: TreeState, around: Surroundings, error: TorsyncError
) -> None:
    """Note a failure as the last one; of the same one people are told only once in a row.

    A state that cannot be written is no further failure.
    """
    before = ""
    with suppress(TorsyncError):
        before = state.get("last_error")
        state.put(last_error=error.message, last_error_hint=error.hint)
    if not is_same_failure(before, error.message):
        around.hooks.failed(config, error)
