"""How peers are called: by TCP first, and by uTP (BEP 29) where that does not get through.

libtorrent tries uTP first wherever it may use it at all. TCP is faster in fast networks, and as
fast in slow ones, so peers should be reached by it if they can. But between two machines behind
NAT or a firewall that lets nobody in, only UDP gets through: both call from the port that they
are called at, and what one sends opens the way for the other (also by BEP 55, hole punching).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_SETTING = "enable_outgoing_utp"
TCP_FIRST_S = 1.5
"""So long TCP alone is used after a torrent was added; in seconds."""


class Calling:
    """Decides when a session may call by uTP."""

    def __init__(self, apply: Callable[[bool], None], configured: Collection[str]) -> None:
        """Prepare; the session does not call by uTP yet, unless it is configured to.

        Args:
            apply: sets whether it may.
            configured: the settings that the configuration decides.
        """
        self._apply = apply
        self._is_ours = _SETTING not in configured
        self._due_s: float | None = None

    def added(self, now_s: float) -> None:
        """A torrent is about to be added: its peers are called by TCP first."""
        if self._is_ours:
            self._apply(False)
            self._due_s = now_s + TCP_FIRST_S

    def look(self, now_s: float) -> None:
        """See whether it is time for uTP, to be called several times a second."""
        due_s = self._due_s
        if due_s is not None and now_s >= due_s:
            self._due_s = None
            self._apply(True)
