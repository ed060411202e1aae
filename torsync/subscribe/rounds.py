"""When a fetch has its torrent leave the session and enter it again; pure decisions.

libtorrent 2.1.1 bans honest peers that had a part in a piece with wrong content, and forgets that
only so. And a web seed (BEP 19) that answers without end holds what was asked of it for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.subscribe.arrivals import Arrivals

_FIRST_S = 5.0
_LAST_S = 300.0
_WITHOUT_FAILURES = 6
# Small files cost some hundred bytes of headers each.
_MOST_OVERHEAD_BYTES = 64 * 1024**2
_OVERHEAD_FACTOR = 4


class Why(Enum):
    """Why the torrent is to be added again; the value is what a person is told."""

    WRONG_CONTENT = (
        "pieces arrived with wrong content, and then nothing more: all peers are asked again, as "
        "honest ones may have been banned with whoever sent that"
    )
    HELD = "peers and web seeds are connected, and nothing arrives: it is tried without web seeds"
    FLOODED = "a web seed sends what is no content, without end: it is tried without web seeds"
    WITHOUT_WEB_SEEDS = "nothing arrives without web seeds: they are used again"


@dataclass(frozen=True, slots=True)
class Situation:
    """A moment of a fetch.

    Attributes:
        hash_failures: pieces with wrong content, in all rounds.
        peers: that are connected, web seeds included.
        web_seeds: whether libtorrent has any.
        payload_bytes: received in this round.
        overhead_bytes: received besides them.
    """

    hash_failures: int
    peers: int
    web_seeds: bool
    payload_bytes: int
    overhead_bytes: int


@dataclass
class Rounds:
    """The times that one fetch has its torrent in the session.

    Attributes:
        arrivals: of all rounds.
        hash_failures: in the rounds before.
        use_web_seeds: in this round.
    """

    arrivals: Arrivals
    hash_failures: int = 0
    use_web_seeds: bool = True
    _patience_s: float = _FIRST_S

    def why_again(self, now: Situation, now_s: float) -> Why | None:
        """Decide whether another round shall begin, and why."""
        quiet_s = self.arrivals.quiet_s(now_s)
        most_bytes = _MOST_OVERHEAD_BYTES + _OVERHEAD_FACTOR * now.payload_bytes
        if now.web_seeds and now.overhead_bytes > most_bytes:
            return Why.FLOODED
        if quiet_s <= self._patience_s:
            return None
        if now.hash_failures > self.hash_failures:
            return Why.WRONG_CONTENT
        if not self.use_web_seeds:
            return Why.WITHOUT_WEB_SEEDS
        if now.web_seeds and now.peers > 1 and quiet_s > _WITHOUT_FAILURES * self._patience_s:
            return Why.HELD
        return None

    def begin_next(self, why: Why | None, now_s: float, *, brought_pieces: bool) -> None:
        """Another round begins; rounds that bring nothing become longer.

        Args:
            why: None if for another reason than the peers.
            now_s: the time.
            brought_pieces: whether the last one did.
        """
        longer_s = min(2 * self._patience_s, _LAST_S)
        self._patience_s = _FIRST_S if brought_pieces else longer_s
        if why is not None:
            self.use_web_seeds = not self.use_web_seeds
        self.arrivals.begin_round(now_s)
