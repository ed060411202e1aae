"""The snapshots of one publication: which are taken, and which are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.model.errors import TreeError
from torsync.model.events import Level
from torsync.publish.snapshot import FOLDER, remove_snapshots, take_snapshot

if TYPE_CHECKING:
    from torsync.disk.tree import Tree
    from torsync.model.config import PublicationConfig
    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Surroundings, Voice


class Snapshots:
    """Those of a publication with ``snapshot = true``; of another one there is never any."""

    def __init__(
        self, config: PublicationConfig, tree: Tree, around: Surroundings, voice: Voice
    ) -> None:
        self._config = config
        self._tree = tree
        self._around = around
        self._voice = voice

    def take(self, release: PublishedRelease, before: PublishedRelease | None) -> PublishedRelease:
        """Clone the folder, if that is what is to be seeded; the same content has one snapshot.

        Args:
            release: that was prepared.
            before: the release that is public, if its snapshot is whole.

        Raises:
            TreeError: a file changed meanwhile, or could not be cloned.
        """
        if not self._config.snapshot:
            return release
        is_same = before is not None and before.facts.info_hash == release.facts.info_hash
        if before is not None and is_same and before.facts.snapshot:
            facts = replace(release.facts, snapshot=before.facts.snapshot)
            return replace(release, facts=facts, stamps=before.stamps)
        # Named by number and time, so that the session is never told of one name twice.
        name = f"{release.facts.number}-{int(self._around.now_s() * 1000)}"
        stamps = take_snapshot(self._tree, release.seen, name, self._around.stopping)
        facts = replace(release.facts, snapshot=f"{FOLDER}/{name}")
        return replace(release, facts=facts, stamps=stamps)

    def forget_but(self, release: PublishedRelease | None) -> None:
        """Remove all snapshots but that of a release; what cannot be removed is told."""
        if self._config.is_one_off:
            return  # they are those of a publication that is configured
        kept = release.facts.snapshot.rpartition("/")[2] if release is not None else ""
        try:
            remove_snapshots(self._tree, but=kept)
        except TreeError as error:
            self._voice.notice(Level.WARNING, "snapshot_left", error.message, error.hint)
