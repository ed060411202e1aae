"""Bring one tree to a release: look, plan, stage, fetch, commit, record, seed, in this order."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from torsync.disk.tree import doing
from torsync.model.config import LockedMode
from torsync.model.errors import TorsyncError
from torsync.model.events import Level
from torsync.model.known import NEVER_SYNCED
from torsync.model.past import PastRelease, name_of
from torsync.model.patterns import nothing
from torsync.model.reports import CheckReport
from torsync.model.retention import TRASH
from torsync.subscribe.asking import Superseded
from torsync.subscribe.commit import Commit
from torsync.subscribe.fetch import Fetcher
from torsync.subscribe.foresight import foresee
from torsync.subscribe.look import Look, look_further, rows_learned, take_look
from torsync.subscribe.patience import Patience
from torsync.subscribe.recording import history_of
from torsync.subscribe.recovery import rescue_held
from torsync.subscribe.shifts.finder import ShiftFinder, distrust_hints
from torsync.subscribe.stage import Stage
from torsync.subscribe.trash import Trash, trash_stamp
from torsync.subscribe.unchanged import seal_tree
from torsync.subscribe.update import Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.disk.tree import Tree
    from torsync.model.assess import Matcher
    from torsync.model.config import SubscriptionConfig
    from torsync.model.journal import Journal
    from torsync.model.known import Synced
    from torsync.model.manifest import Manifest
    from torsync.model.plan import Plan
    from torsync.model.tree_index import LedgerRow
    from torsync.subscribe.admission import Admission
    from torsync.subscribe.commit import CommitOutcome
    from torsync.subscribe.consent import Consent
    from torsync.subscribe.guarding import Guard
    from torsync.subscribe.presence import Presence
    from torsync.subscribe.release import Release, Releases
    from torsync.subscribe.seeding import Seeding
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Surroundings, Voice
    from torsync.subscribe.trash_keeper import TrashKeeper


_DAY_S = 24 * 3600.0
_HEED_HOURS_S = 1.0


@dataclass(frozen=True)
class Syncing:
    """What the work on one tree needs; its parts are the subscription's."""

    config: SubscriptionConfig
    keep: Matcher
    select: Matcher | None
    tree: Tree
    state: TreeState
    admission: Admission
    presence: Presence
    guard: Guard
    consent: Consent
    releases: Releases
    seeding: Seeding
    around: Surroundings
    voice: Voice
    keeper: TrashKeeper

    def bring_to(
        self,
        release: Release,
        *,
        look_out: Callable[[], None] | None = None,
        every_s: float | None = None,
    ) -> CheckReport:
        """Make the tree equal to a release; ``look_out`` may end that while it is fetched.

        Raises:
            Superseded: ``look_out`` said so.
            RefusedError: a guard wants a person to say that it is meant.
            PostponedError: it may not be done now.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        self.recover()
        self.voice.topic.release = release.manifest.name
        look = self.look(release.manifest)
        plan, report = self._foresee(look)
        agree = partial(self.consent.ask, release, report)
        self.guard.check_update(self.tree, release, plan, look, self._synced(), agree=agree)
        self.apply(release, plan, look, report, look_out=look_out, every_s=every_s)
        return report

    def preview(self, release: Release) -> CheckReport:
        """Tell what bringing the tree to a release would do.

        Raises:
            TorsyncError: the tree cannot be looked at.
        """
        look = self.look(release.manifest)
        plan, report = self._foresee(look, dry_run=True)
        self.guard.foretell(self.tree, release, plan, look, self._synced(), report, self.voice)
        return report

    def _foresee(self, look: Look, *, dry_run: bool = False) -> tuple[Plan, CheckReport]:
        stopping = self.around.stopping
        finder = ShiftFinder(self.config, self.tree, self.state, self.voice, stopping)
        return foresee(
            self.config,
            look,
            keep=self.keep,
            find=finder.find,
            fits=partial(self.guard.fits, self.tree),
            from_release=self.from_release,
            dry_run=dry_run,
        )

    @property
    def from_release(self) -> str:
        """The name of the release that the tree is at; empty if it was never in sync."""
        if self.admission.is_foreign:
            return ""
        return name_of(self.state.past_releases(), self.state.synced)

    def recover(self) -> CheckReport | None:
        """Finish a commit that was cut off, so that the tree is of one release.

        To be called before a look.

        Returns:
            What was done, if there was such a commit.

        Raises:
            TorsyncError: that was not possible.
        """
        self.presence.renew()
        journal = None if self.admission.is_foreign else self.state.load_journal()
        outcome = None
        if journal is not None:
            self.seeding.stop()
            report = CheckReport.from_json(journal.report)
            outcome = self._finish(journal, report)
        rescue_held(self.tree, Trash(self.tree, trash_stamp(self.around.now_s())))
        if journal is None or outcome is None:
            return None
        if not (outcome.lost or outcome.locked):
            Stage(self.tree, journal.stage).remove()
        return report

    def _finish(self, journal: Journal, report: CheckReport) -> CommitOutcome:
        """Carry out the journal of a commit that was cut off, and record what came of it."""
        release = self.releases.load(journal.release)
        digest = release.manifest.digest if release is not None else (lambda _index: "")
        trash = Trash(self.tree, journal.stamp)
        outcome = Commit(
            self.tree, journal, trash, digest=digest, patience=self._patience, again=True
        ).run()
        _fill(report, outcome)
        ledger = self.state.load_ledger()
        rows = dict(ledger)
        for path in journal.vacated():
            with doing("look at", path), suppress(NotADirectoryError):
                if self.tree.stat(path) is None:
                    rows.pop(path, None)
        rows.update(outcome.rows)
        is_whole = release is not None and not outcome.lost and not outcome.locked
        self.state.record_sync(
            rows,
            synced=journal.release if is_whole else self.state.synced,
            history=history_of(self.state, report, journal.at_s),
            release=self._past(release, journal.at_s) if release and is_whole else None,
            trashed=outcome.content_in_trash(ledger),
        )
        name = journal.report["release"]
        said = f"the update to {name} had been cut off while it was put in place; it is finished"
        left = [*outcome.lost, *outcome.locked]
        if left:
            said += f", but for {left[0]!r}"
            said += f" and {len(left) - 1} more" if left[1:] else ""
        self.voice.notice(Level.INFO, "finished", said)
        return outcome

    def _past(self, release: Release, at_s: float) -> PastRelease | None:
        """What to remember of a release that the tree was brought to.

        None for one that it was rolled back to: that keeps its place among the others, so that a
        further rollback leads to the one before it.
        """
        if release.digest == self.state.pinned:
            return None
        manifest = release.manifest
        return PastRelease(release.digest, manifest.info_hash, manifest.name, at_s)

    @property
    def _patience(self) -> Patience:
        return Patience(self.around.wait, skips=self.config.on_locked is LockedMode.SKIP)

    def _synced(self) -> Synced:
        """The release that the ledger is of, if that is this folder's."""
        return NEVER_SYNCED if self.admission.is_foreign else self.releases.synced_manifest()

    def look(self, manifest: Manifest) -> Look:
        """Look at the tree with a release in mind, for all of its content that is there."""
        return self.look_further(self.first_look(manifest))

    def look_further(self, look: Look) -> Look:
        """Look for content that is not where it should be; see ``look_further``."""
        return look_further(
            self.tree, look, self.voice, keep=self.keep, stopping=self.around.stopping
        )

    def first_look(
        self, manifest: Manifest, *, trust_ledger: bool = True, hashing: bool = True
    ) -> Look:
        """Look at each file where it should be; see ``take_look``."""
        self.presence.renew()
        _release, begun = self.state.between()
        look = take_look(
            self.tree,
            manifest,
            {} if self.admission.is_foreign else self.state.load_ledger(manifest.by_path),
            self.voice,
            keep=self.keep if trust_ledger else nothing,
            select=self.select,
            synced=self._synced(),
            trust_ledger=trust_ledger,
            stopping=self.around.stopping,
            trash=self.state.load_trash,
            hashing=hashing,
        )
        return replace(look, begun=begun)

    def apply(
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

        Raises:
            Superseded: ``look_out`` said so.
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        began_s = time.monotonic()
        synced = self.releases.synced()
        if not plan.is_empty or synced is None or not synced.is_same_content(release):
            self.seeding.stop()
        learned = rows_learned(plan)
        if learned and not plan.is_empty:  # what was hashed is not to be hashed again
            self.state.record_rows(learned)
        now_s = self.around.now_s()
        trash = Trash(self.tree, trash_stamp(now_s))
        update = Update(
            self.tree,
            self.state,
            plan,
            trash,
            is_released=look.is_released,
            voice=self.voice,
            stopping=self.around.stopping,
            patience=self._patience,
        )
        try:
            if update.needs_stage:
                try:
                    update.build(
                        release.read,
                        self._fetcher(release, look_out, every_s),
                        peers=self.seeding.peers(release.manifest),
                        web_seeds=self.config.web_seeds,
                    )
                finally:  # also if it ended early: the next try would be lied to as well
                    if update.fetched.refused_claims and plan.shifted:
                        distrust_hints(self.state, plan.wanted.info_hash)
                report.bytes_reused = update.bytes_reused
            self.consent.check_hours(release)
            self.presence.check()
            outcome = self._commit(release, update, now_s, report)
        except Superseded as newer:
            newer.bytes_fetched = update.fetched.bytes_fetched
            newer.bytes_hashed = report.bytes_hashed + update.bytes_hashed
            newer.bytes_hints = report.bytes_hints
            raise
        except BaseException:
            with suppress(TorsyncError):
                self.seeding.resume()
            raise
        report.bytes_fetched += update.fetched.bytes_fetched
        report.bytes_hashed += update.bytes_hashed
        report.seconds = time.monotonic() - began_s
        rows = look.rows_to_carry(
            {*outcome.trashed, *outcome.respelled, *plan.moved}, settled=plan.settled
        )
        rows |= learned | outcome.rows
        self._record(release, rows, look, report, outcome)
        if outcome.locked or outcome.kept_local:
            rescue_held(self.tree, Trash(self.tree, trash_stamp(now_s)))
        update.clear_stage()
        self.seeding.remember_peers(update.fetched.peers)
        self.seeding.start(release, outcome.right(plan))
        if report.changed:
            self.keeper.after_update(trash.added_bytes)
            oldest = trash_stamp(now_s - self.config.trash_age_s - _DAY_S)
            self.state.forget_trash(f"{TRASH}/{oldest}")

    def _commit(
        self, release: Release, update: Update, now_s: float, report: CheckReport
    ) -> CommitOutcome:
        preparation = update.prepare(synced=self.releases.synced_manifest(), keep=self.keep)
        journal = preparation.journal(
            release=release.digest, stamp=trash_stamp(now_s), at_s=now_s, report=report.as_json()
        )
        outcome = update.commit(journal)
        _fill(report, outcome)
        report.kept += len(preparation.unchanged)
        return outcome

    def _fetcher(
        self, release: Release, look_out: Callable[[], None] | None, every_s: float | None
    ) -> Fetcher:
        def look_out_for_both() -> None:
            self.consent.check_hours(release)
            self.presence.check()
            if look_out is not None:
                look_out()

        return Fetcher(
            self.around.pool,
            self.voice,
            stopping=self.around.stopping,
            patience_s=self.around.terms().patience_s,
            look_out=look_out_for_both,
            look_out_every_s=every_s or _HEED_HOURS_S,
        )

    def _record(
        self,
        release: Release,
        rows: dict[str, LedgerRow],
        look: Look,
        report: CheckReport,
        outcome: CommitOutcome,
    ) -> None:
        seal = seal_tree(release, rows, look.assessment, self.config, self.keep)
        is_known = rows == look.ledger and self.state.synced == release.digest
        if is_known and not self.state.has_journal:  # a journal that stays is carried out again
            if seal != self.state.load_seal():
                self.state.put(seal=seal.dump() if seal else "")
            return
        history = None
        if report.changed:
            history = history_of(self.state, report, self.around.now_s())
        self.state.record_sync(
            rows,
            synced=release.digest,
            history=history,
            release=self._past(release, self.around.now_s()),
            trashed=outcome.content_in_trash(look.ledger),
            seal=seal,
            before=look.ledger,
        )
        polled = self.state.load_poll()
        self.state.forget_bodies(keep={release.digest, polled.sha256 if polled else ""})


def _fill(report: CheckReport, outcome: CommitOutcome) -> None:
    """Replace what was planned by what was done."""
    report.moved, report.copied = outcome.moved, outcome.copied
    report.patched, report.fetched = outcome.patched, outcome.fetched
    report.trashed, report.locked = sorted(outcome.trashed), outcome.locked
    report.kept_local = sorted({*report.kept_local, *outcome.kept_local})
    report.changed = any(
        (outcome.moved, outcome.copied, outcome.patched, outcome.fetched, outcome.trashed)
    )
