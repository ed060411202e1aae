"""One subscription at work: check, apply, verify. The order of things; decisions are elsewhere."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.config import CleanMode, SubscriptionConfig, UpdateMode
from torsync.model.errors import InterruptedByUserError, NotSyncedError, TorsyncError
from torsync.model.events import Level, Stage, StageStarted
from torsync.model.forecast import forecast
from torsync.model.plan import NOT_OURS, Plan
from torsync.model.verdict import judge
from torsync.subscribe.asking import Asking, Superseded
from torsync.subscribe.fetch import Fetcher
from torsync.subscribe.foresight import foresee, matcher, nothing, tell_plan
from torsync.subscribe.look import Look, take_look
from torsync.subscribe.preview import not_polled
from torsync.subscribe.release import Release, open_releases
from torsync.subscribe.remote_rules import mask_url
from torsync.subscribe.seeding import Seeding
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Surroundings, Voice, noting_stages
from torsync.subscribe.trash import Trash
from torsync.subscribe.tree import Tree, doing
from torsync.subscribe.update import Update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torsync.model.manifest import Manifest
    from torsync.model.reports import CheckReport, VerifyReport
    from torsync.model.tree_index import LedgerRow


class Subscription:
    """A remote ``.torrent`` kept in a local folder. Its lock is held by the caller."""

    def __init__(
        self, config: SubscriptionConfig, state_folder: Path, around: Surroundings
    ) -> None:
        """Open the state; the tree is made if it is not there.

        Raises:
            TorsyncError: state or tree cannot be used.
        """
        self.config = config
        self._keep = matcher(config.keep)
        with ExitStack() as opened:
            self._state = TreeState(state_folder)
            opened.callback(self._state.close)
            with doing("make the folder", str(config.path)):
                os.makedirs(config.path, exist_ok=True)
            self._tree = Tree(config.path.resolve())
            opened.callback(self._tree.close)
            self._tree.hold()
            self._unnoted = around.sink
            self._around = replace(around, sink=noting_stages(self._state, around.sink))
            self._voice = Voice(config.name, self._around.sink)
            self._releases = open_releases(config, around.wait, self._state)
            self._asking = Asking(
                config, self._state, self._releases, self._voice, glance=self._look_out
            )
            self._seeding = Seeding(
                config, self._tree, self._state, self._releases, self._around, self._voice
            )
            opened.callback(self._seeding.stop)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Leave the swarm, close tree and state."""
        self._opened.close()

    def resume_seeding(self) -> None:
        """Seed what the ledger vouches for of the synced release; nothing is hashed.

        Raises:
            TorsyncError: the tree cannot be looked at, or the session refuses.
        """
        self._seeding.resume()

    def heed(self) -> None:
        """See to what is seeded, between checks.

        Raises:
            TorsyncError: the tree needs a check.
        """
        self._seeding.heed()

    def rest(self) -> None:
        """Say that nothing is done until the next check, or until a release is approved."""
        stage = self._asking.idle_stage
        if stage is not Stage.WAITING:  # ``status`` goes on to say that it seeds
            self._state.note_stage(stage.value)
        self._unnoted(StageStarted(self.config.name, stage))

    @property
    def is_approved(self) -> bool:
        """Whether another process left an approval: ``apply_approved`` is to be called."""
        return self._asking.is_approved

    # --- check ------------------------------------------------------------------------------

    def check_now(self, *, force: bool = False) -> CheckReport:
        """Poll, and bring the tree to the newest release, if that needs no approval.

        With ``update = "ask"`` a release that is new and changes files waits: only the synced
        one is mended, and the report is the new one's plan, a dry run.

        Args:
            force: ignore what the last poll left: fetch the ``.torrent`` anew.

        Raises:
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        report = self._carry_out(lambda: self._check(force=force))
        self._state.put(last_check_s=str(self._around.now_s()))
        return report

    def apply(self) -> CheckReport:
        """Bring the tree to the release that the last poll got; nothing is asked anew.

        Raises:
            NotPolledError: there was no poll of the URL yet.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        release = self._releases.polled()
        if release is None:
            raise not_polled(self.config.name)
        return self._carry_out(lambda: self._bring_to(release))

    def apply_approved(self) -> CheckReport:
        """Do what another process approved, and leave word; check if that is out of date.

        Raises:
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        release = self._releases.polled()
        if release is None or not self._asking.take(release):
            return self.check_now()
        try:
            return self._carry_out(lambda: self._bring_to(release))
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            self._asking.fail(error)
            raise

    def _carry_out(self, work: Callable[[], CheckReport]) -> CheckReport:
        started = time.monotonic()
        try:
            report = work()
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            with suppress(TorsyncError):
                self._state.put(last_error=error.message, last_error_hint=error.hint)
            raise
        report.seconds = time.monotonic() - started
        self._state.put(last_error="", last_error_hint="")
        self._asking.fulfil(report)
        return report

    def _check(self, *, force: bool) -> CheckReport:
        self._voice.stage(Stage.CHECKING_REMOTE, mask_url(self.config.url))
        release = self._releases.poll(force=force)
        bytes_fetched = bytes_hashed = 0  # for releases that were superseded meanwhile
        while True:
            self._asking.take(release)
            try:
                if self._asking.needs_approval(release):
                    report = self._asking.hold_back(
                        release, preview=self._preview, bring_to=self._bring_to
                    )
                elif self.config.update is UpdateMode.ASK:
                    report = self._bring_to(release)
                else:
                    look_out = partial(self._look_out, release)
                    report = self._bring_to(release, look_out=look_out)
            except Superseded as newer:
                bytes_fetched += newer.bytes_fetched
                bytes_hashed += newer.bytes_hashed
                release = newer.release
            else:
                report.bytes_fetched += bytes_fetched
                report.bytes_hashed += bytes_hashed
                return report

    def _bring_to(
        self,
        release: Release,
        *,
        look_out: Callable[[], None] | None = None,
        every_s: float | None = None,
    ) -> CheckReport:
        """Make the tree equal to a release; ``look_out`` may end that while it is fetched."""
        look = self._look(release.manifest, trust_ledger=True)
        plan, report = foresee(self.config, look, keep=self._keep)
        self._apply(release, plan, look, report, look_out=look_out, every_s=every_s)
        return report

    def _preview(self, release: Release) -> CheckReport:
        look = self._look(release.manifest, trust_ledger=True)
        plan = look.plan(keep=self._keep, clean=self.config.clean)
        return tell_plan(self.config, look, plan, self._tree.root, self._voice)

    # --- the steps --------------------------------------------------------------------------

    def _look(self, manifest: Manifest, *, trust_ledger: bool) -> Look:
        if not self._tree.is_current():
            self._seeding.stop()
            self._tree.reopen()
            self._tree.hold()
        return take_look(
            self._tree,
            manifest,
            self._state.load_ledger(),
            self._voice,
            keep=self._keep if trust_ledger else nothing,
            synced=self._releases.synced_manifest(),
            trust_ledger=trust_ledger,
            stopping=self._around.stopping,
        )

    def _apply(
        self,
        release: Release,
        plan: Plan,
        look: Look,
        report: CheckReport,
        *,
        look_out: Callable[[], None] | None = None,
        every_s: float | None = None,
    ) -> None:
        """Carry out a plan, and fill the report with what was really done.

        While it fetches, ``look_out`` is called every so often, and may end it.
        """
        synced = self._releases.synced()
        if not plan.is_empty or synced is None or not _same_content(synced, release):
            self._seeding.stop()
        update = Update(
            self._tree, self._state, plan, voice=self._voice, stopping=self._around.stopping
        )
        try:
            if update.needs_stage:
                update.build(
                    release.body,
                    self._fetcher(look_out, every_s or self.config.interval_s),
                    peers=self._seeding.peers(release.manifest),
                    web_seeds=self.config.web_seeds,
                )
            trash = Trash(self._tree, self._around.now_s())
            outcome = update.commit(trash, synced=synced.manifest if synced else None)
        except Superseded as newer:
            newer.bytes_fetched = update.fetched.bytes_fetched
            newer.bytes_hashed = report.bytes_hashed + update.bytes_hashed
            raise
        except BaseException:
            with suppress(TorsyncError):
                self._seeding.resume()
            raise
        report.moved, report.copied = outcome.moved, outcome.copied
        report.patched, report.fetched = outcome.patched, outcome.fetched
        report.trashed = sorted(outcome.trashed)
        report.changed = any(
            (outcome.moved, outcome.copied, outcome.patched, outcome.fetched, outcome.trashed)
        )
        report.kept += outcome.unchanged
        report.bytes_fetched += update.fetched.bytes_fetched
        report.bytes_hashed += update.bytes_hashed
        rows = look.rows_to_carry({*outcome.trashed, *plan.moved}) | outcome.rows
        self._record(release, rows, look.ledger, report)
        update.clear_stage()
        self._seeding.remember_peers(update.fetched.peers)
        self._seeding.start(release, _right_files(plan))

    def _fetcher(self, look_out: Callable[[], None] | None, every_s: float) -> Fetcher:
        return Fetcher(
            self._around.pool(),
            self._voice,
            stopping=self._around.stopping,
            patience_s=self._around.patience_s,
            look_out=look_out or (lambda: None),
            look_out_every_s=every_s,
        )

    def _look_out(self, current: Release) -> None:
        """See whether the release that is being fetched is still the newest."""
        try:
            newest = self._releases.glance()
        except TorsyncError as error:
            self._voice.notice(Level.DEBUG, error.code, error.message, error.hint)
            return
        if not _same_content(newest, current):
            label = newest.manifest.name
            self._voice.notice(Level.INFO, "superseded", f"a newer release is there: {label}")
            raise Superseded(newest)

    def _record(
        self,
        release: Release,
        rows: dict[str, LedgerRow],
        ledger: Mapping[str, LedgerRow],
        report: CheckReport,
    ) -> None:
        if rows == ledger and self._state.synced == release.digest:
            return
        history = None
        if report.changed:
            now_s = self._around.now_s()
            history = (now_s, report.info_hash, report.release, report.as_json())
        self._state.record_sync(rows, synced=release.digest, history=history)
        polled = self._state.load_poll()
        self._state.forget_bodies(keep={release.digest, polled.sha256 if polled else ""})

    # --- verify -----------------------------------------------------------------------------

    def verify(
        self, *, repair: bool = False, clean: bool = False, dry_run: bool = False
    ) -> VerifyReport:
        """Hash the whole tree against the synced manifest.

        Args:
            repair: fetch what is missing or damaged; what it replaces goes to the trash.
            clean: move everything that the manifest doesn't list to the trash.
            dry_run: only tell.

        Raises:
            NotSyncedError: there is no synced manifest yet.
            TorsyncError: it could not be done.
        """
        started = time.monotonic()
        release = self._releases.synced()
        if release is None:
            raise NotSyncedError(
                f"{self.config.name!r} has never been in sync, there is nothing to compare with",
                hint=f"run `torsync check-now {self.config.name}` first",
            )
        look = self._look(release.manifest, trust_ledger=False)
        report = judge(
            self.config.name,
            look.assessment,
            look.hashed.good,
            look.hashed.unreadable,
            look.ledger,
            keep=self._keep,
        )
        report.bytes_hashed = look.hashed.bytes_hashed
        report.dry_run = dry_run
        look = look.judged(report)
        if not (repair or clean):
            self._remember_verified(release, look)
        elif not dry_run:
            self._mend(release, look, report, repair=repair, clean=clean)
        report.seconds = time.monotonic() - started
        return report

    def _remember_verified(self, release: Release, look: Look) -> None:
        """Vouch from now on for what was found right, and no longer for what was not."""
        rows = look.rows_to_carry() | look.assessment.rows_of_right()
        if rows != look.ledger:
            self._state.record_sync(rows, synced=release.digest, history=None)

    def _mend(
        self, release: Release, look: Look, report: VerifyReport, *, repair: bool, clean: bool
    ) -> None:
        if clean and not look.assessment.index.complete:
            self._voice.notice(
                Level.ERROR,
                "not_cleaned",
                "nothing was removed, as not everything in the tree could be read",
                "make it readable, then try again",
            )
        plan = look.plan(keep=self._keep, clean=CleanMode.MIRROR if clean else CleanMode.OFF)
        if not repair:
            plan = plan.without_mending()
        done = forecast(self.config.name, plan)
        self._apply(release, plan, look, done)
        replaced = {*done.moved, *done.copied, *done.patched, *done.fetched}
        report.repaired = sorted(replaced)
        report.cleaned = [path for path in done.trashed if path not in replaced]
        report.bytes_fetched = done.bytes_fetched
        report.bytes_hashed += done.bytes_hashed


def _same_content(one: Release, other: Release) -> bool:
    return one.manifest.info_hash == other.manifest.info_hash


def _right_files(plan: Plan) -> bytes:
    return bytes(planned.action not in NOT_OURS for planned in plan.files)
