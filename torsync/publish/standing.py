"""What has become of the files of a release that is public, seen by stat alone."""

from __future__ import annotations

import os
import posixpath
from contextlib import closing
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.stamps import stamp_of_entry
from torsync.disk.tree import Tree
from torsync.model.patterns import nothing
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.tree_index import DiskEntry
    from torsync.publish.state import PublishedRelease

_READ_BYTES = 1024**2


class Standing(NamedTuple):
    """A release compared with the folder.

    Attributes:
        changed: paths of the release that are not what they were when they were hashed, or that
            could not be looked at.
        others: files and links that are neither in the release nor ignored.
    """

    changed: frozenset[str]
    others: frozenset[str]


def look_at_all(tree: Tree, release: PublishedRelease, ignored: Callable[[str], bool]) -> Standing:
    """Look at every file of a release, and for files that it does not have.

    Raises:
        TreeError: the folder cannot be read at all.
    """
    tree.forget_folders()
    index = tree.scan()
    entries = index.entries
    changed = {
        file.path
        for file in release.manifest.files
        if not _is_same(release, file.path, entries.get(file.path), file.link_target)
    }
    listed = release.manifest.by_path
    others = {
        path
        for path, entry in entries.items()
        if path not in listed and entry.kind in {Kind.FILE, Kind.LINK} and not ignored(path)
    }
    return Standing(frozenset(changed), frozenset(others))


def changed_of(
    tree: Tree, release: PublishedRelease, ignored: Callable[[str], bool]
) -> frozenset[str]:
    """The files that are seeded, or clones of files, that are not what was published.

    Raises:
        TreeError: the folder cannot be read at all.
    """
    if not release.facts.snapshot:
        return look_at_all(tree, release, ignored).changed
    root = tree.root / release.facts.snapshot
    if not root.is_dir():
        return frozenset(release.manifest.by_path)
    with closing(Tree(root)) as clone:
        return look_at_all(clone, replace(release, seen=release.stamps), nothing).changed


class Look(Enum):
    """What one path is like, compared with what was published."""

    SAME = "as it was published"
    CHANGED = "published, and not so any more"
    NEW = "not published"
    FOLDER_GONE = "a folder of published files, and no folder any more"


def look_at(tree: Tree, release: PublishedRelease, path: str) -> Look:
    """Look at one path that may have been edited.

    ``tree.forget_folders`` is to be called before, as a folder may be another one by now.
    """
    manifest = release.manifest
    try:
        entry = tree.stat(path)
    except OSError:
        entry = None
    at = manifest.by_path.get(path)
    if at is not None:
        target = manifest.files[at].link_target
        return Look.SAME if _is_same(release, path, entry, target) else Look.CHANGED
    is_folder = entry is not None and entry.kind is Kind.FOLDER
    if path in manifest.folders:
        return Look.SAME if is_folder else Look.FOLDER_GONE
    return Look.SAME if entry is None else Look.NEW


def can_be_read(tree: Tree, path: str) -> bool:
    """Whether all of a file can be read."""
    try:
        fd = tree.open(path)
    except OSError:
        return False
    try:
        while os.read(fd, _READ_BYTES):
            pass
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _is_same(
    release: PublishedRelease, path: str, entry: DiskEntry | None, target: str | None
) -> bool:
    """Whether a file is what it was when it was hashed, or a link leads where it led (BEP 47)."""
    if entry is None:
        return False
    if target is None:
        return entry.kind is Kind.FILE and release.seen.get(path) == stamp_of_entry(entry)
    return entry.kind is Kind.LINK and target == posixpath.normpath(
        posixpath.join(posixpath.dirname(path), entry.link_target)
    )
