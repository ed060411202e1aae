"""Compare a wanted release with the tree by stat alone: what is right, what must be hashed.

The first half of planning. It names the pieces whose content only hashing can tell; the
second half, ``plan``, takes what the hashing found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from torsync.model.errors import TreeError
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind, LedgerRow, ledger_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.model.manifest import Manifest

Matcher = Callable[[str], bool]


class Here(Enum):
    """What is known of a wanted file before anything is hashed."""

    RIGHT = "vouched for"
    DOUBTFUL = "has to be hashed"
    ABSENT = "not there"
    LOCAL = "kept as it is locally"
    UNREADABLE = "could not be looked at"


@dataclass(frozen=True)
class Assessment:
    """One ``Here`` per file of the wanted manifest, in its order."""

    wanted: Manifest
    index: DiskIndex
    here: tuple[Here, ...]

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
                    if self._is_all_here(piece):
                        yield piece

    def vouched_pieces(self) -> bytearray:
        """One byte per piece: 1 where every file in it is vouched for."""
        flags = bytearray(b"\1" * self.wanted.num_pieces)
        for index, here in enumerate(self.here):
            if here is not Here.RIGHT:
                pieces = self.wanted.pieces_of(index)
                flags[pieces.start : pieces.stop] = bytes(len(pieces))
        return flags

    def _is_all_here(self, piece: int) -> bool:
        for segment in self.wanted.segments(piece):
            if segment.file_index is None:
                continue
            entry = self.entry(segment.file_index)
            if entry is None or entry.kind is not Kind.FILE:
                return False
            if entry.size < segment.file_offset + segment.length:
                return False
        return True


def assess(
    wanted: Manifest,
    index: DiskIndex,
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
    trust_ledger: bool = True,
) -> Assessment:
    """Decide per wanted file what is known from stat and ledger.

    Args:
        wanted: the release that the tree shall equal.
        index: what is on disk.
        ledger: what torsync remembers, by path.
        keep: paths whose local version stays, whatever it is. It is read only for the sake of
            neighbours that share a piece with it.
        trust_ledger: False to have everything hashed (``verify``).

    Raises:
        TreeError: a folder that the release needs is a link or another file system, or could
            not be read.
    """
    _check_folders(wanted, index, ledger)
    here = []
    for file_index, file in enumerate(wanted.files):
        entry = index.entries.get(file.path)
        row = ledger.get(file.path) if trust_ledger else None
        if file.path in index.problems:
            here.append(Here.UNREADABLE)
        elif entry is None:
            here.append(Here.ABSENT)
        elif _is_right(entry, row, wanted, file_index):
            here.append(Here.RIGHT)
        elif keep(file.path):
            here.append(Here.LOCAL)
        else:
            to_hash = entry.kind is Kind.FILE and entry.size and file.size
            here.append(Here.DOUBTFUL if to_hash else Here.ABSENT)
    return Assessment(wanted, index, tuple(here))


def link_text(path: str, target: str) -> str:
    """Compute what a link at ``path`` has to say to point at ``target`` (relative to the tree).

    A torrent's targets count from its root (BEP 47), a link's text from its own folder.
    """
    folder = path.split("/")[:-1]
    to = target.split("/")
    common = 0
    while common < min(len(folder), len(to) - 1) and folder[common] == to[common]:
        common += 1
    return "/".join([".."] * (len(folder) - common) + to[common:])


def is_vouched(
    row: LedgerRow | None, entry: DiskEntry | None, wanted: Manifest, file_index: int
) -> bool:
    """Whether the ledger says that a file is untouched and has the content that is wanted."""
    return (
        row is not None
        and entry is not None
        and row.vouches_for(entry)
        and row.digest == wanted.digest(file_index)
    )


def _is_right(entry: DiskEntry, row: LedgerRow | None, wanted: Manifest, file_index: int) -> bool:
    file = wanted.files[file_index]
    if file.link_target is not None:
        text = link_text(file.path, file.link_target)
        return entry.kind is Kind.LINK and entry.link_target == text
    if entry.kind is not Kind.FILE:
        return False
    return (not file.size and not entry.size) or is_vouched(row, entry, wanted, file_index)


def _check_folders(wanted: Manifest, index: DiskIndex, ledger: Mapping[str, LedgerRow]) -> None:
    for folder in ["", *sorted(wanted.folders)]:
        entry = index.entries.get(folder)
        if folder in index.problems:
            raise TreeError(
                f"the folder {folder or '.'!r} could not be read: {index.problems[folder]}",
                path=folder,
                hint="make it readable; until then nothing in the tree is changed",
            )
        if entry is None or entry.kind is Kind.FOLDER:
            continue
        if entry.kind is Kind.MOUNT or (entry.kind is Kind.LINK and folder not in ledger):
            raise TreeError(
                f"the folder {folder!r} is a {entry.kind.value}; files inside a tree have to be "
                "on its own file system, as they are moved into place by renaming",
                path=folder,
                hint="replace it by a real folder, or make it a subscription of its own",
            )
