"""The service's clock."""

from __future__ import annotations

import time


def awake_or_not_s() -> float:
    """Seconds that only grow, those that the machine sleeps included.

    What became due meanwhile is done soon after the machine wakes, and a wall clock that is set
    changes nothing.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if clock is None else time.clock_gettime(clock)
