"""The commit: what is staged becomes what is visible, one atomic rename per path.

Nothing is decided here: a journal says what happens. Old versions get a second name in the trash
before the new ones are renamed over them, so that no path is ever absent. A commit that was cut
off is carried out again from its journal: each step sees for itself whether it is done.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.names import meeting_key
from torsync.model.tree_index import DiskEntry, Kind, LedgerRow, ledger_row
from torsync.subscribe.attributes import identity_of, set_attributes
from torsync.subscribe.moves import Moves
from torsync.subscribe.patience import Patience
from torsync.subscribe.replacing import put_in_place
from torsync.subscribe.spelling import respell
from torsync.subscribe.trash import Trash, remove_emptied_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torsync.model.journal import Gone, Identity, Journal, Kept, Placed
    from torsync.model.plan import Plan

_NOT_AS_IT_WAS = {errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP}
"""What it means that others put a folder, a file or a link where none was."""


@dataclass
class CommitOutcome:
    """What became of the tree.

    Attributes:
        rows: what the ledger is to say of the release's files that this commit has to do with.
        moved, copied, patched, fetched: paths that have new content.
        trashed: paths whose old content is in the trash.
        kept_content: where in the trash old releases' files are → their paths, and what they are
            now.
        locked: paths that were left as they are, as another program holds their files.
        kept_local: paths under ``keep`` where something has come since they were looked at.
        respelled: see ``respell``.
        lost: paths that could not be brought to the release, as others had changed what was
            staged or what is there; only of a commit that was cut off.
    """

    rows: dict[str, LedgerRow] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    kept_content: dict[str, tuple[str, LedgerRow]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    kept_local: list[str] = field(default_factory=list)
    respelled: frozenset[str] = frozenset()

    def right(self, plan: Plan) -> bytes:
        """One byte per file of the release, 1 if the tree has it now."""
        right = bytearray(plan.right)
        for path in (*self.locked, *self.kept_local):
            if path in plan.wanted.by_path:
                right[plan.wanted.by_path[path]] = 0
        return bytes(right)

    def content_in_trash(self, ledger: Mapping[str, LedgerRow]) -> dict[str, LedgerRow]:
        """What is known of old releases' files that were moved to the trash, by path there."""
        return {
            at: row._replace(digest=ledger[path].digest)
            for at, (path, row) in self.kept_content.items()
            if path in ledger
        }


class Commit:
    """Carries out one journal."""

    def __init__(
        self,
        tree: Tree,
        journal: Journal,
        trash: Trash,
        *,
        digest: Callable[[int], str],
        on_file: Callable[[], None] = lambda: None,
        patience: Patience = Patience(),  # noqa: B008 - it never changes
        again: bool = False,
    ) -> None:
        """Prepare.

        Args:
            tree: to change.
            journal: what to do.
            trash: for what is removed and replaced.
            digest: ``Manifest.digest`` of the release.
            on_file: called after each file that was put in its place.
            patience: what to do about files that other programs hold.
            again: the journal is that of a commit that was cut off: what others did since then
                is theirs, and stays.
        """
        self._tree = tree
        self._journal = journal
        self._trash = trash
        self._digest = digest
        self._on_file = on_file
        self._patience = patience
        self._again = again
        self._moves = Moves(tree, journal, again=again)
        self._outcome = CommitOutcome()
        self._touched: set[str] = set()  # by others, while this commit was under way

    def run(self) -> CommitOutcome:
        """Make the staged release the visible one.

        Raises:
            TreeError: something could not be read or written; what was done so far stands, and
                nothing is lost.
        """
        journal = self._journal
        self._outcome.respelled = respell(self._tree, journal)
        self._moves.set_aside()
        self._moves.clear_the_way(but=self._outcome.respelled)
        self._remove(journal.cleared)
        self._remove_replaced_folders()
        for placed in journal.placed:
            with self._step("put in place", placed.path):
                self._attempt(placed.path, partial(self._place, placed))
        lost = (*self._outcome.lost, *self._outcome.locked, *self._outcome.kept_local)
        self._moves.leave_sources(lost=lost, but=self._outcome.respelled)
        self._remove(journal.removed)
        remove_emptied_folders(self._tree, journal.vacated())
        for kept in journal.kept:
            with self._step("set the mode and time of", kept.path):
                self._mend(kept)
        if journal.moves_anything:
            self._tree.sync()
        if self._again:
            self._recall_trashed()
        self._write_rows()
        return self._outcome

    @contextmanager
    def _step(self, action: str, path: str) -> Iterator[None]:
        """Name what is done; go on if others have put something else there since a cut-off."""
        with doing(action, path):
            try:
                yield
            except OSError as error:
                if not self._again or error.errno not in _NOT_AS_IT_WAS:
                    raise
                self._outcome.lost.append(path)

    def _attempt(self, path: str, work: Callable[[], bool]) -> None:
        if self._patience.attempt(path, work) is None:
            self._outcome.locked.append(path)

    def _remove_replaced_folders(self) -> None:
        self._tree.forget_folders()
        for path in self._journal.folders:
            with self._step("make room at", path), suppress(FileNotFoundError, NotADirectoryError):
                entry = self._tree.stat(path) if self._again else None
                if entry is None or entry.kind is Kind.FOLDER:
                    folder_fd, name = self._tree.locate(path)
                    os.rmdir(name, dir_fd=folder_fd)
        self._tree.forget_folders()

    # --- files that get to their paths ------------------------------------------------------

    def _place(self, placed: Placed) -> bool:
        is_done = None
        while is_done is None:
            is_done = self._place_over(placed, self._tree.stat(placed.path))
        return is_done

    def _place_over(self, placed: Placed, there: DiskEntry | None) -> bool | None:
        """Place a file where ``there`` is; None if that has to be looked at again."""
        if placed.yields and there is not None and not self._is_placed(placed, there):
            self._outcome.kept_local.append(placed.path)
            return False
        if placed.link:
            if there is None or there.link_target != placed.link:
                self._stage_link(placed)
                if not self._rename_into_place(placed, there):
                    return None
        elif self._is_respelled(placed):
            pass
        elif there is not None and there.inode == placed.inode:
            self._clear_held(placed)  # a rename onto the same file would do nothing
        elif self._again and not self._moves.is_held(placed):
            self._outcome.lost.append(placed.path)
            return False
        elif not self._rename_into_place(placed, there):
            return None
        self._moves.give_attributes(placed)
        done: list[str] = getattr(self._outcome, placed.how)
        done.append(placed.path)
        self._on_file()
        return True

    @staticmethod
    def _is_placed(placed: Placed, there: DiskEntry) -> bool:
        return there.link_target == placed.link if placed.link else there.inode == placed.inode

    def _is_respelled(self, placed: Placed) -> bool:
        """Whether a file had nothing to get but another spelling of its name."""
        if placed.aside or placed.source not in self._outcome.respelled:
            return False
        return meeting_key(placed.source) == meeting_key(placed.path)

    def _clear_held(self, placed: Placed) -> None:
        """See to what is left in the stage of a file that is at its path already.

        That is a second name of it, or the old version that it changed places with.
        """
        held_at = self._moves.held_at(placed)
        with suppress(NotADirectoryError):
            held = self._tree.stat(held_at)
            if held is None:
                return
            if held.inode == placed.inode or self._moves.has_moved(held.inode):
                folder_fd, name = self._tree.locate(held_at)
                os.unlink(name, dir_fd=folder_fd)
            elif self._again and held_at != placed.source:
                released = _identity(held) == placed.over
                self._trash.take(held_at, released=released, name=placed.path)

    def _stage_link(self, placed: Placed) -> None:
        folder_fd, name = self._tree.locate(self._moves.held_at(placed), create=True)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder_fd)
        os.symlink(placed.link, name, dir_fd=folder_fd)

    def _rename_into_place(self, placed: Placed, there: DiskEntry | None) -> bool:
        is_saved = there is not None and self._is_to_be_saved(placed.path, there)
        is_done = put_in_place(
            self._tree,
            self._trash,
            self._moves.held_at(placed),
            placed.path,
            there,
            saves=is_saved,
            released=there is not None and _identity(there) == placed.over,
        )
        if is_done and is_saved:
            self._outcome.trashed.append(placed.path)
        return is_done

    def _is_to_be_saved(self, path: str, there: DiskEntry) -> bool:
        """Whether there is something that a rename would end: what is moved has another name."""
        return there.kind is not Kind.FOLDER and not self._moves.is_moving(path, there.inode)

    # --- files that go, and files that stay -------------------------------------------------

    def _remove(self, paths: Iterable[Gone]) -> None:
        for gone in paths:
            if gone.path in self._outcome.respelled:
                continue
            with self._step("move to the trash", gone.path), suppress(NotADirectoryError):
                self._attempt(gone.path, partial(self._take, gone))

    def _take(self, gone: Gone) -> bool:
        entry = self._tree.stat(gone.path)
        if entry is None or entry.kind in {Kind.FOLDER, Kind.MOUNT}:
            return False
        if self._again and entry.inode != gone.inode:
            return False
        released = gone.released and _identity(entry) == gone.identity
        self._trash.take(gone.path, released=released)
        self._outcome.trashed.append(gone.path)
        return True

    def _mend(self, kept: Kept) -> None:
        """Give a file that stays the mode and time that the release has for it."""
        entry = self._tree.stat(kept.path)
        if entry is None or not _is_as_it_was(entry, kept):
            self._touched.add(kept.path)
        elif kept.mode >= 0 or kept.identity != _identity(entry):
            fd = self._tree.open(kept.path)
            try:
                if identity_of(os.fstat(fd)) == _identity(entry):
                    set_attributes(fd, kept.mode, kept.mtime_s)
                else:
                    self._touched.add(kept.path)
            finally:
                os.close(fd)

    def _recall_trashed(self) -> None:
        """Find the files of old releases that were in the trash when this was cut off."""
        for gone in (*self._journal.cleared, *self._journal.removed):
            if gone.released:
                self._trash.recall(gone.path, gone.identity)
        for placed in self._journal.placed:
            if placed.over is not None:
                self._trash.recall(placed.path, placed.over)

    def _write_rows(self) -> None:
        """Remember what is in the tree now.

        Nobody vouches for a file that was written to after it was put in its place.
        """
        outcome, journal = self._outcome, self._journal
        lost = {*outcome.lost, *outcome.locked, *outcome.kept_local, *self._touched}
        noted: list[Placed | Kept] = [*journal.placed, *journal.kept]
        steps = [step for step in noted if step.path not in lost]
        clock_ns = self._tree.wait_for_tick() if steps or self._trash.released else 0
        were = {gone.path: gone.identity for gone in (*journal.cleared, *journal.removed)}
        were |= {placed.path: placed.over for placed in journal.placed if placed.over}
        for trashed, path in self._trash.released.items():
            with doing("look at", trashed):
                entry = self._tree.stat(trashed)
            if entry is not None and entry.kind is Kind.FILE and _identity(entry) == were.get(path):
                self._outcome.kept_content[trashed] = path, ledger_row(entry, "", clock_ns)
        for step in steps:
            with doing("look at", step.path):
                entry = self._tree.stat(step.path)
            if entry is None or entry.kind not in {Kind.FILE, Kind.LINK}:
                continue
            is_right = entry.kind is Kind.LINK or _identity(entry) == step.identity
            digest = self._digest(step.number) if is_right else ""
            self._outcome.rows[step.path] = ledger_row(entry, digest, clock_ns)


def _is_as_it_was(entry: DiskEntry, kept: Kept) -> bool:
    if entry.kind is not Kind.FILE or kept.ctime_ns not in {-1, entry.ctime_ns}:
        return False
    return _identity(entry) == (kept.size, kept.mtime_ns, kept.inode)


def _identity(entry: DiskEntry) -> Identity:
    return entry.size, entry.mtime_ns, entry.inode
