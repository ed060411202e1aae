"""Checks side by side, each with a limit: what does not answer holds up nothing else."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.checkup import Finding, failed, failure
from torsync.model.errors import InterruptedByUserError, TorsyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TICK_S = 0.1
LIMIT_S = 20.0
_REPORT = "run it again with --verbose; if it persists, report what it prints"


class Job(NamedTuple):
    """Some checks that are made together.

    Attributes:
        check: what a failure of the whole job is called.
        act: makes them.
        limit_s: how long they may take; what takes longer is left behind.
        next_step: where it takes longer.
        what: is looked at.
    """

    check: str
    act: Callable[[], list[Finding]]
    limit_s: float = LIMIT_S
    next_step: str = "see why it hangs: the network, a name server, or a file system that is away"
    what: str = "it"


def side_by_side(jobs: Sequence[Job], stopping: Callable[[], bool]) -> list[Finding]:
    """Make all checks at the same time, and give their findings in the order of the jobs.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    begun_s = time.monotonic()
    futures = [_begin(job) for job in jobs]
    findings = []
    for job, future in zip(jobs, futures, strict=True):
        ends_s = begun_s + job.limit_s
        while not future.done() and time.monotonic() < ends_s:
            if stopping():
                raise InterruptedByUserError("stopped while checking")
            wait([future], _TICK_S)
        if future.done():
            findings += future.result()
        else:
            late = f"{job.what}: no end within {job.limit_s:g} s"
            findings.append(failed(job.check, late, job.next_step))
    return findings


def _begin(job: Job) -> Future[list[Finding]]:
    future: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(job.act())
        except InterruptedByUserError as error:
            future.set_exception(error)
        except TorsyncError as error:
            future.set_result([failure(job.check, error, _REPORT)])
        except OSError as error:
            found = f"the system refused: {error.strerror or error}"
            future.set_result([failed(job.check, found, "check its permissions and the system")])
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)

    # Not a pool: its threads would be waited for at the end.
    threading.Thread(target=run, name=f"doctor-{job.check}", daemon=True).start()
    return future
