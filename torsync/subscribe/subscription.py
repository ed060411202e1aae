"""One subscription at work: check, verify, seed. The order of things; decisions are elsewhere."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torsync.model.assess import Assessment, Here, assess
from torsync.model.config import CleanMode, SubscriptionConfig
from torsync.model.errors import NotSyncedError, TorsyncError, TreeError
from torsync.model.events import Event, EventSink, Level, Notice, Progress, StageStarted
from torsync.model.events import Stage as EventStage
from torsync.model.names import PRIVATE_FOLDER
from torsync.model.placement import place_for_seeding
from torsync.model.plan import Action, Plan, plan_update
from torsync.model.reports import CheckReport, VerifyReport
from torsync.model.tree_index import Kind, LedgerRow
from torsync.model.verdict import judge
from torsync.subscribe.fetch import Fetcher
from torsync.subscribe.hashing import HashedPieces, hash_pieces
from torsync.subscribe.release import Release, Releases
from torsync.subscribe.remote import Remote
from torsync.subscribe.state import TreeState
from torsync.subscribe.trash import Trash
from torsync.subscribe.tree import Tree, doing
from torsync.subscribe.update import Update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torsync.model.assess import Matcher
    from torsync.model.manifest import Manifest
    from torsync.swarm.session import SwarmPool
    from torsync.swarm.torrent import Torrent


class _Superseded(Exception):  # noqa: N818 - not an error: a newer release is there
    """A newer release appeared while one was being fetched."""

    def __init__(self, release: Release) -> None:
        super().__init__(release.digest)
        self.release = release


@dataclass(frozen=True)
class Surroundings:
    """What a subscription needs from the program around it.

    Attributes:
        pool: gives the sessions; called when the first torrent is added.
        sink: for events.
        stopping: whether the work shall stop.
        wait: sleeps so many seconds, True if the work shall stop.
        seed: keep torrents in the session after an update (the service does).
        patience_s: give up a fetch after so long without a byte; None: never.
        now_s: the time in Unix seconds.
    """

    pool: Callable[[], SwarmPool]
    sink: EventSink
    stopping: Callable[[], bool]
    wait: Callable[[float], bool]
    seed: bool = False
    patience_s: float | None = None
    now_s: Callable[[], float] = time.time


@dataclass
class _Look:
    """One look at the tree, and what hashing the doubtful parts of it gave."""

    assessment: Assessment
    ledger: dict[str, LedgerRow]
    hashed: HashedPieces = field(default_factory=HashedPieces)


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
        self._state = TreeState(state_folder)
        self._around = replace(around, sink=self._noting_stages(around.sink))
        try:
            with doing("make the folder", str(config.path)):
                os.makedirs(config.path, exist_ok=True)
            self._tree = Tree(config.path.resolve())
        except BaseException:
            self._state.close()
            raise
        remote = Remote(
            config.url,
            headers=config.headers,
            max_bytes=config.max_torrent_bytes,
            wait=around.wait,
        )
        self._releases = Releases(remote, config.url, self._state)
        self._torrent: Torrent | None = None
        self._seeded: Release | None = None
        self._peers: tuple[tuple[str, int], ...] = ()

    def close(self) -> None:
        """Leave the swarm and close the state."""
        try:
            self._leave_swarm()
        finally:
            self._tree.close()
            self._state.close()

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
            self._say(EventStage.CHECKING_REMOTE, self.config.url)
            release = self._releases.poll(force=force)
            while True:
                try:
                    report = self._bring_to(release, dry_run=dry_run)
                    break
                except _Superseded as newer:
                    release = newer.release
                    self._tell(
                        Level.INFO,
                        "superseded",
                        f"a newer release appeared: {release.manifest.name}",
                    )
        except TorsyncError as error:
            self._note_failure(error)
            raise
        report.seconds = time.monotonic() - started
        if not dry_run:
            self._state.put(
                last_check_s=str(self._around.now_s()), last_error="", last_error_hint=""
            )
        return report

    def _note_failure(self, error: TorsyncError) -> None:
        self._state.put(last_error=error.message, last_error_hint=error.hint)

    def _bring_to(self, release: Release, *, dry_run: bool) -> CheckReport:
        look = self._look(release.manifest, trust_ledger=True)
        plan = self._plan(look, self.config.clean)
        report = _check_report(self.config.name, release, plan, look)
        if dry_run:
            report.dry_run = True
            return report
        self._apply(release, plan, look, report)
        return report

    def _apply(self, release: Release, plan: Plan, look: _Look, report: CheckReport) -> None:
        """Carry out a plan and fill the report with what was really done."""
        synced = self._releases.synced()
        same_content = (
            synced is not None and synced.manifest.info_hash == release.manifest.info_hash
        )
        if not plan.is_empty or not same_content:
            self._leave_swarm()
        update = Update(
            self._tree,
            self._state,
            plan,
            name=self.config.name,
            sink=self._around.sink,
            stopping=self._around.stopping,
        )
        try:
            if update.needs_stage():
                self._build(update, release)
            trash = Trash(self._tree, self._around.now_s())
            outcome = update.commit(trash, synced=synced.manifest if synced else None)
        except BaseException:
            report.bytes_fetched = update.fetched.bytes_fetched
            self._seed_synced()
            raise
        report.changed = bool(outcome.patched or outcome.fetched or outcome.trashed)
        report.patched, report.fetched = outcome.patched, outcome.fetched
        report.trashed = outcome.trashed
        report.kept += outcome.unchanged
        report.bytes_fetched += update.fetched.bytes_fetched
        report.bytes_hashed += update.bytes_hashed
        self._record(release, outcome.rows, look.ledger, report)
        update.clear_stage()
        self._peers = update.fetched.peers or self._peers
        self._seed(release, _right_files(plan))

    def _build(self, update: Update, release: Release) -> None:
        fetcher = Fetcher(
            self._around.pool(),
            name=self.config.name,
            sink=self._around.sink,
            stopping=self._around.stopping,
            patience_s=self._around.patience_s,
            look_out=lambda: self._look_out(release),
            look_out_every_s=self.config.interval_s,
        )
        update.build(
            release.body,
            fetcher,
            peers=(*self._peers, *_resolve_peers(self.config.peers)),
            web_seeds=self.config.web_seeds,
        )

    def _record(
        self,
        release: Release,
        rows: dict[str, LedgerRow],
        ledger: dict[str, LedgerRow],
        report: CheckReport,
    ) -> None:
        synced = self._state.synced
        if rows == ledger and synced == release.digest:
            return
        history = None
        if report.changed:
            now_s = self._around.now_s()
            history = (now_s, report.info_hash, report.release, report.as_json())
        self._state.record_sync(rows, synced=release.digest, history=history)
        self._state.forget_bodies(keep={release.digest})

    def _look_out(self, current: Release) -> None:
        """See whether the release that is being fetched is still the newest."""
        try:
            newest = self._releases.poll()
        except TorsyncError as error:
            self._tell(Level.DEBUG, error.code, error.message)
            return
        if newest.manifest.info_hash != current.manifest.info_hash:
            raise _Superseded(newest)

    # --- look and plan ----------------------------------------------------------------------

    def _look(self, manifest: Manifest, *, trust_ledger: bool) -> _Look:
        self._say(EventStage.LOOKING)
        self._tree.forget_folders()
        index = self._tree.scan()
        for path, problem in sorted(index.problems.items()):
            self._tell(
                Level.WARNING,
                "unreadable",
                f"{path or '.'!r} could not be read: {problem}",
                hint="make it readable; nothing is removed while that is so",
            )
        ledger = self._state.load_ledger()
        keep = self._keep if trust_ledger else _nothing
        assessment = assess(manifest, index, ledger, keep=keep, trust_ledger=trust_ledger)
        look = _Look(assessment, ledger)
        doubtful = list(assessment.doubtful_pieces())
        if doubtful:
            look.hashed = self._hash(manifest, doubtful)
        return look

    def _hash(self, manifest: Manifest, pieces: Sequence[int]) -> HashedPieces:
        self._say(EventStage.VERIFYING)
        total = sum(manifest.piece_size(piece) for piece in pieces)
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self._around.sink(
                Progress(self.config.name, EventStage.VERIFYING, bytes_done=done, bytes_total=total)
            )

        return hash_pieces(
            manifest,
            pieces,
            lambda index: self._tree.open(manifest.files[index].path),
            stopping=self._around.stopping,
            on_bytes=on_bytes,
        )

    def _plan(self, look: _Look, clean: CleanMode) -> Plan:
        return plan_update(
            look.assessment,
            look.hashed.good,
            look.ledger,
            keep=self._keep,
            clean=clean,
            unreadable=look.hashed.unreadable,
        )

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
        if repair or clean:
            if not dry_run:
                self._mend(release, look, report, repair=repair, clean=clean)
        else:
            self._remember_verified(release, look)
        report.seconds = time.monotonic() - started
        return report

    def _remember_verified(self, release: Release, look: _Look) -> None:
        """Vouch from now on for what was found right, and no longer for what was not."""
        rows = self._plan(self._with_local_files(look), CleanMode.OFF).rows_of_kept()
        if rows != look.ledger:
            self._state.record_sync(rows, synced=release.digest, history=None)

    def _mend(
        self, release: Release, look: _Look, report: VerifyReport, *, repair: bool, clean: bool
    ) -> None:
        mode = CleanMode.MIRROR if clean else CleanMode.OFF
        if clean and not look.assessment.index.complete:
            raise TreeError(
                "nothing was removed, as not everything in the tree could be read: "
                + ", ".join(repr(path or ".") for path in sorted(look.assessment.index.problems)),
                hint="make it readable, then try again",
            )
        plan = self._plan(self._with_local_files(look), mode)
        if not repair:
            plan = plan.without_mending()
        done = CheckReport(self.config.name)
        done.info_hash, done.release = release.manifest.info_hash, release.manifest.name
        self._apply(release, plan, look, done)
        replaced = {*done.patched, *done.fetched}
        report.repaired = sorted(replaced)
        report.cleaned = [path for path in done.trashed if path not in replaced]
        report.bytes_fetched = done.bytes_fetched
        report.bytes_hashed += done.bytes_hashed

    def _with_local_files(self, look: _Look) -> _Look:
        """Take files under ``keep`` that are there for what they are: not ours to mend."""
        assessment = look.assessment
        here = tuple(
            Here.LOCAL
            if seen is Here.DOUBTFUL
            and self._keep(file.path)
            and not all(piece in look.hashed.good for piece in assessment.wanted.pieces_of(index))
            else seen
            for index, (file, seen) in enumerate(
                zip(assessment.wanted.files, assessment.here, strict=True)
            )
        )
        return _Look(
            Assessment(assessment.wanted, assessment.index, here), look.ledger, look.hashed
        )

    # --- seeding ----------------------------------------------------------------------------

    def resume_seeding(self) -> None:
        """Seed what the ledger vouches for of the synced release; nothing is hashed."""
        if self._torrent is None:
            self._seed_synced()

    def _seed_synced(self) -> None:
        release = self._releases.synced() if self._around.seed else None
        if release is None or not self.config.seed:
            return
        index = self._tree.scan()
        assessment = assess(release.manifest, index, self._state.load_ledger(), keep=_nothing)
        self._seed(release, bytes(here is Here.RIGHT for here in assessment.here))

    def _seed(self, release: Release, right: bytes) -> None:
        if not (self._around.seed and self.config.seed) or self._around.stopping():
            return
        if self._torrent is not None:
            if self._seeded is not None and self._seeded.digest != release.digest:
                self._torrent.replace_sources(
                    release.manifest.trackers,
                    (*release.manifest.web_seeds, *self.config.web_seeds),
                )
                self._seeded = release
            return
        from torsync.swarm.torrent import AddRequest  # noqa: PLC0415 - libtorrent, when needed

        manifest = release.manifest
        placement = place_for_seeding(manifest, right)
        self._torrent = self._around.pool().add(
            AddRequest(
                metainfo=release.body,
                save_path=str(self._tree.root),
                paths=tuple(file.path for file in manifest.files),
                sizes=tuple(file.size for file in manifest.files),
                have=placement.have,
                wanted=placement.wanted,
                peers=(*self._peers, *_resolve_peers(self.config.peers)),
                web_seeds=self.config.web_seeds,
            )
        )
        self._seeded = release
        self._say(EventStage.SEEDING)

    def _leave_swarm(self) -> None:
        if self._torrent is None:
            return
        torrent, self._torrent, self._seeded = self._torrent, None, None
        self._peers = torrent.listening_peers() or self._peers
        torrent.remove()

    # --- talk -------------------------------------------------------------------------------

    def _noting_stages(self, sink: EventSink) -> EventSink:
        """Leave the stage where ``status`` finds it."""

        def note(event: Event) -> None:
            if isinstance(event, StageStarted):
                self._state.note_stage(event.stage.value)
            sink(event)

        return note

    def _say(self, stage: EventStage, detail: str = "") -> None:
        self._around.sink(StageStarted(self.config.name, stage, detail))

    def _tell(self, level: Level, code: str, message: str, hint: str = "") -> None:
        self._around.sink(Notice(self.config.name, level, code, message, hint))


def _matcher(patterns: Iterable[str]) -> Matcher:
    """Match paths against gitignore patterns; pathspec is imported only if there are any."""
    listed = list(patterns)
    if not listed:
        return _nothing
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - costs start-up time

    return GitIgnoreSpec.from_lines(listed).match_file


def _nothing(_path: str) -> bool:
    return False


def _resolve_peers(peers: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Look up host names; those that cannot be found are left out this time."""
    found: list[tuple[str, int]] = []
    for host, port in peers:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        found.extend((str(answer[4][0]), port) for answer in answers)
    return tuple(dict.fromkeys(found))


def _right_files(plan: Plan) -> bytes:
    wrong = {Action.LOCAL, Action.UNREADABLE}
    return bytes(planned.action not in wrong for planned in plan.files)


def _check_report(name: str, release: Release, plan: Plan, look: _Look) -> CheckReport:
    """What a plan would do, as a report; a commit replaces it by what was done."""
    entries = plan.index.entries
    replaced = [
        path
        for action in (Action.PATCH, Action.FETCH, Action.LINK)
        for path in plan.paths(action)
        if path in entries and entries[path].kind is not Kind.FOLDER
    ]
    return CheckReport(
        name=name,
        release=release.manifest.name,
        info_hash=release.manifest.info_hash,
        changed=not plan.is_empty,
        kept=len(plan.paths(Action.KEEP)),
        patched=plan.paths(Action.PATCH),
        fetched=[*plan.paths(Action.FETCH), *plan.paths(Action.LINK)],
        trashed=[*replaced, *(removal.path for removal in plan.removals)],
        kept_local=plan.paths(Action.LOCAL),
        unreadable=plan.paths(Action.UNREADABLE),
        bytes_to_fetch=plan.bytes_to_fetch,
        bytes_hashed=look.hashed.bytes_hashed,
        bytes_total=release.manifest.total_size,
    )


__all__ = ["PRIVATE_FOLDER", "Subscription", "Surroundings"]
