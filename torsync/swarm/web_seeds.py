"""Which torrents libtorrent can fetch from web seeds (BEP 19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

SMALLEST_V2_PIECE = 1024 * 1024


def web_seeds_work(manifest: Manifest) -> bool:
    """Whether what comes from a web seed would have its right hash.

    libtorrent 2.1.1 asks web seeds for at least 1 MiB in a row. Where that goes beyond a piece
    and over the end of a file, it takes the bytes of a v2-only torrent, whose padding is not in
    its files, for those of other pieces: they fail their hash, and the web seed is banned, as
    are honest peers beside it. Measured: no download of 12 ended with pieces of 128 to 512 KiB,
    all with 1 MiB; a single file does no harm.
    """
    if manifest.info_hash_v1 is not None or manifest.piece_length >= SMALLEST_V2_PIECE:
        return True
    return sum(entry.size > 0 for entry in manifest.files) <= 1
