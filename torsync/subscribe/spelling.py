"""Names that change in letter case or Unicode form only, where the file system sees no difference.

There the old name and the new one lead to one directory entry. It is given the new name first, in
one step; then the old one is nobody's any more, though it still leads somewhere.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree, doing
from torsync.model.names import meeting_key

if TYPE_CHECKING:
    from torsync.model.journal import Journal


def respell(tree: Tree, journal: Journal) -> frozenset[str]:
    """Rename what gets another spelling of its name; done again, it changes nothing.

    Args:
        tree: to change.
        journal: of the commit that this is the first step of.

    Returns:
        The old spellings: paths that are not to be removed.

    Raises:
        TreeError: something could not be renamed.
    """
    old = {meeting_key(path): path for path in journal.vacated()}
    found = set()
    for placed in journal.placed if old else ():
        path = old.get(meeting_key(placed.path))
        if path is not None:
            with doing("rename", path), suppress(FileNotFoundError, NotADirectoryError):
                if _respell(tree, path, placed.path):
                    found.add(path)
    return frozenset(found)


def _respell(tree: Tree, old: str, new: str) -> bool:
    folder = ""
    for name, wanted in zip(old.split("/"), new.split("/"), strict=True):
        if name != wanted and not _rename(tree, folder, name, wanted):
            return False
        folder = f"{folder}/{wanted}" if folder else wanted
    return True


def _rename(tree: Tree, folder: str, name: str, wanted: str) -> bool:
    """Give an entry another spelling; False if these are two entries.

    What leads somewhere and is not listed is another spelling of what is. (FUSE may tell another
    inode for each spelling.)
    """
    fd = tree.folder_fd(folder)
    for spelling in (name, wanted):
        os.stat(spelling, dir_fd=fd, follow_symlinks=False)
    listed = {name, wanted}.intersection(os.listdir(fd))
    if listed == {name}:
        os.rename(name, wanted, src_dir_fd=fd, dst_dir_fd=fd)
        tree.forget_folders()
    return len(listed) == 1
