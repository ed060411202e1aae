"""Leaving word of a failure: in the state for ``status``, and with whoever wants to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import is_same_failure
from torsync.subscribe.failing import redact

if TYPE_CHECKING:
    from torsync.model.config import PublicationConfig
    from torsync.model.errors import TorsyncError
    from torsync.publish.state import PublicationState
    from torsync.subscribe.surroundings import Surroundings


def note_failure(
    config: PublicationConfig, state: PublicationState, around: Surroundings, error: TorsyncError
) -> None:
    """Note a failure as the last one; of the same one people are told only once in a row."""
    redact(config, error)
    before, _hint = state.noted_error()
    state.note_error(error.message, error.hint)
    if not is_same_failure(before, error.message):
        around.hooks.publication_failed(config, error)
