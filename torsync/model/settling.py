"""When edits in a watched folder lead to a release; pure, with times of any clock that only grows.

A release is due when nothing was edited for the settle time, so that a copy that is under way ends
up in one release. A folder that changes all the time never settles: it is released nevertheless,
but rarely, so that subscribers get something and hashing does not take the machine.
"""

from __future__ import annotations

_FORCED_SETTLES = 10
_LEAST_FORCED_S = 10.0
_REST_PER_COST = 1.0
_FORCED_REST_PER_COST = 9.0
_FIRST_RETRY_S = 10.0
_LAST_RETRY_S = 600.0


class Settling:
    """What was edited since the last release, and when the next one is due."""

    def __init__(self, settle_s: float) -> None:
        """Begin without edits.

        Args:
            settle_s: seconds without an edit before a release.
        """
        self._settle_s = settle_s
        self._first_s: float | None = None
        self._begun_s: float | None = None
        self._last_s = 0.0
        self._ended_s = float("-inf")
        self._cost_s = 0.0
        self._failures = 0

    @property
    def is_edited(self) -> bool:
        """Whether there are edits that no release has."""
        return self._first_s is not None

    def is_settled(self, now_s: float) -> bool:
        """Whether nothing was edited for the settle time."""
        return self._first_s is None or now_s >= self._last_s + self._settle_s

    def edited(self, now_s: float) -> None:
        """Note an edit."""
        if self._first_s is None:
            self._first_s = now_s
        self._last_s = max(self._last_s, now_s)

    def begun(self) -> None:
        """Note that a release is begun: what is edited from now on is not in it."""
        self._begun_s, self._first_s = self._first_s, None

    def ended(self, began_s: float, now_s: float, *, failed: bool = False) -> None:
        """Note that a try to release has ended.

        Args:
            began_s: when it began.
            now_s: when it ended.
            failed: whether it has to be tried again, without a further edit.
        """
        self._ended_s, self._cost_s = now_s, now_s - began_s
        self._failures = self._failures + 1 if failed else 0
        if failed and self._first_s is not None and self._begun_s is not None:
            self._first_s = self._begun_s  # edited before, and while it was made: it never settles

    def due_s(self) -> float | None:
        """When the next release is due; None if nothing was edited and nothing failed."""
        due: list[float] = []
        if self._failures:
            due.append(self._ended_s + self._retry_s())
        if self._first_s is not None:
            settled = max(
                self._last_s + self._settle_s, self._ended_s + _REST_PER_COST * self._cost_s
            )
            forced = max(
                self._first_s + max(_FORCED_SETTLES * self._settle_s, _LEAST_FORCED_S),
                self._ended_s + _FORCED_REST_PER_COST * self._cost_s,
                self._ended_s + (2.0 ** min(self._failures, 10) if self._failures else 0.0),
            )
            due.append(min(settled, forced))
        return min(due, default=None)

    def _retry_s(self) -> float:
        return float(min(_FIRST_RETRY_S * 2 ** min(self._failures - 1, 10), _LAST_RETRY_S))
