"""Keep the synced release in the swarm, from where its files are."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, TreeError
from torsync.model.events import Stage
from torsync.model.patterns import nothing, selector
from torsync.model.stored import fits, load_json
from torsync.subscribe.sharing_meter import SharingMeter
from torsync.subscribe.unchanged import is_unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torsync.disk.tree import Tree
    from torsync.model.config import SubscriptionConfig
    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import LedgerRow
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings, Voice
    from torsync.swarm.torrent import Torrent


_LOOK_EVERY_S = 10.0
_MOST_PEERS = 50
_MOST_NODES = 10


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
        self._right = b""
        self._looks_s = 0.0
        self._met = _load_peers(state.get("peers"))
        self._sharing = SharingMeter(voice)

    def peers(self, manifest: Manifest) -> tuple[tuple[str, int], ...]:
        """Peers to try: those met in earlier swarms of this subscription, and the configured.

        A torrent without trackers names where others begin (BEP 5): its publisher, for one. A
        private torrent's swarm is its tracker's to make known (BEP 27).
        """
        met = () if manifest.private else self._met
        named = () if manifest.private or manifest.trackers else manifest.nodes[:_MOST_NODES]
        return (*met, *_resolve((*self._config.peers, *named)))

    def remember_peers(self, peers: tuple[tuple[str, int], ...]) -> None:
        """Note peers that were met while a release was fetched."""
        if peers and peers != self._met:
            self._met = peers[:_MOST_PEERS]
            self._state.put(peers=json.dumps(self._met))

    def resume(self) -> None:
        """Seed what the ledger vouches for of the synced release; nothing is hashed.

        Raises:
            TorsyncError: the tree cannot be looked at, or the session refuses.
        """
        if self._torrent is not None or not self._is_wanted() or not self._tree.is_current():
            return
        release = self._releases.synced()
        if release is not None:
            self.start(release, self._vouched(release, self._state.load_ledger()))

    def heed(self) -> None:
        """See to the torrent between checks: what fails is told, what changed is withdrawn.

        A file that was edited behind torsync's back poisons the swarm: peers ban an honest
        seeder for it. The tree is looked at now and then, by stat, for at most a hundredth of
        the time.

        Raises:
            TorsyncError: the tree needs a check; nothing is seeded until then.
        """
        if self._torrent is None or self._seeded is None:
            return
        from torsync.subscribe.fetch import tell_failures  # noqa: PLC0415 - not needed where nothing has changed

        tell_failures(self._voice, self._torrent)
        self.tell()
        try:
            self._torrent.raise_failure()
            began = time.monotonic()
            if began < self._looks_s:
                return
            if self._is_as_it_was(self._seeded):
                self._looks_s = began + _look_again_s(time.monotonic() - began)
                return
            ledger = self._state.load_ledger()
            seen = {path: row.as_seen() for path, row in ledger.items()}
            vouched = self._vouched(self._seeded, seen)
            self._looks_s = began + _look_again_s(time.monotonic() - began)
            if any(was and not now for was, now in zip(self._right, vouched, strict=True)):
                raise TreeError(
                    "files changed that were being seeded; they are withdrawn and looked at",
                    path=str(self._tree.root),
                )
        except TorsyncError:
            self.stop()
            raise

    def tell(self) -> None:
        """Say how it is going, if anything is seeded."""
        if self._torrent is not None:
            self._sharing.tell(self._torrent)

    def _is_as_it_was(self, release: Release) -> bool:
        """Whether stat alone tells that all of a release is right; nothing is written for that."""
        seal = self._state.load_seal()
        if seal is None or seal.body != release.digest or 0 in self._right:
            return False
        return self._tree.is_current() and is_unchanged(
            self._tree, self._state.load_seen(), beside=frozenset(seal.beside)
        )

    def _vouched(self, release: Release, ledger: Mapping[str, LedgerRow]) -> bytes:
        """One byte per file of a release, 1 where stat and ledger say that it is right."""
        from torsync.model.assess import assess  # noqa: PLC0415 - costs start-up time
        from torsync.model.assessment import Here  # noqa: PLC0415 - not needed where nothing has changed

        index = self._tree.scan()
        assessment = assess(
            release.manifest, index, ledger, keep=nothing, select=selector(self._config.select)
        )
        return bytes(here is Here.RIGHT for here in assessment.here)

    def keep_up(self, release: Release) -> None:
        """Seed a release that the tree has all of that is selected.

        It is parsed only if it isn't seeded yet, or if files are left out.

        Raises:
            SwarmError: the session refuses.
        """
        self._sharing.again()
        if not self._is_wanted():
            return
        seeded = self._seeded.digest if self._torrent is not None and self._seeded else ""
        if seeded != release.digest or 0 in self._right:
            right = b"\1" * len(release.manifest.files)
            if self._config.select:
                right = self._vouched(release, self._state.load_ledger())
            self.start(release, right)

    def start(self, release: Release, right: bytes) -> None:
        """Seed a release; if it is in the session already, with its newest sources and claims.

        Args:
            release: with the content that the tree has.
            right: one byte per file, 1 if the tree has it.

        Raises:
            SwarmError: the session refuses.
        """
        if not self._is_wanted():
            return
        manifest = release.manifest
        self._voice.topic.release = manifest.name
        if not manifest.num_pieces:
            return
        if self._torrent is not None and self._seeded is not None:
            same = self._seeded.manifest.info_hash == manifest.info_hash and self._right == right
            if same and self._seeded.digest != release.digest:
                self._torrent.replace_sources(
                    manifest.trackers, (*manifest.web_seeds, *self._config.web_seeds)
                )
            if same:
                self._seeded = release
                return
            self.stop()
        from torsync.swarm.seed_request import seed_request  # noqa: PLC0415 - libtorrent, when needed

        request = seed_request(
            release.read,
            manifest,
            str(self._tree.root),
            right,
            peers=self.peers(manifest),
            web_seeds=self._config.web_seeds,
        )
        if request is None:
            return
        self._torrent = self._around.pool().add(request)
        self._seeded, self._right = release, right
        self._looks_s = time.monotonic() + _LOOK_EVERY_S
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


def _look_again_s(took_s: float) -> float:
    return max(_LOOK_EVERY_S, 100 * took_s)


def addresses_of(host: str) -> tuple[str, ...]:
    """Look up a host name; nothing if it cannot be found now."""
    return tuple(address for address, _ in _resolve([(host, 0)]))


def _load_peers(text: str) -> tuple[tuple[str, int], ...]:
    found = load_json(text)
    peers = found if isinstance(found, list) else []
    return tuple(
        (host, port) for host, port in filter(_is_peer, peers) if 0 < port < 65536 and host
    )


def _is_peer(found: object) -> bool:
    return fits(found, str, int)


def _resolve(peers: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Look up host names; those that cannot be found are left out this time."""
    found: list[tuple[str, int]] = []
    for host, port in peers:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # the latter of what is no name: it may be a torrent's
            continue
        found.extend((str(answer[4][0]), port) for answer in answers)
    return tuple(dict.fromkeys(found))
