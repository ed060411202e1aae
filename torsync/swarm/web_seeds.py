"""Which torrents libtorrent can fetch from web seeds (BEP 19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

_SMALLEST_V2_PIECE = 128 * 1024


def web_seeds_work(manifest: Manifest) -> bool:
    """Whether what comes from a web seed would have its right hash.

    libtorrent 2.1.1 joins requests for small pieces over the ends of files, and in a v2-only
    torrent, whose padding is not in the files, takes the bytes for those of other pieces: they
    fail their hash, and the web seed is banned. Measured: pieces below 128 KiB, several files.
    """
    if manifest.info_hash_v1 is not None or manifest.piece_length >= _SMALLEST_V2_PIECE:
        return True
    return sum(entry.size > 0 for entry in manifest.files) <= 1
