"""The commit: what is staged becomes what is visible, one atomic rename per path.

Nothing is decided here. The plan says what happens to each file; old versions get a second
name in the trash before the new ones are renamed over them, so that no path is ever absent.
A commit that is cut off leaves each path with its old or its new content; the next look at
the tree finds which, and the update goes on from there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.model.assess import link_text
from torsync.model.errors import TreeError
from torsync.model.placement import Place
from torsync.model.plan import FILLED, NOT_OURS, Action, Plan
from torsync.model.tree_index import Kind, LedgerRow, ledger_row
from torsync.subscribe.attributes import Attributes, Identity, dated, identity_of
from torsync.subscribe.moves import Moves
from torsync.subscribe.scan import disk_entry
from torsync.subscribe.stage import same_content
from torsync.subscribe.trash import Trash, remove_emptied_folders
from torsync.subscribe.tree import Tree, doing

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from torsync.model.known import Synced
    from torsync.model.manifest import FileEntry
    from torsync.model.removals import Removal
    from torsync.subscribe.stage import Stage


@dataclass
class CommitOutcome:
    """What became of the tree.

    Attributes:
        rows: what the ledger is to say of the release's files, but for those that it knows
            already as they are (``Plan.settled``).
        moved, copied, patched, fetched: paths that have new content.
        unchanged: how many files were staged and turned out to be what they were.
        trashed: paths whose old content is in the trash.
    """

    rows: dict[str, LedgerRow] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    unchanged: int = 0
    trashed: list[str] = field(default_factory=list)


class Commit:
    """Carries out one plan whose content is complete in the stage."""

    def __init__(
        self,
        tree: Tree,
        plan: Plan,
        stage: Stage,
        trash: Trash,
        *,
        synced: Synced,
        on_file: Callable[[], None],
        on_start: Callable[[dict[str, int | str]], None] = lambda _placed: None,
    ) -> None:
        """Prepare.

        Args:
            tree: to change.
            plan: what to do.
            stage: has the content of all files to patch and fetch.
            trash: for what is removed and replaced.
            synced: the release before this one, to tell executable bits that it set from
                those that the user set.
            on_file: called after each file that was put in its place.
            on_start: called before anything is, with path → inode of all files that will be, and
                path → text of all links: what is torsync's own should it be cut off.
        """
        self._tree = tree
        self._plan = plan
        self._stage = stage
        self._trash = trash
        self._attributes = Attributes(plan.index, synced)
        self._on_file = on_file
        self._on_start = on_start
        self._outcome = CommitOutcome()
        self._unchanged: set[int] = set()  # files that were staged in vain
        self._finished: dict[int, Identity] = {}  # files, as they were when they were verified
        self._touched: set[str] = set()  # by others, while this commit was under way
        self._mended: set[int] = set()  # kept files that had another mode or time

    def run(self) -> CommitOutcome:
        """Make the staged release the visible one.

        Raises:
            TreeError: something could not be read or written; what was done so far stands, and
                nothing is lost.
        """
        staged = self._finish_staged()
        if not self._plan.is_empty:
            self._tree.sync()
        moves = Moves(self._tree, self._plan, self._stage)
        moves.prepare()
        self._tell_start(staged, moves)
        gone = moves.clear_the_way()
        gone += self._remove(entry for entry in self._plan.in_the_way if entry.path not in gone)
        self._remove_replaced_folders()
        for index in staged:
            self._place(index)
        self._place_moved(moves)
        self._place_links()
        gone += moves.leave_sources()
        left = set(gone)
        gone += self._remove(entry for entry in self._plan.removals if entry.path not in left)
        remove_emptied_folders(self._tree, gone)
        self._mend_attributes()
        if not self._plan.is_empty:
            self._tree.sync()
        self._write_rows()
        self._outcome.unchanged = len(self._unchanged)
        return self._outcome

    # --- staged files -----------------------------------------------------------------------

    def _finish_staged(self) -> list[int]:
        """Give staged files their size, mode and time; leave out what did not change."""
        staged = []
        for index in self._plan.acting:
            action = self._plan.files[index].action
            if action not in FILLED and action is not Action.COPY:
                continue
            file = self._plan.wanted.files[index]
            path = self._stage.path(index, Place.STAGE)
            with doing("finish", path):
                fd = self._tree.open(path, os.O_RDWR | (0 if file.size else os.O_CREAT))
                try:
                    self._check_size(fd, file, path)
                    if self._is_unchanged(fd, index):
                        self._unchanged.add(index)
                        continue
                    self._attributes.set(fd, file)
                    self._finished[index] = identity_of(os.fstat(fd))
                finally:
                    os.close(fd)
            staged.append(index)
        return staged

    @staticmethod
    def _check_size(fd: int, file: FileEntry, path: str) -> None:
        size = os.fstat(fd).st_size
        if size > file.size:
            os.ftruncate(fd, file.size)
        elif size < file.size:
            raise TreeError(
                f"the staged file of {file.path!r} should have {file.size} bytes, has {size}",
                path=path,
                hint="try again: it is then fetched anew",
            )

    def _is_unchanged(self, staged_fd: int, index: int) -> bool:
        """Whether a file is what it was: its pieces were fetched for a neighbour's sake.

        Of one that it was cloned from, and that nobody has touched since, only the pieces that
        the clone lacked are compared.
        """
        file, planned = self._plan.wanted.files[index], self._plan.files[index]
        entry = self._plan.index.entries.get(file.path)
        if entry is None or entry.kind is not Kind.FILE or entry.size != file.size:
            return False
        with doing("read", file.path):
            fd = self._tree.open(file.path)
            try:
                seen = os.fstat(fd)
                is_source = planned.source == file.path
                is_cloned = is_source and disk_entry(seen, self._tree.device) == entry
                runs = self._lacked(index) if is_cloned else [(0, file.size)]
                self._finished[index] = identity_of(seen)
                return all(same_content(fd, staged_fd, *run) for run in runs)
            finally:
                os.close(fd)

    def _lacked(self, index: int) -> list[tuple[int, int]]:
        """Where a file's clone was filled: offsets and lengths."""
        wanted, lacking = self._plan.wanted, set(self._plan.lacking)
        return [
            (segment.file_offset, segment.length)
            for piece in wanted.pieces_of(index)
            if piece in lacking
            for segment in wanted.segments(piece)
            if segment.file_index == index
        ]

    # --- the visible tree -------------------------------------------------------------------

    def _tell_start(self, staged: Iterable[int], moves: Moves) -> None:
        files = self._plan.wanted.files
        placed: dict[str, int | str] = {
            files[index].path: self._finished[index][2] for index in staged
        }
        placed |= {files[index].path: identity[2] for index, _held_at, identity in moves.held()}
        for file, planned in zip(files, self._plan.files, strict=True):
            if planned.action is Action.LINK and file.link_target is not None:
                placed[file.path] = link_text(file.path, file.link_target)
        if placed:
            self._on_start(placed)

    def _remove_replaced_folders(self) -> None:
        """Remove the folders that are where a file or link goes, and the empty ones in them."""
        entries = self._plan.index.entries
        files = self._plan.wanted.files
        replaced = {
            files[index].path
            for index in self._plan.acting
            if self._plan.files[index].action not in NOT_OURS
            and (entry := entries.get(files[index].path)) is not None
            and entry.kind is Kind.FOLDER
        }
        self._tree.forget_folders()
        for path in sorted(entries, reverse=True) if replaced else ():
            if entries[path].kind is Kind.FOLDER and _is_in(path, replaced):
                with doing("make room at", path), suppress(FileNotFoundError):
                    folder_fd, name = self._tree.locate(path)
                    os.rmdir(name, dir_fd=folder_fd)
        self._tree.forget_folders()

    def _place(self, index: int) -> None:
        file, action = self._plan.wanted.files[index], self._plan.files[index].action
        placed = {
            Action.COPY: self._outcome.copied,
            Action.PATCH: self._outcome.patched,
            Action.FETCH: self._outcome.fetched,
        }
        self._rename_into_place(self._stage.path(index, Place.STAGE), file.path)
        placed[action].append(file.path)
        self._on_file()

    def _place_moved(self, moves: Moves) -> None:
        for index, held_at, identity in moves.held():
            file = self._plan.wanted.files[index]
            self._rename_into_place(held_at, file.path)
            self._outcome.moved.append(file.path)
            self._finished[index] = self._with_attributes(file, identity)
            self._on_file()

    def _with_attributes(self, file: FileEntry, identity: Identity) -> Identity:
        """Give a moved file its mode and time; what it then looks like."""
        with doing("look at", file.path):
            entry = self._tree.stat(file.path)
        if entry is None or (entry.size, entry.mtime_ns, entry.inode) != identity:
            return identity
        if not self._attributes.are_right(file, entry):
            with doing("set the mode and time of", file.path):
                fd = self._tree.open(file.path)
                try:
                    self._attributes.set(fd, file)
                finally:
                    os.close(fd)
        return dated(file, identity)

    def _rename_into_place(self, held_at: str, path: str) -> None:
        if self._is_to_be_saved(path):
            self._trash.save(path)
            self._outcome.trashed.append(path)
        with doing("put in place", path):
            (source_fd, source), (target_fd, target) = self._tree.locate_both(
                held_at, path, create=True
            )
            os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    def _is_to_be_saved(self, path: str) -> bool:
        """Whether there is something that a rename would end: what is moved has another name."""
        with doing("look at", path):
            entry = self._tree.stat(path)
        if entry is None or entry.kind is Kind.FOLDER:
            return False
        return path not in self._plan.moved or entry.inode != self._plan.index.entries[path].inode

    def _place_links(self) -> None:
        for index in self._plan.acting:
            file = self._plan.wanted.files[index]
            if self._plan.files[index].action is not Action.LINK or file.link_target is None:
                continue
            staged = self._stage.path(index, Place.STAGE)
            with doing("make the link", file.path):
                folder_fd, name = self._tree.locate(staged)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder_fd)
                os.symlink(link_text(file.path, file.link_target), name, dir_fd=folder_fd)
            self._rename_into_place(staged, file.path)
            self._outcome.fetched.append(file.path)
            self._on_file()

    def _remove(self, removals: Iterable[Removal]) -> list[str]:
        removed = []
        for path, _reason in removals:
            with doing("look at", path):
                entry = self._tree.stat(path)
            if entry is None or entry.kind in {Kind.FOLDER, Kind.MOUNT}:
                continue
            self._trash.take(path)
            removed.append(path)
        self._outcome.trashed.extend(removed)
        return removed

    def _mend_attributes(self) -> None:
        """Give files that stay the executable bit and time that the release has for them."""
        acting = {*self._plan.acting} - self._unchanged
        entries = self._plan.index.entries
        for index, file in enumerate(self._plan.wanted.files):
            entry = entries.get(file.path)
            if entry is None or index in acting or file.link_target is not None:
                continue
            if not (file.executable or entry.mode & 0o111) and file.mtime_s is None:
                continue  # as most are
            if self._attributes.are_right(file, entry):
                continue
            self._mended.add(index)
            with doing("set the mode and time of", file.path):
                if self._tree.stat(file.path) != entry:
                    self._touched.add(file.path)
                    continue
                self._finished[index] = dated(file, (entry.size, entry.mtime_ns, entry.inode))
                fd = self._tree.open(file.path)
                try:
                    self._attributes.set(fd, file)
                finally:
                    os.close(fd)

    def _write_rows(self) -> None:
        """Remember what is in the tree now; a kept file as it was when it was looked at.

        Nobody vouches for a file that was written to after it was put in its place.
        """
        now_ns = 0  # waited for if anything was touched
        settled = self._plan.settled
        for index, planned in enumerate(self._plan.files):
            if settled[index] and index not in self._mended:
                continue
            file = self._plan.wanted.files[index]
            if planned.action in NOT_OURS:
                continue
            entry = self._plan.index.entries.get(file.path)
            clock_ns = self._plan.index.clock_ns
            if file.path in self._touched:
                if settled[index] and entry is not None:
                    self._outcome.rows[file.path] = ledger_row(entry, "", clock_ns)
                continue
            if planned.action is not Action.KEEP or index in self._mended:
                clock_ns = now_ns = now_ns or self._tree.wait_for_tick()
                with doing("look at", file.path):
                    entry = self._tree.stat(file.path)
            if entry is not None:
                seen = (entry.size, entry.mtime_ns, entry.inode)
                touched = self._finished.get(index, seen) != seen
                digest = "" if touched else self._plan.wanted.digest(index)
                self._outcome.rows[file.path] = ledger_row(entry, digest, clock_ns)


def _is_in(path: str, folders: Container[str]) -> bool:
    """Whether ``path`` is one of ``folders`` or lies in one."""
    while path and path not in folders:
        path = path.rpartition("/")[0]
    return bool(path)
