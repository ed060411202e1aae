"""``torsync trash``."""

from __future__ import annotations

import json
import os
import posixpath
from contextlib import closing
from typing import TYPE_CHECKING

from torsync.cli.each import for_each_state, order_jobs, run_jobs
from torsync.model.errors import ExitCode
from torsync.model.events import Level, Notice
from torsync.model.orders import EmptyTrash, Restore
from torsync.model.trash_reports import TrashEmptied, TrashListed, TrashRestored

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Order, Report


def run_trash(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Carry out one of the commands below ``trash``."""
    commands = {"list": _run_list, "restore": _run_restore, "empty": _run_empty}
    return commands[arguments.trash_command](context, arguments)


def _run_list(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what is in the trash; nothing is held for that."""
    from torsync.disk.tree import Tree
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
    order = EmptyTrash(arguments.older_than)

    def tell(_config: SubscriptionConfig, report: Report) -> ExitCode:
        assert isinstance(report, TrashEmptied)
        context.renderer.trash(report)
        return ExitCode.FAILED if report.left else ExitCode.OK

    return _run_order(context, arguments.names, lambda _config: order, tell)


def _run_restore(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Bring back a file or a folder."""

    def order(config: SubscriptionConfig) -> Restore:
        meant = tuple(meant_paths(arguments.path, config.path))
        return Restore(arguments.path, meant, arguments.stamp)

    def tell(config: SubscriptionConfig, report: Report) -> ExitCode:
        assert isinstance(report, TrashRestored)
        context.renderer.trash(report)
        if report.replaced_again:
            context.renderer.event(_for_now(report, arguments.path, config.path))
        return ExitCode.OK

    return _run_order(context, [arguments.name], order, tell)


def _run_order(
    context: Context,
    names: list[str],
    order: Callable[[SubscriptionConfig], Order],
    tell: Callable[[SubscriptionConfig, Report], ExitCode],
) -> ExitCode:
    config = context.load_config()
    chosen = context.chosen(config, names)
    with context.surroundings(config.session) as around:
        return run_jobs(context, order_jobs(context, chosen, around, order, tell))


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
