"""Carries out what a person asks of one subscription, whoever holds its tree."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from torsync.model.errors import UsageError
from torsync.model.orders import Apply, Check, EmptyTrash, Pause, Restore, Resume, Rollback, Verify
from torsync.model.reports import PauseReport
from torsync.subscribe.state import TreeState

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import Order, Report
    from torsync.subscribe.subscription import Subscription
    from torsync.subscribe.surroundings import Surroundings


def carry_out(order: Order, subscription: Subscription, *, lasting: bool = True) -> Report:
    """Do what an order says; ``Surroundings.terms`` gives its terms.

    Args:
        order: for a subscription, besides ``Pause`` and ``Resume``: see ``note_paused``.
        subscription: that is open.
        lasting: whether a release that is to be applied is approved also for later, should that
            fail now: so it is in the service, which tries again.

    Raises:
        UsageError: it cannot be done to an open subscription.
        TorsyncError: it could not be done.
    """
    if isinstance(order, Check):
        if order.dry_run:
            return subscription.foretell(force=order.force)
        return subscription.check_now(force=order.force)
    if isinstance(order, Apply):
        return subscription.apply(lasting=lasting)
    if isinstance(order, Rollback):
        return subscription.rollback(order.release)
    if isinstance(order, Verify):
        return subscription.verify(
            quick=order.quick, repair=order.repair, clean=order.clean, dry_run=order.dry_run
        )
    if isinstance(order, (Restore, EmptyTrash)):
        return subscription.see_to_trash(order)
    raise UsageError(
        f"{order.command!r} is nothing that is done to an open subscription",
        hint="see `torsync --help`",
    )


def carry_out_alone(
    order: Order, config: SubscriptionConfig, folder: Path, around: Surroundings
) -> Report:
    """Do what an order says where nobody has the subscription open.

    It is opened only if that takes it: what only looks makes no folder.

    Args:
        order: for a subscription.
        config: of it.
        folder: of its state; its lock is held by the caller.
        around: what a subscription needs.

    Raises:
        TorsyncError: it could not be done.
    """
    if isinstance(order, (Pause, Resume)):
        return note_paused(order, config.name, folder)
    if isinstance(order, (Restore, EmptyTrash)):
        from torsync.subscribe.trash_orders import carry_out_by_hand  # noqa: PLC0415 - when it is asked for

        return carry_out_by_hand(order, config, folder, around.now_s())
    if isinstance(order, Check) and order.dry_run:
        from torsync.subscribe.preview import poll_and_preview  # noqa: PLC0415 - when it is asked for

        return poll_and_preview(config, folder, around, force=order.force)
    from torsync.subscribe.subscription import Subscription  # noqa: PLC0415 - costs start-up time

    with closing(Subscription(config, folder, around)) as subscription:
        return carry_out(order, subscription, lasting=False)


def note_paused(order: Pause | Resume, name: str, folder: Path) -> PauseReport:
    """Leave word in a state that the service leaves its tree alone, or does so no more.

    Args:
        order: says which.
        name: of the subscription.
        folder: of its state; its lock is held by the caller.

    Raises:
        StateError: the state cannot be used.
    """
    wanted = isinstance(order, Pause)
    with closing(TreeState(folder)) as state:
        was = bool(state.get("paused"))
        if was is not wanted:
            state.put(paused="1" if wanted else "")
    return PauseReport(name, wanted, was is not wanted)


def is_paused(folder: Path) -> bool:
    """Whether the service leaves the tree alone whose state is in ``folder``.

    Raises:
        StateError: the state cannot be read.
    """
    if not (folder / "state.sqlite").exists():
        return False
    with closing(TreeState(folder, read_only=True)) as state:
        return bool(state.get("paused"))
