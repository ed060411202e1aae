"""Rollbacks: which earlier release a tree goes back to, and stays at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import StateError
from torsync.model.events import Level
from torsync.model.past import HASH_SHOWN, find_release

if TYPE_CHECKING:
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice


class Staying:
    """Knows the release that one subscription was rolled back to, if it was."""

    def __init__(self, name: str, state: TreeState, releases: Releases, voice: Voice) -> None:
        self._name = name
        self._state = state
        self._releases = releases
        self._voice = voice

    def find(self, wanted: str) -> Release:
        """Find an earlier release to go back to.

        Args:
            wanted: its name, or the beginning of its info-hash; empty for the one before.

        Raises:
            UsageError: there is no such release, or there are several.
            StateError: its ``.torrent`` is gone.
        """
        past = find_release(self._state.past_releases(), wanted, current=self._state.synced)
        release = self._releases.load(past.digest)
        if release is None:
            raise StateError(
                f"the .torrent of {past.name!r} is gone from the state directory",
                hint="another release may do; see `torsync rollback --list`",
            )
        return release

    def stay(self, newest: Release) -> Release:
        """Give the release that was rolled back to, if one was, instead of the newest."""
        digest = self._state.pinned
        pinned = self._releases.load(digest)
        if pinned is None:
            if digest:
                said = "the .torrent of the release that it was rolled back to is gone"
                self._voice.notice(Level.WARNING, "rollback_lost", f"{said}; it follows the newest")
                self._state.put(pinned="")
            return newest
        if pinned.is_same_content(newest):
            return newest
        self.tell(pinned, newest)
        return pinned

    def tell(self, pinned: Release, newest: Release | None) -> None:
        """Say that the tree stays at a release, which is not the newest."""
        said = f"it stays at {pinned.manifest.name}"
        if newest is not None and newest.manifest.name != pinned.manifest.name:
            said += f", and {newest.manifest.name} is the newest"
        elif newest is not None:
            said += f" {_short(pinned)}, and {_short(newest)} is the newest"
        hint = f"`torsync apply {self._name}` follows the newest again"
        self._voice.notice(Level.INFO, "rolled_back", said, hint)


def _short(release: Release) -> str:
    return release.manifest.info_hash[:HASH_SHOWN]
