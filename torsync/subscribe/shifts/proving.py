"""Prove by whole pieces where content of a large file went, without cutting all that is old."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.matching import groups_in
from torsync.model.hints.regions import (
    SMALL_REGION,
    Region,
    Seed,
    Shift,
    divide,
    halves,
    occurring_once,
    seeds_in,
    window_in,
    windows_over,
)
from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torsync.model.hints.cover import Cover
    from torsync.model.hints.matching import Unit
    from torsync.model.hints.regions import Part
    from torsync.model.manifest import Manifest
    from torsync.subscribe.shifts.old_files import OldFiles

_MOST_ROUNDS = 16
_SPARE_FAILURES = 8  # pieces that are not right; besides these, as many as there are
_BUFFER_BYTES = 256 * 1024  # a multiple of the block size; the core's own cache holds it


class _Proof(NamedTuple):
    """Pieces of a region: right from its first one on, unknown, right up to its last one."""

    region: Region
    left_stop: int
    right_first: int


class Prover:
    """Works on one wanted file."""

    def __init__(
        self,
        manifest: Manifest,
        file_index: int,
        lacking: Iterable[int],
        old: OldFiles,
        average: int,
    ) -> None:
        """Prepare.

        Args:
            manifest: of the wanted release.
            file_index: of the file.
            lacking: the pieces that would have to be fetched, in order.
            old: the files in the tree to look into.
            average: the average size of the file's chunks in the hints.
        """
        self._manifest = manifest
        self._index = file_index
        self._old = old
        self._average = average
        self._length = manifest.piece_length
        self._begin = -manifest.files[file_index].offset  # of piece 0 in the file
        self._regions = list(_runs(piece for piece in lacking if self._is_its_own(piece)))
        pieces = sum(region.stop - region.first for region in self._regions)
        self._failures_left = _SPARE_FAILURES + pieces

    def _is_its_own(self, piece: int) -> bool:
        """Whether a piece has bytes of this file only, and padding."""
        file, start = self._manifest.files[self._index], piece * self._length
        if file.offset <= start and start + self._length <= file.offset + file.size:
            return True
        return start >= file.offset and set(self._manifest.files_in(piece)) == {self._index}

    def run(self, groups: Sequence[Unit], sources: Sequence[int], cover: Cover) -> None:
        """Note in ``cover`` what pieces prove.

        Args:
            groups: of the wanted file, those that overlap what it lacks.
            sources: numbers of the files to look into.
            cover: what is known of the wanted file.

        Raises:
            InterruptedByUserError: the work shall stop.
        """
        wanted = occurring_once(groups)
        sizes = self._old.sizes
        regions = self._regions
        windows = [window for number in sources for window in windows_over(number, sizes[number])]
        for _round in range(_MOST_ROUNDS):
            seeds = self._seeds(wanted, windows)
            divided: list[Region] = []
            following: list[Region] = []
            for region in regions:
                parts = divide(region, seeds, self._begin, self._length)
                divided += parts
                if not parts:
                    following += halves(region)
            for proof in self._old.each(self._prove, divided):
                following += self._note(proof, cover)
            regions = [region for region in following if self._is_large(region)]
            windows = [
                window
                for region in regions
                for window in window_in(*self._span(region.first, region.stop), cover, sizes)
            ]
            if not windows:
                break

    def _is_large(self, region: Region) -> bool:
        pieces = region.stop - region.first
        return pieces > 2 and pieces * self._length > SMALL_REGION

    def _seeds(self, wanted: dict[bytes, Unit], windows: Sequence[Part]) -> list[Seed]:
        found = [
            seed
            for stretch in self._old.stretches(list(dict.fromkeys(windows)), self._average)
            for seed in seeds_in(wanted, stretch.source, groups_in(stretch))
        ]
        return sorted(found)

    def _span(self, first: int, stop: int) -> tuple[int, int]:
        """Where pieces begin and end in the wanted file."""
        size = self._manifest.files[self._index].size
        return self._begin + first * self._length, min(self._begin + stop * self._length, size)

    def _note(self, proof: _Proof, cover: Cover) -> list[Region]:
        """Note what was proven; gives what is left of the region."""
        region, left_stop, right_first = proof
        if region.left is not None and region.first < left_stop:
            cover.add(*self._span(region.first, left_stop), *region.left)
        if region.right is not None and right_first < region.stop:
            cover.add(*self._span(right_first, region.stop), *region.right)
        rest = Region(left_stop, right_first)
        if rest[:2] == region[:2]:
            return halves(rest)  # the same seeds must not be found in it again and again
        return [rest] if left_stop < right_first else []

    # --- in the threads -------------------------------------------------------------------------

    def _prove(self, region: Region) -> _Proof:
        """Try pieces from both ends on, until one is not right."""
        first, stop, left, right = region
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while left is not None and first < stop and self._is_right(first, left, buffer):
            first += 1
        while right is not None and first < stop and self._is_right(stop - 1, right, buffer):
            stop -= 1
        return _Proof(region, first, stop)

    def _is_right(self, piece: int, shift: Shift, buffer: memoryview) -> bool:
        start, end = self._span(piece, piece + 1)
        begin, stop = start + shift.shift, end + shift.shift
        if begin < 0 or stop > self._old.sizes[shift.source] or self._failures_left <= 0:
            return False
        parts = self._old.parts(shift.source, begin, stop, buffer)
        manifest = self._manifest
        if manifest.is_v2:
            hashes = b"".join(map(block_hashes, parts))
            is_single = manifest.files[self._index].size <= self._length
            leaves = 0 if is_single else self._length // BLOCK_SIZE
            number = start // self._length
            is_right = len(hashes) > 0 and merkle_root(hashes, leaves=leaves) == manifest.v2_hash(
                self._index, number
            )
        else:
            found = sha1(usedforsecurity=False)
            for part in parts:
                found.update(part)
            found.update(bytes(manifest.piece_size(piece) - (end - start)))
            is_right = found.digest() == manifest.v1_hash(piece)
        if not is_right:
            self._failures_left -= 1
        return is_right


def _runs(pieces: Iterable[int]) -> Iterator[Region]:
    """Consecutive ones of ascending pieces."""
    first = stop = -1
    for piece in pieces:
        if piece != stop:
            if first < stop:
                yield Region(first, stop)
            first = piece
        stop = piece + 1
    if first < stop:
        yield Region(first, stop)
