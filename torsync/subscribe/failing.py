"""Leaving word of a failure: in the state for ``status``, and with whoever wants to be told."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, TreeError, is_mistake, is_same_failure
from torsync.model.secrets import Redactor, secrets_of, secrets_of_environment

if TYPE_CHECKING:
    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.reports import CheckReport, VerifyReport
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings


def note_failure(
    config: SubscriptionConfig, state: TreeState, around: Surroundings, error: TorsyncError
) -> None:
    """Note a failure as the last one; of the same one people are told only once in a row.

    What a person asked for and cannot have is none: the subscription is as it was.

    What is secret goes out of the error itself.

    A state that cannot be written is no further failure.
    """
    redact(config, error)
    if is_mistake(error):
        return
    before = ""
    with suppress(TorsyncError):
        before = state.get("last_error")
        state.put(last_error=error.message, last_error_hint=error.hint)
    if not is_same_failure(before, error.message):
        around.hooks.failed(config, error)


def unreadable_error(report: CheckReport | VerifyReport) -> TreeError | None:
    """The failure that files could not be read, if some could not."""
    if not report.unreadable:
        return None
    paths = ", ".join(repr(path) for path in report.unreadable[:3])
    count = len(report.unreadable)
    what = "1 file or folder" if count == 1 else f"{count} files or folders"
    first = f": {paths}" if count <= 3 else f", the first: {paths}"
    return TreeError(
        f"{what} could not be read{first}",
        path=report.unreadable[0],
        hint="make it readable; it is left alone until then"
        if count == 1
        else "make them readable; they are left alone until then",
    )


def redact(config: SubscriptionConfig | PublicationConfig, error: TorsyncError) -> None:
    """Take what is secret, by the configuration or the environment, out of an error's text."""
    secrets = secrets_of(config, os.environ) | secrets_of_environment(os.environ)
    Redactor(secrets).hide_in(error)
