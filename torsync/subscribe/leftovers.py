"""What an earlier, interrupted update of the same release has left in the stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.placement import Place, Placement
from torsync.subscribe.stage import Stage, StagedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from torsync.model.plan import Plan
    from torsync.subscribe.hashing import HashedPieces


class Leftovers:
    """Looks at a stage before it is used again."""

    def __init__(
        self,
        stage: Stage,
        plan: Plan,
        *,
        record: str,
        hash_pieces: Callable[[Placement, list[int]], HashedPieces],
    ) -> None:
        """Prepare.

        Args:
            stage: to look at.
            plan: of the update that begins.
            record: what the earlier update noted of it; see ``StagedRecord``.
            hash_pieces: hashes pieces of a placement.
        """
        self._stage = stage
        self._plan = plan
        self._record = record
        self._hash = hash_pieces

    def take_over(self, placement: Placement) -> bytearray:
        """Find which pieces are staged and right; what is of no use is removed.

        Args:
            placement: of the update that begins.

        Returns:
            One byte per piece, 1 where its content is right under that placement.

        Raises:
            TreeError: the stage could not be read or written.
            InterruptedByUserError: hashing was stopped.
        """
        have = bytearray(placement.have)
        names = self._stage.leftovers()
        staged = {}
        for index, place in enumerate(placement.places):
            if place is Place.TREE:
                continue
            name = self._stage.path(index, place).rpartition("/")[2]
            if name in names:
                staged[index] = name
        for name in set(names) - set(staged.values()):
            self._stage.discard(name)
        if not staged:
            return have
        doubtful = sorted(
            {
                piece
                for index in staged
                for piece in placement.manifest.pieces_of(index)
                if placement.wanted[piece]
            }
        )
        right = self._right_leftovers(placement, staged, doubtful)
        for piece in doubtful:
            have[piece] = piece in right
        for index, name in staged.items():
            pieces = placement.manifest.pieces_of(index)
            expected = placement.have[pieces.start : pieces.stop]
            found = have[pieces.start : pieces.stop]
            is_wrong = any(was and not now for was, now in zip(expected, found, strict=True))
            if is_wrong or not self._is_like_its_source(placement, index):
                self._stage.discard(name)
                have[pieces.start : pieces.stop] = expected
        return have

    def _is_like_its_source(self, placement: Placement, index: int) -> bool:
        """Whether a staged clone has the content of pieces that cannot be hashed in the stage.

        They are right in the tree, but a neighbour that is not staged has bytes in them.
        """
        planned, manifest = self._plan.files[index], placement.manifest
        if not planned.is_cloned:
            return True
        runs = [
            (segment.file_offset, segment.length)
            for piece in manifest.pieces_of(index)
            if self._plan.good[piece] and not placement.have[piece]
            for segment in manifest.segments(piece)
            if segment.file_index == index
        ]
        return self._stage.is_clone_at(index, planned.source, runs)

    def _right_leftovers(
        self, placement: Placement, staged: Container[int], doubtful: list[int]
    ) -> set[int]:
        record = StagedRecord.load(self._record)
        if record is None or len(record.have) != len(placement.have):
            return self._hash(placement, doubtful).good
        if record != self._stage.record(record.have):
            return self._hash(placement, doubtful).good

        def has_all_files(piece: int) -> bool:
            """A file that was where it belongs then may have been edited since."""
            return all(index in staged for index in placement.manifest.files_in(piece))

        return {
            piece
            for piece in doubtful
            if record.have[piece] and (placement.have[piece] or has_all_files(piece))
        }
