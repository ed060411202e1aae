"""Pieces of a release that have the same content: one is fetched, the others are copied from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.manifest import Manifest


def find_doubles(manifest: Manifest, pieces: Iterable[int]) -> dict[int, int]:
    """Find the pieces whose content an earlier one of them has, too.

    libtorrent 2.1.1 never ends with two files of a v2 torrent that are equal if it has some pieces
    of each: it knows the files' trees of hashes (BEP 52) apart by their roots.

    Args:
        manifest: of the release.
        pieces: to look at, in order.

    Returns:
        Piece → the first that has the same content.
    """
    first: dict[tuple[bytes, int], int] = {}
    found = {}
    for piece in pieces:
        origin = first.setdefault(_content(manifest, piece), piece)
        if origin != piece:
            found[piece] = origin
    return found


def _content(manifest: Manifest, piece: int) -> tuple[bytes, int]:
    """What identifies the content of a piece: its hash, and how long what was hashed is."""
    if manifest.v1_hashes:
        return manifest.v1_hash(piece), manifest.piece_size(piece)
    file_index = next(iter(manifest.files_in(piece)))
    entry = manifest.files[file_index]
    at = piece - manifest.pieces_of(file_index).start
    length = min(manifest.piece_length, entry.size - at * manifest.piece_length)
    return manifest.v2_hash(file_index, at), length
