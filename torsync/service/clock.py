"""The service's clock."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def awake_or_not_s() -> float:
    """Seconds that only grow, those that the machine sleeps included.

    What became due meanwhile is done soon after the machine wakes, and a wall clock that is set
    changes nothing.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def iso_time(at_s: float) -> str:
    """Show a time, given in Unix seconds, as ISO 8601 has it: UTC, to the millisecond."""
    at = datetime.fromtimestamp(at_s, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
