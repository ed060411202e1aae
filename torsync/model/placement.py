"""Where each file of a torrent is while an update is fetched, and which pieces that gives.

Everything that libtorrent may write has to be in the stage: it writes whole blocks before it
checks them. So a file that stays, but shares a piece with one that is fetched, is mapped to
a scratch file for the time being.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.assessment import Extent
from torsync.model.plan import FILLED, Action, Plan

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from torsync.model.manifest import Manifest, Segment
    from torsync.model.shifts import Stretch


class Place(Enum):
    """Where libtorrent finds a file of the torrent."""

    TREE = "in the tree"
    STAGE = "in the stage, to become the file"
    SCRATCH = "in the stage, to be thrown away"


@dataclass(frozen=True)
class Placement:
    """A torrent's files and pieces as they are added to the session.

    Attributes:
        places: one per file of the manifest.
        paths: file → where in the tree it is for now, for those that are to be moved.
        have: one byte per piece, 1 where the content at those places is right.
        wanted: one byte per piece, 1 where it shall be fetched or is there; the others get
            piece priority 0.
    """

    manifest: Manifest
    places: tuple[Place, ...]
    have: bytes
    wanted: bytes
    paths: Mapping[int, str] = field(default_factory=dict)

    def path(self, file_index: int) -> str:
        """Where in the tree a file is, if that is its place."""
        return self.paths.get(file_index) or self.manifest.files[file_index].path


def place_for_fetch(plan: Plan) -> Placement:
    """Decide the placement for fetching what a plan needs.

    Pieces that are to be assembled from the tree are not claimed: they are not there yet.
    """
    manifest = plan.wanted
    places = [Place.TREE] * len(plan.files)
    neighbours = {index for piece in plan.lacking for index in manifest.files_in(piece)}
    have = bytearray(plan.good)
    for index in sorted(neighbours.union(plan.acting)):
        action = plan.files[index].action
        if action in FILLED or action is Action.COPY:
            places[index] = Place.STAGE
        elif index in neighbours or not plan.right[index]:
            places[index] = Place.SCRATCH
            pieces = manifest.pieces_of(index)
            have[pieces.start : pieces.stop] = bytes(len(pieces))
    wanted = bytearray(have)
    for piece in plan.needed:
        wanted[piece] = piece not in plan.doubles
    paths = {
        index: plan.files[index].source
        for index in plan.acting
        if plan.files[index].action is Action.MOVE
    }
    return Placement(manifest, tuple(places), bytes(have), bytes(wanted), paths)


class Run(NamedTuple):
    """Bytes to copy into a file of the torrent; zeros where ``source`` is empty."""

    file_index: int
    offset: int
    source: str
    source_offset: int
    length: int


def matched_runs(segments: Iterable[Segment], stretches: Iterable[Stretch]) -> Iterator[Run]:
    """Lay bytes of a piece, found elsewhere, out over the files that they are to be written to.

    It ends where the stretches do: padding after a file is no part of a v2 piece (BEP 52), and
    a torrent may claim the hash of a shorter piece, which is then found out by hashing.

    Args:
        segments: of the piece.
        stretches: of it, in order.
    """
    found = chain.from_iterable(map(_placed, stretches))
    start, (path, source_offset, length) = next(found, _NOTHING)
    position = 0
    for file_index, offset, size in segments:
        while length and start < position + size:
            count = min(length, position + size - start)
            if file_index is not None:
                yield Run(file_index, offset + start - position, path, source_offset, count)
            start, source_offset, length = start + count, source_offset + count, length - count
            if not length:
                start, (path, source_offset, length) = next(found, _NOTHING)
        position += size


_NOTHING = (0, Extent("", 0, 0))


def _placed(stretch: Stretch) -> Iterator[tuple[int, Extent]]:
    """The extents of a stretch, and where in the piece each begins."""
    start = stretch.start
    for extent in stretch.extents:
        yield start, extent
        start += extent.length


def runs_to_copy(
    manifest: Manifest, file_index: int, lacking: Container[int]
) -> Iterator[tuple[int, int]]:
    """Give offset and length of what a clone of a file has to have: all but pieces that it lacks.

    Args:
        manifest: of the release.
        file_index: the file that is cloned.
        lacking: the pieces that are fetched or assembled, and written to it meanwhile.
    """
    start = end = 0
    for piece in manifest.pieces_of(file_index):
        for index, offset, length in manifest.segments(piece):
            if index != file_index:
                continue
            if piece in lacking:
                if end > start:
                    yield start, end - start
                start = offset + length
            end = offset + length
    if end > start:
        yield start, end - start


def without_files(
    placement: Placement, have: bytes, files: Iterable[int], lacking: Container[int]
) -> tuple[bytes, bytes]:
    """Claim nothing of some files while they are being copied, and do not have it fetched.

    Args:
        placement: where the files are.
        have: one byte per piece, 1 where its content is right once they are copied.
        files: that are being copied.
        lacking: the pieces that are fetched or assembled all the same.

    Returns:
        One byte per piece, 1 where its content is right; and 1 where it is to be fetched or there.
    """
    claimed, wanted = bytearray(have), bytearray(placement.wanted)
    for index in files:
        for piece in placement.manifest.pieces_of(index):
            if piece not in lacking:
                claimed[piece] = wanted[piece] = 0
    return bytes(claimed), bytes(wanted)


def claims_for_seeding(manifest: Manifest, right: bytes) -> bytes:
    """Decide which pieces to claim: all but those wholly of files that are not right.

    A piece that a right file shares with another one cannot be read as a whole, as the other is
    out of reach then (``swarm.seed_request``); it is claimed so that nobody can write to it.

    Args:
        manifest: of the release.
        right: one byte per file, 1 if it is what the release says.

    Returns:
        One byte per piece.
    """
    have = bytearray(b"\1" * manifest.num_pieces)
    for index, is_right in enumerate(right):
        if is_right:
            continue
        pieces = manifest.pieces_of(index)
        have[pieces.start : pieces.stop] = bytes(len(pieces))
        for piece in {*pieces[:1], *pieces[-1:]}:
            have[piece] = any(right[at] for at in manifest.files_in(piece))
    return bytes(have)
