"""A process that works for another one: jobs in, results out, until there are no more jobs.

Both go through pipes, as ``marshal`` writes them, each with its length before it: both ends are
the same interpreter, and nothing has to be imported for it.
"""

from __future__ import annotations

import marshal
import os
from typing import TYPE_CHECKING

from torsync.publish.hashing.kernel import FolderOpener, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

JOBS_FD, RESULTS_FD, ROOT_FD = 0, 1, 3
LENGTH_BYTES = 4


def main() -> None:
    """Hash until the other end closes its pipe."""
    work(Kernel(FolderOpener(ROOT_FD)).run)


def work(run: Callable[[Any], Any]) -> None:
    """Do one job after the other until the other end closes its pipe."""
    while (body := _read(LENGTH_BYTES)) is not None:
        data = _read(int.from_bytes(body, "little"))
        if data is None:
            break
        job = marshal.loads(data)  # noqa: S302 - of the process that started this one
        _write(marshal.dumps(run(job)))


def _read(count: int) -> bytes | None:
    """Read so many bytes; None if there are no more."""
    found = b""
    while len(found) < count:
        part = os.read(JOBS_FD, count - len(found))
        if not part:
            return None
        found += part
    return found


def _write(body: bytes) -> None:
    data = memoryview(len(body).to_bytes(LENGTH_BYTES, "little") + body)
    while data:
        data = data[os.write(RESULTS_FD, data) :]
