"""Decide what becomes of content that was found elsewhere: pieces to assemble, blocks to claim.

BitTorrent transfers blocks of 16 KiB (BEP 3) and checks pieces. A piece whose content is all known
is assembled, hashed and claimed. Of another one, the blocks are claimed that are wholly covered by
content for which a strong hash vouches: a hint's, or the ledger's for a whole file.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.assessment import Extent
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.plan import FILLED, Action, FilePlan, Plan
from torsync.model.reports import Reused
from torsync.model.shifts import NO_SHIFTS, Claim, Shifts, Stretch
from torsync.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torsync.model.manifest import Manifest, Segment
    from torsync.model.shifts import Run

MOST_CLAIMED = 32_768
"""In how many pieces blocks are claimed at most. libtorrent looks at all pieces that are begun
for each block that it asks for: 32,000 of them took 22 s of processor time, 8,000 took 2."""


class _Known(NamedTuple):
    """Bytes of a piece that are known, by where they start in it; zeros for padding."""

    start: int
    extent: Extent

    @property
    def end(self) -> int:
        return self.start + self.extent.length


def plan_reuse(plan: Plan, shifts: Shifts = NO_SHIFTS) -> Plan:
    """Have a plan fetch only those blocks whose content is nowhere in the tree.

    Where there are more than ``MOST_CLAIMED`` pieces of such blocks, those are claimed that have
    the most of them.

    Args:
        plan: of an update, staged as a whole.
        shifts: what was found of the files that it patches or fetches.
    """
    finder = _Finder(plan, shifts)
    copies = dict(plan.copies)
    claims: dict[int, Claim] = {}
    for piece in finder.pieces_to_look_at():
        segments = content_segments(plan.wanted, piece)
        size = sum(segment.length for segment in segments)
        known = list(finder.known(segments))
        if sum(run.extent.length for run in known) == size:
            copies[piece] = tuple(run.extent for run in known)
        elif claim := _claim_blocks(segments, size, known):
            claims[piece] = claim
            if len(claims) >= 2 * MOST_CLAIMED:  # so that memory is bounded
                claims = _most_worthwhile(claims)
    claims = _most_worthwhile(claims)
    if not claims and len(copies) == len(plan.copies):
        return plan
    planned = replace(plan, copies=copies, claims=claims)
    found = {index: _bytes_elsewhere(planned, index) for index in shifts.runs}
    files = list(plan.files)
    for index, count in found.items():
        if count:
            files[index] = _patched(files[index], count)
    shifted = frozenset(index for index, count in found.items() if count)
    return replace(planned, files=tuple(files), shifted=shifted)


def _most_worthwhile(claims: dict[int, Claim]) -> dict[int, Claim]:
    """As many claims as may be made, those of the most bytes, in order."""
    if len(claims) <= MOST_CLAIMED:
        return claims
    best = nlargest(MOST_CLAIMED, claims, key=lambda piece: claims[piece].length)
    return {piece: claims[piece] for piece in sorted(best)}


def count_reused(plan: Plan) -> Reused:
    """Count the bytes of the release that a plan finds in the tree, by where they are."""
    kept = moved = same_place = shifted = 0
    for index, (file, planned) in enumerate(zip(plan.wanted.files, plan.files, strict=True)):
        action = planned.action
        if action is Action.KEEP:
            kept += file.size
        elif action is Action.MOVE or action is Action.COPY:
            moved += file.size
        elif action in FILLED:
            same_place += _bytes_at_place(plan, index)
            shifted += _bytes_elsewhere(plan, index)
    return Reused(kept, moved, same_place, shifted)


def content_segments(manifest: Manifest, piece: int) -> list[Segment]:
    """The segments of a piece, but for the padding at the end of a v2 piece: nobody sends it."""
    segments = list(manifest.segments(piece))
    if not manifest.v1_hashes:
        while segments and segments[-1].file_index is None:
            segments.pop()
    return segments


def bytes_found(plan: Plan, pieces: Iterable[int]) -> int:
    """How many bytes of some pieces are assembled or claimed for files that are built."""
    return sum(
        _bytes_elsewhere_in(plan, piece, index)
        for piece in pieces
        for index in set(plan.wanted.files_in(piece))
        if plan.files[index].action in FILLED
    )


def _bytes_at_place(plan: Plan, index: int) -> int:
    """How many bytes of a file are in pieces that are right where they are."""
    if not plan.files[index].source:
        return 0
    return sum(
        _bytes_in(plan.wanted, piece, index)
        for piece in plan.wanted.pieces_of(index)
        if plan.good[piece]
    )


def _bytes_in(manifest: Manifest, piece: int, index: int) -> int:
    file, begin = manifest.files[index], piece * manifest.piece_length
    end = min(file.offset + file.size, begin + manifest.piece_length)
    return end - max(file.offset, begin)


def _bytes_elsewhere(plan: Plan, index: int) -> int:
    """How many bytes of a file are assembled or claimed."""
    return sum(_bytes_elsewhere_in(plan, piece, index) for piece in plan.wanted.pieces_of(index))


def _bytes_elsewhere_in(plan: Plan, piece: int, index: int) -> int:
    """How many bytes that a file has in a piece are assembled or claimed."""
    count = _bytes_in(plan.wanted, piece, index)
    if piece in plan.copies:
        return count
    claim = plan.claims.get(piece)
    if claim is None:
        return 0
    start = max(0, plan.wanted.files[index].offset - piece * plan.wanted.piece_length)
    return _claimed_before(claim.blocks, start + count) - _claimed_before(claim.blocks, start)


def _claimed_before(blocks: bytes, position: int) -> int:
    """How many bytes before a position of a piece are in claimed blocks."""
    block, rest = divmod(position, BLOCK_SIZE)
    whole = blocks.count(1, 0, block) * BLOCK_SIZE
    return whole + (rest if rest and blocks[block] else 0)


def _patched(planned: FilePlan, count: int) -> FilePlan:
    """What is planned for a file of which so many bytes were found elsewhere."""
    found = f"{format_size(count)} of it are elsewhere in the tree"
    if planned.action is Action.PATCH:
        return planned._replace(reason=f"{planned.reason}; {found}")
    return FilePlan(Action.PATCH, found)


def _claim_blocks(segments: Iterable[Segment], size: int, known: list[_Known]) -> Claim | None:
    """Claim the blocks of a piece that are wholly known and hold content."""
    blocks = bytearray(-(-size // BLOCK_SIZE))
    for start, end in _merged(known):
        first = -(-start // BLOCK_SIZE)
        stop = len(blocks) if end == size else end // BLOCK_SIZE
        blocks[first:stop] = b"\1" * max(0, stop - first)
    position = upto = 0
    for segment in segments:
        if segment.file_index is not None:
            first = position // BLOCK_SIZE
            blocks[upto:first] = bytes(max(0, first - upto))  # nothing but padding
            upto = -(-(position + segment.length) // BLOCK_SIZE)
        position += segment.length
    blocks[upto:] = bytes(len(blocks) - upto)
    if not any(blocks):
        return None
    stretches = []
    first = blocks.find(1)
    while first >= 0:
        stop = blocks.find(0, first)
        stop = len(blocks) if stop < 0 else stop
        start, end = first * BLOCK_SIZE, min(stop * BLOCK_SIZE, size)
        stretches.append(Stretch(start, tuple(_clipped(known, start, end))))
        first = blocks.find(1, stop)
    return Claim(bytes(blocks), tuple(stretches))


def _merged(known: Iterable[_Known]) -> Iterator[tuple[int, int]]:
    """Where in a piece what is known begins and ends."""
    start = end = 0
    for run in known:
        if run.start != end:
            if end > start:
                yield start, end
            start = run.start
        end = run.end
    if end > start:
        yield start, end


def _clipped(known: list[_Known], start: int, end: int) -> Iterator[Extent]:
    at = bisect_right(known, start, key=_start_of) - 1
    while at < len(known) and known[at].start < end:
        run = known[at]
        first, last = max(start, run.start), min(end, run.end)
        path, offset, _length = run.extent
        yield Extent(path, offset + first - run.start if path else 0, last - first)
        at += 1


def _start_of(run: _Known) -> int:
    return run.start


class _Finder:
    """Finds where in the tree the content of a piece is."""

    def __init__(self, plan: Plan, shifts: Shifts) -> None:
        self._plan = plan
        self._runs = shifts.runs
        self._begins = {index: [run.offset for run in runs] for index, runs in shifts.runs.items()}

    def pieces_to_look_at(self) -> Iterator[int]:
        """Give those needed pieces that have bytes of a file of which anything is known.

        A first sync has none, and most pieces of a large new file are its own.
        """
        plan = self._plan
        is_known = bytearray(b"\1" * len(plan.files))
        for index in plan.acting:
            is_known[index] = index in self._runs or bool(self._whole(index))
        if any(is_known):
            for piece in plan.needed:
                if any(is_known[index] for index in plan.wanted.files_in(piece)):
                    yield piece

    def known(self, segments: Iterable[Segment]) -> Iterator[_Known]:
        """Give what is known of a piece with these segments, in order."""
        position = 0
        for index, offset, length in segments:
            if index is None:
                yield _Known(position, Extent("", 0, length))
            elif whole := self._whole(index):
                yield _Known(position, Extent(whole, offset, length))
            else:
                for run in self._runs_in(index, offset, length):
                    start = max(run.offset, offset)
                    end = min(run.offset + run.length, offset + length)
                    at = run.source_offset + start - run.offset
                    yield _Known(position + start - offset, Extent(run.path, at, end - start))
            position += length

    def _whole(self, index: int) -> str:
        """The file in the tree that has all of a wanted file's content, offset by offset."""
        planned = self._plan.files[index]
        if planned.action is Action.KEEP:
            return self._plan.wanted.files[index].path
        if planned.action is Action.MOVE or planned.action is Action.COPY:
            return planned.source
        return ""

    def _runs_in(self, index: int, offset: int, length: int) -> Iterator[Run]:
        if self._plan.files[index].action not in FILLED:
            return
        runs, begins = self._runs.get(index, ()), self._begins.get(index, ())
        for at in range(max(0, bisect_right(begins, offset) - 1), len(runs)):
            run = runs[at]
            if run.offset >= offset + length:
                break
            if run.offset + run.length > offset:
                yield run
