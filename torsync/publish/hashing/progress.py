"""How far hashing is, or other work on files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from torsync.model.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class Counted(Protocol):
    """Work that can be counted."""

    content_bytes: int

    @property
    def paths(self) -> Sequence[str]:
        """The files that it reads, in order."""

    @property
    def files_ended(self) -> int:
        """How many files are done with it."""


class Meter:
    """Tells how far hashing is, not too often."""

    def __init__(
        self,
        works: Sequence[Counted],
        progress: Callable[[HashProgress], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._progress = progress
        self._clock_s = clock_s
        self._bytes_total = sum(work.content_bytes for work in works)
        self._files_total = sum(work.files_ended for work in works)
        self._bytes_done = self._files_done = 0
        self._told_s = 0.0
        self._pace = Pace(clock_s())
        self._tell("")

    def add(self, work: Counted) -> None:
        """Note that a job is done."""
        self._bytes_done += work.content_bytes
        self._files_done += work.files_ended
        now_s = self._clock_s()
        if now_s - self._told_s >= _TELL_EVERY_S or self._bytes_done == self._bytes_total:
            self._told_s = now_s
            self._tell(work.paths[-1])

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
