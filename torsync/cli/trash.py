"""``torsync trash``."""

from __future__ import annotations

import json
import os
import posixpath
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from torsync.cli.each import for_each_state
from torsync.model.errors import ExitCode, UnfinishedError
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.disk.tree import Tree
    from torsync.model.config import SubscriptionConfig
    from torsync.model.trash_reports import TrashRestored
    from torsync.model.tree_index import DiskEntry
    from torsync.subscribe.state import TreeState


def run_trash(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Carry out one of the commands below ``trash``."""
    commands = {"list": _run_list, "restore": _run_restore, "empty": _run_empty}
    return commands[arguments.trash_command](context, arguments)


def _run_list(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what is in the trash; nothing is held for that."""
    from torsync.disk.tree import Tree
    from torsync.model.trash_reports import TrashListed
    from torsync.subscribe.trash_content import read_trash

    def show(config: SubscriptionConfig, _folder: Path) -> ExitCode:
        report = TrashListed(config.name)
        if config.path.exists():
            with closing(Tree(config.path.resolve())) as tree:
                content = read_trash(tree)
            report.files = sorted(content.files, key=lambda file: file.age_key, reverse=True)
            report.unreadable = sorted(content.problems)
        context.renderer.trash(report)
        return ExitCode.FAILED if report.unreadable else ExitCode.OK

    chosen = context.chosen(context.load_config(), arguments.names)
    return for_each_state(context, chosen, show)


def _run_empty(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Remove what is in the trash, or what is in it for so long."""
    import time

    from torsync.model.retention import is_aged
    from torsync.model.trash_reports import TrashEmptied
    from torsync.subscribe.trash_content import read_trash, remove_trashed

    def empty(config: SubscriptionConfig, folder: Path) -> ExitCode:
        report = TrashEmptied(config.name)
        if config.path.exists():
            with _held_tree(config, folder, "torsync trash empty") as tree:
                content = read_trash(tree)
                now_s, age_s = time.time(), arguments.older_than
                files = [file for file in content.files if is_aged(file, now_s=now_s, age_s=age_s)]
                removed = remove_trashed(tree, content, files)
            report.removed, report.bytes_freed = len(removed.files), removed.freed_bytes
            report.left = sorted({*removed.problems, *content.problems})
        context.renderer.trash(report)
        return ExitCode.FAILED if report.left else ExitCode.OK

    chosen = context.chosen(context.load_config(), arguments.names)
    return for_each_state(context, chosen, empty)


def _run_restore(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Bring back a file or a folder."""
    import time

    from torsync.model.trash_reports import TrashRestored
    from torsync.subscribe.restoring import replaced_again, restore
    from torsync.subscribe.trash import Trash, trash_stamp

    def bring_back(config: SubscriptionConfig, folder: Path) -> ExitCode:
        report = TrashRestored(config.name)
        with (
            _held_tree(config, folder, "torsync trash restore") as tree,
            _state_if_any(folder) as state,
        ):
            ledger = state.load_ledger() if state else {}

            def is_released(path: str, entry: DiskEntry) -> bool:
                row = ledger.get(path)
                return row is not None and bool(row.digest) and row.vouches_for(entry)

            restore(
                tree,
                report,
                arguments.path,
                meant_paths(arguments.path, config.path),
                Trash(tree, trash_stamp(time.time())),
                stamp=arguments.stamp,
                is_released=is_released,
            )
            if state:
                report.replaced_again = replaced_again(config, state, report.restored)
        context.renderer.trash(report)
        if report.replaced_again:
            context.renderer.event(_for_now(report, arguments.path, config.path))
        return ExitCode.OK

    chosen = context.chosen(context.load_config(), [arguments.name])
    return for_each_state(context, chosen, bring_back)


def _for_now(report: TrashRestored, wanted: str, root: Path) -> Notice:
    """Say that something does not stay as it was restored, and how it would."""
    from torsync.model.patterns import pattern_of

    paths = report.replaced_again
    meant = next((path for path in meant_paths(wanted, root) if path in paths), "")
    patterns = [pattern_of(meant)] if meant else sorted(map(pattern_of, paths))
    which = repr(paths[0]) if len(paths) == 1 else f"{len(paths):,} of them"
    return Notice(
        report.name,
        Level.INFO,
        "restored_for_now",
        f"the next update replaces {which} again, and puts this version into the trash",
        f"to keep it, write keep = {json.dumps(patterns, ensure_ascii=False)} into the "
        f"configuration of {report.name!r}",
    )


def meant_paths(text: str, root: Path) -> Sequence[str]:
    """Find what a path may mean: relative to the tree, or to the working directory.

    Args:
        text: as it was given.
        root: of the tree.

    Returns:
        Paths relative to the tree; none for a path that leads elsewhere.
    """
    found = []
    if not os.path.isabs(text):
        found.append(posixpath.normpath(text))
    folder, name = os.path.split(os.path.abspath(text))
    for here, there in (
        (os.path.join(os.path.realpath(folder), name), os.path.realpath(root)),
        (os.path.join(folder, name), str(root)),
    ):
        relative = os.path.relpath(here, there)
        if relative not in found:
            found.append(relative)
    return [path for path in found if path not in {".", ".."} and not path.startswith("../")]


@contextmanager
def _held_tree(config: SubscriptionConfig, folder: Path, command: str) -> Iterator[Tree]:
    from torsync.disk.lock import hold_tree
    from torsync.disk.tree import Tree
    from torsync.subscribe.admission import refuse_other_folder

    with ExitStack() as held:
        held.enter_context(hold_tree(folder, name=config.name, command=command))
        tree = held.enter_context(closing(Tree(config.path.resolve())))
        with _state_if_any(folder) as state:
            if state:
                refuse_other_folder(tree, state, config.name)
        tree.hold()
        _check_finished(config, folder)
        yield tree


def _check_finished(config: SubscriptionConfig, folder: Path) -> None:
    """See that no commit was cut off: it may need what is in the trash.

    Raises:
        UnfinishedError: one was.
    """
    with _state_if_any(folder) as state:
        if state is not None and state.has_journal:
            raise UnfinishedError(
                f"an update of {config.name!r} was cut off while it was put in place",
                hint=f"`torsync verify --quick {config.name}` finishes it; then try again",
            )


@contextmanager
def _state_if_any(folder: Path) -> Iterator[TreeState | None]:
    from torsync.subscribe.state import TreeState

    if not (folder / "state.sqlite").exists():
        yield None
        return
    with closing(TreeState(folder, read_only=True)) as state:
        yield state
