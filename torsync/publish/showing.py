"""The release that is public, in the session and in the feed: whole, but for what is withdrawn."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from torsync.model.errors import SwarmError, TorsyncError, TreeError
from torsync.model.events import Level
from torsync.publish.odd_names import names_of_clients
from torsync.publish.seeding import SeededRelease
from torsync.publish.standing import can_be_read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from torsync.disk.stamps import FileStamp
    from torsync.disk.tree import Tree
    from torsync.model.config import PublicationConfig
    from torsync.publish.feed import Feed
    from torsync.publish.hints.file import HintsFile
    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Surroundings, Voice

_MOST_TOLD = 10_000
_NAMED = 3
_MOST_OF_THE_TIME = 10  # entering a session may take a tenth of it


class Showing:
    """Seeds and serves one release of a publication at a time."""

    def __init__(
        self,
        config: PublicationConfig,
        tree: Tree,
        around: Surroundings,
        voice: Voice,
        feed: Feed | None,
        hints: HintsFile,
    ) -> None:
        """Show nothing yet; without ``around.seed`` nothing is ever seeded."""
        self._hints = hints
        self._config = config
        self._tree = tree
        self._around = around
        self._voice = voice
        self._feed = feed
        self._seeded: SeededRelease | None = None
        self._withdrawn: frozenset[str] = frozenset()
        self._unreadable: dict[str, FileStamp | None] = {}
        self._entered_s = float("-inf")
        self._entering_s = 0.0
        self._told: deque[str] = deque(maxlen=_MOST_TOLD)
        self._is_served = False
        self.release: PublishedRelease | None = None

    @property
    def is_seeding(self) -> bool:
        """Whether a torrent is in the session."""
        return self._seeded is not None and self._seeded.torrent is not None

    @property
    def has_lost_clones(self) -> bool:
        """Whether files of the snapshot that is seeded are not what they were."""
        return self.release is not None and bool(self.release.facts.snapshot and self._withdrawn)

    def close(self) -> None:
        """Leave the swarm; the feed keeps what it serves.

        Raises:
            SwarmError: libtorrent did not let go of the files.
        """
        if self._seeded is not None:
            self._seeded.leave()

    def enter(self, release: PublishedRelease) -> SeededRelease | None:
        """Seed a release beside the one that is public; it is the caller's.

        Returns:
            None if nothing is to be seeded, or the content is in the session already.

        Raises:
            SwarmError: the session refuses.
        """
        if not self._around.seed or self._seeds_content_of(release):
            return None
        if (
            self._seeded is not None
            and self._seeded.release.facts.info_hash == release.facts.info_hash
        ):
            self._seeded.leave()  # a session has a torrent once
        seeded = self._seeding_of(release)
        seeded.enter(self._still_unreadable(release))
        return seeded

    def show(
        self,
        release: PublishedRelease,
        withdrawn: Collection[str] = (),
        entered: SeededRelease | None = None,
    ) -> None:
        """Let a release take the place of the one that is seeded and served.

        Args:
            release: that is public.
            withdrawn: paths that are not as they were published.
            entered: what ``enter`` gave for it.

        Raises:
            SwarmError: the session refuses.
        """
        missing = self._still_unreadable(release).union(withdrawn)
        self._serve(release, missing)
        if not self._around.seed:
            return
        if entered is None and not self._seeds_content_of(release):
            entered = self._seeding_of(release)
        if entered is not None:
            old, self._seeded = self._seeded, entered
            if old is not None:
                old.leave()
        assert self._seeded is not None
        self._seeded.follow(release)
        if not self._seeded.is_in or self._seeded.withdrawn != missing:
            self._seeded.enter(missing)
        self._seeded.go_public()

    def _serve(self, release: PublishedRelease, missing: frozenset[str]) -> None:
        before, self.release = self.release, release
        self._voice.topic.release = str(release.facts.number)
        was_missing, self._withdrawn = self._withdrawn, missing
        is_same = before is not None and (before.facts, before.stamps) == (
            release.facts,
            release.stamps,
        )
        if self._feed is None or (self._is_served and is_same and missing == was_missing):
            return
        from torsync.publish.feed import ServedRelease  # noqa: PLC0415 - costs start-up time

        served = ServedRelease(
            metainfo=release.metainfo,
            signature=release.signature,
            info_hash=release.facts.info_hash,
            root_name=release.facts.name,
            root=self._root_of(release),
            stamps=release.stamps,
            hints=self._hints.path if release.manifest.hints else None,
            asked_as=names_of_clients(release),
        )
        self._feed.publish(self._config.name, served, self._hear)
        self._is_served = True
        if missing:
            self._feed.withdraw(self._config.name, missing)

    def _hear(self, _name: str, path: str) -> None:
        """Take note of a file that the feed found edited; called from its threads."""
        self._told.append(path)

    def told(self) -> list[str]:
        """The files that the feed found edited since the last call."""
        return [self._told.popleft() for _ in range(len(self._told))]

    def withdraw(self, paths: Iterable[str]) -> None:
        """Neither seed nor serve some files until the next release.

        Raises:
            SwarmError: the session refuses.
        """
        release = self.release
        news = frozenset(paths) - self._withdrawn
        if release is None or not news:
            return
        if self._feed is not None:
            self._feed.withdraw(self._config.name, news)
        self._withdrawn |= news
        if self._seeded is not None:
            began = time.monotonic()
            if began - self._entered_s < _MOST_OF_THE_TIME * self._entering_s:
                self._seeded.leave()  # of a large tree that is edited all over, nothing for now
            else:
                self._seeded.enter(self._withdrawn)
                self._entered_s = time.monotonic()
                self._entering_s = self._entered_s - began
        first = ", ".join(repr(path) for path in sorted(news)[:_NAMED])
        more = f" and {len(news) - _NAMED:,} more" if len(news) > _NAMED else ""
        self._voice.notice(
            Level.INFO,
            "withdrawn",
            f"not seeded until the next release, as they are not what was published: {first}{more}",
        )

    def go_on(self) -> None:
        """Seed what can be seeded of the release that is public, after the next one has failed.

        Raises:
            SwarmError: the session refuses.
        """
        if self._seeded is not None and not self._seeded.is_in:
            self._seeded.enter(self._withdrawn)

    # --- files that cannot be read ----------------------------------------------------------

    def heed_failures(self) -> bool:
        """Withdraw a file that libtorrent could not read; True if there was one.

        Raises:
            SwarmError: the torrent as a whole cannot go on.
        """
        if self._seeded is None or self.release is None:
            return False
        self._seeded.share_out()
        try:
            failed = self._seeded.failed_file()
        except SwarmError:
            self._seeded.leave()  # the next release, or look at what is public, enters it anew
            raise
        if failed is None:
            return False
        path, error = failed
        self._unreadable[path] = self.release.stamps.get(path)
        self._tell(error)
        self.withdraw([path])
        return True

    def _tell(self, error: TorsyncError) -> None:
        self._voice.notice(
            Level.ERROR,
            "file_unreadable",
            f"{error.message}; it is not seeded for now, and all others are",
            "mend the cause (permissions, disk); it is tried again",
        )

    def raise_unreadable(self) -> None:
        """Report files of the release that could not be read, if there are any.

        Raises:
            TreeError: there are.
        """
        if self._unreadable:
            path = min(self._unreadable)
            raise TreeError(
                f"{len(self._unreadable)} published files cannot be read, the first: {path!r}; "
                "all others are seeded",
                path=path,
                hint="mend the cause (permissions, disk); it is tried again",
            )

    def _still_unreadable(self, release: PublishedRelease) -> frozenset[str]:
        """The files that could not be read, and still cannot."""
        snapshot = release.facts.snapshot
        for path, stamp in list(self._unreadable.items()):
            where = f"{snapshot}/{path}" if snapshot else path
            if release.stamps.get(path) != stamp or can_be_read(self._tree, where):
                del self._unreadable[path]
        return frozenset(self._unreadable)

    # --- small things -----------------------------------------------------------------------

    def _seeds_content_of(self, release: PublishedRelease) -> bool:
        """Whether the session has the same content from the same folder; it can have it once."""
        if self._seeded is None:
            return False
        mine = self._seeded.release.facts
        return (mine.info_hash, mine.snapshot) == (release.facts.info_hash, release.facts.snapshot)

    def _seeding_of(self, release: PublishedRelease) -> SeededRelease:
        root = self._root_of(release)
        return SeededRelease(self._config, release, root, self._around, self._voice)

    def _root_of(self, release: PublishedRelease) -> Path:
        snapshot = release.facts.snapshot
        return self._tree.root / snapshot if snapshot else self._tree.root
