"""What a person has done with the trash: files brought back, or removed for good."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from torsync.disk.tree import Tree
from torsync.model.errors import UnfinishedError
from torsync.model.orders import EmptyTrash
from torsync.model.retention import is_aged
from torsync.model.trash_reports import TrashEmptied, TrashRestored
from torsync.subscribe.admission import refuse_other_folder
from torsync.subscribe.restoring import replaced_again, restore
from torsync.subscribe.state import TreeState
from torsync.subscribe.trash import Trash, trash_stamp
from torsync.subscribe.trash_content import read_trash, remove_trashed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Restore
    from torsync.model.tree_index import DiskEntry


def carry_out_in(
    tree: Tree,
    order: Restore | EmptyTrash,
    config: SubscriptionConfig,
    folder: Path,
    now_s: float,
) -> TrashRestored | TrashEmptied:
    """Bring back a file or a folder from the trash, or remove what is in it for so long.

    Args:
        tree: that is open and held.
        order: says which of these, and what.
        config: of the subscription.
        folder: of its state.
        now_s: the time in Unix seconds.

    Raises:
        UnfinishedError: an update was cut off in its commit, and may need what is in the trash.
        NotInTrashError: there is no such file or folder in the trash.
        TreeError: something could not be moved; it is in the trash still.
    """
    with _state_if_any(folder) as state:
        _check_finished(config.name, state)
        if isinstance(order, EmptyTrash):
            return _empty(tree, order, config.name, now_s)
        return _restore(tree, order, config, state, now_s)


def carry_out_by_hand(
    order: Restore | EmptyTrash, config: SubscriptionConfig, folder: Path, now_s: float
) -> TrashRestored | TrashEmptied:
    """Do it where nobody works on the tree; its lock in the state is held by the caller.

    Neither tree nor state are made if they are not there.

    Raises:
        RefusedError: the folder is not the one that the state is about.
        TorsyncError: see ``restore_from_trash``.
    """
    if isinstance(order, EmptyTrash) and not config.path.exists():
        return TrashEmptied(config.name)
    with ExitStack() as held:
        tree = held.enter_context(closing(Tree(config.path.resolve())))
        with _state_if_any(folder) as state:
            if state:
                refuse_other_folder(tree, state, config.name)
        tree.hold()
        return carry_out_in(tree, order, config, folder, now_s)


def _restore(
    tree: Tree,
    order: Restore,
    config: SubscriptionConfig,
    state: TreeState | None,
    now_s: float,
) -> TrashRestored:
    report = TrashRestored(config.name)
    ledger = state.load_ledger() if state else {}

    def is_released(path: str, entry: DiskEntry) -> bool:
        row = ledger.get(path)
        return row is not None and bool(row.digest) and row.vouches_for(entry)

    restore(
        tree,
        report,
        order.path,
        order.meant,
        Trash(tree, trash_stamp(now_s)),
        stamp=order.stamp,
        is_released=is_released,
    )
    if state:
        report.replaced_again = replaced_again(config, state, report.restored)
    return report


def _empty(tree: Tree, order: EmptyTrash, name: str, now_s: float) -> TrashEmptied:
    content = read_trash(tree)
    files = [file for file in content.files if is_aged(file, now_s=now_s, age_s=order.older_than_s)]
    removed = remove_trashed(tree, content, files)
    left = sorted({*removed.problems, *content.problems})
    return TrashEmptied(name, len(removed.files), removed.freed_bytes, left)


def _check_finished(name: str, state: TreeState | None) -> None:
    if state is not None and state.has_journal:
        raise UnfinishedError(
            f"an update of {name!r} was cut off while it was put in place",
            hint=f"`torsync verify --quick {name}` finishes it; then try again",
        )


@contextmanager
def _state_if_any(folder: Path) -> Iterator[TreeState | None]:
    if not (folder / "state.sqlite").exists():
        yield None
        return
    with closing(TreeState(folder, read_only=True)) as state:
        yield state
