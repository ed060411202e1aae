"""Whether the tree that is open is still the folder at its path; one that is not is let go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.model.errors import TreeError

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.disk.tree import Tree
    from torsync.subscribe.admission import Admission
    from torsync.subscribe.seeding import Seeding


class Presence:
    """Follows one tree whose disk may be unmounted, and mounted again."""

    def __init__(self, tree: Tree, admission: Admission, seeding: Seeding) -> None:
        self._tree = tree
        self._admission = admission
        self._seeding = seeding

    def renew(self) -> None:
        """Open what is at the path now, if that is another folder than is open.

        Raises:
            RefusedError: it is not the one that the state is about.
            TorsyncError: it cannot be opened, or another process works on it.
        """
        if not self._tree.is_current():
            self._seeding.stop()
            self._admission.admit_anew(self._tree)

    def let_go(self) -> bool:
        """Close a tree that is no more at its path, so that its disk can go; whether it was one.

        Raises:
            SwarmError: libtorrent did not let go of the files.
        """
        if not self._tree.is_open or self._tree.is_current():
            return False
        try:
            self._seeding.stop()
        finally:
            self._tree.close()
        return True

    def heed(self) -> None:
        """Between checks, let go of what is not there.

        Raises:
            TreeError: it has just gone.
        """
        if self.let_go():
            raise self._gone(
                "is not there any more, or another one is in its place; is its disk not mounted?",
                "nothing is seeded or changed until it is back",
            )

    def check(self) -> None:
        """Do not go on to work on what others no longer see.

        Raises:
            TreeError: it is no more at its path.
        """
        if not self._tree.is_current():
            raise self._gone(
                "went away while it was being updated, or another one came in its place; was its "
                "disk unmounted?",
                "what was fetched so far is kept there; it goes on when the folder is back",
            )

    def _gone(self, said: str, hint: str) -> TreeError:
        path = str(self._tree.root)
        return TreeError(f"the folder {path!r} {said}", path=path, hint=hint)


def place_of(path: Path) -> tuple[int, int] | None:
    """What is at a path now: another folder, or another disk, gives another answer.

    Returns:
        Its device and inode; None if there is nothing, or that cannot be told.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
