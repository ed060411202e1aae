"""What an update does to each file, decided from values alone; actions carry it out later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.assess import Assessment, Here, Matcher
from torsync.model.config import CleanMode
from torsync.model.errors import TreeError
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskEntry, DiskIndex, LedgerRow


class Action(Enum):
    """What happens to one wanted file."""

    KEEP = "keep"
    PATCH = "patch"
    FETCH = "fetch"
    LINK = "link"
    LOCAL = "kept local"
    UNREADABLE = "unreadable"


FILLED = frozenset({Action.PATCH, Action.FETCH})  # by libtorrent, in the stage
STAGED = FILLED | {Action.LINK}
NOT_OURS = frozenset({Action.LOCAL, Action.UNREADABLE})  # left alone, whatever they hold
_UNTOUCHED = NOT_OURS | {Action.KEEP}


class FilePlan(NamedTuple):
    """The action for the wanted file of the same index, and why."""

    action: Action
    reason: str


class Removal(NamedTuple):
    """Something to move to the trash, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """How the tree becomes the wanted release.

    Attributes:
        files: one per file of the wanted manifest, in its order.
        good: one byte per piece, 1 where the tree holds the piece's right content.
        removals: what goes to the trash besides the old versions of replaced files.
        in_the_way: removals that have to happen before files are placed: they are where a
            file or folder of the release goes.
    """

    wanted: Manifest
    index: DiskIndex
    files: tuple[FilePlan, ...]
    good: bytes
    removals: tuple[Removal, ...]
    in_the_way: tuple[Removal, ...]

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """The pieces that have to be fetched, in order."""
        found: list[int] = []
        last = -1
        for index, planned in enumerate(self.files):
            if planned.action not in FILLED:
                continue
            for piece in self.wanted.pieces_of(index):
                if piece > last:
                    last = piece
                    if not self.good[piece]:
                        found.append(piece)
        return tuple(found)

    @cached_property
    def bytes_to_fetch(self) -> int:
        """How much has to be fetched."""
        return content_bytes_of(self.wanted, self.needed)

    @property
    def is_empty(self) -> bool:
        """Whether the tree already has every file, and nothing has to go."""
        return not self.removals and all(planned.action in _UNTOUCHED for planned in self.files)

    def without_mending(self) -> Plan:
        """The same plan with removals only: files of the release stay as they are."""
        files = tuple(
            planned
            if planned.action in _UNTOUCHED
            else FilePlan(Action.LOCAL, "not to be mended now")
            for planned in self.files
        )
        return replace(self, files=files, in_the_way=())

    def paths(self, action: Action) -> list[str]:
        """The paths of the files with that action."""
        return [
            file.path
            for file, planned in zip(self.wanted.files, self.files, strict=True)
            if planned.action is action
        ]


def content_bytes_of(manifest: Manifest, pieces: Iterable[int]) -> int:
    """How many bytes of files ``pieces`` have; padding is not sent."""
    return sum(
        segment.length
        for piece in pieces
        for segment in manifest.segments(piece)
        if segment.file_index is not None
    )


def plan_update(
    assessment: Assessment,
    hashed_good: Container[int],
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
    clean: CleanMode,
    unreadable: Container[int] = (),
) -> Plan:
    """Decide what an update does.

    Args:
        assessment: what stat and ledger tell.
        hashed_good: of its doubtful pieces, those whose content on disk is right.
        ledger: what torsync manages, by path.
        keep: paths that are never overwritten once there, and never removed.
        clean: what is removed.
        unreadable: the wanted files that could not be read when they were to be hashed; they
            are left alone, as what could not be read must not be taken for wrong.

    Raises:
        TreeError: something that is not torsync's to remove is where a file or folder of the
            release goes.
    """
    wanted = assessment.wanted
    good = assessment.vouched_pieces()
    for piece in assessment.doubtful_pieces():
        if piece in hashed_good:
            good[piece] = 1
    files = tuple(
        FilePlan(Action.UNREADABLE, "it could not be read")
        if index in unreadable and assessment.here[index] is not Here.LOCAL
        else _plan_file(assessment, index, good)
        for index in range(len(wanted.files))
    )
    removals = plan_removals(wanted, assessment.index, ledger, keep=keep, clean=clean)
    in_the_way = _plan_obstacles(
        assessment, files, {removal.path for removal in removals}, ledger, keep
    )
    return Plan(wanted, assessment.index, files, bytes(good), removals, in_the_way)


def plan_removals(
    wanted: Manifest,
    index: DiskIndex,
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
    clean: CleanMode,
) -> tuple[Removal, ...]:
    """Decide which files and links on disk go because the release doesn't list them.

    An incomplete index removes nothing: what could not be read might be what is listed.
    """
    if clean is CleanMode.OFF or not index.complete:
        return ()
    removals = []
    for path, entry in index.entries.items():
        if entry.kind in {Kind.FOLDER, Kind.MOUNT} or path in wanted.by_path:
            continue
        managed = path in ledger
        if (managed or clean is CleanMode.MIRROR) and not keep(path):
            reason = "no longer in the release" if managed else "not in the release"
            removals.append(Removal(path, reason))
    return tuple(removals)


def _plan_file(assessment: Assessment, index: int, good: bytes | bytearray) -> FilePlan:
    file = assessment.wanted.files[index]
    here = assessment.here[index]
    if here is Here.RIGHT:
        return FilePlan(Action.KEEP, "unchanged")
    if here is Here.UNREADABLE:
        return FilePlan(Action.UNREADABLE, "it could not be looked at")
    if here is Here.LOCAL:
        return FilePlan(Action.LOCAL, "matches a keep pattern")
    if file.link_target is not None:
        return FilePlan(Action.LINK, f"a link to {file.link_target}")
    entry = assessment.entry(index)
    if entry is None:
        return FilePlan(Action.FETCH, "not there")
    if entry.kind is not Kind.FILE:
        return FilePlan(Action.FETCH, f"a {entry.kind.value} is in its place")
    pieces = assessment.wanted.pieces_of(index)
    right = sum(good[pieces.start : pieces.stop])
    if right == len(pieces) and entry.size == file.size:
        return FilePlan(Action.KEEP, "its content is right")
    if not right:
        return FilePlan(Action.FETCH, "its content differs" if file.size else "it must be empty")
    return FilePlan(Action.PATCH, f"{right} of {len(pieces)} pieces are right")


def _plan_obstacles(
    assessment: Assessment,
    files: tuple[FilePlan, ...],
    going: Container[str],
    ledger: Mapping[str, LedgerRow],
    keep: Matcher,
) -> tuple[Removal, ...]:
    """Find what must be out of the way before files are placed.

    A file where the release has a folder goes to the trash if torsync put it there, or if it
    is removed anyway; a folder where the release has a file, if that holds for all in it.
    """
    wanted, entries = assessment.wanted, assessment.index.entries

    def may_go(path: str) -> bool:
        return path in going or (path in ledger and not keep(path))

    found = []
    for folder in sorted(wanted.folders):
        entry = entries.get(folder)
        if entry is None or entry.kind is Kind.FOLDER:
            continue
        if not may_go(folder):
            raise _obstacle(folder, "folder", folder, entry.kind)
        found.append(Removal(folder, "the release has a folder there"))
    blocked = [
        file.path
        for file, planned in zip(wanted.files, files, strict=True)
        if planned.action in {Action.FETCH, Action.LINK} and _is_folder(entries, file.path)
    ]
    for path in blocked:
        _check_is_read(assessment.index, path)
        for inside, entry in entries.items():
            if entry.kind is Kind.FOLDER or not f"{inside}/".startswith(f"{path}/"):
                continue
            if entry.kind is Kind.MOUNT or not may_go(inside):
                raise _obstacle(path, "file", inside, entry.kind)
            found.append(Removal(inside, "the release has a file there"))
    return tuple(found)


def _is_folder(entries: Mapping[str, DiskEntry], path: str) -> bool:
    entry = entries.get(path)
    return entry is not None and entry.kind in {Kind.FOLDER, Kind.MOUNT}


def _check_is_read(index: DiskIndex, folder: str) -> None:
    """Refuse to replace a folder that may hold more than could be seen."""
    for path, problem in index.problems.items():
        if path.startswith(f"{folder}/"):
            raise TreeError(
                f"the release has a file at {folder!r}, where a folder is in the way that could "
                f"not be read: {path!r}: {problem}",
                path=path,
                hint="make it readable, or move the folder away, then try again",
            )


def _obstacle(path: str, wanted: str, found: str, kind: Kind) -> TreeError:
    what = f"a {kind.value}" if found == path else f"the {kind.value} {found!r}"
    way_out = (
        "move it away, or have unlisted files moved to the trash with `torsync verify --clean`"
    )
    return TreeError(
        f"the release has a {wanted} at {path!r}, where {what} that torsync did not put there "
        "is in the way",
        path=found,
        hint=f"{'unmount it' if kind is Kind.MOUNT else way_out}, then try again",
    )
