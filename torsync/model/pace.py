"""How fast work goes of late, and how long the rest takes; pure."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 5.0
_STEP_S = 0.25


class Pace:
    """Looks at the last few seconds, so that a cold disk after a warm cache is soon noticed."""

    def __init__(self, now_s: float) -> None:
        """Begin with nothing done; times are of any clock that does not go back."""
        self._marks = deque([(now_s, 0)])
        self._now_s = now_s
        self._done = 0

    def add(self, now_s: float, done: int) -> None:
        """Note how much has been done in all by now."""
        self._now_s, self._done = now_s, done
        if now_s - self._marks[-1][0] >= _STEP_S:
            self._marks.append((now_s, done))
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= _WINDOW_S:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """What is done per second; 0 while unknown."""
        begin_s, before = self._marks[0]
        passed_s = self._now_s - begin_s
        return (self._done - before) / passed_s if passed_s > 0 else 0.0

    def time_left_s(self, total: int) -> float | None:
        """Seconds until ``total`` is done; None while unknown."""
        rate = self.rate
        return max(total - self._done, 0) / rate if rate > 0 else None
