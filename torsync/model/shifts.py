"""Content of wanted files that is in the tree, at other offsets or in other files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torsync.model.assessment import Extent
    from torsync.model.plan import Plan


class Run(NamedTuple):
    """Bytes of a wanted file that a file in the tree has.

    Attributes:
        offset: in the wanted file.
        length: in bytes.
        path: of the file in the tree that has them.
        source_offset: where in that file.
    """

    offset: int
    length: int
    path: str
    source_offset: int


@dataclass(frozen=True)
class Shifts:
    """What was found with a release's hints.

    Attributes:
        runs: by index of the wanted file: ascending, without overlaps.
        bytes_read: of files in the tree, to find it.
        hint_bytes: of hints, as they were received.
    """

    runs: Mapping[int, tuple[Run, ...]] = field(default_factory=dict)
    bytes_read: int = 0
    hint_bytes: int = 0


NO_SHIFTS = Shifts()


class Stretch(NamedTuple):
    """Consecutive bytes of a piece, and where in the tree they are.

    Attributes:
        start: of the first of them in the piece.
        extents: what has them, one after the other.
    """

    start: int
    extents: tuple[Extent, ...]


class Claim(NamedTuple):
    """The blocks of a piece whose content is in the tree, while others have to be fetched.

    Attributes:
        blocks: one byte per block (BEP 3: 16 KiB), 1 where its content is in the tree.
        stretches: where it is; they begin and end with blocks.
    """

    blocks: bytes
    stretches: tuple[Stretch, ...]

    @property
    def extents(self) -> Iterator[Extent]:
        """All places that it takes content from."""
        return (extent for stretch in self.stretches for extent in stretch.extents)

    @property
    def length(self) -> int:
        """How many bytes are claimed."""
        return sum(extent.length for extent in self.extents)


def lacking_ranges(plan: Plan) -> dict[int, list[tuple[int, int]]]:
    """Decide which bytes of which files are worth looking for.

    Returns:
        By index of the file: offset and length of what would have to be fetched; adjoining
        pieces make one range.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for piece in plan.needed:
        for index, offset, length in plan.wanted.segments(piece):
            if index is None:
                continue
            ranges = found.setdefault(index, [])
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
            else:
                ranges.append((offset, length))
    return found
