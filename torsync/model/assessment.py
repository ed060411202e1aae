"""What is known of a wanted release and a tree before anything is read: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.tree_index import DiskEntry, DiskIndex, LedgerRow, ledger_row

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from torsync.model.manifest import Manifest


class Here(Enum):
    """What is known of a wanted file before anything is read."""

    __hash__ = object.__hash__  # Enum's own is slow, and every file is looked up by it

    RIGHT = "vouched for"
    ELSEWHERE = "vouched for under another path"
    DOUBTFUL = "has to be compared by pieces"
    ABSENT = "not there"
    LOCAL = "kept as it is locally"
    UNSELECTED = "not selected, and not vouched for"
    UNREADABLE = "could not be looked at"


CERTAIN = frozenset({Here.RIGHT, Here.ELSEWHERE})


class Told(Enum):
    """What ledger and manifests tell of a piece; the value is its byte in ``Assessment.told``."""

    NOTHING = 0
    RIGHT = 1
    WRONG = 2


class Extent(NamedTuple):
    """A run of bytes of a file in the tree; zeros where ``path`` is empty."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True)
class Assessment:
    """What is known of each file and piece of the wanted release.

    Attributes:
        wanted: the release that the tree shall equal.
        index: what is on disk.
        here: one per file of the release, in its order.
        sources: file → the path whose content is taken for its own, where that is not its own
            path: for ``ELSEWHERE`` it is right, for ``DOUBTFUL`` worth a look.
        spares: file → a path that has its content, for ``DOUBTFUL`` files that turn out wrong.
        told: one byte per piece, the value of a ``Told``: whether the content is right if each
            file's is taken from its source.
        elsewhere: piece → where unchanged files of the synced release hold its content, for
            pieces that are not known to be right.
        vouched: one byte per file, 1 where the ledger has a row that says all that there is to
            say of it: untouched, and with the wanted content. Empty if there is none.
        unselected: the files that are left alone, whatever is at their paths. Those that are
            ``RIGHT`` all the same serve their neighbours, and can be seeded.
    """

    wanted: Manifest
    index: DiskIndex
    here: tuple[Here, ...]
    sources: Mapping[int, str] = field(default_factory=dict)
    spares: Mapping[int, str] = field(default_factory=dict)
    told: bytes = b""
    elsewhere: Mapping[int, tuple[Extent, ...]] = field(default_factory=dict)
    vouched: bytes = b""
    unselected: frozenset[int] = frozenset()

    def source(self, file_index: int) -> str:
        """The path whose content is taken for that of a wanted file."""
        return self.sources.get(file_index) or self.wanted.files[file_index].path

    def entry(self, file_index: int) -> DiskEntry | None:
        """What is on disk at the path of a wanted file."""
        return self.index.entries.get(self.wanted.files[file_index].path)

    def rows_of_right(self) -> dict[str, LedgerRow]:
        """What the ledger may say of the files that are right, as they were when looked at."""
        entries, clock_ns = self.index.entries, self.index.clock_ns
        return {
            file.path: ledger_row(entries[file.path], self.wanted.digest(index), clock_ns)
            for index, (file, here) in enumerate(zip(self.wanted.files, self.here, strict=True))
            if here is Here.RIGHT
        }

    def doubtful_pieces(self) -> Iterator[int]:
        """The pieces that can only be known by hashing, and can be hashed, in order."""
        seen = -1
        for index, here in enumerate(self.here):
            if here is not Here.DOUBTFUL:
                continue
            for piece in self.wanted.pieces_of(index):
                if piece > seen:
                    seen = piece
                    if self.told[piece] == Told.NOTHING.value:
                        yield piece

    def sources_to_read(self) -> set[str]:
        """The files that content is taken from without hashing them; they have to be readable."""
        extents = (extent for places in self.elsewhere.values() for extent in places)
        paths = {extent.path for extent in extents if extent.path} | {*self.spares.values()}
        for index, here in enumerate(self.here):
            if here is Here.RIGHT:
                continue
            pieces = self.wanted.pieces_of(index) if here is Here.DOUBTFUL else range(0)
            known = self.told.find(Told.RIGHT.value, pieces.start, pieces.stop) >= 0
            if known or here is Here.ELSEWHERE:
                paths.add(self.source(index))
        return paths

    def good_pieces(self, hashed_good: Container[int]) -> bytearray:
        """One byte per piece: 1 where the content is right, as is known or as hashing found.

        Args:
            hashed_good: of the doubtful pieces, those whose content is right.
        """
        good = bytearray(flag == Told.RIGHT.value for flag in self.told)
        for piece in self.doubtful_pieces():
            if piece in hashed_good:
                good[piece] = 1
        return good
