"""Do something for each chosen subscription or publication; a failure stops no other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import (
    BusyError,
    ExitCode,
    InterruptedByUserError,
    TorsyncError,
    most_severe,
)
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.orders import Order, Report
    from torsync.service.control.client import ServiceGoneError
    from torsync.subscribe.surroundings import Surroundings

AT_ONCE = 8  # one without peers must not keep the others waiting
SERVICE = "torsync run"
_LOOK_EVERY_S = 0.2
_NO_API_GRACE_S = 3.0  # a service may open or close its control API just now
_HINT_BESIDE = (
    "`torsync check-now` has the service make its own release; for a .torrent besides that, stop "
    "it, or name another --state-dir, with which all is hashed anew"
)
_GONE_GRACE_S = 30.0  # a service that stops gives its trees up once they are in order


class Job(NamedTuple):
    """What is to be done for one subscription or publication; gives its exit code."""

    name: str
    act: Callable[[], ExitCode]


class Target(NamedTuple):
    """A subscription or publication that an order is for.

    Attributes:
        name: of it.
        folder: of its state.
        alone: carries an order out where nobody works on it; the lock is held.
    """

    name: str
    folder: Path
    alone: Callable[[Order], Report]


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


def for_each_state(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    action: Callable[[SubscriptionConfig, Path], ExitCode],
) -> ExitCode:
    """Act on each subscription and the folder of its state; nothing is held or opened."""
    return run_jobs(context, state_jobs(context, subscriptions, action))


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


# --- orders ---------------------------------------------------------------------------------


def subscription_target(
    context: Context, config: SubscriptionConfig, around: Surroundings
) -> Target:
    """Give what orders for a subscription are given to."""
    from torsync.subscribe.state import state_folder

    folder = state_folder(context.state_dir, config.path)

    def alone(order: Order) -> Report:
        from torsync.subscribe.ordered import carry_out_alone

        return carry_out_alone(order, config, folder, around)

    return Target(config.name, folder, alone)


def publication_target(context: Context, config: PublicationConfig, around: Surroundings) -> Target:
    """Give what orders for a publication are given to."""
    from torsync.publish.state import publication_folder

    folder = publication_folder(context.state_dir, config.path)

    def alone(order: Order) -> Report:
        from torsync.publish.ordered import carry_out_alone

        return carry_out_alone(order, config, folder, around)

    return Target(config.name, folder, alone)


def order_jobs(
    context: Context,
    subscriptions: Iterable[SubscriptionConfig],
    around: Surroundings,
    order: Callable[[SubscriptionConfig], Order],
    tell: Callable[[SubscriptionConfig, Report], ExitCode],
) -> list[Job]:
    """Have an order carried out for a subscription: a job for each.

    Args:
        context: of the command.
        subscriptions: in the order of the jobs.
        around: what they need.
        order: for each.
        tell: shows a report, and gives the exit code; it may be called from several threads.
    """

    def job(config: SubscriptionConfig) -> Job:
        target = subscription_target(context, config, around)
        return Job(
            config.name, lambda: tell(config, have_done(context, target, order(config), around))
        )

    return [job(config) for config in subscriptions]


def have_done(
    context: Context,
    target: Target,
    order: Order,
    around: Surroundings,
    *,
    command: str = "",
    by_service: bool = True,
) -> Report:
    """Hold a tree and do what an order says; or, if the service holds it, have the service do so.

    Args:
        context: of the command.
        target: that it is for.
        order: to be carried out.
        around: what says so meanwhile, and for how long; its terms are the order's.
        command: as others are told who want the tree; the order's if it is left out.
        by_service: whether the service may do it.

    Raises:
        BusyError: another process holds it; or the service, which takes no orders from here.
        InterruptedByUserError: the command was stopped.
        TorsyncError: it could not be done.
    """
    from torsync.disk.lock import hold_tree, holder_command

    service = _Service(context, target.name, around)
    while True:
        try:
            with hold_tree(
                target.folder, name=target.name, command=f"torsync {command or order.command}"
            ):
                return target.alone(order)
        except BusyError as error:
            if holder_command(target.folder) != SERVICE:
                raise
            if not by_service:
                raise BusyError(error.message, hint=_HINT_BESIDE) from None
            busy = error
        report = service.have_done(order, busy)
        if report is not None:
            return report
        if around.wait(_LOOK_EVERY_S):
            raise InterruptedByUserError("stopped while waiting for the service")


class _Service:
    """The service that holds one tree, as long as there is hope that it does what is asked."""

    def __init__(self, context: Context, name: str, around: Surroundings) -> None:
        self._context = context
        self._name = name
        self._around = around
        self._is_told = False
        self._ends_s: float | None = None

    def have_done(self, order: Order, busy: BusyError) -> Report | None:
        """Have it carry out an order; None if it may be tried again, by it or without it.

        Args:
            order: to be carried out.
            busy: says that it holds the tree.

        Raises:
            BusyError: it takes no orders.
            TorsyncError: it could not be done.
        """
        from torsync.service.control.client import ServiceGoneError, find_service

        service = find_service(self._context.state_dir, self._around.wait)
        if service is None:
            self._hope_s(_NO_API_GRACE_S, _takes_no_orders(busy))
            return None
        if not self._is_told:
            self._is_told = True
            said = "the service does it; waiting for that"
            self._around.sink(Notice(self._name, Level.DEBUG, "left_to_service", said))
        try:
            return service.carry_out(self._name, order, self._around.terms(), self._around.sink)
        except ServiceGoneError as error:
            if error.begun:
                self._ends_s = None  # it is there again, or was until now
                self._check_repeatable(order, error)
            self._hope_s(_GONE_GRACE_S, _is_silent(busy, error))
            return None

    def _hope_s(self, seconds: float, error: TorsyncError) -> None:
        now_s = time.monotonic()
        if self._ends_s is None:
            self._ends_s = now_s + seconds
        elif now_s >= self._ends_s:
            raise error

    def _check_repeatable(self, order: Order, error: ServiceGoneError) -> None:
        if order.is_repeatable:
            return
        raise BusyError(
            f"the service stopped while it did this, and may have done it: {error.message}",
            hint=f"`torsync status {self._name}` tells how it is",
        )


def _takes_no_orders(busy: BusyError) -> BusyError:
    return BusyError(
        f"{busy.message}, which takes no orders: its control API is not there",
        hint='remove control = "" from [service] in its configuration, and restart it; or stop '
        "it, and give the command again",
    )


def _is_silent(busy: BusyError, error: TorsyncError) -> BusyError:
    return BusyError(f"{busy.message}: {error.message}", hint=error.hint)
