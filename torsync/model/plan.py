"""What an update does to each file, decided from values alone; actions carry it out later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.assessment import Assessment, Here
from torsync.model.doubles import find_doubles
from torsync.model.names import in_private
from torsync.model.removals import Removal, plan_obstacles, plan_removals
from torsync.model.selection import selected_folders
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from torsync.model.assess import Matcher
    from torsync.model.assessment import Extent
    from torsync.model.config import CleanMode
    from torsync.model.manifest import Manifest
    from torsync.model.shifts import Claim
    from torsync.model.tree_index import DiskIndex, LedgerRow


class Action(Enum):
    """What happens to one wanted file."""

    __hash__ = object.__hash__  # Enum's own is slow, and every file is looked up by it

    KEEP = "keep"
    MOVE = "move"
    COPY = "copy"
    PATCH = "patch"
    FETCH = "fetch"
    LINK = "link"
    LOCAL = "kept local"
    UNSELECTED = "not selected"
    UNREADABLE = "unreadable"


FILLED = frozenset({Action.PATCH, Action.FETCH})  # by libtorrent, in the stage
STAGED = FILLED | {Action.COPY, Action.LINK}
NOT_OURS = frozenset(  # left alone, whatever they hold
    {Action.LOCAL, Action.UNSELECTED, Action.UNREADABLE}
)
_UNTOUCHED = NOT_OURS | {Action.KEEP}


class FilePlan(NamedTuple):
    """The action for the wanted file of the same index, and why.

    ``source`` is the path of the file that is moved, copied, or cloned to be patched; empty
    where none is.
    """

    action: Action
    reason: str
    source: str = ""

    @property
    def is_cloned(self) -> bool:
        """Whether the staged file begins as a copy of ``source``."""
        return bool(self.source) and self.action in {Action.PATCH, Action.COPY}


_UNCHANGED = FilePlan(Action.KEEP, "unchanged")
_UNSELECTED = FilePlan(Action.UNSELECTED, "not selected")


@dataclass(frozen=True)
class Plan:
    """How the tree becomes the wanted release.

    Attributes:
        files: one per file of the wanted manifest, in its order.
        good: one byte per piece, 1 where the tree holds the piece's right content: at the paths
            of files that are kept, at the sources of the others.
        copies: piece → where in the tree to copy its content from, for pieces that are not
            good, but known to be elsewhere.
        claims: piece → the blocks of it that are in the tree, for other pieces, which are fetched.
        shifted: files with content that is at other offsets of the tree's files; they are staged.
        vouched: see ``Assessment.vouched``.
        in_place: the files that are patched where they are.
        to_save: those of them that a user has edited: a copy goes to the trash first.
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
    copies: Mapping[int, tuple[Extent, ...]] = field(default_factory=dict)
    claims: Mapping[int, Claim] = field(default_factory=dict)
    shifted: frozenset[int] = frozenset()
    vouched: bytes = b""
    in_place: frozenset[int] = frozenset()
    to_save: frozenset[int] = frozenset()

    @cached_property
    def acting(self) -> tuple[int, ...]:
        """The files that are not just kept as they are, in order."""
        keep = Action.KEEP
        return tuple(
            index for index, planned in enumerate(self.files) if planned.action is not keep
        )

    @cached_property
    def settled(self) -> bytes:
        """One byte per file: 1 where it is kept, and the ledger has nothing to learn of it."""
        found = bytearray(self.vouched or len(self.files))
        for index in self.acting:
            found[index] = 0
        return bytes(found)

    @cached_property
    def right(self) -> bytes:
        """One byte per file: 1 where it has the release's content once this is carried out.

        Of files that are not selected, the ledger may know that they have.
        """
        found = bytearray(b"\1" * len(self.files))
        vouched = self.vouched or bytes(len(self.files))
        for index in self.acting:
            action = self.files[index].action
            if action is Action.UNSELECTED:
                found[index] = vouched[index]
            elif action in NOT_OURS:
                found[index] = 0
        return bytes(found)

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """The pieces that are not in the tree, in order."""
        return tuple(piece for piece in self.lacking if piece not in self.copies)

    @cached_property
    def doubles(self) -> Mapping[int, int]:
        """Those of them that need not be fetched: piece → the earlier one that is equal."""
        return find_doubles(self.wanted, self.needed)

    @cached_property
    def moved(self) -> frozenset[str]:
        """The paths that files are moved from."""
        planned = (self.files[index] for index in self.acting)
        return frozenset(each.source for each in planned if each.action is Action.MOVE)

    @cached_property
    def lacking(self) -> tuple[int, ...]:
        """The pieces that have to be fetched or assembled, in order."""
        found: list[int] = []
        last = -1
        for index in self.acting:
            if self.files[index].action not in FILLED:
                continue
            for piece in self.wanted.pieces_of(index):
                if piece > last:
                    last = piece
                    if not self.good[piece]:
                        found.append(piece)
        return tuple(found)

    @cached_property
    def bytes_to_fetch(self) -> int:
        """How much peers have to send, padding in the blocks that hold content included."""
        to_fetch = [piece for piece in self.needed if piece not in self.doubles]
        claims = (self.claims[piece].length for piece in to_fetch if piece in self.claims)
        return sum(map(self.wanted.sent_bytes, to_fetch)) - sum(claims)

    @property
    def is_empty(self) -> bool:
        """Whether the tree already has every file, and nothing has to go."""
        return not self.removals and all(
            self.files[index].action in _UNTOUCHED for index in self.acting
        )

    def patching_in_place(self, is_edited: Callable[[str], bool] = lambda _path: False) -> Plan:
        """The same plan for little room: what can be is patched where it is.

        What is patched is no source for others while it is: pieces that would have been copied
        from there are fetched. A file that is moved away as well is patched in the stage, and so is
        one whose content has shifted: it is its own source.

        Args:
            is_edited: whether what is at a path is a user's version of it.
        """
        files = self.wanted.files
        chosen = {
            files[index].path: index
            for index in self.acting
            if self.files[index].action is Action.PATCH
            and self.files[index].source == files[index].path
            and files[index].path not in self.moved
            and index not in self.shifted
        }
        copies = {
            piece: extents
            for piece, extents in self.copies.items()
            if not any(extent.path in chosen for extent in extents)
        }
        claims = {
            piece: claim
            for piece, claim in self.claims.items()
            if not any(extent.path in chosen for extent in claim.extents)
        }
        return replace(
            self,
            copies=copies,
            claims=claims,
            in_place=frozenset(chosen.values()),
            to_save=frozenset(index for path, index in chosen.items() if is_edited(path)),
        )

    def without_mending(self) -> Plan:
        """The same plan with removals only: files of the release stay as they are.

        What would have been moved to a file of the release that is missing is removed, too.
        """
        files = tuple(
            planned
            if planned.action in _UNTOUCHED
            else FilePlan(Action.LOCAL, "not to be mended now")
            for planned in self.files
        )
        needed = self.wanted.by_path.keys() | {removal.path for removal in self.in_the_way}
        unmoved = sorted(path for path in self.moved - needed if not in_private(path))
        removals = (*self.removals, *(Removal(path, "not in the release") for path in unmoved))
        return replace(self, files=files, removals=removals, in_the_way=(), copies={}, claims={})

    def paths(self, action: Action) -> list[str]:
        """The paths of the files with that action."""
        among = range(len(self.files)) if action is Action.KEEP else self.acting
        return [
            self.wanted.files[index].path for index in among if self.files[index].action is action
        ]


def content_bytes_of(manifest: Manifest, pieces: Iterable[int]) -> int:
    """How many bytes of files ``pieces`` have; padding does not count."""
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
    wanted, unselected = assessment.wanted, assessment.unselected
    good = assessment.good_pieces(hashed_good)
    files = [
        _UNSELECTED
        if index in unselected
        else FilePlan(Action.UNREADABLE, "it could not be read")
        if index in unreadable and seen is not Here.LOCAL
        else _UNCHANGED
        if seen is Here.RIGHT
        else _plan_file(assessment, index, good)
        for index, seen in enumerate(assessment.here)
    ]
    removals = plan_removals(wanted, assessment.index, ledger, keep=keep, clean=clean)
    if any(planned.action is Action.UNREADABLE for planned in files):
        removals = ()  # perhaps it has what is missed elsewhere
    placed = [
        file.path
        for file, planned in zip(wanted.files, files, strict=True)
        if planned.action not in _UNTOUCHED
    ]
    in_the_way = plan_obstacles(
        selected_folders(wanted, unselected),
        assessment.index,
        placed,
        {removal.path for removal in removals},
        ledger,
        keep,
    )
    leaving = {removal.path for removal in (*removals, *in_the_way)}
    moved = _plan_moves(wanted, files, leaving)
    plan = Plan(
        wanted,
        assessment.index,
        tuple(files),
        bytes(good),
        tuple(removal for removal in removals if removal.path not in moved),
        in_the_way,
        vouched=assessment.vouched,
    )
    elsewhere = assessment.elsewhere
    copies = {piece: elsewhere[piece] for piece in plan.lacking if piece in elsewhere}
    return replace(plan, copies=copies) if copies else plan


def _plan_moves(wanted: Manifest, files: list[FilePlan], leaving: Container[str]) -> set[str]:
    """Turn a copy of what goes from its path anyway into a move; the first one that asks.

    What is in the trash is taken out of it.

    Returns:
        The paths that are moved away.
    """
    moved: set[str] = set()
    for index, planned in enumerate(files):
        source = planned.source
        if planned.action is not Action.COPY or source in moved:
            continue
        at = wanted.by_path.get(source)
        if at is None:
            is_free = source in leaving or in_private(source)
        else:
            is_free = files[at].action not in _UNTOUCHED
        if is_free:
            moved.add(source)
            files[index] = planned._replace(action=Action.MOVE)
    return moved


def _plan_file(assessment: Assessment, index: int, good: bytes | bytearray) -> FilePlan:
    file = assessment.wanted.files[index]
    here = assessment.here[index]
    if here is Here.UNREADABLE:
        return FilePlan(Action.UNREADABLE, "it could not be looked at")
    if here is Here.LOCAL:
        return FilePlan(Action.LOCAL, "matches a keep pattern")
    if file.link_target is not None:
        return FilePlan(Action.LINK, f"a link to {file.link_target}")
    source = assessment.source(index)
    if here is Here.ELSEWHERE:
        return FilePlan(Action.COPY, f"the content of {source}", source)
    entry = assessment.index.entries.get(source)
    pieces = assessment.wanted.pieces_of(index)
    right = sum(good[pieces.start : pieces.stop])
    in_place = source == file.path
    if here is Here.DOUBTFUL and entry is not None and right:
        if right < len(pieces):
            where = "" if in_place else f" in {source}"
            return FilePlan(
                Action.PATCH, f"{right} of {len(pieces)} pieces are right{where}", source
            )
        if entry.size != file.size:
            return FilePlan(Action.PATCH, f"the first {file.size} bytes are right", source)
        if in_place:
            return FilePlan(Action.KEEP, "its content is right")
        return FilePlan(Action.COPY, f"the content of {source}", source)
    copied = sum(1 for piece in pieces if piece in assessment.elsewhere)
    if copied:
        return FilePlan(
            Action.PATCH, f"{copied} of {len(pieces)} pieces are in other places of the tree"
        )
    return FilePlan(Action.FETCH, _why_fetch(assessment, index))


def _why_fetch(assessment: Assessment, index: int) -> str:
    entry = assessment.entry(index)
    if entry is None:
        return "not there"
    if entry.kind is not Kind.FILE:
        return f"a {entry.kind.value} is in its place"
    return "its content differs" if assessment.wanted.files[index].size else "it must be empty"
