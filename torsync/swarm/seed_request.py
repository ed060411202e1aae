"""How a tree is added to a session to be seeded, and never to be written to.

libtorrent 2.1.1 takes blocks that it did not ask for. It writes them where the file is, also in
upload mode and at priority 0, and finds out afterwards that the piece is wrong. A file that is not
what the release says would be overwritten by whoever likes to. Of pieces that are claimed it takes
none. So a file that is not right is mapped to where nothing can be made, and the pieces that it
shares with right ones are claimed all the same: nobody can write to them, and to read them fails.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import TYPE_CHECKING

from torsync.model.placement import claims_for_seeding
from torsync.swarm.torrent import NOWHERE, AddRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.manifest import Manifest

# Of these, libtorrent goes on seeding after a write; of others it stops the torrent.
_HARMLESS = {errno.EPERM, errno.EACCES, errno.EROFS}


def seed_request(
    metainfo: Callable[[], bytes],
    manifest: Manifest,
    root: str,
    right: bytes,
    *,
    peers: tuple[tuple[str, int], ...] = (),
    web_seeds: tuple[str, ...] = (),
    use_web_seeds: bool = True,
) -> AddRequest | None:
    """Describe a torrent that is only to be seeded.

    Args:
        metainfo: gives the bytes of the ``.torrent``.
        manifest: what they say.
        root: absolute folder that has the files.
        right: one byte per file, 1 if it is what the release says.
        peers: to try besides those found.
        web_seeds: URLs besides those in the torrent, for others to hear of.
        use_web_seeds: False to use none, not even the torrent's own.

    Returns:
        None where files would be at risk: not all are right, and this system has no place where
        nothing can be made.
    """
    if not all(right) and not has_nowhere():
        return None
    have = claims_for_seeding(manifest, right)
    return AddRequest(
        metainfo=metainfo,
        save_path=root,
        paths=tuple(
            file.path if right[index] else f"{NOWHERE}/{index}"
            for index, file in enumerate(manifest.files)
        ),
        sizes=tuple(file.size for file in manifest.files),
        have=have,
        wanted=have,
        peers=peers,
        web_seeds=web_seeds,
        use_web_seeds=use_web_seeds,
        upload_only=True,
    )


@cache
def has_nowhere() -> bool:
    """Whether ``NOWHERE`` is a place where nothing is, and nothing can be made."""
    try:
        os.mkdir(NOWHERE)
    except OSError as error:
        return error.errno in _HARMLESS
    os.rmdir(NOWHERE)
    return False
