"""A clock that goes on while the machine sleeps, and that nobody sets."""

from __future__ import annotations

import time

COUNTS_SLEEP = hasattr(time, "CLOCK_BOOTTIME")
"""Whether ``awake_or_not_s`` does on this system; else a sleep is left out."""


def awake_or_not_s() -> float:
    """Seconds that only grow, those that the machine sleeps included.

    What became due meanwhile is done soon after the machine wakes, and a wall clock that is set
    changes nothing.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if clock is None else time.clock_gettime(clock)
