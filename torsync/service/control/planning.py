"""Plans, which need nobody who holds the tree: made beside the service's own work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

from torsync.model.errors import ControlError, TorsyncError
from torsync.model.orders import Check, Terms
from torsync.service.control.streams import Ears
from torsync.service.hub import Hub
from torsync.service.inbox import Pending
from torsync.subscribe.preview import preview
from torsync.subscribe.state import state_folder
from torsync.subscribe.surroundings import Surroundings

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig


def give_plan(
    config: SubscriptionConfig, state_dir: Path, closing: threading.Event
) -> tuple[Hub, Pending, Ears]:
    """Have a thread tell what an update to the release that was last polled would do.

    Args:
        config: of the subscription.
        state_dir: where its state is.
        closing: set when it shall end.

    Returns:
        Where it is told, what becomes of it, and who hears it.
    """
    hub = Hub()
    pending = Pending(Check(dry_run=True), Terms())
    ears = Ears(hub, None)

    def is_over() -> bool:
        return pending.is_cancelled or closing.is_set()

    def wait(seconds: float) -> bool:
        return closing.wait(seconds) or is_over()

    def work() -> None:
        around = Surroundings(pool=_no_session, sink=hub.sink, stopping=is_over, wait=wait)
        pending.begin()
        try:
            pending.fulfil(preview(config, state_folder(state_dir, config.path), around))
        except TorsyncError as error:
            pending.fail(error)
        finally:
            if not pending.is_ended:  # what nobody foresaw; nobody is to wait for ever
                pending.fail(ControlError("the plan could not be made", hint="please report this"))

    threading.Thread(target=work, name=f"plan {config.name}", daemon=True).start()
    return hub, pending, ears


def _no_session() -> NoReturn:
    raise AssertionError("a plan fetches nothing from a swarm")
