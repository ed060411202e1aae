"""Compare a wanted release with a tree: what is right, what must be hashed, what is elsewhere.

The first half of planning, from stat, ledger and the synced manifest alone. It names the
pieces whose content only hashing can tell; the second half, ``plan``, takes what the hashing
found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.model.assessment import CERTAIN, Assessment, Here, Told
from torsync.model.errors import TreeError
from torsync.model.known import NEVER_SYNCED, Known, Synced
from torsync.model.pieces import PieceFinder
from torsync.model.selection import selected_folders, unselected_files
from torsync.model.sources import (
    find_same_content,
    find_same_size,
    find_similar,
    unsettled_files,
)
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind, LedgerRow

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from torsync.model.manifest import FileEntry, Manifest

Matcher = Callable[[str], bool]


def assess(
    wanted: Manifest,
    index: DiskIndex,
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
    select: Matcher | None = None,
    synced: Synced = NEVER_SYNCED,
    trust_ledger: bool = True,
) -> Assessment:
    """Decide what is known of each file and piece before anything is read.

    Args:
        wanted: the release that the tree shall equal.
        index: what is on disk.
        ledger: what torsync remembers, by path.
        keep: paths whose local version stays, whatever it is. It is read only for the sake of
            neighbours that share a piece with it.
        select: the paths that are wanted at all; None: every one. The others are left alone in
            the same way, also where nothing is there.
        synced: the release that the ledger's files are of.
        trust_ledger: False to have everything hashed (``verify``).

    Raises:
        TreeError: a folder that the release needs is a link or another file system, or could
            not be read.
    """
    unselected = unselected_files(wanted, select)
    _check_folders(selected_folders(wanted, unselected), index, ledger)
    trusted = ledger if trust_ledger else {}
    vouched = bytearray(len(wanted.files))
    here = list(_look_at_all(wanted, index, trusted, keep, unselected, vouched))
    unsettled = list(unsettled_files(wanted, here))
    if unsettled:
        known = Known(index, trusted, synced)
        found = _Weighing(wanted, index, here, unsettled, known, keep).result()
    else:
        told = bytes(_told_by_files(wanted, here))
        found = Assessment(wanted, index, tuple(here), told=told)
    return replace(found, vouched=bytes(vouched), unselected=unselected)


def _look_at_all(
    wanted: Manifest,
    index: DiskIndex,
    trusted: Mapping[str, LedgerRow],
    keep: Matcher,
    unselected: Container[int],
    vouched: bytearray,
) -> Iterator[Here]:
    """Decide what is known of each file from its own path; ``vouched`` notes what has its row."""
    entries, problems = index.entries, index.problems
    for file_index, file in enumerate(wanted.files):
        path = file.path
        row, entry = trusted.get(path), entries.get(path)
        if (
            row is not None
            and entry is not None
            and row.vouches_for(entry)
            and row.digest == wanted.digest(file_index)
            and entry.kind is Kind.FILE
            and file.link_target is None
            and path not in problems
        ):
            vouched[file_index] = 1
            yield Here.RIGHT
        elif file_index in unselected:
            yield Here.UNSELECTED
        else:
            yield _look_at(wanted, file_index, index, keep)


def _look_at(wanted: Manifest, file_index: int, index: DiskIndex, keep: Matcher) -> Here:
    """Decide what is known of a file for which the ledger does not vouch, from its own path."""
    file = wanted.files[file_index]
    entry = index.entries.get(file.path)
    if file.path in index.problems:
        return Here.UNREADABLE
    if entry is None:
        return Here.ABSENT
    if _is_right_anyway(entry, file):
        return Here.RIGHT
    if keep(file.path):
        return Here.LOCAL
    to_hash = entry.kind is Kind.FILE and entry.size and file.size
    return Here.DOUBTFUL if to_hash else Here.ABSENT


def _told_by_files(wanted: Manifest, here: Sequence[Here]) -> bytearray:
    """Mark the pieces that have certain files only as right."""
    told = bytearray([Told.RIGHT.value]) * wanted.num_pieces
    for file_index, seen in enumerate(here):
        if seen not in CERTAIN:
            pieces = wanted.pieces_of(file_index)
            told[pieces.start : pieces.stop] = bytes(len(pieces))
    return told


class _Weighing:
    """Decides where content comes from, and what that tells of each piece."""

    def __init__(
        self,
        wanted: Manifest,
        index: DiskIndex,
        here: list[Here],
        unsettled: list[int],
        known: Known,
        keep: Matcher,
    ) -> None:
        self._wanted = wanted
        self._index = index
        self._here = here
        self._known = known
        self._finder = PieceFinder(wanted, known)
        self._sources, self._spares = find_same_content(
            wanted, index, here, unsettled, known, keep=keep
        )
        self._unsettled = [each for each in unsettled if here[each] not in CERTAIN]

    def result(self) -> Assessment:
        """Weigh everything."""
        wanted, here = self._wanted, self._here
        told = _told_by_files(wanted, here)
        places = self._finder.places(self._pieces_of({Here.DOUBTFUL, Here.ABSENT}))
        self._find_bases(find_similar(wanted, self._absent(), places))
        self._find_bases(
            find_same_size(wanted, self._index, here, list(self._displaced()), self._known)
        )
        for piece in self._pieces_of({Here.DOUBTFUL}):
            told[piece] = self._tell(piece).value
        elsewhere = {
            piece: found[0] for piece, found in places.items() if told[piece] != Told.RIGHT.value
        }
        return Assessment(
            wanted, self._index, tuple(here), self._sources, self._spares, bytes(told), elsewhere
        )

    def _find_bases(self, found: Mapping[int, str]) -> None:
        self._sources |= found
        for file_index in found:
            self._here[file_index] = Here.DOUBTFUL

    def _absent(self) -> list[int]:
        return [
            file_index for file_index in self._unsettled if self._here[file_index] is Here.ABSENT
        ]

    def _displaced(self) -> Iterator[int]:
        """The files that are not at their path, or have another release's content there.

        What was edited locally is worth a look itself: most of it may be right.
        """
        wanted, known = self._wanted, self._known
        for file_index in self._unsettled:
            path = wanted.files[file_index].path
            if self._here[file_index] is Here.ABSENT:
                yield file_index
            elif file_index not in self._sources:
                differs = known.seems_to_differ(path, wanted, file_index)
                if differs or (
                    differs is not None
                    and all(
                        self._tell(piece) is Told.WRONG for piece in wanted.pieces_of(file_index)
                    )
                ):
                    yield file_index

    def _pieces_of(self, kinds: set[Here]) -> Iterator[int]:
        """The pieces of such files, in order, each once."""
        last = -1
        for file_index in self._unsettled:
            if self._here[file_index] in kinds:
                for piece in self._wanted.pieces_of(file_index):
                    if piece > last:
                        last = piece
                        yield piece

    def _tell(self, piece: int) -> Told:
        """Decide what is known of a piece if each file's content is taken from its source."""
        segments = list(self._wanted.segments(piece))
        paths = []
        for file_index, file_offset, length in segments:
            path = ""
            if file_index is not None:
                path = self._sources.get(file_index) or self._wanted.files[file_index].path
                if not self._may_have(path, file_index, file_offset, length):
                    return Told.WRONG
            paths.append(path)
        same = self._finder.is_same(piece, segments, paths)
        if same is None:
            return Told.NOTHING
        return Told.RIGHT if same else Told.WRONG

    def _may_have(self, path: str, file_index: int, offset: int, length: int) -> bool:
        """Whether a file may have the right bytes there; False is certain."""
        entry = self._index.entries.get(path)
        if entry is None or entry.kind is not Kind.FILE or entry.size < offset + length:
            return False
        if path in self._index.problems:
            return False
        size = self._wanted.files[file_index].size
        if length < size or self._here[file_index] in CERTAIN or entry.size != size:
            return True
        return not self._known.differs(path, self._wanted, file_index)


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


def _is_right_anyway(entry: DiskEntry, file: FileEntry) -> bool:
    """Whether stat alone tells that a link or an empty file is right."""
    if file.link_target is not None:
        text = link_text(file.path, file.link_target)
        return entry.kind is Kind.LINK and entry.link_target == text
    return entry.kind is Kind.FILE and not file.size and not entry.size


def _check_folders(
    folders: Iterable[str], index: DiskIndex, ledger: Mapping[str, LedgerRow]
) -> None:
    for folder in ["", *sorted(folders)]:
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
