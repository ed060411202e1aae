"""What goes to the trash in an update: files that are no longer listed, and what is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.model.config import CleanMode
from torsync.model.errors import TreeError
from torsync.model.names import in_private
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest
    from torsync.model.tree_index import DiskEntry, DiskIndex, LedgerRow


class Removal(NamedTuple):
    """Something to move to the trash, and why."""

    path: str
    reason: str


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
    listed = wanted.by_path
    for path, entry in index.entries.items():
        if path in listed or entry.kind in {Kind.FOLDER, Kind.MOUNT} or in_private(path):
            continue
        managed = path in ledger
        if (managed or clean is CleanMode.MIRROR) and not keep(path):
            reason = "no longer in the release" if managed else "not in the release"
            removals.append(Removal(path, reason))
    return tuple(removals)


def plan_obstacles(
    folders: Iterable[str],
    index: DiskIndex,
    placed: Iterable[str],
    going: Container[str],
    ledger: Mapping[str, LedgerRow],
    keep: Matcher,
) -> tuple[Removal, ...]:
    """Find what must be out of the way before files are placed.

    A file where the release has a folder goes to the trash if torsync put it there, or if it
    is removed anyway; a folder where the release has a file, if that holds for all in it.

    Args:
        folders: that the release needs.
        index: what is on disk.
        placed: the paths that files are put at.
        going: the paths that are removed anyway.
        ledger: what torsync manages, by path.
        keep: paths that are never removed.

    Raises:
        TreeError: something that is not torsync's to remove is in the way.
    """
    entries = index.entries

    def may_go(path: str) -> bool:
        return path in going or (path in ledger and not keep(path))

    found = []
    for folder in sorted(folders):
        entry = entries.get(folder)
        if entry is None or entry.kind is Kind.FOLDER:
            continue
        if not may_go(folder):
            raise _obstacle(folder, "folder", folder, entry.kind)
        found.append(Removal(folder, "the release has a folder there"))
    for path in placed:
        if not _is_folder(entries, path):
            continue
        _check_is_read(index, path)
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
