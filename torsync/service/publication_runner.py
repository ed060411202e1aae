"""One publication in the service: released when it is edited, seeded and looked after always."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torsync.model.errors import InterruptedByUserError, TorsyncError
from torsync.model.events import Level, Notice
from torsync.model.orders import MakeRelease
from torsync.model.settling import Settling
from torsync.publish.ordered import carry_out, is_paused, note_paused
from torsync.publish.publication import Publication
from torsync.service.runner import Runner, retry_delay_s
from torsync.subscribe.presence import place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.orders import Pause, Report, Resume
    from torsync.model.publish_reports import PublishReport
    from torsync.model.reports import PauseReport
    from torsync.publish.feed import Feed
    from torsync.publish.watch import Watch
    from torsync.service.inbox import Inbox, Pending
    from torsync.service.runner import OnOrderFailed, OnReport
    from torsync.subscribe.surroundings import Surroundings

_LAST_RETRY_S = 600.0
_LOOK_S = 0.5
_HEED_S = 1.0


class PublicationRunner(Runner):
    """Runs one publication until its inbox is stopped; after a failure it is tried again later."""

    def __init__(
        self,
        config: PublicationConfig,
        folder: Path,
        around: Surroundings,
        inbox: Inbox,
        *,
        feed: Feed | None,
        on_report: OnReport,
        on_order_failed: OnOrderFailed,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            config: of the publication.
            folder: where its state is.
            around: what it needs; ``stopping`` and ``wait`` are the inbox's.
            inbox: of orders.
            feed: that is started, to serve it.
            on_report: told of each release; see ``Runner``.
            on_order_failed: told of orders that were not carried out.
            clock: gives seconds that only grow.
        """
        super().__init__(
            config.name,
            inbox,
            around.sink,
            on_report=on_report,
            on_order_failed=on_order_failed,
            clock=clock,
            now_s=around.now_s,
        )
        self._config = config
        self._folder = folder
        self._around = around
        self._feed = feed
        self._settling = Settling(config.settle_s)
        self._publication: Publication | None = None
        self._watch: Watch | None = None
        self._failures = 0
        self._failed = ""
        self._place = place_of(config.path)
        self._looks_s = clock()
        self._heeds_s = 0.0

    # --- its own work -----------------------------------------------------------------------

    def _work(self) -> None:
        try:
            publication = self._opened()
        except InterruptedByUserError:
            return
        except TorsyncError as error:
            self._tell_failure(error)
            self._failures += 1
            self._place = place_of(self._config.path)
            self._due_s = self._clock() + min(retry_delay_s(self._failures), _LAST_RETRY_S)
            return
        self._failures = 0
        self._release(publication)

    def _opened(self) -> Publication:
        """Open the publication, if it is not: what is public is seeded and served at once."""
        if self._publication is None:
            publication = Publication(self._config, self._folder, self._around, self._feed)
            self._publication = publication
            publication.hinting.meanwhile = partial(self._see_to, publication)
            self._attempt(publication.resume)
            self._begin_watch()  # before the first release: an edit during that one is another
        return self._publication

    def _release(self, publication: Publication) -> None:
        self._take_edits(publication)
        try:
            report = self._release_with(publication, MakeRelease())
        except InterruptedByUserError:
            return
        except TorsyncError as error:
            self._tell_failure(error)
        else:
            if report.changed:
                self._on_report(report, "run")
        finally:
            self._await_next()
        publication.rest()

    def _release_with(self, publication: Publication, order: MakeRelease) -> PublishReport:
        began_s = self._clock()
        unsettled = not self._settling.is_settled(began_s)
        if not order.dry_run:
            self._settling.begun()
        try:
            report = carry_out(order, publication, unsettled=unsettled)
        except InterruptedByUserError:
            raise
        except TorsyncError:
            if not order.dry_run:
                self._settling.ended(began_s, self._clock(), failed=True)
            raise
        if not order.dry_run:
            self._failed = ""
            self._settling.ended(began_s, self._clock())
        return report

    def _await_next(self) -> None:
        self._looks_s = self._clock() + self._config.interval_s
        self._set_due()

    def _set_due(self) -> None:
        due_s = self._settling.due_s()
        self._due_s = self._looks_s if due_s is None else min(self._looks_s, due_s)

    # --- between releases -------------------------------------------------------------------

    def _rest_s(self) -> float:
        return _LOOK_S

    def _heed(self) -> None:
        """Take edits; see to what is seeded."""
        publication = self._publication
        if publication is None:
            before, self._place = self._place, place_of(self._config.path)
            if self._place not in {before, None}:
                self._due_s = self._clock()  # what was missing, such as a disk, may be there now
            return
        self._take_edits(publication)
        if self._clock() >= self._heeds_s:
            self._heed_now(publication)
            self._heeds_s = self._clock() + _HEED_S
        self._set_due()

    def _see_to(self, publication: Publication) -> None:
        """See to edits and failures where a release that is public is being worked on."""
        self._take_edits(publication)
        self._heed_now(publication)

    def _heed_now(self, publication: Publication) -> None:
        self._watch_anew()
        try:
            found = publication.heed()
        except InterruptedByUserError:
            return
        except TorsyncError as error:
            self._tell_failure(error)
            if self._settling.due_s() is None:  # a release shows what is wrong, or mends it
                self._settling.ended(self._clock(), self._clock(), failed=True)
            return
        if found and self._config.watch:
            self._settling.edited(self._clock())

    # --- orders -----------------------------------------------------------------------------

    def _carry_out(self, pending: Pending) -> Report:
        order = pending.order
        assert isinstance(order, MakeRelease), "all that a publication is asked for"
        publication = self._opened()
        if not order.dry_run:
            self._take_edits(publication)  # what was touched so far is in the release
        try:
            return self._release_with(publication, order)
        finally:
            if not order.dry_run:
                self._await_next()
            publication.rest()

    # --- edits ------------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        if not self._config.watch:
            return
        from torsync.publish.watch import Watch  # noqa: PLC0415 - costs start-up time

        self._watch = Watch(self._config.path, on_edit=self._inbox.ring, on_end=self._watch_ended)
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
            self._tell_failure(error)
            return True  # the release that follows tells what is wrong

    def _watch_anew(self) -> None:
        """Watch the folder that is there now, if it is not the one that is watched."""
        if self._watch is not None and self._watch.is_lost:
            self._end_watch()
            self._begin_watch()
            self._settling.edited(self._clock())  # what came before is not told

    # --- the rest ---------------------------------------------------------------------------

    def _load_paused(self) -> bool:
        return is_paused(self._folder)

    def _note_paused(self, order: Pause | Resume) -> PauseReport:
        return note_paused(order, self.name, self._folder)

    def _close(self) -> None:
        self._end_watch()
        if self._publication is not None:
            publication, self._publication = self._publication, None
            publication.close()

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            self._tell_failure(error)

    def _tell_failure(self, error: TorsyncError) -> None:
        """Tell of a failure; of the same one only once in a row."""
        if error.message != self._failed:
            self._failed = error.message
            super()._tell_failure(error)

    def _notice(self, level: Level, code: str, message: str, hint: str) -> None:
        self._around.sink(Notice(self._config.name, level, code, message, hint))
