"""Whether the folder at a subscription's path is the one that its state is about."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.errors import RefusedError, TorsyncError, TreeError
from torsync.model.guard import Allowance, Standing, judge_marker, refuse_marker
from torsync.subscribe.marker import read_marker, write_marker

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.subscribe.override import Override
    from torsync.subscribe.state import TreeState


class Admission:
    """Knows the folder of one subscription by its marker.

    Attributes:
        standing: what the marker said when it was looked at last.
    """

    def __init__(self, path: Path, state: TreeState, override: Override) -> None:
        self.standing = Standing.NEW
        self._path = path
        self._state = state
        self._override = override

    def admit(self, tree: Tree | None) -> None:
        """See whether a folder is the one that the state is about; nothing is written.

        Args:
            tree: None if there is no folder.

        Raises:
            RefusedError: it is another one, and nobody said that it is meant.
            TreeError: its marker cannot be read.
        """
        found = read_marker(tree) if tree is not None else None
        known = self._state.get("marker")
        standing = judge_marker(known, found, synced=bool(self._state.synced))
        if standing.is_refused:
            refused = self._override.refused([refuse_marker(standing, str(self._path))])
            if refused is not None:
                raise refused
        self.standing = standing

    def settle(self, tree: Tree) -> None:
        """Have state and marker agree on a tree that was admitted, and is held now.

        Raises:
            StateError: the state cannot be written.
        """
        if self.standing is Standing.FOUND:
            self._state.put(marker=read_marker(tree) or "")
        elif self.standing is Standing.OLDER:
            with suppress(TreeError):  # a tree that cannot be written may still be seeded
                self._state.put(marker=write_marker(tree))

    def admit_anew(self, tree: Tree) -> None:
        """Open and hold what is at the path of a tree now, if it is admitted.

        Raises:
            RefusedError: it is not; the tree is closed, so that its disk can be unmounted.
            TorsyncError: it cannot be opened, or another process works on it.
        """
        if not is_there(tree.root):
            self.admit(None)
        tree.reopen()
        try:
            self.admit(tree)
            tree.hold()
        except TorsyncError:
            tree.close()
            raise
        self.settle(tree)

    @property
    def is_foreign(self) -> bool:
        """Whether what the state says is not about this folder: it was allowed all the same."""
        return self.standing.is_refused

    def mark(self, tree: Tree) -> None:
        """Give a tree its marker, if what comes now is its first sync.

        What the state knew of another folder is forgotten.

        Raises:
            TreeError: the marker cannot be written.
            StateError: the state cannot be written.
        """
        if not self.standing.is_first:
            return
        if self.is_foreign:
            self._state.record_sync({}, synced="", history=None)
            self._state.put(marker="")
        # The marker first: cut off in between, its id is taken over.
        self._state.put(marker=write_marker(tree))
        # What was meant was this folder: not the next one that is here while its disk is not.
        self._override.spend(Allowance.MARKER)
        self.standing = Standing.OURS


def refuse_other_folder(tree: Tree, state: TreeState, name: str) -> None:
    """Refuse to work on a tree by hand that is not the one that the state is about.

    Args:
        tree: that is open; nothing is written there.
        state: of the subscription.
        name: of the subscription.

    Raises:
        RefusedError: it is another one.
        TreeError: its marker cannot be read.
    """
    found = read_marker(tree)
    standing = judge_marker(state.get("marker"), found, synced=bool(state.synced))
    if standing.is_refused:
        raise RefusedError(
            f"refused: {refuse_marker(standing, str(tree.root)).message}",
            hint="mount it; if this is the folder all the same, tell so first: "
            f"`torsync check-now {name} --allow marker`",
        )


def is_there(path: Path) -> bool:
    """Whether there is something at a path, wherever links lead to.

    Raises:
        TreeError: that cannot be told, which is not the same as no.
    """
    with doing("look at", str(path)):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def open_tree(path: Path, admission: Admission) -> Tree:
    """Open and hold the folder of a subscription, if it is admitted; it is made if it is not there.

    Raises:
        RefusedError: it is not the folder that the state is about; nothing was made.
        TorsyncError: it cannot be used.
    """
    if not is_there(path):
        admission.admit(None)
        with doing("make the folder", str(path)):
            os.makedirs(path, exist_ok=True)
    tree = Tree(path.resolve())
    try:
        admission.admit(tree)
        tree.hold()
        admission.settle(tree)
    except BaseException:
        tree.close()
        raise
    return tree
