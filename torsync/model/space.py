"""What an update takes of the file system while its new content is staged, exact to the block.

Only the content of files is counted: what the file system needs for names and folders is its
own secret. What is moved takes nothing, nor does the trash, which is on the same file system.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.placement import Place
from torsync.model.plan import FILLED, Action, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STAGED_CONTENT = FILLED | {Action.COPY}


class Staged(NamedTuple):
    """A file in the stage: the one of that number in the release, or what stands for it."""

    file_index: int
    place: Place


@dataclass(frozen=True)
class Room:
    """What decides how much a stage takes, and whether it fits.

    Attributes:
        block_bytes: the file system gives space in multiples of this.
        free_bytes: what may be written, with what is cleared away before anything is staged.
        reflinks: whether a clone shares its blocks with its source until they are written to.
        staged: what an interrupted update to the same release left → the bytes that it takes.
    """

    block_bytes: int
    free_bytes: int
    reflinks: bool = False
    staged: Mapping[Staged, int] = field(default_factory=dict)


def stage_bytes(plan: Plan, room: Room) -> int:
    """How many bytes of the file system a plan takes before it is committed.

    Args:
        plan: to be staged.
        room: where.
    """
    block_bytes = room.block_bytes
    written = _written(plan)
    total = 0
    for index in plan.acting:
        planned = plan.files[index]
        if planned.action not in _STAGED_CONTENT:
            continue
        size, runs = plan.wanted.files[index].size, written.pop(index, ())
        source = plan.index.entries[planned.source].size if planned.is_cloned else 0
        if index in plan.in_place:
            if index in plan.to_save and not room.reflinks:
                total += _blocks(source, block_bytes)
            total += max(0, _blocks(size, block_bytes) - _blocks(source, block_bytes))
        elif room.reflinks and planned.is_cloned:  # what is there of it may still be shared
            cut = [(size - 1, size)] if source > size and size % block_bytes else []
            total += _blocks_of_runs([*runs, *cut], block_bytes)
        else:
            there = room.staged.get(Staged(index, Place.STAGE), 0)
            total += max(0, _blocks(size, block_bytes) - there)
    for index, runs in written.items():
        there = room.staged.get(Staged(index, Place.SCRATCH), 0)
        total += max(0, _blocks_of_runs(runs, block_bytes) - there)
    return total


def bytes_in_place(plan: Plan, room: Room) -> int:
    """How many bytes a plan takes at least where files are patched where they are.

    Also those whose content has shifted: where there is no room for a copy, they are fetched.
    """
    return stage_bytes(replace(plan, shifted=frozenset()).patching_in_place(), room)


def _written(plan: Plan) -> dict[int, list[tuple[int, int]]]:
    """File → the runs (start, end) of it that are fetched or assembled, in order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for piece in plan.lacking:
        for index, offset, length in plan.wanted.segments(piece):
            if index is not None:
                found.setdefault(index, []).append((offset, offset + length))
    return found


def _blocks(size: int, block_bytes: int) -> int:
    """A size rounded up to whole blocks."""
    return -(-size // block_bytes) * block_bytes


def _blocks_of_runs(runs: Iterable[tuple[int, int]], block_bytes: int) -> int:
    """How many bytes the blocks have that some runs, in order, lie in."""
    total = ends = 0
    for start, end in runs:
        first = max(ends, start // block_bytes * block_bytes)
        ends = max(ends, _blocks(end, block_bytes))
        total += ends - first
    return total
