"""The part of a commit that moves files inside the tree: renames, swaps, cycles.

A file whose new path is free, and whose old one is wanted by nobody, is renamed. Any other gets
a second name in the stage first, so that each path can be replaced by one rename, in any order,
and none is ever absent.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.subscribe.attributes import identity_of, set_attributes
from torsync.subscribe.replacing import remove_name
from torsync.subscribe.stage import STAGES, staged_path
from torsync.subscribe.trash import NO_LINKS

if TYPE_CHECKING:
    from collections.abc import Container

    from torsync.model.journal import Journal, Placed
    from torsync.model.tree_index import DiskEntry

HELD = "moved"
"""What the names of set-aside files end in, after their number in the manifest and a dot."""


class Moves:
    """The files of a journal that are moved, and where each file is until it is placed."""

    def __init__(self, tree: Tree, journal: Journal, *, again: bool) -> None:
        """Prepare.

        Args:
            tree: to change.
            journal: what to do.
            again: the journal is that of a commit that was cut off.
        """
        self._tree = tree
        self._journal = journal
        self._again = again
        self._aside = [placed for placed in journal.placed if placed.aside]
        self._inodes = {placed.source: placed.inode for placed in journal.placed if placed.source}

    def held_at(self, placed: Placed) -> str:
        """Where a file is until it is placed."""
        if placed.aside:
            return f"{STAGES}/{self._journal.stage}/{placed.number}.{HELD}"
        return placed.source or staged_path(self._journal.stage, placed.number)

    def is_held(self, placed: Placed) -> bool:
        """Whether the file is there."""
        entry = self._stat(self.held_at(placed))
        return entry is not None and entry.inode == placed.inode

    def is_moving(self, path: str, inode: int) -> bool:
        """Whether what is at a path is moved from there."""
        return self._inodes.get(path) == inode

    def has_moved(self, inode: int) -> bool:
        """Whether a file is one that is moved; it has another name then, aside or at its path."""
        return inode in self._inodes.values()

    def set_aside(self) -> None:
        """Give files a second name in the stage where they cannot just be renamed.

        Raises:
            TreeError: that was not possible.
        """
        for placed in self._aside:
            with doing("set aside", placed.source):
                if not self._again or self._is_to_be_set_aside(placed):
                    self._set_aside(placed.source, self.held_at(placed))

    def _is_to_be_set_aside(self, placed: Placed) -> bool:
        entry = self._stat(placed.source)
        own = entry is not None and entry.inode == placed.inode
        return own and not self.is_held(placed)

    def _set_aside(self, source: str, held_at: str) -> None:
        self._tree.folder_fd(held_at.rpartition("/")[0], create=True)
        (folder_fd, name), (target_fd, target) = self._tree.locate_both(source, held_at)
        try:
            os.link(name, target, src_dir_fd=folder_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        except FileExistsError:  # from a commit that was cut off
            os.unlink(target, dir_fd=target_fd)
            self._set_aside(source, held_at)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.rename(name, target, src_dir_fd=folder_fd, dst_dir_fd=target_fd)

    def clear_the_way(self, *, but: Container[str]) -> None:
        """Take away the old names of files that are where a file or folder goes.

        Args:
            but: old spellings of new names.

        Raises:
            TreeError: that was not possible.
        """
        for placed in self._aside:
            if placed.source in self._journal.blocking and placed.source not in but:
                self._leave(placed)

    def leave_sources(self, *, lost: Container[str], but: Container[str]) -> None:
        """Take away the old names that are still there, of files that now have their new ones.

        Args:
            lost: paths that their files did not get to.
            but: old spellings of new names.

        Raises:
            TreeError: that was not possible.
        """
        ends = {placed.path for placed in self._journal.placed}
        for placed in self._aside:
            if placed.source in ends or placed.source in but or placed.path in lost:
                continue
            self._leave(placed)

    def _leave(self, placed: Placed) -> None:
        source = placed.source
        with doing("remove the old name", source):
            entry = self._stat(source)
            if entry is not None and entry.inode == placed.inode:
                aside = f"{STAGES}/{self._journal.stage}/{placed.number}.left.{HELD}"
                remove_name(self._tree, source, placed.inode, aside)

    def give_attributes(self, placed: Placed) -> None:
        """Give a moved file that is at its new path its mode and time, if nobody touched it."""
        if (placed.mode < 0 and placed.mtime_s is None) or not placed.source:
            return
        entry = self._tree.stat(placed.path)
        as_it_was = placed.size, placed.mtime_ns, placed.inode
        if entry is None or (entry.size, entry.mtime_ns, entry.inode) != as_it_was:
            return
        fd = self._tree.open(placed.path)
        try:
            if identity_of(os.fstat(fd)) == as_it_was:
                set_attributes(fd, placed.mode, placed.mtime_s)
        finally:
            os.close(fd)

    def _stat(self, path: str) -> DiskEntry | None:
        """Look at what may not be there, not even its folder."""
        with suppress(NotADirectoryError):
            return self._tree.stat(path)
        return None
