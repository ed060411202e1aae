"""Author a v1 ``.torrent`` (BEP 3) from a folder, with libtorrent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import libtorrent as lt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FLAGS = lt.create_torrent.v1_only | lt.create_torrent.symlinks


def author_v1(folder: Path, *, name: str, piece_size: int, web_seeds: Iterable[str] = ()) -> bytes:
    """Hash a folder and give its ``.torrent``; files in the order of their paths.

    Args:
        folder: with at least two files (libtorrent takes a folder of one for that file).
        name: the torrent's root name.
        piece_size: bytes, a power of two.
        web_seeds: BEP 19 URLs.

    Raises:
        RuntimeError: a file could not be read.
    """
    files = lt.list_files(str(folder), flags=_FLAGS)
    files.sort(key=lambda entry: os.fsencode(entry.filename))
    maker = lt.create_torrent(files, piece_size, _FLAGS)
    for url in web_seeds:
        maker.add_url_seed(url)
    lt.set_piece_hashes(maker, str(folder.parent))
    torrent = cast("dict[bytes, Any]", maker.generate())
    torrent[b"info"][b"name"] = name.encode()
    return lt.bencode(torrent)
