"""Run something for each chosen subscription; a failure of one does not stop the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from torsync.model.errors import ExitCode, InterruptedByUserError, TorsyncError, most_severe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.subscription import Subscription
    from torsync.subscribe.surroundings import Surroundings


def for_each(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    around: Surroundings,
    command: str,
    action: Callable[[Subscription], ExitCode],
    *,
    at_once: int = 1,
) -> ExitCode:
    """Hold each tree, open its subscription, act; the most severe exit code wins.

    Args:
        context: of the command.
        subscriptions: in the order they are worked on.
        around: what subscriptions need.
        command: told to others who want a tree meanwhile.
        action: on one open subscription; gives its exit code. It may be called from several
            threads.
        at_once: how many to work on at the same time.
    """
    from torsync.disk.lock import hold_tree
    from torsync.subscribe.subscription import Subscription

    def hold_and_act(config: SubscriptionConfig, folder: Path) -> ExitCode:
        with hold_tree(folder, name=config.name, command=command):
            subscription = Subscription(config, folder, around)
            try:
                return action(subscription)
            finally:
                subscription.close()

    return for_each_state(context, subscriptions, hold_and_act, at_once=at_once)


def for_each_state(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    action: Callable[[SubscriptionConfig, Path], ExitCode],
    *,
    at_once: int = 1,
) -> ExitCode:
    """Act on each subscription and the folder of its state; nothing is held or opened.

    Args:
        context: of the command.
        subscriptions: in the order they are worked on.
        action: gives the exit code. It may be called from several threads.
        at_once: how many to work on at the same time.
    """
    from torsync.subscribe.state import state_folder

    def work_on(config: SubscriptionConfig) -> ExitCode:
        try:
            return action(config, state_folder(context.state_dir, config.path))
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            context.renderer.error(error, config.name)
            return error.exit_code

    chosen = list(subscriptions)
    if len(chosen) == 1:
        return work_on(chosen[0])
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return most_severe(list(pool.map(work_on, chosen)))
