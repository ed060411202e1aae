"""``torsync status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.config import UpdateMode
from torsync.model.errors import ExitCode, StateError
from torsync.model.events import Stage
from torsync.model.publish_reports import PublicationStatus
from torsync.model.reports import StatusReport

if TYPE_CHECKING:
    import argparse

    from torsync.cli.context import Context
    from torsync.model.config import PublicationConfig, SubscriptionConfig
    from torsync.subscribe.state import TreeState


def run_status(context: Context, arguments: argparse.Namespace) -> ExitCode:
    """Tell what the state directory knows of each subscription and publication."""
    config = context.load_config()
    subscriptions, publications = context.chosen_of_both(config, arguments.names)
    context.renderer.status(
        [_status(context, subscription) for subscription in subscriptions],
        [_publication(context, publication) for publication in publications],
    )
    return ExitCode.OK


def _publication(context: Context, config: PublicationConfig) -> PublicationStatus:
    from torsync.disk.lock import holder_pid
    from torsync.publish.state import PublicationState, publication_folder

    folder = publication_folder(context.state_dir, config.path)
    report = PublicationStatus(config.name, str(config.path), "never published")
    report.torrent = str(config.torrent or "")
    if not folder.is_dir():
        return report
    report.holder_pid = holder_pid(folder)
    try:
        state = PublicationState(folder, read_only=True)
        facts = state.facts()
    except StateError as error:
        report.stage = "unknown"
        report.last_error, report.last_error_hint = error.message, error.hint
        return report
    if facts.number:
        report.stage = "stopped"
        report.release, report.info_hash, report.number = facts.name, facts.info_hash, facts.number
        report.files, report.bytes_total = facts.files, facts.bytes_total
        report.last_release_s = float(facts.time_s)
    if report.holder_pid:
        report.stage = state.noted_stage() or report.stage
    report.last_error, report.last_error_hint = state.noted_error()
    return report


def _status(context: Context, config: SubscriptionConfig) -> StatusReport:
    from torsync.disk.lock import holder_pid
    from torsync.subscribe.remote.rules import mask_url
    from torsync.subscribe.state import TreeState, state_folder

    folder = state_folder(context.state_dir, config.path)
    report = StatusReport(config.name, mask_url(config.url), str(config.path), "never checked")
    if not (folder / "state.sqlite").exists():
        return report
    report.holder_pid = holder_pid(folder)
    try:
        state = TreeState(folder, read_only=True)
        try:
            _fill(report, config, state)
        finally:
            state.close()
    except StateError as error:
        report.stage = "unknown"
        report.last_error, report.last_error_hint = error.message, error.hint
    return report


def _fill(report: StatusReport, config: SubscriptionConfig, state: TreeState) -> None:
    from torsync.model.metainfo import parse_metainfo
    from torsync.model.patterns import selector
    from torsync.model.selection import selected_bytes, unselected_files

    journal = state.load_journal()
    report.between = journal.report["release"] if journal else state.between()[0]
    is_held = bool(report.holder_pid)
    report.stage = state.noted_stage() if is_held else _stage_at_rest(config, state, report)
    report.pinned = bool(state.pinned)
    synced, seal = state.synced, state.load_seal()
    if seal is not None and seal.body == synced:
        report.release, report.info_hash = seal.release, seal.info_hash
        report.files, report.bytes_total = seal.files, seal.bytes_total
    elif synced and (body := state.load_body(synced)) is not None:
        manifest = parse_metainfo(body)
        report.release, report.info_hash = manifest.name, manifest.info_hash
        unselected = unselected_files(manifest, selector(config.select))
        report.files = len(manifest.files) - len(unselected)
        report.bytes_total = selected_bytes(manifest, unselected)
    checked = state.get("last_check_s")
    report.last_check_s = float(checked) if checked else None
    report.last_update_s = state.last_update_s()
    report.last_error = state.get("last_error")
    report.last_error_hint = state.get("last_error_hint")


def _stage_at_rest(config: SubscriptionConfig, state: TreeState, report: StatusReport) -> str:
    """What may be said of a tree that nobody works on."""
    from torsync.subscribe.consent import postponed_reason

    if report.between:
        return "between releases"
    poll = state.load_poll()
    waits = poll is not None and poll.url == config.url and poll.sha256 != state.synced
    if config.update is UpdateMode.ASK and waits:
        return Stage.NEEDS_APPROVAL.value
    if postponed_reason(state):
        return Stage.POSTPONED.value
    if state.pinned:
        return "rolled back"
    return "stopped"
