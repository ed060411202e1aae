"""The hours in which a subscription may be updated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_S = 86_400
_MOST_STEPS = 10
_EXACT_S = 0.5


class DailyWindow(NamedTuple):
    """A part of every day, in seconds of local time since midnight.

    It contains its begin, and not its end. One that ends before it begins goes over midnight.
    """

    begins_s: int
    ends_s: int

    def is_open(self, day_s: float) -> bool:
        """Whether a time of day, in seconds since midnight, is in it."""
        return (day_s - self.begins_s) % DAY_S < (self.ends_s - self.begins_s) % DAY_S

    def opens_in_s(self, day_s: float) -> float:
        """Seconds until it opens; 0 if it is open."""
        return 0.0 if self.is_open(day_s) else (self.begins_s - day_s) % DAY_S

    def __str__(self) -> str:
        return "-".join(f"{at // 3600:02}:{at % 3600 // 60:02}" for at in self)


def next_opening_in_s(
    window: DailyWindow, now_s: float, to_day_s: Callable[[float], float]
) -> float:
    """Seconds until a window opens, to the second; 0 if it is open.

    The clock may be put forward or back meanwhile: hours that it leaves out do not come on that
    day, and those that it repeats come twice.

    Args:
        window: that is waited for.
        now_s: the time, in Unix seconds.
        to_day_s: gives the seconds since local midnight for a time in Unix seconds.
    """
    at_s = now_s
    for _step in range(_MOST_STEPS):
        day_s = to_day_s(at_s)
        opens_s = at_s + window.opens_in_s(day_s)
        if not _drift_s(at_s, day_s, opens_s, to_day_s):
            return opens_s - now_s
        # The clock is put forward or back before that: see what it says then.
        before_s, at_s = at_s, opens_s
        since_s = before_s
        while at_s - before_s > _EXACT_S:
            middle_s = (before_s + at_s) / 2
            if _drift_s(since_s, day_s, middle_s, to_day_s):
                at_s = middle_s
            else:
                before_s = middle_s
    return at_s - now_s


def _drift_s(
    then_s: float, then_day_s: float, now_s: float, to_day_s: Callable[[float], float]
) -> float:
    """By how much the clock has been put forward, or back below 0, between two times."""
    drift_s = (to_day_s(now_s) - then_day_s - (now_s - then_s) + DAY_S / 2) % DAY_S - DAY_S / 2
    return drift_s if abs(drift_s) > _EXACT_S / 2 else 0.0
