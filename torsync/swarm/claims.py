"""Blocks that are claimed to be in place in pieces that are not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.errors import ManifestError, SwarmError
from torsync.model.merkle import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torsync.model.manifest import Manifest


class WrongClaimError(SwarmError):
    """A piece with claimed blocks did not have its hash: what is claimed may all be wrong.

    Never shown: whoever waits for the torrent adds it again without those claims.

    Attributes:
        piece: the first of which that is known; None if it is only known that there was one.
    """

    code = "wrong_claim"

    def __init__(self, piece: int | None = None) -> None:
        which = "a piece" if piece is None else f"piece {piece}"
        super().__init__(f"{which} of which blocks were claimed did not have its hash")
        self.piece = piece


def claims_to_make(
    unfinished: Mapping[int, bytes],
    have: bytes,
    wanted: bytes,
    piece_size: Callable[[int], int],
) -> dict[int, list[bool]]:
    """Decide which blocks libtorrent is told of.

    It hashes a piece whose blocks are all claimed at once, also one that nobody wants; it takes
    flags of more blocks than a piece has for blocks of that piece, and hashes it too early.

    Args:
        unfinished: see ``AddRequest``.
        have: one byte per piece; those that are there need no claims.
        wanted: one byte per piece; of others nothing is claimed.
        piece_size: gives the bytes of a piece, with its padding.

    Raises:
        ManifestError: there is no such piece, or it has not so many blocks.
    """
    found = {}
    for piece, blocks in unfinished.items():
        if not 0 <= piece < len(have):
            raise ManifestError(f"libtorrent reads {len(have)} pieces, torsync number {piece}")
        count = -(-piece_size(piece) // BLOCK_SIZE)
        if len(blocks) > count:
            raise ManifestError(
                f"libtorrent reads {count} blocks in piece {piece}, torsync {len(blocks)}"
            )
        if wanted[piece] and not have[piece] and any(blocks):
            found[piece] = [bool(flag) for flag in blocks]
    return found


def claimed_bytes(manifest: Manifest, unfinished: Mapping[int, bytes]) -> dict[int, int]:
    """How many bytes of files are in the claimed blocks of each piece; padding does not count.

    libtorrent counts a claimed block only once its piece is complete.
    """
    return {
        piece: sum(
            blocks[block] and min(end, (block + 1) * BLOCK_SIZE) - max(begin, block * BLOCK_SIZE)
            for begin, end in _content_of(manifest, piece)
            for block in range(begin // BLOCK_SIZE, min(-(-end // BLOCK_SIZE), len(blocks)))
        )
        for piece, blocks in unfinished.items()
    }


def _content_of(manifest: Manifest, piece: int) -> Iterator[tuple[int, int]]:
    """Where in a piece there is content of files: begin and end of each part."""
    at = 0
    for segment in manifest.segments(piece):
        if segment.file_index is not None:
            yield at, at + segment.length
        at += segment.length
