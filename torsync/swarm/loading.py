"""From the bytes of a ``.torrent`` to what libtorrent makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libtorrent as lt

from torsync.model.errors import ManifestError
from torsync.model.metainfo import MAX_PIECES

if TYPE_CHECKING:
    from collections.abc import Sequence

PAD = 1
"""The bit of ``file_flags`` that a pad file (BEP 47) has."""


def load(metainfo: bytes) -> lt.add_torrent_params:
    """Read a ``.torrent`` of any size that torsync accepts.

    Raises:
        ManifestError: libtorrent cannot.
    """
    limits: Any = {
        "max_buffer_size": len(metainfo) + 1,
        "max_pieces": MAX_PIECES,
        "max_decode_depth": 300,
        "max_decode_tokens": len(metainfo) + 1,
    }
    try:
        return lt.load_torrent_buffer(metainfo, limits)
    except RuntimeError as error:
        raise ManifestError(f"libtorrent cannot read it: {error}") from error


def names_of_its_own(metainfo: bytes, root_name: str, paths: Sequence[str]) -> dict[str, str]:
    """Find what libtorrent calls by other names than the torrent: web seeds are asked for those.

    Args:
        metainfo: of a torrent with a folder.
        root_name: of the torrent.
        paths: of all its files in their order, pad files left out, relative to the root.

    Returns:
        libtorrent's path, which begins with its root name → the path that it stands for.

    Raises:
        ManifestError: libtorrent cannot read it.
    """
    parameters = load(metainfo)
    assert parameters.ti is not None, "it was read from an info dictionary"
    layout = parameters.ti.layout()
    listed = (
        layout.file_path(index)
        for index in range(layout.num_files())
        if not int(layout.file_flags(index)) & PAD
    )
    return {
        found: path
        for found, path in zip(listed, paths, strict=True)
        if found != f"{root_name}/{path}"
    }
