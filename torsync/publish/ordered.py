"""Carries out what a person asks of one publication, whoever holds it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from torsync.model.errors import UsageError
from torsync.model.orders import MakeRelease, Pause, Resume
from torsync.model.reports import PauseReport
from torsync.publish.state import PublicationState

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.orders import Order
    from torsync.model.publish_reports import PublishReport
    from torsync.publish.publication import Publication
    from torsync.subscribe.surroundings import Surroundings


def carry_out(order: Order, publication: Publication, *, unsettled: bool = False) -> PublishReport:
    """Do what an order says.

    Args:
        order: for a publication, besides ``Pause`` and ``Resume``: see ``note_paused``.
        publication: that is open.
        unsettled: the folder is edited all the time; it is not waited for a better moment.

    Raises:
        UsageError: it cannot be done to an open publication.
        TorsyncError: it could not be done.
    """
    if isinstance(order, MakeRelease):
        return publication.release_now(dry_run=order.dry_run, unsettled=unsettled)
    raise UsageError(
        f"{order.command!r} is nothing that is done to an open publication",
        hint="see `torsync --help`",
    )


def carry_out_alone(
    order: Order, config: PublicationConfig, folder: Path, around: Surroundings
) -> PublishReport | PauseReport:
    """Do what an order says where nobody has the publication open.

    Args:
        order: for a publication.
        config: of it.
        folder: of its state; its lock is held by the caller.
        around: what a publication needs.

    Raises:
        TorsyncError: it could not be done.
    """
    if isinstance(order, (Pause, Resume)):
        return note_paused(order, config.name, folder)
    from torsync.publish.publication import Publication  # noqa: PLC0415 - costs start-up time

    with closing(Publication(config, folder, around)) as publication:
        return carry_out(order, publication)


def note_paused(order: Pause | Resume, name: str, folder: Path) -> PauseReport:
    """Leave word in a state that the service leaves its publication alone, or does so no more.

    Args:
        order: says which.
        name: of the publication.
        folder: of its state; its lock is held by the caller.

    Raises:
        StateError: the state cannot be used.
    """
    wanted = isinstance(order, Pause)
    state = PublicationState(folder)
    was = state.is_paused
    if was is not wanted:
        state.put_paused(wanted)
    return PauseReport(name, wanted, was is not wanted)


def is_paused(folder: Path) -> bool:
    """Whether the service leaves the publication alone whose state is in ``folder``.

    Raises:
        StateError: the disk fails.
    """
    return PublicationState(folder, read_only=True).is_paused
