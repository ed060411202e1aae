"""Fixtures for all tests, and what continuous integration asks of a run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.seeders import LibtorrentSeeder
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# On a machine that is busy an example may take any time; pytest-timeout ends what hangs.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Tests with these need something that a continuous integration run has to provide.
MARKERS_NOT_SKIPPED_IN_CI = ("programs", "registry")
# More of them gain little: each collects all tests for itself.
MOST_WORKERS = 8


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    """A tracker on loopback that serves nothing yet: ``tracker.allow(torrent)``."""
    with Tracker() as running:
        yield running


@pytest.fixture
def new_seeder() -> Iterator[Callable[..., LibtorrentSeeder]]:
    """Start libtorrent seeders, with the arguments of ``LibtorrentSeeder``."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(LibtorrentSeeder(**options))


@pytest.fixture
def seeder(new_seeder: Callable[..., LibtorrentSeeder]) -> LibtorrentSeeder:
    """A libtorrent seeder on loopback that has no torrent yet."""
    return new_seeder()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for ``-n auto``: two per processor, as most tests wait; none for a single file."""
    files = {argument.partition("::")[0] for argument in config.args}
    if len(files) == 1 and config.invocation_params.dir.joinpath(*files).is_file():
        return 0
    return min(2 * (os.cpu_count() or 1), MOST_WORKERS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that may take longest, so that nobody waits for one at the end."""
    items.sort(key=_timeout_s, reverse=True)


def _timeout_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker and marker.args else 0.0


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if os.environ.get("CI") == "true" and not is_worker:
        config.pluginmanager.register(_NothingNeededIsSkipped())


class _NothingNeededIsSkipped:
    """In continuous integration, skipping what needs a program or a registry is a failure."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        is_needed = any(name in report.keywords for name in MARKERS_NOT_SKIPPED_IN_CI)
        if report.skipped and is_needed and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self._skipped.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.section("skipped, which CI=true does not allow", red=True)
            for name in self._skipped:
                terminalreporter.line(name)
