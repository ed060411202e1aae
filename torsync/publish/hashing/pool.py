"""Worker processes, and what goes to and fro."""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import signal
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import torsync
from torsync.publish.errors import HashingError
from torsync.publish.hashing.spread import HASHING
from torsync.publish.hashing.worker import JOBS_FD, LENGTH_BYTES, RESULTS_FD, ROOT_FD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

_PROGRAM = (
    "import sys; sys.dont_write_bytecode = True; sys.path[:0] = sys.argv[2:]; "
    "from importlib import import_module; import_module(sys.argv[1]).main()"
)
_PLACE = str(Path(torsync.__file__).parents[1])
_AHEAD = 2  # jobs that a worker has: one to do, and one to go on with
_POLL_MS = 100
_READ_BYTES = 1 << 20
_ABOVE_WORKERS_FD = 10


class Task(Protocol):
    """Something for a worker to do."""

    @property
    def job(self) -> Any:
        """What it is told; nothing but what ``marshal`` knows."""

    @property
    def paths(self) -> Sequence[str]:
        """The files that it reads."""


class SizedTask(Task, Protocol):
    """Something to do, and how much it is.

    Attributes:
        cost_bytes: in how much time it takes, as bytes to hash.
    """

    cost_bytes: int


TaskT = TypeVar("TaskT", bound=Task)
SizedT = TypeVar("SizedT", bound=SizedTask)


class WorkerPool:
    """Some worker processes; to be closed, which ends them wherever they are."""

    def __init__(
        self, root_fd: int, count: int, module: str = HASHING, places: Sequence[str] = ()
    ) -> None:
        """Start them.

        Args:
            root_fd: of the folder that the paths of jobs are in.
            count: of processes.
            module: whose ``main`` they run.
            places: where it finds what it imports, besides torsync and the standard library.

        Raises:
            OSError: they cannot be started.
        """
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(_Worker(root_fd, [module, _PLACE, *places]))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        while self._workers:
            self._workers.pop().end()

    def run(self, works: Iterator[TaskT], heed: Callable[[], None]) -> Iterator[tuple[TaskT, Any]]:
        """Have work done; give each with its result, in the order in which they are done.

        Args:
            works: what is to be done.
            heed: called several times a second; may raise to end it.

        Raises:
            HashingError: a worker has ended.
        """
        poll = select.poll()
        by_fd = {}
        for worker in self._workers:
            by_fd[worker.results_fd] = by_fd[worker.jobs_fd] = worker
            poll.register(worker.results_fd, select.POLLIN)
        for _ in range(_AHEAD):
            for worker in self._workers:
                worker.give(next(works, None))
        while any(worker.pending for worker in self._workers):
            heed()
            for worker in self._workers:
                if worker.is_behind:
                    poll.register(worker.jobs_fd, select.POLLOUT)
                else:
                    with suppress(KeyError):
                        poll.unregister(worker.jobs_fd)
            for fd, _what in poll.poll(_POLL_MS):
                worker = by_fd[fd]
                if fd == worker.jobs_fd:
                    worker.push()
                    continue
                for done in worker.receive():
                    worker.give(next(works, None))
                    yield done


class _Worker:
    """One process, and what it was given to do."""

    def __init__(self, root_fd: int, arguments: Sequence[str]) -> None:
        jobs_read, self.jobs_fd = _pipe()
        try:
            self.results_fd, results_write = _pipe()
        except OSError:
            os.close(jobs_read)
            os.close(self.jobs_fd)
            raise
        root = fcntl.fcntl(root_fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_WORKERS_FD)
        to_its = [(jobs_read, JOBS_FD), (results_write, RESULTS_FD), (root, ROOT_FD)]
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *arguments],
                os.environ,
                file_actions=[
                    *((os.POSIX_SPAWN_DUP2, fd, its) for fd, its in to_its),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                # Ctrl-C is for the process that publishes, which ends this one.
                setsigmask=[signal.SIGINT],
            )
        except BaseException:
            os.close(self.jobs_fd)
            os.close(self.results_fd)
            raise
        finally:
            for fd in (jobs_read, results_write, root):
                os.close(fd)
        os.set_blocking(self.jobs_fd, False)
        self.pending: deque[Any] = deque()
        self._outgoing = bytearray()
        self._incoming = bytearray()

    @property
    def is_behind(self) -> bool:
        """Whether it has not been told everything that it was given."""
        return bool(self._outgoing)

    def give(self, work: Task | None) -> None:
        """Give it something to do, if there is anything."""
        if work is None:
            return
        body = marshal.dumps(work.job)
        self._outgoing += len(body).to_bytes(LENGTH_BYTES, "little") + body
        self.pending.append(work)
        self.push()

    def push(self) -> None:
        """Write as much as fits into the pipe."""
        try:
            while self._outgoing:
                del self._outgoing[: os.write(self.jobs_fd, self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._fail()

    def receive(self) -> Iterator[tuple[Any, Any]]:
        """Take what it has to tell: once, and whole results."""
        data = os.read(self.results_fd, _READ_BYTES)
        if not data:
            self._fail()
        self._incoming += data
        while len(self._incoming) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._incoming[:LENGTH_BYTES], "little")
            if len(self._incoming) < end:
                return
            body = bytes(self._incoming[LENGTH_BYTES:end])
            del self._incoming[:end]
            yield self.pending.popleft(), marshal.loads(body)  # noqa: S302 - our own process

    def _fail(self) -> NoReturn:
        """Say what happened to it, and what it was at.

        Raises:
            HashingError: always.
        """
        status = self._reap()
        how = f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
        paths = self.pending[0].paths if self.pending else ()
        more = f" or one of the {len(paths) - 1} files after it" if len(paths) > 1 else ""
        at = f"{paths[0]!r}{more}" if paths else "nothing"
        raise HashingError(
            f"the process that read {at} {how}",
            hint="see the system's log for what ended it; what was done before is kept",
        )

    def end(self) -> None:
        """End it, wherever it is."""
        os.close(self.jobs_fd)
        os.close(self.results_fd)
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> int:
        if not self._pid:
            return 0
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:  # someone in this process waits for all children
            return 0
        finally:
            self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _pipe() -> tuple[int, int]:
    """Make a pipe whose ends have other numbers than those that a worker has for its own."""
    ends = os.pipe()
    try:
        found = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_WORKERS_FD) for fd in ends]
    finally:
        for fd in ends:
            os.close(fd)
    return found[0], found[1]
