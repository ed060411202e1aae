"""The first half of a commit: staged files get what they lack, and a journal says what follows.

Nothing in the visible tree is changed here.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torsync.disk.copying import same_content
from torsync.disk.scan import disk_entry
from torsync.disk.tree import Tree, doing
from torsync.model.assess import link_text
from torsync.model.errors import TreeError
from torsync.model.journal import Gone, Identity, Journal, Kept, Placed
from torsync.model.names import meeting_key
from torsync.model.placement import Place
from torsync.model.plan import FILLED, NOT_OURS, Action, Plan
from torsync.model.tree_index import Kind
from torsync.subscribe.attributes import Attributes, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from torsync.model.assess import Matcher
    from torsync.model.known import Synced
    from torsync.model.manifest import FileEntry
    from torsync.model.removals import Removal
    from torsync.model.tree_index import DiskEntry
    from torsync.subscribe.stage import Stage

_HOW = {Action.COPY: "copied", Action.PATCH: "patched", Action.FETCH: "fetched"}


class Preparation:
    """Turns a plan whose content is complete in the stage into a journal."""

    def __init__(
        self,
        tree: Tree,
        plan: Plan,
        stage: Stage,
        *,
        synced: Synced,
        is_released: Callable[[str], bool],
        keep: Matcher,
    ) -> None:
        """Prepare.

        Args:
            tree: to change later.
            plan: what to do.
            stage: has the content of all files to copy, patch and fetch.
            synced: the release before this one, to tell executable bits that it set from
                those that the user set.
            is_released: whether what is at a path is an earlier release's, and untouched.
            keep: paths at which nothing was when they were looked at, or they would not be placed;
                what has come there since then stays.
        """
        self._tree = tree
        self._plan = plan
        self._stage = stage
        self._attributes = Attributes(plan.index, synced)
        self._is_released = is_released
        self._keep = keep
        self.unchanged: list[Kept] = []  # files that were staged in vain

    def journal(self, *, release: str, stamp: str, at_s: float, report: dict[str, Any]) -> Journal:
        """Finish the staged files, and write down what is to be done with them.

        Args:
            release: the digest of the release's body.
            stamp: the name of the update in the trash.
            at_s: the time in Unix seconds.
            report: what is planned, as reports tell it.

        Raises:
            TreeError: a file could not be read or written, or is no longer what it was when it
                was looked at; the visible tree is as it was.
        """
        plan = self._plan
        self._check_sources()
        staged = list(self._finish_staged())
        moved = list(self._moved())
        in_the_way = [removal.path for removal in plan.in_the_way]
        moving = {placed.source for placed in moved}
        return Journal(
            release=release,
            stage=plan.wanted.info_hash,
            stamp=stamp,
            at_s=at_s,
            report=report,
            cleared=tuple(self._gone(path for path in in_the_way if path not in moving)),
            blocking=frozenset(moving.intersection(in_the_way)),
            folders=tuple(self._replaced_folders()),
            placed=tuple(map(self._yielding, (*staged, *moved, *self._links()))),
            removed=tuple(self._gone(self._left_to_remove(plan.removals, in_the_way))),
            kept=(*self.unchanged, *self._mended()),
        )

    def _yielding(self, placed: Placed) -> Placed:
        return placed._replace(yields=True) if self._keep(placed.path) else placed

    # --- staged files -----------------------------------------------------------------------

    def _finish_staged(self) -> Iterator[Placed]:
        """Give staged files their size, mode and time; leave out what did not change."""
        for index in self._plan.acting:
            action = self._plan.files[index].action
            if action not in FILLED and action is not Action.COPY:
                continue
            file = self._plan.wanted.files[index]
            path = self._stage.path(index, Place.STAGE)
            with doing("finish", path):
                fd = self._tree.open(path, os.O_RDWR | (0 if file.size else os.O_CREAT))
                try:
                    _check_size(fd, file, path)
                    if self._is_live(fd, index):
                        self._attributes.set(fd, file)
                        seen = identity_of(os.fstat(fd))
                        yield Placed("patched", file.path, index, *seen)
                        continue
                    kept = None if file.path in self._plan.moved else self._unchanged(fd, index)
                    if kept is not None:
                        self.unchanged.append(kept)
                        continue
                    self._attributes.set(fd, file)
                    seen = identity_of(os.fstat(fd))
                finally:
                    os.close(fd)
            yield Placed(_HOW[action], file.path, index, *seen, over=self._over(file.path))

    def _is_live(self, staged_fd: int, index: int) -> bool:
        """Whether a staged file is the one in the tree, patched where it is."""
        if index not in self._plan.in_place:
            return False
        source = self._plan.files[index].source
        return os.fstat(staged_fd).st_ino == self._plan.index.entries[source].inode

    def _unchanged(self, staged_fd: int, index: int) -> Kept | None:
        """Whether a file is what it was: its pieces were fetched for a neighbour's sake.

        Of one that it was cloned from, and that nobody has touched since, only the pieces that
        the clone lacked are compared.
        """
        file, planned = self._plan.wanted.files[index], self._plan.files[index]
        entry = self._plan.index.entries.get(file.path)
        if entry is None or entry.kind is not Kind.FILE or entry.size != file.size:
            return None
        with doing("read", file.path):
            fd = self._tree.open(file.path)
            try:
                status = os.fstat(fd)
                seen = disk_entry(status, self._tree.device)
                is_cloned = planned.source == file.path and seen == entry
                runs = self._lacked(index) if is_cloned else [(0, file.size)]
                if all(same_content(fd, staged_fd, *run) for run in runs):
                    return self._kept(index, seen)
            finally:
                os.close(fd)
        return None

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

    # --- what is in the tree ----------------------------------------------------------------

    def _check_sources(self) -> None:
        for source in self._plan.moved:
            with doing("look at", source):
                if self._tree.stat(source) != self._stage.expected(source, self._plan):
                    raise TreeError(
                        f"{source!r} changed while the update was under way",
                        path=source,
                        hint="try again",
                    )

    def _moved(self) -> Iterator[Placed]:
        for index in self._plan.acting:
            source = self._plan.files[index].source
            if self._plan.files[index].action is not Action.MOVE:
                continue
            file, entry = self._plan.wanted.files[index], self._plan.index.entries[source]
            changes = not self._attributes.are_right(file, entry)
            mode = self._attributes.mode_in_place(file, entry.mode) if changes else entry.mode
            yield Placed(
                "moved",
                file.path,
                index,
                entry.size,
                entry.mtime_ns,
                entry.inode,
                source=source,
                aside=not self._can_be_renamed(file.path, source),
                over=self._over(file.path),
                mode=-1 if mode == entry.mode else mode,
                mtime_s=file.mtime_s,
            )

    def _can_be_renamed(self, target: str, source: str) -> bool:
        """Whether the new path is free, and the old one wanted by nobody, whatever the case."""
        there = self._spellings.get(meeting_key(target), source)
        wanted = self._wanted_spellings.get(meeting_key(source), target)
        return there == source and wanted == target and not self._plan.in_the_way

    @cached_property
    def _spellings(self) -> dict[str, str]:
        """What is in the tree, as file systems know it that make no difference of letter case."""
        return {meeting_key(path): path for path in self._plan.index.entries}

    @cached_property
    def _wanted_spellings(self) -> dict[str, str]:
        return {meeting_key(path): path for path in self._plan.wanted.by_path}

    def _links(self) -> Iterator[Placed]:
        for index in self._plan.acting:
            file = self._plan.wanted.files[index]
            if self._plan.files[index].action is Action.LINK and file.link_target is not None:
                text = link_text(file.path, file.link_target)
                yield Placed("fetched", file.path, index, over=self._over(file.path), link=text)

    def _replaced_folders(self) -> list[str]:
        """The folders that are where a file or link goes, and those in them, from the inside."""
        entries = self._plan.index.entries
        files = self._plan.wanted.files
        replaced = {
            files[index].path
            for index in self._plan.acting
            if self._plan.files[index].action not in NOT_OURS
            and (entry := entries.get(files[index].path)) is not None
            and entry.kind is Kind.FOLDER
        }
        return [
            path
            for path in (sorted(entries, reverse=True) if replaced else ())
            if entries[path].kind is Kind.FOLDER and _is_in(path, replaced)
        ]

    @staticmethod
    def _left_to_remove(removals: Iterable[Removal], done: list[str]) -> Iterator[str]:
        before = set(done)
        return (removal.path for removal in removals if removal.path not in before)

    def _gone(self, paths: Iterable[str]) -> Iterator[Gone]:
        for path in paths:
            entry = self._plan.index.entries[path]
            identity = entry.size, entry.mtime_ns, entry.inode
            yield Gone(path, *identity, released=self._is_released(path))

    def _over(self, path: str) -> Identity | None:
        entry = self._plan.index.entries.get(path)
        if entry is None or not self._is_released(path):
            return None
        return entry.size, entry.mtime_ns, entry.inode

    # --- files that stay --------------------------------------------------------------------

    def _mended(self) -> Iterator[Kept]:
        """The files that need the executable bit and time that the release has for them."""
        acting = {*self._plan.acting}
        entries = self._plan.index.entries
        for index, file in enumerate(self._plan.wanted.files):
            entry = entries.get(file.path)
            if entry is None or index in acting or file.link_target is not None:
                continue
            if not (file.executable or entry.mode & 0o111) and file.mtime_s is None:
                continue  # as most are
            if not self._attributes.are_right(file, entry):
                yield self._kept(index, entry)

    def _kept(self, index: int, entry: DiskEntry) -> Kept:
        file = self._plan.wanted.files[index]
        wanted = self._attributes.wanted_mode(file, entry.mode)
        return Kept(
            file.path,
            index,
            entry.size,
            entry.mtime_ns,
            entry.inode,
            entry.ctime_ns,
            -1 if wanted == entry.mode else wanted,
            file.mtime_s,
        )


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


def _is_in(path: str, folders: Container[str]) -> bool:
    """Whether ``path`` is one of ``folders`` or lies in one."""
    while path and path not in folders:
        path = path.rpartition("/")[0]
    return bool(path)
