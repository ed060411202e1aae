"""What must hold whatever somebody sends: an error of torsync's own, short and soon."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torsync.model.errors import ConfigError, ExitCode, TorsyncError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_MESSAGE_CHARACTERS = 10_000
SLOWEST_S = 5.0
"""Processor time for a few kilobytes: a thousand times what they take."""


class Outcome:
    """How an attempt ended; ``error`` is None if it succeeded."""

    error: TorsyncError | None = None


@contextmanager
def judged(*, limit_s: float = SLOWEST_S) -> Iterator[Outcome]:
    """Let the errors pass that torsync reports; whatever else is raised is a fault.

    Args:
        limit_s: the most processor time that may be spent inside.
    """
    outcome = Outcome()
    began_s = time.process_time()
    try:
        yield outcome
    except TorsyncError as error:
        check_error(error)
        outcome.error = error
    spent_s = time.process_time() - began_s
    assert spent_s < limit_s, f"{spent_s:.1f} s were spent"


def check_error(error: TorsyncError) -> None:
    """Assert that an error can be shown to a person, on a terminal and as JSON."""
    problems = error.problems if isinstance(error, ConfigError) else ()
    assert error.message
    assert error.code
    assert error.exit_code is not ExitCode.OK
    for text in (error.message, error.hint, *problems):
        assert len(text) < MOST_MESSAGE_CHARACTERS, f"{len(text)} characters: {text[:200]!r}"
        text.encode()
