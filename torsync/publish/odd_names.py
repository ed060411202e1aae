"""Files that clients call by other names than the torrent when they ask web seeds for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.events import Level
from torsync.model.names import is_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.publish.state import PublishedRelease
    from torsync.subscribe.surroundings import Voice

_NAMED = 3


def names_of_clients(release: PublishedRelease) -> dict[str, str]:
    """Find the files of a release that libtorrent, in torsync and others, calls otherwise.

    Returns:
        What it asks for: root name, slash and path → path in the torrent.
    """
    root_name = release.facts.name
    if is_plain(root_name) and all(map(is_plain, release.stamps)):
        return {}
    from torsync.swarm.loading import names_of_its_own  # noqa: PLC0415 - libtorrent is slow

    paths = [file.path for file in release.manifest.files]
    return names_of_its_own(release.metainfo, root_name, paths)


def tell_names_of_clients(
    release: PublishedRelease, web_seeds: Sequence[str], voice: Voice
) -> None:
    """Say which files a web server of the publisher's own is asked for by other names."""
    found = names_of_clients(release) if web_seeds else {}
    if not found:
        return
    first = ", ".join(f"{path!r} as {asked!r}" for asked, path in list(found.items())[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    voice.notice(
        Level.WARNING,
        "web_seed_names",
        f"clients ask web seeds for {first}{more}: they have other names for these files",
        "let the web server have them under those names, too, or rename them; else clients that "
        "have no peer give the web seed up. The feed knows both names",
    )
