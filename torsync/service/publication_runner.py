"""One publication in the service: released when it is edited, seeded and looked after always."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, TorsyncError
from torsync.model.events import Level, Notice
from torsync.model.settling import Settling
from torsync.publish.publication import Publication
from torsync.publish.request import Requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.publish_reports import PublishReport
    from torsync.publish.feed import Feed
    from torsync.publish.watch import Watch
    from torsync.subscribe.surroundings import Surroundings

_FIRST_RETRY_S = 10.0
_LAST_RETRY_S = 600.0
_LOOK_S = 0.5
_HEED_S = 1.0


class PublicationRunner:
    """Runs one publication until the service stops; after a failure it is tried again later."""

    def __init__(
        self,
        config: PublicationConfig,
        folder: Path,
        around: Surroundings,
        *,
        feed: Feed | None,
        on_report: Callable[[PublishReport], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            config: of the publication.
            folder: where its state is.
            around: what it needs; ``stopping`` ends it.
            feed: that is started, to serve it.
            on_report: told of each release.
            clock: gives seconds that only grow.
        """
        self._config = config
        self._folder = folder
        self._around = around
        self._feed = feed
        self._on_report = on_report
        self._clock = clock
        self._settling = Settling(config.settle_s)
        self._bell = threading.Event()
        self._watch: Watch | None = None
        self._failed = ""

    def run(self) -> None:
        """Work until the service stops."""
        failures = 0
        while not self._around.stopping():
            try:
                publication = Publication(self._config, self._folder, self._around, self._feed)
            except TorsyncError as error:
                self._report(error)
                self._wait_to_open(error, min(_FIRST_RETRY_S * 2.0**failures, _LAST_RETRY_S))
                failures = min(failures + 1, 10)
                continue
            try:
                self._work_on(publication)
            finally:
                self._end_watch()
                publication.close()
            return

    def _wait_to_open(self, error: TorsyncError, delay_s: float) -> None:
        """Wait before another try to open a publication; a request is told why, and ends it."""
        requests = Requests(self._folder)
        ends_s = self._clock() + delay_s
        for request in requests.waiting():
            self._attempt(partial(requests.fail, request, error))
        while (left_s := ends_s - self._clock()) > 0 and not requests.is_waiting:
            if self._around.wait(min(left_s, _LOOK_S)):
                return

    def _work_on(self, publication: Publication) -> None:
        publication.requests.forget_answers()
        publication.hinting.meanwhile = partial(self._see_to, publication)
        self._attempt(publication.resume)
        self._begin_watch()  # before the first release: an edit during that one is another
        self._release(publication)
        looks_s = self._clock() + self._config.interval_s
        heeds_s = 0.0
        while not self._around.stopping():
            self._bell.wait(self._pause_s())
            self._bell.clear()
            if self._around.stopping():
                return
            self._take_edits(publication)
            if self._clock() >= heeds_s:
                self._heed(publication)
                heeds_s = self._clock() + _HEED_S
            self._answer(publication)
            due_s = self._settling.due_s()
            if self._clock() >= min(looks_s, looks_s if due_s is None else due_s):
                self._release(publication)
                looks_s = self._clock() + self._config.interval_s

    def _pause_s(self) -> float:
        """How long to wait for an edit before anything else is looked at."""
        due_s = self._settling.due_s()
        return _LOOK_S if due_s is None else min(_LOOK_S, max(due_s - self._clock(), 0.001))

    # --- edits ------------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        if not self._config.watch:
            return
        from torsync.publish.watch import Watch  # noqa: PLC0415 - costs start-up time

        self._watch = Watch(self._config.path, on_edit=self._bell.set, on_end=self._watch_ended)
        self._watch.start()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _watch_ended(self, reason: str, hint: str) -> None:
        self._notice(
            Level.WARNING,
            "not_watched",
            f"{str(self._config.path)!r} cannot be watched: {reason}; edits are found by looking",
            hint,
        )

    def _take_edits(self, publication: Publication) -> None:
        if self._watch is None:
            return
        paths = self._watch.take()
        if paths is not None and not paths:
            return
        if paths is None or self._is_edited(publication, paths):
            self._settling.edited(self._clock())

    def _is_edited(self, publication: Publication, paths: list[str]) -> bool:
        try:
            return publication.edited(paths)
        except TorsyncError as error:
            self._report(error)
            return True  # the release that follows tells what is wrong

    def _watch_anew(self) -> None:
        """Watch the folder that is there now, if it is not the one that is watched."""
        if self._watch is not None and self._watch.is_lost:
            self._end_watch()
            self._begin_watch()
            self._settling.edited(self._clock())  # what came before is not told

    def _see_to(self, publication: Publication) -> None:
        """See to edits and failures where a release that is public is being worked on."""
        self._take_edits(publication)
        self._heed(publication)

    def _heed(self, publication: Publication) -> None:
        self._watch_anew()
        try:
            found = publication.heed()
        except TorsyncError as error:
            self._report(error)
            if self._settling.due_s() is None:  # a release shows what is wrong, or mends it
                self._settling.ended(self._clock(), self._clock(), failed=True)
            return
        if found and self._config.watch:
            self._settling.edited(self._clock())

    # --- releases ---------------------------------------------------------------------------

    def _release(self, publication: Publication) -> None:
        self._take_edits(publication)
        began_s = self._clock()
        unsettled = not self._settling.is_settled(began_s)
        self._settling.begun()
        try:
            report = publication.release_now(unsettled=unsettled)
        except InterruptedByUserError:
            return
        except TorsyncError as error:
            self._report(error)
            self._settling.ended(began_s, self._clock(), failed=True)
        else:
            self._failed = ""
            self._settling.ended(began_s, self._clock())
            if report.changed:
                self._on_report(report)
        publication.rest()

    def _answer(self, publication: Publication) -> None:
        for request in publication.requests.waiting():
            began_s = self._clock()
            if not request.dry_run:
                self._take_edits(publication)  # what was touched so far is in the release
                self._settling.begun()
            try:
                report = publication.answer(request)
            except InterruptedByUserError:
                return
            except TorsyncError as error:
                self._report(error)
                if not request.dry_run:
                    self._settling.ended(began_s, self._clock(), failed=True)
            else:
                if not request.dry_run:
                    self._settling.ended(began_s, self._clock())
                    if report.changed:
                        self._on_report(report)
            publication.rest()

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except InterruptedByUserError:
            return
        except TorsyncError as error:
            self._report(error)

    def _report(self, error: TorsyncError) -> None:
        """Tell of a failure; of the same one only once in a row."""
        if error.message != self._failed:
            self._failed = error.message
            self._notice(Level.ERROR, error.code, error.message, error.hint)

    def _notice(self, level: Level, code: str, message: str, hint: str) -> None:
        self._around.sink(Notice(self._config.name, level, code, message, hint))
