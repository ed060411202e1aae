"""What a subscription needs from the program around it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torsync.model.events import Event, EventSink, Level, Notice, Progress, Stage, StageStarted
from torsync.model.orders import Terms
from torsync.model.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.model.errors import TorsyncError
    from torsync.model.manifest import FileEntry
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import CheckReport
    from torsync.subscribe.hashing import HashProgress
    from torsync.subscribe.state import TreeState
    from torsync.swarm.session import SwarmPool


class Hooks(Protocol):
    """Who is told what becomes of a subscription. Called in the thread that works on it."""

    def before_update(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Be asked before a tree is changed; nothing has been fetched yet.

        Args:
            config: of the subscription.
            report: what the update would do, as far as that is known.

        Raises:
            PostponedError: not now.
        """

    def updated(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Be told that a tree was changed."""

    def failed(self, config: SubscriptionConfig, error: TorsyncError) -> None:
        """Be told of a failure; of the same one only once in a row."""

    def released(self, config: PublicationConfig, report: PublishReport) -> None:
        """Be told of a release."""

    def publication_failed(self, config: PublicationConfig, error: TorsyncError) -> None:
        """Be told of a failure of a publication; of the same one only once in a row."""

    def interruptible(self, interrupted: Callable[[], bool]) -> Hooks:
        """The same for one tree, where the asking ends once ``interrupted`` says so."""


class NoHooks:
    """Nobody is told anything."""

    def before_update(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Agree."""

    def updated(self, config: SubscriptionConfig, report: CheckReport) -> None:
        """Do nothing."""

    def failed(self, config: SubscriptionConfig, error: TorsyncError) -> None:
        """Do nothing."""

    def released(self, config: PublicationConfig, report: PublishReport) -> None:
        """Do nothing."""

    def publication_failed(self, config: PublicationConfig, error: TorsyncError) -> None:
        """Do nothing."""

    def interruptible(self, interrupted: Callable[[], bool]) -> NoHooks:  # noqa: ARG002
        """Give itself: nobody is asked."""
        return self


def local_day_s(moment_s: float) -> float:
    """Seconds since midnight by the clock on the wall, at a time in Unix seconds."""
    local = time.localtime(moment_s)
    return local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec + moment_s % 1


@dataclass(frozen=True)
class Surroundings:
    """Handed to every subscription.

    Attributes:
        pool: gives the sessions; called when the first torrent is added.
        sink: for events.
        stopping: whether the work shall stop.
        wait: sleeps so many seconds, True if the work shall stop.
        seed: keep torrents in the session after an update (the service does).
        now_s: the time in Unix seconds.
        day_s: gives the seconds since local midnight at such a time.
        terms: those of the command that is being carried out.
        hooks: are told of updates and failures, and asked before an update.
    """

    pool: Callable[[], SwarmPool]
    sink: EventSink
    stopping: Callable[[], bool]
    wait: Callable[[float], bool]
    seed: bool = False
    now_s: Callable[[], float] = time.time
    day_s: Callable[[float], float] = local_day_s
    terms: Callable[[], Terms] = Terms
    hooks: Hooks = field(default_factory=NoHooks)


def noting_stages(state: TreeState, sink: EventSink) -> EventSink:
    """Leave each stage where ``status`` finds it, besides telling ``sink``."""

    def note(event: Event) -> None:
        if isinstance(event, StageStarted):
            state.note_stage(event.stage.value)
        sink(event)

    return note


@dataclass
class Topic:
    """What is being talked about: the name of a release, or its number; empty: none yet."""

    release: str = ""


@dataclass(frozen=True)
class Voice:
    """Says what one subscription does, to a sink."""

    name: str
    sink: EventSink
    topic: Topic = field(default_factory=Topic)

    def stage(self, stage: Stage, detail: str = "") -> None:
        """Say that a stage begins."""
        self.sink(StageStarted(self.name, stage, detail, self.topic.release))

    def notice(self, level: Level, code: str, message: str, hint: str = "") -> None:
        """Say something that a person may want to know."""
        self.sink(Notice(self.name, level, code, message, hint, self.topic.release))

    def bytes_meter(self, stage: Stage, bytes_total: int) -> Callable[[int], None]:
        """Give a function that is told how many bytes were done since the last call."""
        done = 0

        def add(count: int) -> None:
            nonlocal done
            done += count
            self.sink(Progress(self.name, stage, bytes_done=done, bytes_total=bytes_total))

        return add

    def file_meter(self, stage: Stage, files_total: int) -> Callable[[], None]:
        """Give a function that is called once per file that is done."""
        done = 0

        def add() -> None:
            nonlocal done
            done += 1
            if done % 100 == 0 or done == files_total:
                self.sink(Progress(self.name, stage, files_done=done, files_total=files_total))

        return add

    def hash_meter(
        self, stage: Stage, files: Sequence[FileEntry], clock: Callable[[], float] = time.monotonic
    ) -> Callable[[HashProgress], None]:
        """Give a function that is told how far hashing is; ``files`` are the manifest's."""
        pace = Pace(clock())

        def tell(now: HashProgress) -> None:
            pace.add(clock(), now.bytes_done)
            self.sink(
                Progress(
                    self.name,
                    stage,
                    files_done=now.files_done,
                    files_total=now.files_total,
                    bytes_done=now.bytes_done,
                    bytes_total=now.bytes_total,
                    eta_s=pace.time_left_s(now.bytes_total),
                    rate=round(pace.rate),
                    path=files[now.file_index].path if now.file_index >= 0 else "",
                )
            )

        return tell
