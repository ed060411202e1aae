"""Verify one tree against its synced manifest, and mend what differs."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.config import ApplyMode, CleanMode
from torsync.model.errors import NotSyncedError
from torsync.model.events import Level
from torsync.model.forecast import forecast
from torsync.model.verdict import judge, judge_quick

if TYPE_CHECKING:
    from torsync.model.reports import VerifyReport
    from torsync.subscribe.look import Look
    from torsync.subscribe.release import Release
    from torsync.subscribe.syncing import Syncing


class Verifying:
    """Verifies the tree of one subscription."""

    def __init__(self, syncing: Syncing) -> None:
        self._syncing = syncing
        self._name = syncing.config.name
        self._keep = syncing.keep

    def verify(
        self,
        *,
        quick: bool = False,
        repair: bool = False,
        clean: bool = False,
        dry_run: bool = False,
    ) -> VerifyReport:
        """Hash the whole tree against the synced manifest.

        Args:
            quick: read nothing: compare sizes and times with the ledger. With ``repair``, what
                they leave in doubt is hashed.
            repair: fetch what is missing or damaged; what it replaces goes to the trash.
            clean: move everything that the manifest doesn't list to the trash.
            dry_run: only tell.

        Raises:
            NotSyncedError: there is no synced manifest yet.
            RefusedError: a guard wants a person to say that it is meant.
            PostponedError: the tree may not be mended now.
            TorsyncError: it could not be done.
        """
        started = time.monotonic()
        release = self._syncing.releases.synced()
        if release is None:
            raise NotSyncedError(
                f"{self._name!r} has never been in sync, there is nothing to compare with",
                hint=f"run `torsync check-now {self._name}` first",
            )
        unread = quick and not repair
        look = self._syncing.first_look(release.manifest, trust_ledger=quick, hashing=not unread)
        if unread:
            report = judge_quick(self._name, look.assessment, keep=self._keep)
        else:
            report = judge(
                self._name,
                look.assessment,
                look.hashed.good,
                look.hashed.unreadable,
                look.ledger,
                keep=self._keep,
                changed=look.hashed.changed,
            )
        report.quick = quick
        report.bytes_hashed = look.hashed.bytes_hashed
        report.dry_run = dry_run
        look = look.judged(report)
        if self._syncing.state.has_journal:
            pass  # a dry run leaves it, and what it is about, to be finished
        elif not (repair or clean or quick):
            self._syncing.admission.mark(self._syncing.tree)
            self._remember(release, look)
        elif (repair or clean) and not dry_run:
            self._mend(release, look, report, repair=repair, clean=clean)
        report.seconds = time.monotonic() - started
        return report

    def _remember(self, release: Release, look: Look) -> None:
        """Vouch from now on for what was found right, and no longer for what was not."""
        right = look.assessment.rows_of_right()
        rows = look.rows_to_carry(right) | right
        if rows != look.ledger:
            self._syncing.state.record_sync(
                rows, synced=release.digest, history=None, before=look.ledger
            )

    def _mend(
        self, release: Release, look: Look, report: VerifyReport, *, repair: bool, clean: bool
    ) -> None:
        if clean and (report.unreadable or not look.assessment.index.complete):
            self._syncing.voice.notice(
                Level.ERROR,
                "not_cleaned",
                "nothing was removed, as not everything in the tree could be read",
                "make it readable, then try again",
            )
        if repair:
            read = look.hashed.bytes_hashed
            look = self._syncing.look_further(look)
            report.bytes_hashed += look.hashed.bytes_hashed - read
        plan = look.plan(keep=self._keep, clean=CleanMode.MIRROR if clean else CleanMode.OFF)
        if not repair:
            plan = plan.without_mending()
        elif self._syncing.config.apply is ApplyMode.IN_PLACE:
            plan = plan.patching_in_place(look.is_edited)
        syncing = self._syncing
        done = forecast(self._name, plan)
        done.from_release = syncing.from_release
        agree = partial(syncing.consent.ask, release, done)
        syncing.guard.check_mending(syncing.tree, release, plan, look, clean=clean, agree=agree)
        self._syncing.apply(release, plan, look, done)
        if done.changed:
            syncing.around.hooks.updated(syncing.config, done)
        replaced = {*done.moved, *done.copied, *done.patched, *done.fetched}
        report.repaired = sorted(replaced)
        report.cleaned = [path for path in done.trashed if path not in replaced]
        report.bytes_fetched = done.bytes_fetched
        report.bytes_hashed += done.bytes_hashed
