"""See by stat alone that nothing has changed; whatever differs is for the whole way to decide."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from torsync import __version__
from torsync.disk.scan import mounts_in
from torsync.model.config import CleanMode
from torsync.model.events import Stage
from torsync.model.names import PRIVATE_FOLDER, is_private
from torsync.model.reports import CheckReport, Reused
from torsync.model.seal import Seal, seal_release

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from torsync.disk.tree import Tree
    from torsync.model.assess import Matcher
    from torsync.model.assessment import Assessment
    from torsync.model.config import SubscriptionConfig
    from torsync.model.tree_index import LedgerRow
    from torsync.subscribe.ledger_table import SeenByFolder
    from torsync.subscribe.release import Release
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice


def seal_tree(
    release: Release,
    rows: Mapping[str, LedgerRow],
    assessment: Assessment,
    config: SubscriptionConfig,
    keep: Matcher,
) -> Seal | None:
    """Decide whether the next check may leave out all but stat; see ``seal_release``.

    Args:
        release: that the tree was brought to.
        rows: the whole ledger.
        assessment: that it was brought to it from.
        config: of the subscription.
        keep: its patterns.
    """
    if not assessment.index.complete:
        return None
    return seal_release(
        release.manifest,
        release.digest,
        rows,
        policy=_policy_of(config),
        clean=config.clean,
        keep=keep,
        unselected=assessment.unselected,
    )


def _policy_of(config: SubscriptionConfig) -> str:
    """What a seal depends on besides release and tree; another torsync may decide otherwise."""
    return json.dumps([__version__, config.clean.value, config.keep, config.select])


def find_unchanged(
    tree: Tree,
    state: TreeState,
    body: str,
    config: SubscriptionConfig,
    keep: Matcher,
    voice: Voice,
) -> CheckReport | None:
    """Give the report of a check that has nothing to do; None if that cannot be told by stat.

    Args:
        tree: to look at.
        state: has the ledger, and perhaps its seal.
        body: the digest of the release that is wanted.
        config: of the subscription.
        keep: its patterns.
        voice: says that the tree is looked at.
    """
    seal = state.load_seal()
    if seal is None or (seal.body, seal.policy) != (body, _policy_of(config)):
        return None
    if not tree.is_current():
        return None
    voice.stage(Stage.LOOKING)
    same = is_unchanged(
        tree,
        state.load_seen(),
        beside=frozenset(seal.beside),
        may_be_there=keep if config.clean is CleanMode.MIRROR else None,
    )
    if not same:
        return None
    return CheckReport(
        name=config.name,
        release=seal.release,
        info_hash=seal.info_hash,
        from_release=seal.release,
        kept=seal.files,
        unselected=seal.unselected,
        bytes_reused=Reused(kept=seal.bytes_total),
        bytes_total=seal.bytes_total,
    )


def is_unchanged(
    tree: Tree,
    seen: SeenByFolder,
    *,
    beside: Container[str] = (),
    may_be_there: Callable[[str], bool] | None = None,
) -> bool:
    """Whether every file is as it was; False also for whatever is odd or cannot be read.

    Folders that hold none of them are not looked into, unless ``may_be_there`` is given.

    Args:
        tree: to look at.
        seen: what stat said of each file.
        beside: files of ``seen`` that have to be there, whatever they hold.
        may_be_there: whether a file that is not in ``seen`` makes no difference; None: it never
            does.
    """
    tree.forget_folders()
    mounts = mounts_in(tree.root)
    if mounts and (may_be_there is not None or any(_is_in_the_way(path, seen) for path in mounts)):
        return False
    pending = list(seen)
    if "" not in seen and may_be_there is not None:
        pending.append("")
    try:
        return not _has_stage(tree) and all(
            _is_folder_unchanged(tree, folder, seen, beside, may_be_there, pending)
            for folder in pending
        )
    except OSError:
        return False


def _is_in_the_way(mount: str, seen: SeenByFolder) -> bool:
    folder, _, name = mount.rpartition("/")
    return name in seen.get(folder, ()) or any(
        f"{found}/".startswith(f"{mount}/") for found in seen
    )


def _has_stage(tree: Tree) -> bool:
    """Whether an update left something to clear away."""
    try:
        return bool(os.listdir(tree.folder_fd(f"{PRIVATE_FOLDER}/stage")))
    except FileNotFoundError:
        return False


def _is_folder_unchanged(
    tree: Tree,
    folder: str,
    seen: SeenByFolder,
    beside: Container[str],
    may_be_there: Callable[[str], bool] | None,
    pending: list[str],
) -> bool:
    """Compare one folder; folders in it that have to be looked at are added to ``pending``."""
    fd = tree.folder_fd(folder)
    if os.fstat(fd).st_dev != tree.device:
        return False
    expected = seen.get(folder, {})
    prefix = f"{folder}/" if folder else ""
    left = len(expected)
    with os.scandir(fd) as found:
        for item in found:
            row = expected.get(item.name)
            if row is not None:
                status = item.stat(follow_symlinks=False)
                now = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
                if now != row and (prefix + item.name) not in beside:
                    return False
                left -= 1
            elif may_be_there is not None and not (not folder and is_private(item.name)):
                path = prefix + item.name
                if not item.is_dir(follow_symlinks=False):
                    if not may_be_there(path):
                        return False
                elif path not in seen:
                    pending.append(path)
    return not left
