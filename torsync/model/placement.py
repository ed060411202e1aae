"""Where each file of a torrent is while an update is fetched, and which pieces that gives.

Everything that libtorrent may write has to be in the stage: it writes whole blocks before it
checks them. So a file that stays, but shares a piece with one that is fetched, is mapped to
a scratch file for the time being.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from torsync.model.plan import FILLED, NOT_OURS, Plan

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest


class Place(Enum):
    """Where libtorrent finds a file of the torrent."""

    TREE = "where it belongs"
    STAGE = "in the stage, to become the file"
    SCRATCH = "in the stage, to be thrown away"


@dataclass(frozen=True)
class Placement:
    """A torrent's files and pieces as they are added to the session.

    Attributes:
        places: one per file of the manifest.
        have: one byte per piece, 1 where the content at those places is right.
        wanted: one byte per piece, 1 where it shall be fetched or is there; the others get
            piece priority 0.
    """

    manifest: Manifest
    places: tuple[Place, ...]
    have: bytes
    wanted: bytes


def place_for_fetch(plan: Plan) -> Placement:
    """Decide the placement for fetching what a plan needs."""
    manifest = plan.wanted
    needed = bytearray(manifest.num_pieces)
    for piece in plan.needed:
        needed[piece] = 1
    places = []
    have = bytearray(plan.good)
    for index, planned in enumerate(plan.files):
        pieces = manifest.pieces_of(index)
        if planned.action in FILLED:
            places.append(Place.STAGE)
        elif planned.action in NOT_OURS or any(needed[pieces.start : pieces.stop]):
            places.append(Place.SCRATCH)
            have[pieces.start : pieces.stop] = bytes(len(pieces))
        else:
            places.append(Place.TREE)
    wanted = bytes(a | b for a, b in zip(have, needed, strict=True))
    return Placement(manifest, tuple(places), bytes(have), wanted)


def place_for_seeding(manifest: Manifest, right: bytes) -> Placement:
    """Decide the placement of a synced tree; ``right`` has one byte per file, 1 if it is right."""
    have = bytearray(b"\1" * manifest.num_pieces)
    for index, is_right in enumerate(right):
        if not is_right:
            pieces = manifest.pieces_of(index)
            have[pieces.start : pieces.stop] = bytes(len(pieces))
    places = tuple(Place.TREE for _ in manifest.files)
    return Placement(manifest, places, bytes(have), bytes(have))
