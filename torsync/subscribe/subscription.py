"""One subscription at work: check and verify. The order of things; decisions are elsewhere."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.model.config import CleanMode, SubscriptionConfig
from torsync.model.errors import InterruptedByUserError, NotSyncedError, TorsyncError
from torsync.model.events import Event, EventSink, Level, Stage, StageStarted
from torsync.model.forecast import forecast
from torsync.model.plan import NOT_OURS, Plan
from torsync.model.verdict import judge, judge_quick
from torsync.subscribe.fetch import Fetcher
from torsync.subscribe.look import Look, take_look
from torsync.subscribe.release import Release, Releases
from torsync.subscribe.remote import Remote, Timeouts
from torsync.subscribe.remote_rules import mask_url
from torsync.subscribe.seeding import Seeding
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Surroundings, Voice
from torsync.subscribe.trash import Trash
from torsync.subscribe.tree import Tree, doing
from torsync.subscribe.update import Update

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest
    from torsync.model.reports import CheckReport, VerifyReport
    from torsync.model.tree_index import LedgerRow


_GLANCE = Timeouts(connect_s=3.0, read_s=3.0, total_s=30.0, attempts=1)


class _Superseded(Exception):  # noqa: N818 - not an error: a newer release is there
    """A newer release appeared while one was being fetched."""

    def __init__(self, release: Release) -> None:
        super().__init__(release.digest)
        self.release = release


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
        self._keep = _matcher(config.keep)
        with ExitStack() as opened:
            self._state = TreeState(state_folder)
            opened.callback(self._state.close)
            with doing("make the folder", str(config.path)):
                os.makedirs(config.path, exist_ok=True)
            self._tree = Tree(config.path.resolve())
            opened.callback(self._tree.close)
            self._tree.hold()
            self._around = replace(around, sink=self._noting_stages(around.sink))
            self._voice = Voice(config.name, self._around.sink)
            self._releases = Releases(
                _remote(config, around, Timeouts()),
                _remote(config, around, _GLANCE),
                config.url,
                self._state,
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

    # --- check ------------------------------------------------------------------------------

    def check_now(self, *, force: bool = False, dry_run: bool = False) -> CheckReport:
        """Poll, and bring the tree to the newest release.

        Args:
            force: ignore what the last poll left: fetch the ``.torrent`` anew.
            dry_run: only tell what would be done.

        Raises:
            TorsyncError: it could not be done; the tree has each path's old or new content.
        """
        started = time.monotonic()
        try:
            report = self._check(force=force, dry_run=dry_run)
        except InterruptedByUserError:
            raise
        except TorsyncError as error:
            with suppress(TorsyncError):
                self._state.put(last_error=error.message, last_error_hint=error.hint)
            raise
        report.seconds = time.monotonic() - started
        if not dry_run:
            now = str(self._around.now_s())
            self._state.put(last_check_s=now, last_error="", last_error_hint="")
        return report

    def _check(self, *, force: bool, dry_run: bool) -> CheckReport:
        self._voice.stage(Stage.CHECKING_REMOTE, mask_url(self.config.url))
        release = self._releases.poll(force=force)
        bytes_fetched = bytes_hashed = 0  # for releases that were superseded meanwhile
        while True:
            look = self._look(release.manifest, trust_ledger=True)
            plan = look.plan(keep=self._keep, clean=self.config.clean)
            report = forecast(self.config.name, plan)
            report.bytes_fetched = bytes_fetched
            report.bytes_hashed = bytes_hashed + look.hashed.bytes_hashed
            report.unreadable += self._withholding(look)
            if dry_run:
                report.dry_run = True
                return report
            try:
                self._apply(release, plan, look, report)
            except _Superseded as newer:
                bytes_fetched, bytes_hashed = report.bytes_fetched, report.bytes_hashed
                release = newer.release
                label = release.manifest.name
                self._voice.notice(Level.INFO, "superseded", f"a newer release is there: {label}")
            else:
                return report

    def _withholding(self, look: Look) -> list[str]:
        """What could not be read, if something stays for that reason that would be removed."""
        index, listed = look.assessment.index, look.assessment.wanted.by_path
        if index.complete or self.config.clean is CleanMode.OFF:
            return []
        if self.config.clean is CleanMode.MANAGED and all(path in listed for path in look.ledger):
            return []
        return [path or "." for path in index.problems if path not in listed]

    def _look(self, manifest: Manifest, *, trust_ledger: bool, hashing: bool = True) -> Look:
        if not self._tree.is_current():
            self._seeding.stop()
            self._tree.reopen()
            self._tree.hold()
        return take_look(
            self._tree,
            manifest,
            self._state.load_ledger(),
            self._voice,
            keep=self._keep if trust_ledger else _nothing,
            trust_ledger=trust_ledger,
            stopping=self._around.stopping,
            hashing=hashing,
        )

    def _apply(
        self,
        release: Release,
        plan: Plan,
        look: Look,
        report: CheckReport,
        *,
        follow: bool = True,
    ) -> None:
        """Carry out a plan, and fill the report with what was really done.

        With ``follow``, a newer release ends it.
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
                    self._fetcher(release, follow=follow),
                    peers=self._seeding.peers(release.manifest),
                    web_seeds=self.config.web_seeds,
                )
            trash = Trash(self._tree, self._around.now_s())
            outcome = update.commit(trash, synced=synced.manifest if synced else None)
        except _Superseded:
            report.bytes_fetched += update.fetched.bytes_fetched
            report.bytes_hashed += update.bytes_hashed
            raise
        except BaseException:
            with suppress(TorsyncError):
                self._seeding.resume()
            raise
        report.changed = bool(outcome.patched or outcome.fetched or outcome.trashed)
        report.patched, report.fetched = outcome.patched, outcome.fetched
        report.trashed = outcome.trashed
        report.kept += outcome.unchanged
        report.bytes_fetched += update.fetched.bytes_fetched
        report.bytes_hashed += update.bytes_hashed
        rows = look.rows_to_carry(outcome.trashed) | outcome.rows
        self._record(release, rows, look.ledger, report)
        update.clear_stage()
        self._seeding.remember_peers(update.fetched.peers)
        self._seeding.start(release, _right_files(plan))

    def _fetcher(self, release: Release, *, follow: bool) -> Fetcher:
        return Fetcher(
            self._around.pool(),
            self._voice,
            stopping=self._around.stopping,
            patience_s=self._around.patience_s,
            look_out=lambda: self._look_out(release) if follow else None,
            look_out_every_s=self.config.interval_s,
        )

    def _look_out(self, current: Release) -> None:
        """See whether the release that is being fetched is still the newest."""
        try:
            newest = self._releases.glance()
        except TorsyncError as error:
            self._voice.notice(Level.DEBUG, error.code, error.message, error.hint)
            return
        if not _same_content(newest, current):
            raise _Superseded(newest)

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
        self._state.forget_bodies(keep={release.digest})

    # --- verify -----------------------------------------------------------------------------

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
            TorsyncError: it could not be done.
        """
        started = time.monotonic()
        release = self._releases.synced()
        if release is None:
            raise NotSyncedError(
                f"{self.config.name!r} has never been in sync, there is nothing to compare with",
                hint=f"run `torsync check-now {self.config.name}` first",
            )
        unread = quick and not repair
        look = self._look(release.manifest, trust_ledger=quick, hashing=not unread)
        if unread:
            report = judge_quick(self.config.name, look.assessment, keep=self._keep)
        else:
            report = judge(
                self.config.name,
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
        if not (repair or clean or quick):
            self._remember_verified(release, look)
        elif (repair or clean) and not dry_run:
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
        self._apply(release, plan, look, done, follow=False)
        replaced = {*done.patched, *done.fetched}
        report.repaired = sorted(replaced)
        report.cleaned = [path for path in done.trashed if path not in replaced]
        report.bytes_fetched = done.bytes_fetched
        report.bytes_hashed += done.bytes_hashed

    def _noting_stages(self, sink: EventSink) -> EventSink:
        """Leave the stage where ``status`` finds it."""

        def note(event: Event) -> None:
            if isinstance(event, StageStarted):
                self._state.note_stage(event.stage.value)
            sink(event)

        return note


def _remote(config: SubscriptionConfig, around: Surroundings, timeouts: Timeouts) -> Remote:
    return Remote(
        config.url,
        headers=config.headers,
        max_bytes=config.max_torrent_bytes,
        timeouts=timeouts,
        wait=around.wait,
    )


def _matcher(patterns: Iterable[str]) -> Matcher:
    """Match paths against gitignore patterns; pathspec is imported only if there are any."""
    listed = list(patterns)
    if not listed:
        return _nothing
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - costs start-up time

    return GitIgnoreSpec.from_lines(listed).match_file


def _nothing(_path: str) -> bool:
    return False


def _same_content(one: Release, other: Release) -> bool:
    return one.manifest.info_hash == other.manifest.info_hash


def _right_files(plan: Plan) -> bytes:
    return bytes(planned.action not in NOT_OURS for planned in plan.files)
