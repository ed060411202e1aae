"""A thread that works on one tree, and is begun again when that fails."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING

from torsync.disk.lock import hold_tree
from torsync.model.errors import TorsyncError
from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.model.units import format_duration
from torsync.service.desk import Worker
from torsync.service.inbox import Inbox
from torsync.service.runner import retry_delay_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.events import EventSink
    from torsync.service.runner import Runner

SERVICE_COMMAND = "torsync run"
_BUSY_RETRY_S = 2.0
_LAST_RETRY_S = 600.0
_STEADY_S = 3600.0  # one that went on for so long does not fail in a row


class WorkerThread:
    """Holds a tree and runs its runner, until it is stopped.

    A tree that another command holds is waited for. A runner that ends in a way that nobody
    foresaw is begun again, ever later.
    """

    def __init__(
        self,
        config: SubscriptionConfig | PublicationConfig,
        folder: Path,
        make_runner: Callable[[Inbox], Runner],
        sink: EventSink,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription or publication.
            folder: where its state is.
            make_runner: makes what does the work; called for each try.
            sink: for notices.
            clock: gives seconds that only grow.
        """
        self.config = config
        self.inbox = Inbox(clock)
        self._folder = folder
        self._make_runner = make_runner
        self._sink = sink
        self._clock = clock
        self._restarts = 0
        self._crashes = 0  # in a row
        self._waits = False
        self._runner: Runner | None = None
        self._thread = threading.Thread(target=self._run, name=config.name, daemon=True)

    @property
    def worker(self) -> Worker:
        """What may be told of it."""
        runner = self._runner
        if runner is None:
            return Worker(self.config, restarts=self._restarts)
        return Worker(self.config, runner.next_check_s, runner.is_paused, self._restarts)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; what is committed is committed, all else can go on later."""
        self.inbox.stop()

    def join(self) -> None:
        """Wait for its end: its tree is not given up while it works."""
        if self._thread.ident is not None:  # else it was never begun
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self.inbox.is_stopped:
                self._try()
        finally:  # whoever gave an order since the last try is not to wait for ever
            self.inbox.stop()
            self.inbox.refuse()

    def _try(self) -> None:
        begun_s = self._clock()
        try:
            with hold_tree(self._folder, name=self.config.name, command=SERVICE_COMMAND):
                self._waits = False
                self._runner = self._make_runner(self.inbox)
                self._runner.run()
        except TorsyncError as error:  # the tree is in use, or its state cannot be
            if not self._waits:
                self._tell(Level.WARNING, error.code, error.message, error.hint)
            self._waits = True
            self._wait(_BUSY_RETRY_S, error)
        except Exception as error:  # noqa: BLE001 - told, and tried again; the others go on
            self._runner = None
            self._restarts += 1
            is_steady = self._clock() - begun_s >= _STEADY_S
            self._crashes = 1 if is_steady else self._crashes + 1
            delay_s = min(retry_delay_s(self._crashes), _LAST_RETRY_S)
            self._wait(delay_s, self._tell_crash(error, delay_s))
        finally:
            self._runner = None
            self.inbox.refuse()

    def _wait(self, seconds: float, error: TorsyncError) -> None:
        """Wait before another try; orders are refused meanwhile."""
        ends_s = self._clock() + seconds
        while not self.inbox.is_stopped and (left_s := ends_s - self._clock()) > 0:
            self.inbox.rest(left_s)
            self.inbox.refuse(error)

    def _tell_crash(self, error: Exception, delay_s: float) -> TorsyncError:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = (
            f"torsync failed in a way that nobody foresaw: {type(error).__name__}: {error} "
            f"({where.name}, line {where.lineno})"
        )
        hint = f"it is tried again in {format_duration(delay_s)}; please report this"
        self._sink(StageStarted(self.config.name, Stage.FAILED, said))
        self._tell(Level.ERROR, "crashed", said, hint)
        for line in traceback.format_exception(error):
            self._tell(Level.DEBUG, "traceback", line.rstrip())
        return TorsyncError(said, hint=hint)

    def _tell(self, level: Level, code: str, message: str, hint: str = "") -> None:
        self._sink(Notice(self.config.name, level, code, message, hint))
