"""One subscription at work: check, apply, verify. The order of things; decisions are elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from torsync.model.config import UpdateMode
from torsync.model.errors import (
    InterruptedByUserError,
    PostponedError,
    RefusedError,
    TorsyncError,
    UsageError,
)
from torsync.model.events import Level, Stage, StageStarted
from torsync.model.patterns import matcher
from torsync.subscribe.admission import Admission, open_tree
from torsync.subscribe.asking import Asking, Superseded
from torsync.subscribe.consent import Consent, idle_stage
from torsync.subscribe.failing import note_failure, unreadable_error
from torsync.subscribe.outlook import Outlook
from torsync.subscribe.override import Override
from torsync.subscribe.presence import Presence
from torsync.subscribe.release import not_polled, open_releases
from torsync.subscribe.remote.rules import mask_url
from torsync.subscribe.seeding import Seeding
from torsync.subscribe.state import TreeState
from torsync.subscribe.staying import Staying
from torsync.subscribe.surroundings import Surroundings, Voice, noting_stages
from torsync.subscribe.unchanged import find_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torsync.model.config import SubscriptionConfig
    from torsync.model.orders import EmptyTrash, Restore
    from torsync.model.reports import CheckReport, VerifyReport
    from torsync.model.trash_reports import TrashEmptied, TrashRestored
    from torsync.subscribe.release import Release
    from torsync.subscribe.remote.long_poll import LongPoll
    from torsync.subscribe.syncing import Syncing
    from torsync.subscribe.trash_keeper import TrashKeeper

_HEED_NEWS_S = 0.5


class Subscription:
    """A remote ``.torrent`` kept in a local folder. Its lock is held by the caller."""

    def __init__(
        self,
        config: SubscriptionConfig,
        state_folder: Path,
        around: Surroundings,
        *,
        news: LongPoll | None = None,
    ) -> None:
        """Open the state; the tree is made if it is not there, and nobody missed it.

        Args:
            config: of the subscription.
            state_folder: where its state is.
            around: what it needs.
            news: waits for the next release after each poll, if somebody does.

        Raises:
            RefusedError: the folder is not the one that the state is about.
            TorsyncError: state or tree cannot be used.
        """
        self.config = config
        self._keep = matcher(config.keep)
        with ExitStack() as opened:
            tell = partial(Voice(config.name, around.sink).notice, Level.WARNING, "state_rebuilt")
            self._state = TreeState(state_folder, on_new=tell)
            opened.callback(self._state.close)
            self._override = Override(config.name, self._state, around)
            self._admission = Admission(config.path, self._state, self._override)
            try:
                self._tree = open_tree(config.path, self._admission)
            except TorsyncError as error:
                note_failure(config, self._state, around, error)
                raise
            opened.callback(self._tree.close)
            self._unnoted = around.sink
            self._around = replace(around, sink=noting_stages(self._state, around.sink))
            self._voice = Voice(config.name, self._around.sink)
            self._outlook = Outlook(config.interval_s, self._state, self._voice, news)
            self._releases = open_releases(
                config,
                around.wait,
                self._state,
                self._voice,
                self._outlook.await_next,
                around.stopping,
            )
            self._outlook.releases = self._releases
            self._consent = Consent(config, self._state, self._releases, self._around, self._voice)
            self._staying = Staying(config.name, self._state, self._releases, self._voice)
            self._asking = Asking(
                config,
                self._state,
                self._releases,
                self._voice,
                glance=self._outlook.glance,
                on_mended=partial(around.hooks.updated, config),
            )
            self._seeding = Seeding(
                config, self._tree, self._state, self._releases, self._around, self._voice
            )
            opened.callback(self._seeding.stop)
            self._presence = Presence(self._tree, self._admission, self._seeding)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Leave the swarm, close tree and state."""
        self._opened.close()

    def resume_seeding(self) -> None:
        """Seed what the ledger vouches for of the synced release; nothing is hashed.

        Raises:
            TorsyncError: the tree cannot be looked at, or the session refuses.
        """
        self._presence.renew()
        self._finish_cut_off()
        self._seeding.resume()

    def heed(self) -> None:
        """See to what is seeded, and to the trash, between checks.

        Raises:
            TorsyncError: the tree needs a check.
        """
        self._presence.heed()
        self._keeper.heed()
        self._seeding.heed()

    def rest(self) -> None:
        """Say that nothing is done until the next check, or until a release is approved."""
        stage, detail = idle_stage(self._consent, self._asking.idle_stage)
        if stage is not Stage.WAITING:  # ``status`` goes on to say that it seeds
            self._state.note_stage(stage.value)
        self._unnoted(StageStarted(self.config.name, stage, detail))
        self._seeding.tell()

    @property
    def opens_in_s(self) -> float | None:
        """Seconds until the update that waits for its hours may be done; None if none waits."""
        return self._consent.opens_in_s

    # --- check ------------------------------------------------------------------------------

    def check_now(self, *, force: bool = False) -> CheckReport:
        """Poll, and bring the tree to the newest release, if that needs no approval.

        With ``update = "ask"`` a release that is new and changes files waits: only the synced
        one is mended, and the report is the new one's plan, a dry run.

        Args:
            force: ignore what the last poll left: fetch the ``.torrent`` anew.

        Raises:
            PostponedError: it may not be done now; nothing was changed.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        try:
            report = self._carry_out(lambda: self._check(force=force))
        except PostponedError:
            self._state.put(last_check_s=str(self._around.now_s()))
            raise
        self._state.put(last_check_s=str(self._around.now_s()))
        return report

    def foretell(self, *, force: bool = False) -> CheckReport:
        """Poll, and tell what an update to the newest release would do.

        Args:
            force: ignore what the last poll left: fetch the ``.torrent`` anew.

        Raises:
            TorsyncError: the remote, the state or the tree cannot be used.
        """
        from torsync.subscribe.preview import poll_and_preview  # noqa: PLC0415 - when it is asked for

        around = replace(self._around, sink=self._unnoted)
        return poll_and_preview(self.config, self._state.folder, around, force=force)

    def apply(self, *, lasting: bool = False) -> CheckReport:
        """Bring the tree to the release that the last poll got; nothing is asked anew.

        Args:
            lasting: that release is approved also for later checks, should this fail.

        Raises:
            NotPolledError: there was no poll of the URL yet.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        release = self._releases.polled()
        if release is None:
            raise not_polled(self.config.name)
        return self._carry_out(lambda: self._follow(release, lasting=lasting))

    def rollback(self, wanted: str = "") -> CheckReport:
        """Bring the tree to an earlier release, and stay there until ``apply`` is called.

        Args:
            wanted: its name, or the beginning of its info-hash; empty for the one before.

        Raises:
            UsageError: there is no such release, or there are several.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        return self._carry_out(lambda: self._roll_back(wanted))

    def _roll_back(self, wanted: str) -> CheckReport:
        self._syncing.recover()
        release = self._staying.find(wanted)
        newest = self._releases.polled()
        is_newest = newest is not None and newest.is_same_content(release)
        report = self._go_to(release, pinned="" if is_newest else release.digest)
        if not is_newest:
            self._staying.tell(release, newest)
        return report

    def _follow(self, release: Release, *, lasting: bool = False) -> CheckReport:
        """Bring the tree to the newest release, and stay at none from now on."""
        trusted = self._releases.trusted(release, self.config.name)
        if lasting:
            self._asking.approve(trusted, self._around.terms().allowed)
        return self._go_to(trusted, pinned="")

    def _go_to(self, release: Release, *, pinned: str) -> CheckReport:
        before = self._state.pinned
        self._state.put(pinned=pinned)  # now: should it be cut off, it is the next check's goal
        try:
            return self._syncing.bring_to(release)
        except (RefusedError, PostponedError):
            self._state.put(pinned=before)
            raise

    def _carry_out(self, work: Callable[[], CheckReport]) -> CheckReport:
        started = time.monotonic()
        try:
            finished = self._finish_cut_off()
            report = work()
        except (InterruptedByUserError, UsageError):  # the latter is the command's, not the tree's
            raise
        except PostponedError:
            self._state.put(last_error="", last_error_hint="")
            raise
        except TorsyncError as error:
            note_failure(self.config, self._state, self._around, error)
            with suppress(TorsyncError):  # what has failed is told
                self._presence.let_go()
            raise
        is_updated = report.changed and not report.dry_run
        if finished is not None:
            report.add_finished(finished)
        report.seconds = time.monotonic() - started
        unreadable = unreadable_error(report)
        if unreadable is None:
            self._state.put(last_error="", last_error_hint="")
        else:
            note_failure(self.config, self._state, self._around, unreadable)
        self._consent.settle()
        self._asking.fulfil(report)
        if is_updated:
            self._around.hooks.updated(self.config, report)
        return report

    def _finish_cut_off(self) -> CheckReport | None:
        """Finish a commit that was cut off, if there was one; that needs no network."""
        finished = self._syncing.recover() if self._state.has_journal else None
        if finished is not None and finished.changed:
            self._around.hooks.updated(self.config, finished)
        return finished

    def _check(self, *, force: bool) -> CheckReport:
        self._presence.renew()
        self._voice.stage(Stage.CHECKING_REMOTE, mask_url(self.config.url))
        release = self._staying.stay(self._releases.poll(force=force))
        if not force and not self._admission.is_foreign:
            unchanged = self._find_unchanged(release)
            if unchanged is not None:
                return unchanged
        bytes_fetched = bytes_hashed = bytes_hints = 0  # of releases that were superseded
        while True:
            self._asking.take(release)
            try:
                if release.digest != self._state.pinned and self._asking.needs_approval(release):
                    report = self._asking.hold_back(
                        release, preview=self._syncing.preview, bring_to=self._syncing.bring_to
                    )
                elif self.config.update is UpdateMode.ASK:
                    report = self._syncing.bring_to(release)
                elif self._consent.is_held(release):
                    self._consent.hold_back(
                        release,
                        needs_mending=self._needs_mending,
                        bring_to=self._syncing.bring_to,
                        look_out=self._outlook.beyond(release),
                    )
                else:
                    report = self._syncing.bring_to(
                        release, look_out=self._outlook.beyond(release), every_s=_HEED_NEWS_S
                    )
            except Superseded as newer:
                bytes_fetched += newer.bytes_fetched
                bytes_hashed += newer.bytes_hashed
                bytes_hints += newer.bytes_hints
                release = newer.release
            else:
                report.bytes_fetched += bytes_fetched
                report.bytes_hashed += bytes_hashed
                report.bytes_hints += bytes_hints
                return report

    def _needs_mending(self, synced: Release) -> bool:
        """Whether this folder, which is at a release, may be otherwise than that has it."""
        return not self._admission.is_foreign and self._find_unchanged(synced) is None

    def _find_unchanged(self, release: Release) -> CheckReport | None:
        """Give the report of a check that has nothing to do, if stat tells that; keep seeding."""
        unchanged = find_unchanged(
            self._tree, self._state, release.digest, self.config, self._keep, self._voice
        )
        if unchanged is not None:
            self._seeding.keep_up(release)
        return unchanged

    @cached_property
    def _syncing(self) -> Syncing:
        """What does the work; not imported where nothing has changed."""
        from torsync.subscribe.workings import make_syncing  # noqa: PLC0415 - costs start-up time

        return make_syncing(
            self.config,
            self._keep,
            self._tree,
            self._state,
            self._admission,
            self._presence,
            self._override,
            self._releases,
            self._seeding,
            self._consent,
            self._around,
            self._voice,
            self._keeper,
        )

    @cached_property
    def _keeper(self) -> TrashKeeper:
        """What keeps the trash small; not imported where nothing has changed."""
        from torsync.subscribe.trash_keeper import TrashKeeper  # noqa: PLC0415 - costs start-up time

        return TrashKeeper(
            self.config, self._tree, self._state, self._voice, now_s=self._around.now_s
        )

    # --- verify, trash ----------------------------------------------------------------------

    def verify(
        self,
        *,
        quick: bool = False,
        repair: bool = False,
        clean: bool = False,
        dry_run: bool = False,
    ) -> VerifyReport:
        """Hash the whole tree against the synced manifest; see ``Verifying.verify``."""
        from torsync.subscribe.verifying import Verifying  # noqa: PLC0415 - costs start-up time

        if not dry_run:
            self._finish_cut_off()
        verifying = Verifying(self._syncing)
        return verifying.verify(quick=quick, repair=repair, clean=clean, dry_run=dry_run)

    def see_to_trash(self, order: Restore | EmptyTrash) -> TrashRestored | TrashEmptied:
        """Bring back what is in the trash, or remove it for good; see ``carry_out_in``."""
        from torsync.subscribe.trash_orders import carry_out_in  # noqa: PLC0415 - when it is asked for

        self._syncing.recover()
        self._seeding.stop()  # what is replaced is neither read nor sent any more
        try:
            now_s, folder = self._around.now_s(), self._state.folder
            return carry_out_in(self._tree, order, self.config, folder, now_s)
        finally:
            self._seeding.resume()
