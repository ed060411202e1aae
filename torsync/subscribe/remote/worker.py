"""Work on the network that is left as soon as it shall stop, whatever it waits for."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_TICK_S = 0.2


def run_until(job: Callable[[], Result], is_over: Callable[[], bool]) -> Result | None:
    """Do a job in a thread of its own, which is left behind once the time is over.

    A look-up of a host name or a TLS handshake cannot be interrupted; they end by themselves.

    Args:
        job: what it raises is raised here.
        is_over: asked several times a second.

    Returns:
        What the job returns; None if it was left.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="network", daemon=True).start()
    while not is_over():
        wait([future], _TICK_S)
        if future.done():
            return future.result()
    return None


def cut_off(connected: socket.socket) -> None:
    """End what waits for a socket; by its number, as TLS may have wrapped it."""
    with suppress(OSError), socket.socket(fileno=os.dup(connected.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
