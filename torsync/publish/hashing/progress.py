"""How far hashing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.model.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torsync.publish.hashing.jobs import Work

_TELL_EVERY_S = 0.05


class HashProgress(NamedTuple):
    """How far hashing is.

    Attributes:
        path: the file that it is at.
        rate: bytes a second, of late.
        eta_s: seconds left; None while that is not known.
    """

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    path: str
    rate: int
    eta_s: float | None


class Meter:
    """Tells how far hashing is, not too often."""

    def __init__(
        self,
        works: Sequence[Work],
        progress: Callable[[HashProgress], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._progress = progress
        self._clock_s = clock_s
        self._bytes_total = sum(work.content_bytes for work in works)
        self._files_total = sum(_files_ended(work) for work in works)
        self._bytes_done = self._files_done = 0
        self._told_s = 0.0
        self._pace = Pace(clock_s())
        self._tell("")

    def add(self, work: Work) -> None:
        """Note that a job is done."""
        self._bytes_done += work.content_bytes
        self._files_done += _files_ended(work)
        now_s = self._clock_s()
        if now_s - self._told_s >= _TELL_EVERY_S or self._bytes_done == self._bytes_total:
            self._told_s = now_s
            self._tell(_last_path(work))

    def _tell(self, path: str) -> None:
        self._pace.add(self._clock_s(), self._bytes_done)
        self._progress(
            HashProgress(
                self._bytes_done,
                self._bytes_total,
                self._files_done,
                self._files_total,
                path,
                round(self._pace.rate),
                self._pace.time_left_s(self._bytes_total),
            )
        )


def _files_ended(work: Work) -> int:
    """How many files end in a job: as good a count of files as any."""
    return sum(1 for path, size, at, length, _ in work.job[2] if path and at + length == size)


def _last_path(work: Work) -> str:
    return next(read[0] for read in reversed(work.job[2]) if read[0])
