"""Brings files back from the trash; what is in their place goes there first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.disk.tree import doing
from torsync.model.config import CleanMode
from torsync.model.errors import ManifestError, NotInTrashError, TreeError
from torsync.model.names import is_private
from torsync.model.patterns import matcher
from torsync.model.retention import Trashed, versions_of
from torsync.model.tree_index import Kind
from torsync.subscribe.replacing import put_in_place
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
            if _bring_back(tree, path, file, trash, is_released):
                report.trashed.append(path)
            report.restored.append(path)
            gone.append(file)
    finally:
        tree.forget_folders()
        remove_empty_folders(tree, content.folders, content.files, gone)


def _bring_back(
    tree: Tree,
    path: str,
    file: Trashed,
    trash: Trash,
    is_released: Callable[[str, DiskEntry], bool],
) -> bool:
    """Move a file from the trash to ``path``; True if what was there went to the trash."""
    saved = False
    while True:
        with doing("look at", path):
            there = tree.stat(path)
        is_same = there is not None and (there.inode, there.kind) == (file.inode, file.kind)
        if there is not None and not is_same:
            saved = True
            if there.kind is Kind.MOUNT:
                raise TreeError(
                    f"could not restore {path!r}: another file system is mounted there",
                    path=path,
                    hint="unmount it first",
                )
            if there.kind is Kind.FOLDER:
                trash.take(path)
                tree.forget_folders()  # those in it are elsewhere now
                there = None
        released = there is not None and is_released(path, there)
        with doing("restore", path):
            if put_in_place(
                tree, trash, file.disk_path, path, there, saves=not is_same, released=released
            ):
                return saved


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
