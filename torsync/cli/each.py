"""Run something for each chosen subscription or publication; a failure stops no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import ExitCode, InterruptedByUserError, TorsyncError, most_severe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import SubscriptionConfig
    from torsync.subscribe.subscription import Subscription
    from torsync.subscribe.surroundings import Surroundings


class Job(NamedTuple):
    """What is to be done for one subscription or publication; gives its exit code."""

    name: str
    act: Callable[[], ExitCode]


def run_jobs(context: Context, jobs: Sequence[Job], *, at_once: int = 1) -> ExitCode:
    """Do all of them; the most severe exit code wins.

    Args:
        context: of the command.
        jobs: in the order they are begun.
        at_once: how many to work on at the same time, each in a thread of its own.
    """

    def work_on(job: Job) -> ExitCode:
        try:
            return job.act()
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            context.renderer.error(error, job.name)
            return error.exit_code

    if len(jobs) == 1:
        return work_on(jobs[0])
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return most_severe(list(pool.map(work_on, jobs)))


def for_each(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    around: Surroundings,
    command: str,
    action: Callable[[Subscription], ExitCode],
) -> ExitCode:
    """Hold each tree, open its subscription, act, one after the other; see ``opened_jobs``."""
    return run_jobs(context, opened_jobs(context, subscriptions, around, command, action))


def for_each_state(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    action: Callable[[SubscriptionConfig, Path], ExitCode],
    *,
    at_once: int = 1,
) -> ExitCode:
    """Act on each subscription and the folder of its state; nothing is held or opened."""
    return run_jobs(context, state_jobs(context, subscriptions, action), at_once=at_once)


def opened_jobs(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    around: Surroundings,
    command: str,
    action: Callable[[Subscription], ExitCode],
) -> list[Job]:
    """Hold a tree, open its subscription, act: a job for each.

    Args:
        context: of the command.
        subscriptions: in the order of the jobs.
        around: what subscriptions need.
        command: told to others who want a tree meanwhile.
        action: on one open subscription; gives its exit code. It may be called from several
            threads.
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

    return state_jobs(context, subscriptions, hold_and_act)


def state_jobs(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    action: Callable[[SubscriptionConfig, Path], ExitCode],
) -> list[Job]:
    """Act on a subscription and the folder of its state: a job for each."""
    from torsync.subscribe.state import state_folder

    def job(config: SubscriptionConfig) -> Job:
        folder = state_folder(context.state_dir, config.path)
        return Job(config.name, lambda: action(config, folder))

    return [job(config) for config in subscriptions]
