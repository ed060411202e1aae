"""What Prometheus is told: figures from the states, and those that are counted while it runs.

This module imports prometheus_client. Names follow Prometheus' conventions: base units, and
``_total`` for what only grows. What is summed up in the states (updates, files, bytes of updates)
survives restarts; the rest begins at 0.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from torsync import __version__
from torsync.model.config import SubscriptionConfig
from torsync.model.errors import StateError
from torsync.model.events import Level, Notice, Progress, Stage, StageStarted
from torsync.model.history import DURATION_BUCKETS_S, KINDS, Totals
from torsync.model.reports import StatusReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torsync.model.events import Event
    from torsync.service.desk import Desk
    from torsync.service.overview import Overview

_CHECKS = frozenset({Stage.CHECKING_REMOTE, Stage.SCANNING})
_WITH_TORRENT = frozenset({Stage.DOWNLOADING, Stage.SEEDING})
_Report = Any  # StatusReport | PublicationStatus


class Counters:
    """Counts what is said; an ``EventSink``. Any thread may use it.

    Attributes:
        errors: how often, by name and code.
        checks: how many began, by name.
        received, sent: bytes of payload, by name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, int]] = {}
        self.errors: Counter[tuple[str, str]] = Counter()
        self.checks: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    def sink(self, event: Event) -> None:
        """Count an event."""
        name = event.subscription
        with self._lock:
            if isinstance(event, Progress):
                if event.stage in _WITH_TORRENT:
                    self._count_bytes(name, event.bytes_received, event.bytes_sent)
            elif isinstance(event, StageStarted):
                self.checks[name] += event.stage in _CHECKS
            elif isinstance(event, Notice) and event.level is Level.ERROR:
                self.errors[name, event.code] += 1

    def _count_bytes(self, name: str, received: int, sent: int) -> None:
        """Add what is more than before; what is less is of a torrent that entered since."""
        last_received, last_sent = self._last.get(name, (0, 0))
        if received < last_received or sent < last_sent:
            last_received = last_sent = 0
        self.received[name] += received - last_received
        self.sent[name] += sent - last_sent
        self._last[name] = (received, sent)

    def errors_now(self) -> dict[tuple[str, str], int]:
        """A copy of ``errors``."""
        with self._lock:
            return dict(self.errors)


class Metrics:
    """The metrics of one service."""

    def __init__(self, desk: Desk, overview: Overview) -> None:
        """Begin to count.

        Args:
            desk: the service.
            overview: of it.
        """
        counters = Counters()
        desk.hub.add_sink(counters.sink)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(desk, overview, counters))
        ProcessCollector(registry=self._registry)

    def exposition(self) -> tuple[bytes, str]:
        """Give all in Prometheus' text format, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Collector(Collector):
    def __init__(self, desk: Desk, overview: Overview, counters: Counters) -> None:
        self._desk = desk
        self._overview = overview
        self._counters = counters

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are the same at all times, and nobody else registers any."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        subscriptions, publications = self._overview.live_status()
        reports: list[_Report] = [*subscriptions, *publications]
        yield InfoMetricFamily("torsync_build", "Version of the service.", {"version": __version__})
        yield from _releases(reports)
        yield from _times(reports)
        yield from _states(reports)
        yield from _flow(reports)
        yield from self._counted(reports)
        yield from self._summed_up()

    def _counted(self, reports: list[_Report]) -> Iterator[Metric]:
        names, counters = [report.name for report in reports], self._counters
        yield _counter(
            "torsync_received_bytes",
            "Payload from peers and web seeds, failed and redundant included.",
            [(name, counters.received[name]) for name in names],
        )
        yield _counter(
            "torsync_sent_bytes",
            "Payload sent to peers.",
            [(name, counters.sent[name]) for name in names],
        )
        yield _counter(
            "torsync_checks",
            "Polls of subscriptions, looks at published folders.",
            [(name, counters.checks[name]) for name in names],
        )
        yield _counter(
            "torsync_worker_restarts",
            "How often work was begun again after a failure that nobody foresaw.",
            [(report.name, report.restarts) for report in reports],
        )
        errors = CounterMetricFamily(
            "torsync_errors", "Failures by their code.", labels=["name", "code"]
        )
        for (name, code), count in sorted(counters.errors_now().items()):
            errors.add_metric([name, code], count)
        yield errors

    def _summed_up(self) -> Iterator[Metric]:
        totals: list[tuple[str, Totals]] = []
        for worker in self._desk.workers():
            try:
                found = self._overview.totals(worker.config)
            except StateError:  # ``torsync_failing`` tells of it
                continue
            totals.append((worker.config.name, found))
        fetching = {
            worker.config.name
            for worker in self._desk.workers()
            if isinstance(worker.config, SubscriptionConfig)
        }
        files = CounterMetricFamily(
            "torsync_update_files", "Files by what became of them.", labels=["name", "change"]
        )
        for name, total in totals:
            for kind in KINDS:
                files.add_metric([name, kind], total.sums.get(kind, 0))
        yield files
        for key, text in (
            ("bytes_fetched", "What was fetched for updates."),
            ("bytes_reused", "What was there already of the content of updates."),
        ):
            yield _counter(
                f"torsync_update_{key.removeprefix('bytes_')}_bytes",
                text,
                [(name, total.sums.get(key, 0)) for name, total in totals if name in fetching],
            )
        yield _counter(
            "torsync_update_hashed_bytes",
            "What was read to be hashed for updates and releases.",
            [(name, total.sums.get("bytes_hashed", 0)) for name, total in totals],
        )
        durations = HistogramMetricFamily(
            "torsync_update_duration_seconds",
            "How long updates and releases took.",
            labels=["name"],
        )
        for name, total in totals:
            durations.add_metric([name], _cumulative(total), total.seconds)
        yield durations


def _releases(reports: list[_Report]) -> Iterator[Metric]:
    release = InfoMetricFamily("torsync_release", "The release that is in place.", labels=["name"])
    for report in reports:
        if report.info_hash:
            known = {"release": report.release, "info_hash": report.info_hash}
            if not isinstance(report, StatusReport):
                known["number"] = str(report.number)
            release.add_metric([report.name], known)
    yield release
    yield _gauge(
        "torsync_release_bytes",
        "Size of the release that is in place.",
        reports,
        lambda one: one.bytes_total,
    )
    yield _gauge(
        "torsync_release_files",
        "Files of the release that is in place.",
        reports,
        lambda one: one.files,
    )
    yield _gauge(
        "torsync_releases_behind",
        "1 if the last poll got a newer release than the one in place.",
        [one for one in reports if isinstance(one, StatusReport)],
        lambda one: bool(one.newest),
    )


def _times(reports: list[_Report]) -> Iterator[Metric]:
    yield _gauge(
        "torsync_last_check_timestamp_seconds",
        "When a subscription was last polled and found, or brought, in sync.",
        reports,
        lambda one: one.last_check_s if isinstance(one, StatusReport) else None,
    )
    yield _gauge(
        "torsync_last_update_timestamp_seconds",
        "When a tree was changed, or a release made.",
        reports,
        lambda one: one.last_update_s if isinstance(one, StatusReport) else one.last_release_s,
    )
    yield _gauge(
        "torsync_next_check_timestamp_seconds",
        "When the next check is due.",
        reports,
        lambda one: one.next_check_s,
    )


def _states(reports: list[_Report]) -> Iterator[Metric]:
    stage = GaugeMetricFamily(
        "torsync_stage", "1 for the stage that it is in.", labels=["name", "stage"]
    )
    for report in reports:
        stage.add_metric([report.name, report.stage], 1)
    yield stage
    yield _gauge(
        "torsync_failing", "1 if the last try failed.", reports, lambda one: bool(one.last_error)
    )
    yield _gauge("torsync_paused", "1 if it is paused.", reports, lambda one: one.paused)
    yield _gauge(
        "torsync_needs_approval",
        "1 if a release waits for `torsync apply`.",
        [one for one in reports if isinstance(one, StatusReport)],
        lambda one: one.stage == Stage.NEEDS_APPROVAL,
    )


def _flow(reports: list[_Report]) -> Iterator[Metric]:
    def of_progress(field: str) -> Callable[[_Report], float]:
        return lambda one: getattr(one.progress, field) if one.progress else 0

    for name, text, field in (
        ("torsync_peers", "Peers that are connected.", "peers"),
        ("torsync_download_bytes_per_second", "Payload received now.", "download_rate"),
        ("torsync_upload_bytes_per_second", "Payload sent now.", "upload_rate"),
        ("torsync_stage_bytes", "What there is to do in the stage.", "bytes_total"),
        ("torsync_stage_done_bytes", "What of that is done.", "bytes_done"),
    ):
        yield _gauge(name, text, reports, of_progress(field))


def _gauge(
    name: str, text: str, reports: Iterable[_Report], value: Callable[[_Report], float | None]
) -> Metric:
    """One value of each report; None leaves it out."""
    family = GaugeMetricFamily(name, text, labels=["name"])
    for report in reports:
        found = value(report)
        if found is not None:
            family.add_metric([report.name], float(found))
    return family


def _counter(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["name"])
    for label, value in values:
        family.add_metric([label], value)
    return family


def _cumulative(total: Totals) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each counts all that is in those before it."""
    count, found = 0, []
    for most_s, one in zip(DURATION_BUCKETS_S, total.buckets, strict=True):
        count += one
        found.append((str(most_s), float(count)))
    return [*found, ("+Inf", float(total.updates))]
