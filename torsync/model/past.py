"""The releases that a tree has been at, and which of them a person means."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHORTEST_HASH = 4
_SHOWN = 5
HASH_SHOWN = 12
"""How much of an info-hash people are shown, of 40 or 64 hex digits."""


class PastRelease(NamedTuple):
    """A release that a tree was brought to, and whose ``.torrent`` is kept.

    Attributes:
        digest: the SHA-256 of its ``.torrent``, in hex.
        info_hash: in hex: v1 where there is one, else v2.
        name: the torrent's root name.
        at_s: when the tree was last brought to it, rollbacks aside, in Unix seconds.
    """

    digest: str
    info_hash: str
    name: str
    at_s: float


def name_of(known: Iterable[PastRelease], digest: str) -> str:
    """The name of a release that is known; empty if it is not."""
    return next((release.name for release in known if release.digest == digest), "")


def find_release(known: Sequence[PastRelease], wanted: str, *, current: str) -> PastRelease:
    """Find the release that a person means.

    Args:
        known: the newest first.
        wanted: its name, or the beginning of its info-hash; empty for the one before this.
        current: the digest of the release that the tree is at.

    Raises:
        UsageError: there is none, or there are several.
    """
    now = next((release for release in known if release.digest == current), None)
    others = [release for release in known if now is None or release.info_hash != now.info_hash]
    if not wanted:
        earlier = [release for release in others if now is None or release.at_s <= now.at_s]
        if not earlier:
            raise UsageError(
                "no release before this one is known",
                hint="torsync knows those that it has brought the folder to: there was no other",
            )
        return earlier[0]
    is_hash = len(wanted) >= _SHORTEST_HASH
    found = [release for release in known if release.name == wanted] or [
        release for release in known if is_hash and release.info_hash.startswith(wanted.lower())
    ]
    hashes = {release.info_hash for release in found}
    if len(hashes) > 1:
        raise UsageError(
            f"{wanted!r} may mean {len(hashes)} releases",
            hint=f"say which by its info-hash: {', '.join(sorted(hashes))}",
        )
    if not found:
        shown = [f"{release.name} ({release.info_hash[:HASH_SHOWN]})" for release in known[:_SHOWN]]
        names = ", ".join(dict.fromkeys(shown))
        raise UsageError(
            f"no release {wanted!r} is kept",
            hint=f"there are: {names}" if names else "none is kept yet",
        )
    return found[0]
