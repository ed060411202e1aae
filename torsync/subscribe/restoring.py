"""Brings files back from the trash; what is in their place goes there first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.disk.tree import doing
from torsync.model.config import CleanMode
from torsync.model.errors import ManifestError, NotInTrashError, TreeError
from torsync.model.names import is_private
from torsync.model.patterns import matcher
from torsync.model.retention import Trashed, versions_of
from torsync.model.tree_index import Kind
from torsync.subscribe.trash_content import read_trash, remove_empty_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torsync.disk.tree import Tree
    from torsync.model.config import SubscriptionConfig
    from torsync.model.trash_reports import TrashRestored
    from torsync.model.tree_index import DiskEntry
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.trash import Trash


def restore(
    tree: Tree,
    report: TrashRestored,
    wanted: str,
    paths: Sequence[str],
    trash: Trash,
    *,
    stamp: str = "",
    is_released: Callable[[str, DiskEntry], bool] = lambda _path, _entry: False,
) -> None:
    """Bring back what a path held when it last went to the trash: a file, or a folder of files.

    Each comes back by one rename, with its mode and times. Nothing is told to the ledger: the
    next check looks at it.

    Args:
        tree: whose trash it is.
        report: to fill.
        wanted: the path as it was asked for, for the message.
        paths: what it may mean, relative to the tree; the first that is there counts.
        trash: for what is in the way.
        stamp: only from folders of the trash whose name begins so.
        is_released: whether what is in the way is a release's, by path.

    Raises:
        NotInTrashError: there is no such file or folder in the trash.
        TreeError: something could not be moved; it is in the trash still.
    """
    content = read_trash(tree)
    files = [file for file in content.files if not is_private(file.path.partition("/")[0])]
    versions = next((found for path in paths if (found := versions_of(files, path, stamp))), None)
    if versions is None:
        when = f" from {stamp!r}" if stamp else ""
        raise NotInTrashError(
            f"{wanted!r}{when} is not in the trash of {report.name!r}",
            hint=f"`torsync trash list {report.name}` tells what is",
        )
    gone: list[Trashed] = []
    try:
        for path, file in sorted(versions.items()):
            report.stamp = file.stamp
            if _make_way(tree, path, file, trash, is_released):
                report.trashed.append(path)
            _bring_back(tree, path, file)
            report.restored.append(path)
            gone.append(file)
    finally:
        tree.forget_folders()
        remove_empty_folders(tree, content.folders, content.files, gone)


def _make_way(
    tree: Tree,
    path: str,
    file: Trashed,
    trash: Trash,
    is_released: Callable[[str, DiskEntry], bool],
) -> bool:
    """Put what is at ``path`` into the trash; True if that was something else."""
    with doing("look at", path):
        entry = tree.stat(path)
    if entry is None or (entry.inode, entry.kind) == (file.inode, file.kind):
        return False
    if entry.kind is Kind.MOUNT:
        raise TreeError(
            f"could not restore {path!r}: another file system is mounted there",
            path=path,
            hint="unmount it first",
        )
    if entry.kind is Kind.FOLDER:
        moved = trash.take(path)
        tree.forget_folders()  # those in it are elsewhere now
        return moved
    return trash.save(path, released=is_released(path, entry))


def _bring_back(tree: Tree, path: str, file: Trashed) -> None:
    with doing("restore", path):
        (source_fd, source), (target_fd, target) = tree.locate_both(
            file.disk_path, path, create=True
        )
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def replaced_again(config: SubscriptionConfig, state: TreeState, paths: Iterable[str]) -> list[str]:
    """Find which restored files the next check replaces or removes again.

    Args:
        config: of the subscription.
        state: that knows the synced release.
        paths: that were restored.
    """
    from torsync.model.metainfo import parse_metainfo  # noqa: PLC0415 - costs start-up time

    body = state.load_body(state.synced) if state.synced else None
    if body is None:
        return []
    try:
        listed = parse_metainfo(body).by_path
    except ManifestError:  # it was stored by a version that refused less
        return []
    keep = matcher(config.keep)
    mirrors = config.clean is CleanMode.MIRROR
    return [path for path in paths if (mirrors or path in listed) and not keep(path)]
