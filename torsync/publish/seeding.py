"""The release of a publication in the session: never written to, and only what is right of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.model.errors import SwarmError, TorsyncError, TreeError
from torsync.model.events import Level
from torsync.subscribe.fetch import tell_failures
from torsync.subscribe.sharing_meter import SharingMeter

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Surroundings, Voice
    from torsync.swarm.torrent import Torrent

_MOST_IDLE_CALLS = 20
"""So often may nothing have been sent since the call before, though somebody wants something."""


class SeededRelease:
    """One release in the session.

    libtorrent cannot take back a claim: to withdraw a file, the torrent leaves the session, and
    enters it again without that file's pieces. Its peers are handed over.
    """

    def __init__(
        self,
        config: PublicationConfig,
        release: PublishedRelease,
        root: Path,
        around: Surroundings,
        voice: Voice,
    ) -> None:
        """Prepare; nothing is in the session yet.

        Args:
            config: of the publication.
            release: to seed.
            root: the folder that its files are in.
            around: gives the session.
            voice: says what trackers say.
        """
        self.release = release
        self.root = root
        self.withdrawn: frozenset[str] = frozenset()
        self._config = config
        self._around = around
        self._voice = voice
        self._torrent: Torrent | None = None
        self._peers: tuple[tuple[str, int], ...] = ()
        self._super_seeding = False
        self._is_sent_once = False
        self._sent = self._idle_calls = 0
        self._sharing = SharingMeter(voice)

    @property
    def torrent(self) -> Torrent | None:
        """In the session; None if it is not."""
        return self._torrent

    @property
    def is_in(self) -> bool:
        """Whether all that can be seeded is in the session."""
        return self._torrent is not None or not self.release.manifest.num_pieces

    def enter(self, withdrawn: Collection[str] = ()) -> None:
        """Seed the release, but for some files; whatever was seeded of it before is replaced.

        Args:
            withdrawn: paths.

        Raises:
            SwarmError: the session refuses.
        """
        self.leave()
        manifest = self.release.manifest
        self.withdrawn = frozenset(withdrawn) & manifest.by_path.keys()
        if not manifest.num_pieces:
            return
        from torsync.swarm.seed_request import seed_request  # noqa: PLC0415 - libtorrent, when needed

        metainfo = self.release.metainfo
        request = seed_request(
            lambda: metainfo,
            manifest,
            str(self.root),
            bytes(file.path not in self.withdrawn for file in manifest.files),
            peers=() if manifest.private else self._peers,
            use_web_seeds=False,
        )
        if request is None:
            self._voice.notice(
                Level.WARNING,
                "not_seeded",
                "nothing is seeded until the next release: some files have changed, and this "
                "system has no place that keeps peers from writing into them",
            )
            return
        self._torrent = self._around.pool().add(request)
        if self._super_seeding:
            self._torrent.super_seed()

    def go_public(self) -> None:
        """Seed as the configuration says: before, everybody gets every piece, to see it works."""
        if self._config.super_seeding and not self._super_seeding and not self._is_sent_once:
            self._super_seeding = True
            if self._torrent is not None:
                self._torrent.super_seed()

    def share_out(self) -> None:
        """End super-seeding once everything was sent, to be called every second or so.

        It also ends if it does not work out: to peers that do not say what they have got,
        libtorrent 2.1.1 gives a piece every ten seconds, however much they want.

        Raises:
            SwarmError: the session refuses.
        """
        if not self._super_seeding or self._torrent is None:
            return
        sent = self._torrent.progress().payload_uploaded
        if sent == self._sent and self._torrent.is_wanted():
            self._idle_calls += 1
        self._sent = sent
        if self._idle_calls >= _MOST_IDLE_CALLS or self._torrent.is_sent_once():
            self._super_seeding, self._is_sent_once = False, True
            self.enter(self.withdrawn)

    def follow(self, release: PublishedRelease) -> None:
        """Take a release with the same content for the one that is seeded: its trackers."""
        is_other = self.release.manifest.trackers != release.manifest.trackers
        self.release = release
        if is_other and self._torrent is not None:
            self._torrent.replace_sources(release.manifest.trackers, ())

    def leave(self) -> None:
        """Leave the session, and wait until the files are closed.

        Raises:
            SwarmError: libtorrent did not let go of the files.
        """
        if self._torrent is not None:
            torrent, self._torrent = self._torrent, None
            self._peers = torrent.listening_peers() or self._peers
            torrent.remove()

    def failed_file(self) -> tuple[str, TorsyncError] | None:
        """A file that libtorrent could not read, by its path in the release, and the error.

        Raises:
            SwarmError: the torrent as a whole cannot go on.
        """
        if self._torrent is None:
            return None
        tell_failures(self._voice, self._torrent)
        self._sharing.tell(self._torrent)
        try:
            self._torrent.raise_failure()
        except TreeError as error:
            path = os.path.relpath(error.path, self.root)
            if path not in self.release.manifest.by_path:
                raise SwarmError(error.message, hint=error.hint) from error
            return path, error
        return None
