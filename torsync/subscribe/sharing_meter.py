"""Says what is sent to peers while nothing is fetched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from torsync.model.events import Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.subscribe.surroundings import Voice
    from torsync.swarm.torrent import Torrent

_ASK_S = 2.0
_ASK_WITHOUT_PEERS_S = 10.0


class SharingMeter:
    """Tells of one torrent that is seeded, now and then, however often it is called.

    With hundreds of torrents, asking the session and telling everyone is what costs.
    """

    def __init__(self, voice: Voice, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            voice: says it.
            clock: gives seconds that only grow.
        """
        self._voice = voice
        self._clock = clock
        self._torrent: Torrent | None = None
        self._asks_s = 0.0

    def tell(self, torrent: Torrent) -> None:
        """Say how it is going, if that was not said just now."""
        now_s = self._clock()
        if torrent is self._torrent and now_s < self._asks_s:
            return
        self._torrent = torrent
        found = torrent.progress()
        self._asks_s = now_s + (_ASK_S if found.peers else _ASK_WITHOUT_PEERS_S)
        self._voice.sink(
            Progress(
                self._voice.name,
                Stage.SEEDING,
                download_rate=found.download_rate,
                upload_rate=found.upload_rate,
                peers=found.peers,
                bytes_received=found.payload_downloaded,
                bytes_sent=found.payload_uploaded,
            )
        )

    def again(self) -> None:
        """Say it at the next call: other things were said since."""
        self._asks_s = 0.0
