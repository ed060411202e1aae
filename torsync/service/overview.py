"""What is going on, and what has been done: from the states, and from the running service.

Reads only: nothing is held, made or changed.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.disk.lock import holder_pid
from torsync.model.config import SubscriptionConfig, UpdateMode
from torsync.model.errors import ManifestError, StateError
from torsync.model.events import Stage
from torsync.model.history import Totals
from torsync.model.postponed import Postponed
from torsync.model.publish_reports import PublicationStatus
from torsync.model.reports import HistoryReport, StatusReport
from torsync.model.stored import load_number
from torsync.subscribe.remote.rules import mask_url
from torsync.subscribe.state import TreeState, state_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from torsync.model.config import PublicationConfig
    from torsync.model.history import UpdateRecord
    from torsync.service.desk import Desk, Worker
    from torsync.service.hub import Live

_SETTLED_NS = 2_000_000_000  # what was written just now may be written to again unseen
_FILES_OF_A_STATE = ("state.sqlite", "state.sqlite-wal", "published.json", "error", "paused")


class Overview:
    """Tells of subscriptions and publications. Any thread may ask."""

    def __init__(self, state_dir: Path, desk: Desk | None = None) -> None:
        """Prepare.

        Args:
            state_dir: where the states are.
            desk: of the service, if this is the service.
        """
        self._state_dir = state_dir
        self._desk = desk
        self._names: dict[str, str] = {}
        self._cached: dict[str, tuple[tuple[object, ...], StatusReport | PublicationStatus]] = {}

    # --- status -----------------------------------------------------------------------------

    def status(
        self,
        subscriptions: Sequence[SubscriptionConfig],
        publications: Sequence[PublicationConfig],
    ) -> tuple[list[StatusReport], list[PublicationStatus]]:
        """Tell what the states know."""
        return (
            [self._subscription(config) for config in subscriptions],
            [self._publication(config) for config in publications],
        )

    def live_status(
        self, names: Collection[str] = ()
    ) -> tuple[list[StatusReport], list[PublicationStatus]]:
        """Tell what the service is doing as well.

        Args:
            names: of subscriptions and publications; none: all.
        """
        subscriptions: list[StatusReport] = []
        publications: list[PublicationStatus] = []
        for worker in self._workers(names):
            report = self._live(worker)
            if isinstance(report, StatusReport):
                subscriptions.append(report)
            else:
                publications.append(report)
        return subscriptions, publications

    def _workers(self, names: Collection[str]) -> list[Worker]:
        assert self._desk is not None, "there is no service"
        return [w for w in self._desk.workers() if not names or w.config.name in names]

    def _live(self, worker: Worker) -> StatusReport | PublicationStatus:
        assert self._desk is not None, "there is no service"
        config = worker.config
        known = self._told_by_state(config)
        live = self._desk.hub.live(config.name)
        report = replace(
            known,
            live=True,
            paused=worker.paused,
            next_check_s=worker.next_check_s,
            restarts=worker.restarts,
            progress=live.progress,
        )
        report.stage, report.detail = _stage_now(report, live)
        return report

    def _told_by_state(
        self, config: SubscriptionConfig | PublicationConfig
    ) -> StatusReport | PublicationStatus:
        """What the state says; it is read only if it has been written to."""
        folder = self.folder(config)
        seen = [_seen(folder / name) for name in _FILES_OF_A_STATE]
        stamp = (config, *seen)
        known = self._cached.get(config.name)
        if known is not None and known[0] == stamp:
            return known[1]
        report: StatusReport | PublicationStatus
        if isinstance(config, SubscriptionConfig):
            report = self._subscription(config, os.getpid())
        else:
            report = self._publication(config, os.getpid())
        newest_ns = max((mtime_ns for mtime_ns, _ in seen), default=0)
        if time.time_ns() - newest_ns > _SETTLED_NS and report.stage != "unknown":
            self._cached[config.name] = stamp, report
        return report

    # --- history ----------------------------------------------------------------------------

    def history(
        self, configs: Sequence[SubscriptionConfig | PublicationConfig], limit: int
    ) -> list[HistoryReport]:
        """Tell what the newest updates and releases have changed, the newest first.

        Args:
            configs: of subscriptions and publications.
            limit: how many of each.

        Raises:
            StateError: a state cannot be read.
        """
        return [
            HistoryReport(
                config.name,
                not isinstance(config, SubscriptionConfig),
                self._read_history(config, limit)[0],
            )
            for config in configs
        ]

    def live_history(self, names: Collection[str], limit: int) -> list[HistoryReport]:
        """Tell that of what the service works on; no names: all.

        Raises:
            StateError: a state cannot be read.
        """
        return self.history([worker.config for worker in self._workers(names)], limit)

    def totals(self, config: SubscriptionConfig | PublicationConfig) -> Totals:
        """What all updates or releases come to.

        Raises:
            StateError: the state cannot be read.
        """
        return self._read_history(config, 0)[1]

    def _read_history(
        self, config: SubscriptionConfig | PublicationConfig, limit: int
    ) -> tuple[list[UpdateRecord], Totals]:
        folder = self.folder(config)
        if not isinstance(config, SubscriptionConfig):
            from torsync.publish.recording import past_releases  # noqa: PLC0415 - costs start-up time

            return past_releases(folder, limit)
        if not (folder / "state.sqlite").exists():
            return [], Totals()
        with closing(TreeState(folder, read_only=True)) as state:
            return state.history(limit)

    def folder(self, config: SubscriptionConfig | PublicationConfig) -> Path:
        """Where the state of a subscription or publication is."""
        if isinstance(config, SubscriptionConfig):
            return state_folder(self._state_dir, config.path)
        from torsync.publish.state import publication_folder  # noqa: PLC0415 - costs start-up time

        return publication_folder(self._state_dir, config.path)

    # --- publications -----------------------------------------------------------------------

    def _publication(self, config: PublicationConfig, pid: int | None = None) -> PublicationStatus:
        from torsync.publish.state import PublicationState  # noqa: PLC0415 - costs start-up time

        folder = self.folder(config)
        report = PublicationStatus(config.name, str(config.path), "never published")
        report.torrent = str(config.torrent or "")
        if not folder.is_dir():
            return report
        report.holder_pid = pid or holder_pid(folder)
        try:
            state = PublicationState(folder, read_only=True)
            facts = state.facts()
            report.paused = state.is_paused
        except StateError as error:
            report.stage = "unknown"
            report.last_error, report.last_error_hint = error.message, error.hint
            return report
        if facts.number:
            report.stage = "stopped"
            report.release, report.info_hash = facts.name, facts.info_hash
            report.number = facts.number
            report.files, report.bytes_total = facts.files, facts.bytes_total
            report.last_release_s = float(facts.time_s)
        if report.paused:
            report.stage = Stage.PAUSED.value
        elif report.holder_pid:
            report.stage = state.noted_stage() or report.stage
        report.last_error, report.last_error_hint = state.noted_error()
        return report

    # --- subscriptions ----------------------------------------------------------------------

    def _subscription(self, config: SubscriptionConfig, pid: int | None = None) -> StatusReport:
        folder = self.folder(config)
        report = StatusReport(config.name, mask_url(config.url), str(config.path), "never checked")
        if not (folder / "state.sqlite").exists():
            return report
        report.holder_pid = pid or holder_pid(folder)
        try:
            with closing(TreeState(folder, read_only=True)) as state:
                self._fill(report, config, state)
        except StateError as error:
            report.stage = "unknown"
            report.last_error, report.last_error_hint = error.message, error.hint
        return report

    def _fill(self, report: StatusReport, config: SubscriptionConfig, state: TreeState) -> None:
        journal = state.load_journal()
        report.between = journal.report["release"] if journal else state.between()[0]
        report.paused = bool(state.get("paused"))
        report.pinned = bool(state.pinned)
        self._fill_release(report, config, state)
        poll = state.load_poll()
        if poll is not None and poll.url == config.url and poll.sha256 != state.synced:
            report.newest = self._name_of(state, poll.sha256)
        is_held = bool(report.holder_pid)
        postponed = Postponed.load(state.get("postponed"))
        at_rest = _stage_at_rest(config, report, postponed)
        report.stage = (state.noted_stage() or at_rest) if is_held else at_rest
        if postponed is not None and report.stage == Stage.POSTPONED.value:
            report.detail = postponed.reason
        if report.paused:
            report.stage = Stage.PAUSED.value
        report.last_check_s = load_number(state.get("last_check_s"))
        report.last_update_s = state.last_update_s()
        report.last_error = state.get("last_error")
        report.last_error_hint = state.get("last_error_hint")

    @staticmethod
    def _fill_release(report: StatusReport, config: SubscriptionConfig, state: TreeState) -> None:
        synced, seal = state.synced, state.load_seal()
        if seal is not None and seal.body == synced:
            report.release, report.info_hash = seal.release, seal.info_hash
            report.files, report.bytes_total = seal.files, seal.bytes_total
        elif synced and (body := state.load_body(synced)) is not None:
            from torsync.model.metainfo import parse_metainfo  # noqa: PLC0415 - costs start-up time
            from torsync.model.patterns import selector  # noqa: PLC0415 - the same
            from torsync.model.selection import selected_bytes, unselected_files  # noqa: PLC0415 - the same

            try:
                manifest = parse_metainfo(body)
            except ManifestError:  # it was stored by a version that refused less
                report.release = synced[:12]
                return
            report.release, report.info_hash = manifest.name, manifest.info_hash
            unselected = unselected_files(manifest, selector(config.select))
            report.files = len(manifest.files) - len(unselected)
            report.bytes_total = selected_bytes(manifest, unselected)

    def _name_of(self, state: TreeState, digest: str) -> str:
        """The name of a release; of one that cannot be read, the beginning of its digest."""
        if digest not in self._names:
            from torsync.model.metainfo import parse_metainfo  # noqa: PLC0415 - costs start-up time

            body = state.load_body(digest)
            try:
                self._names[digest] = parse_metainfo(body).name if body is not None else digest[:12]
            except ManifestError:
                self._names[digest] = digest[:12]
        return self._names[digest]


def _stage_now(report: StatusReport | PublicationStatus, live: Live) -> tuple[str, str]:
    """What the service says that it does; where it only waits, why, and for what."""
    if report.paused:
        return Stage.PAUSED.value, ""
    if live.stage is None:
        return "starting", ""
    if live.stage is Stage.WAITING:
        if report.last_error:
            return Stage.FAILED.value, live.detail
        if live.progress is not None and live.progress.stage is Stage.SEEDING:
            return Stage.SEEDING.value, live.detail
    return live.stage.value, live.detail


def _stage_at_rest(
    config: SubscriptionConfig, report: StatusReport, postponed: Postponed | None
) -> str:
    """What may be said of a tree that nobody works on."""
    if report.between:
        return "between releases"
    if config.update is UpdateMode.ASK and report.newest:
        return Stage.NEEDS_APPROVAL.value
    if postponed is not None:
        return Stage.POSTPONED.value
    if report.pinned:
        return "rolled back"
    return "stopped"


def _seen(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, -1
    return status.st_mtime_ns, status.st_size
