"""Files that another program holds: tried again for a while, then waited for or left alone."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from torsync.model.errors import InterruptedByUserError, LockedError, TreeError

if TYPE_CHECKING:
    from collections.abc import Callable

_HELD = {errno.EBUSY, errno.ETXTBSY}
_HELD_ON_WINDOWS = {5, 32, 33}  # access denied, sharing violation, lock violation
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)

T = TypeVar("T")


def _wait_no_longer(_seconds: float) -> bool:
    return False


@dataclass(frozen=True)
class Patience:
    """What a commit does about files that another program holds.

    Attributes:
        wait: sleeps so many seconds, True if the work shall stop.
        skips: whether such a file is left for the next time in the end, and the rest goes on.
    """

    wait: Callable[[float], bool] = _wait_no_longer
    skips: bool = False

    def attempt(self, path: str, work: Callable[[], T]) -> T | None:
        """Do something to a file, again and again if it is held.

        Args:
            path: of the file, for the message.
            work: to do; it has done nothing when it fails.

        Returns:
            What ``work`` gave; None if the file is still held, and left alone.

        Raises:
            LockedError: it is still held, and the rest waits with it.
            InterruptedByUserError: the work shall stop.
            OSError: ``work`` failed for another reason.
        """
        for wait_s in (*_WAITS_S, None):
            try:
                return work()
            except (OSError, TreeError) as error:
                if not _is_held(error):
                    raise
            if wait_s is not None and self.wait(wait_s):
                raise InterruptedByUserError("stopped while another program held a file")
        if self.skips:
            return None
        raise LockedError(
            f"{path!r} is held by another program",
            path=path,
            hint="close that program: the update is ready, and goes on at the next check; with "
            'on_locked = "skip" it goes on without that file',
        )


def _is_held(error: Exception) -> bool:
    cause = error if isinstance(error, OSError) else error.__cause__
    number = getattr(cause, "errno", None)
    return number in _HELD or getattr(cause, "winerror", None) in _HELD_ON_WINDOWS
