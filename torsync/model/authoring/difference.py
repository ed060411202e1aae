"""What a new release changes, and what that costs a subscriber."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torsync.model.assess import assess, link_text
from torsync.model.config import CleanMode
from torsync.model.known import Synced
from torsync.model.merkle import BLOCK_SIZE
from torsync.model.patterns import nothing
from torsync.model.plan import plan_update
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind, LedgerRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.manifest import Manifest


@dataclass(frozen=True)
class Difference:
    """A release compared with the one before; paths in the order of their release.

    Attributes:
        added: paths that are new, with content that is new.
        modified: paths of other content, or with another executable or hidden bit.
        moved: paths that are new, with the content of one that went.
        removed: paths that are gone, and their content has not moved.
        unchanged: how many other files and links there are.
        bytes_to_fetch: what peers send to a subscriber that has the whole release before.
    """

    added: tuple[str, ...]
    modified: tuple[str, ...]
    moved: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    bytes_to_fetch: int


def find_difference(previous: Manifest | None, new: Manifest) -> Difference:
    """Compare a release with the one before, which may be none.

    Modification times don't count: they are no content.
    """
    if previous is None:
        added = tuple(file.path for file in new.files)
        return Difference(added, (), (), (), 0, _bytes_of_all(new))
    appeared, changed = _compare(previous, new)
    gone = [at for at, file in enumerate(previous.files) if file.path not in new.by_path]
    sources = _match(previous, gone, new, appeared)
    left = set(sources.values())
    return Difference(
        added=tuple(new.files[index].path for index in appeared if index not in sources),
        modified=tuple(new.files[index].path for index in changed),
        moved=tuple(new.files[index].path for index in appeared if index in sources),
        removed=tuple(previous.files[at].path for at in gone if at not in left),
        unchanged=len(new.files) - len(appeared) - len(changed),
        bytes_to_fetch=bytes_to_fetch(*_reduced(previous, new, [*appeared, *changed])),
    )


def _bytes_of_all(manifest: Manifest) -> int:
    """What peers send for a whole release: padding up to the end of a file's last block, too.

    It is what ``sent_bytes`` of all pieces adds up to where padding ends with its piece.
    """
    size = manifest.total_size
    if manifest.v1_hashes:
        offsets, ends, _indexes = manifest.sized
        for end, following in zip(ends, [*offsets[1:], manifest.layout_size], strict=True):
            if following > end:
                size += -end % BLOCK_SIZE
    return size


def _compare(previous: Manifest, new: Manifest) -> tuple[list[int], list[int]]:
    """Find the files of a release whose path is new, and those that are no longer the same."""
    appeared, changed = [], []
    for index, file in enumerate(new.files):
        at = previous.by_path.get(file.path)
        if at is None:
            appeared.append(index)
            continue
        old = previous.files[at]
        same = (old.size, *old[3:6]) == (file.size, *file[3:6])  # size and BEP 47 attributes
        if same and old.pieces_root is not None and file.pieces_root is not None:
            same = old.pieces_root == file.pieces_root
        elif same and file.size:
            same = not set(previous.digests(at)).isdisjoint(new.digests(index))
        if not same:
            changed.append(index)
    return appeared, changed


def _match(
    previous: Manifest, gone: Sequence[int], new: Manifest, appeared: Sequence[int]
) -> dict[int, int]:
    """Find for new paths one of the same content that went: of the same name, where there is."""
    named: dict[tuple[str, str], list[int]] = {}
    any_name: dict[tuple[str, str], list[int]] = {}
    for at in reversed(gone):
        file = previous.files[at]
        for digest in previous.digests(at) if file.size else ():
            named.setdefault((digest, _name(file.path)), []).append(at)
            any_name.setdefault((digest, ""), []).append(at)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for pools in (named, any_name):
        for index in appeared if pools else ():
            file = new.files[index]
            if not file.size or index in found:
                continue
            name = _name(file.path) if pools is named else ""
            for digest in new.digests(index):
                source = _take(pools.get((digest, name), []), taken)
                if source is not None:
                    found[index] = source
                    break
    return found


def _take(pool: list[int], taken: set[int]) -> int | None:
    """Take the last of a pool that was not taken out of another one."""
    while pool:
        at = pool.pop()
        if at not in taken:
            taken.add(at)
            return at
    return None


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _reduced(
    previous: Manifest, new: Manifest, differing: Sequence[int]
) -> tuple[Manifest, Manifest]:
    """Leave out of both releases what has no part in an update, which may be nearly everything.

    These are files that stay as they are and share no piece with one that does not. The release
    before keeps those that may be a source: with content that is wanted elsewhere, or of more
    than half a piece, whose root may be the hash of a piece of another file (BEP 52). Its v1
    hashes stay all the same.

    Args:
        previous: the release before.
        new: the release.
        differing: the files of it that are not as they were.
    """
    if not all(file.pieces_root for each in (previous, new) for file in each.files if file.size):
        return previous, new
    piece_length = new.piece_length
    touched = bytearray(new.num_pieces)
    for index in differing:
        for piece in new.pieces_of(index):
            touched[piece] = 1
    wanted = set(differing)
    sought = {new.files[index].pieces_root for index in differing}
    left = []
    idle = set()
    for index, file in enumerate(new.files):
        first, last = file.offset // piece_length, (file.offset + file.size - 1) // piece_length
        if index in wanted or (file.size and (touched[first] or touched[last])):
            left.append(file)
        elif 2 * file.size <= piece_length and file.pieces_root not in sought:
            idle.add(file.path)
    # Without a single file in the ledger, nothing would be known of the release before.
    idle.difference_update([file.path for file in previous.files if file.size][:1])
    before = tuple(file for file in previous.files if file.path not in idle)
    return replace(previous, files=before), replace(new, files=tuple(left))


def bytes_to_fetch(previous: Manifest, new: Manifest) -> int:
    """Tell how much peers have to send to a subscriber that has all of the release before.

    It is what the subscriber's own plan says of a tree with that release and nothing else.
    A piece that only hashing could tell to be there counts as one to be fetched.
    """
    index, ledger = _whole(previous)
    assessment = assess(new, index, ledger, keep=nothing, synced=Synced(lambda: previous))
    plan = plan_update(assessment, (), ledger, keep=nothing, clean=CleanMode.MANAGED)
    return plan.bytes_to_fetch


def _whole(manifest: Manifest) -> tuple[DiskIndex, dict[str, LedgerRow]]:
    """A tree that has a whole release, as a scan would find it, and its ledger."""
    entries = {folder: DiskEntry(Kind.FOLDER, 0, 0, 0, 0, 0o755) for folder in manifest.folders}
    ledger = {}
    for index, file in enumerate(manifest.files):
        path = file.path
        ledger[path] = LedgerRow(file.size, 0, 0, index, manifest.digest(index))
        if file.link_target is None:
            entries[path] = DiskEntry(Kind.FILE, file.size, 0, 0, index, 0o644)
        else:
            text = link_text(path, file.link_target)
            entries[path] = DiskEntry(Kind.LINK, 0, 0, 0, index, 0o777, text)
    return DiskIndex(entries), ledger
