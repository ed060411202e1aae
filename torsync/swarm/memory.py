"""Memory that libtorrent has freed, and that the C library keeps for later."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def return_freed_memory() -> None:
    """Give it back to the system: after a torrent of many files that is a third of all there is.

    Only glibc keeps so much, and can be asked to.
    """
    trim = _find_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _find_trim() -> Callable[[int], object] | None:
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found
