"""One service for each state directory."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from torsync.disk.lock import hold_tree, holder_pid
from torsync.model.errors import BusyError
from torsync.service.worker_thread import SERVICE_COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held_alone(state_dir: Path) -> Iterator[None]:
    """Be the only service that works with a state directory.

    Raises:
        BusyError: there is one.
        StateError: the state directory cannot be used.
    """
    folder = state_dir / "service"
    with ExitStack() as held:
        try:
            held.enter_context(hold_tree(folder, name="the service", command=SERVICE_COMMAND))
        except BusyError as error:
            raise BusyError(
                f"the service runs already: process {holder_pid(folder) or 'unknown'}",
                hint="`torsync reload` has it read the configuration again; a second one needs "
                "another --state-dir",
            ) from error
        yield
