"""Things that are done beside the work, one after the other, so that it need not wait for them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_WAITING = 100
_LOOK_EVERY_S = 0.1


def _never() -> bool:
    return False


class Errands:
    """Does what it is given in order, in a thread that lives while there is something to do.

    All methods may be called from any thread.
    """

    def __init__(self, name: str) -> None:
        """Prepare; ``name`` is the thread's."""
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_busy = False

    def add(self, errand: Callable[[], None]) -> bool:
        """Have something done; False, and it will not be, if a hundred others wait."""
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                return False
            self._waiting.append(errand)
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return True

    def wait(self, seconds: float = math.inf, stopping: Callable[[], bool] = _never) -> bool:
        """Wait until all is done; False if that takes longer, or ``stopping`` said so."""
        ends_s = time.monotonic() + seconds
        with self._changed:
            while self._is_busy:
                left_s = ends_s - time.monotonic()
                if left_s <= 0 or stopping():
                    return False
                self._changed.wait(min(left_s, _LOOK_EVERY_S))
        return True

    def _work(self) -> None:
        try:
            while (errand := self._take()) is not None:
                errand()
        except BaseException:  # in a way that nobody foresaw: the next is begun anew
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
            raise

    def _take(self) -> Callable[[], None] | None:
        """Take the next one. If there is none, this ends, and whoever adds one knows that."""
        with self._changed:
            if self._waiting:
                return self._waiting.popleft()
            self._is_busy = False
            self._changed.notify_all()
        return None
