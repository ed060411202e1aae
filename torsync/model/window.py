"""The hours in which a subscription may be updated."""

from __future__ import annotations

from typing import NamedTuple

DAY_S = 86_400


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

    def closes_in_s(self, day_s: float) -> float:
        """Seconds until it closes; 0 if it is closed."""
        return (self.ends_s - day_s) % DAY_S if self.is_open(day_s) else 0.0

    def __str__(self) -> str:
        return "-".join(f"{at // 3600:02}:{at % 3600 // 60:02}" for at in self)
