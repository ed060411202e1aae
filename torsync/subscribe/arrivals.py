"""Whether what a fetch waits for still arrives; times in seconds of a clock that only grows."""

from __future__ import annotations


class Arrivals:
    """Tells silence from progress, over several rounds of one fetch.

    Progress is a block (BEP 3) that was missing. What nobody asked for and what is thrown away
    is none, and neither is a byte now and then: one peer could go on like that for ever.
    """

    def __init__(self, now_s: float) -> None:
        """Begin a fetch; ``now_s`` is the time."""
        self._moved_s = self._began_s = now_s
        self._known_bytes: int | None = None

    def begin_round(self, now_s: float) -> None:
        """The torrent enters the session again, which is no progress."""
        self._began_s = now_s
        self._known_bytes = None

    def look(self, bytes_done: int, now_s: float) -> bool:
        """Take note of how many of the wanted bytes are there, in whole blocks.

        Returns:
            Whether there is progress. A piece that is thrown away makes them fewer.
        """
        is_progress = self._known_bytes is not None and bytes_done > self._known_bytes
        self._known_bytes = bytes_done
        if is_progress:
            self._moved_s = now_s
        return is_progress

    def quiet_s(self, now_s: float) -> float:
        """For how long there was no progress in this round."""
        return now_s - max(self._moved_s, self._began_s)

    def silent_s(self, now_s: float) -> float:
        """For how long there was no progress."""
        return now_s - self._moved_s
