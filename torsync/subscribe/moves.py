"""The part of a commit that moves files inside the tree: renames, swaps, cycles.

A file whose new path is free, and whose old one is wanted by nobody, is renamed. Any other gets
a second name in the stage first, so that each path can be replaced by one rename, in any order,
and none is ever absent.
"""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.model.errors import TreeError
from torsync.model.plan import Action, Plan
from torsync.subscribe.trash import NO_LINKS
from torsync.subscribe.tree import Tree, doing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.model.tree_index import DiskEntry
    from torsync.subscribe.attributes import Identity
    from torsync.subscribe.stage import Stage

HELD = "moved"
"""What the names of set-aside files end in, after their number in the manifest and a dot."""


class Moves:
    """The files of a plan that are moved."""

    def __init__(self, tree: Tree, plan: Plan, stage: Stage) -> None:
        self._tree = tree
        self._plan = plan
        self._stage = stage
        self._moves = {
            index: planned.source
            for index, planned in enumerate(plan.files)
            if planned.action is Action.MOVE
        }
        self._aside: set[int] = set()

    def prepare(self) -> None:
        """Give files a second name in the stage where they cannot just be renamed.

        Raises:
            TreeError: a file is no longer what it was when it was looked at; nothing has been
                done yet.
        """
        for source in self._moves.values():
            with doing("look at", source):
                if self._tree.stat(source) != self._entry(source):
                    raise TreeError(
                        f"{source!r} changed while the update was under way",
                        path=source,
                        hint="try again",
                    )
        for index, source in self._moves.items():
            if not self._can_be_renamed(index, source):
                with doing("set aside", source):
                    self._set_aside(source, self._held_at(index))
                self._aside.add(index)

    def clear_the_way(self) -> list[str]:
        """Take away the old names of files that are where a file or folder goes.

        Returns:
            The paths that are gone.
        """
        blocking = {removal.path for removal in self._plan.in_the_way}
        return self._leave(blocking)

    def held(self) -> Iterator[tuple[int, str, Identity]]:
        """The files to be placed: number, where they are now, and how they are recognised."""
        for index, source in self._moves.items():
            entry = self._entry(source)
            held_at = self._held_at(index) if index in self._aside else source
            yield index, held_at, (entry.size, entry.mtime_ns, entry.inode)

    def leave_sources(self) -> list[str]:
        """Take away the old names that are still there, of files that now have their new ones.

        Returns:
            The paths that are gone.
        """
        self._leave(self._plan.moved - self._plan.wanted.by_path.keys())
        return [source for source in self._plan.moved if source not in self._plan.wanted.by_path]

    def _leave(self, paths: frozenset[str] | set[str]) -> list[str]:
        left = []
        for index in sorted(self._aside):
            source = self._moves[index]
            if source not in paths:
                continue
            with doing("remove the old name", source), suppress(NotADirectoryError):
                entry = self._tree.stat(source)
                own = entry is not None and entry.inode == self._entry(source).inode
                if own and not self._is_name_of(index, source):
                    folder_fd, name = self._tree.locate(source)
                    os.unlink(name, dir_fd=folder_fd)
            left.append(source)
        return left

    def _is_name_of(self, index: int, source: str) -> bool:
        """Whether the old name is the new one in another case, as some file systems see it.

        Then both lead to one directory entry, which has to stay.
        """
        target = self._plan.wanted.files[index].path
        if _folded(source) != _folded(target):
            return False
        (folder_fd, name), (target_fd, target_name) = self._tree.locate_both(source, target)
        if not os.path.samestat(os.fstat(folder_fd), os.fstat(target_fd)):
            return False
        return name == target_name or not {name, target_name} <= {*os.listdir(folder_fd)}

    def _can_be_renamed(self, index: int, source: str) -> bool:
        target = self._plan.wanted.files[index].path
        return (
            target not in self._plan.index.entries
            and source not in self._plan.wanted.by_path
            and not self._plan.in_the_way
        )

    def _set_aside(self, source: str, held_at: str) -> None:
        self._tree.folder_fd(self._stage.folder, create=True)
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

    def _held_at(self, index: int) -> str:
        return f"{self._stage.folder}/{index}.{HELD}"

    def _entry(self, source: str) -> DiskEntry:
        return self._plan.index.entries[source]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
