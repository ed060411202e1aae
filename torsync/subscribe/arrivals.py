"""Whether what a fetch waits for still arrives; times in seconds of a clock that only grows."""

from __future__ import annotations

from torsync.model.merkle import BLOCK_SIZE

_LEAST_BYTES = 1024
_LEAST_BYTES_PER_S = 30.0


class Arrivals:
    """Tells silence from progress, over several rounds of one fetch.

    What is thrown away is no progress, and neither are a few bytes now and then: one peer could
    go on like that for ever.
    """

    def __init__(self, patience_s: float | None, now_s: float) -> None:
        """Begin a fetch.

        Args:
            patience_s: for how long less than 30 bytes per second count as silence; at most a
                block (BEP 3) counts as such.
            now_s: the time.
        """
        enough = _LEAST_BYTES_PER_S * patience_s if patience_s is not None else BLOCK_SIZE
        self._enough_bytes = max(_LEAST_BYTES, min(enough, BLOCK_SIZE))
        self._moved_s = now_s
        self._known_bytes = 0

    def begin_round(self) -> None:
        """The torrent enters the session again: what arrives counts from zero."""
        self._known_bytes = 0

    def look(self, useful_bytes: int, now_s: float) -> bool:
        """Take note of what has arrived in this round and was not thrown away.

        Returns:
            Whether that is progress.
        """
        self._known_bytes = min(self._known_bytes, useful_bytes)
        if useful_bytes - self._known_bytes < self._enough_bytes:
            return False
        self._known_bytes, self._moved_s = useful_bytes, now_s
        return True

    def silent_s(self, now_s: float) -> float:
        """For how long there was no progress."""
        return now_s - self._moved_s
