"""Keep the synced release in the swarm, from where its files are."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from torsync.model.assess import Here, assess
from torsync.model.events import Stage
from torsync.model.placement import place_for_seeding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings, Voice
    from torsync.subscribe.tree import Tree
    from torsync.swarm.torrent import Torrent


class Seeding:
    """The torrent that a subscription has in the session between updates, if any."""

    def __init__(
        self,
        config: SubscriptionConfig,
        tree: Tree,
        state: TreeState,
        releases: Releases,
        around: Surroundings,
        voice: Voice,
    ) -> None:
        self._config = config
        self._tree = tree
        self._state = state
        self._releases = releases
        self._around = around
        self._voice = voice
        self._torrent: Torrent | None = None
        self._seeded: Release | None = None
        self._met: tuple[tuple[str, int], ...] = ()

    def peers(self) -> tuple[tuple[str, int], ...]:
        """Peers to try: those met in earlier swarms of this subscription, and the configured."""
        return (*self._met, *_resolve(self._config.peers))

    def remember_peers(self, peers: tuple[tuple[str, int], ...]) -> None:
        """Note peers that were met while a release was fetched."""
        self._met = peers or self._met

    def resume(self) -> None:
        """Seed what the ledger vouches for of the synced release; nothing is hashed.

        Raises:
            TorsyncError: the tree cannot be looked at, or the session refuses.
        """
        if self._torrent is not None or not self._is_wanted():
            return
        release = self._releases.synced()
        if release is not None:
            ledger = self._state.load_ledger()
            assessment = assess(
                release.manifest, self._tree.scan(), ledger, keep=lambda _path: False
            )
            self.start(release, bytes(here is Here.RIGHT for here in assessment.here))

    def start(self, release: Release, right: bytes) -> None:
        """Seed a release; one that is in the session already gets its trackers and web seeds.

        Args:
            release: with the content that the tree has.
            right: one byte per file, 1 if the tree has it.

        Raises:
            SwarmError: the session refuses.
        """
        if not self._is_wanted():
            return
        manifest = release.manifest
        if self._torrent is not None:
            if self._seeded is not None and self._seeded.digest != release.digest:
                self._torrent.replace_sources(
                    manifest.trackers, (*manifest.web_seeds, *self._config.web_seeds)
                )
            self._seeded = release
            return
        from torsync.swarm.torrent import AddRequest  # noqa: PLC0415 - libtorrent, when needed

        placement = place_for_seeding(manifest, right)
        self._torrent = self._around.pool().add(
            AddRequest(
                metainfo=release.body,
                save_path=str(self._tree.root),
                paths=tuple(file.path for file in manifest.files),
                sizes=tuple(file.size for file in manifest.files),
                have=placement.have,
                wanted=placement.wanted,
                peers=self.peers(),
                web_seeds=self._config.web_seeds,
            )
        )
        self._seeded = release
        self._voice.stage(Stage.SEEDING)

    def stop(self) -> None:
        """Leave the swarm, and wait until the files are closed; its peers are remembered.

        Raises:
            SwarmError: libtorrent did not let go of the files.
        """
        if self._torrent is not None:
            torrent, self._torrent, self._seeded = self._torrent, None, None
            self.remember_peers(torrent.listening_peers())
            torrent.remove()

    def _is_wanted(self) -> bool:
        return self._around.seed and self._config.seed and not self._around.stopping()


def _resolve(peers: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Look up host names; those that cannot be found are left out this time."""
    found: list[tuple[str, int]] = []
    for host, port in peers:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        found.extend((str(answer[4][0]), port) for answer in answers)
    return tuple(dict.fromkeys(found))
