"""Fixtures for all tests, and what continuous integration asks of a run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.seeders import LibtorrentSeeder
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# Tests with these need something that a continuous integration run has to provide.
MARKERS_NOT_SKIPPED_IN_CI = ("programs", "registry")

_skipped = pytest.StashKey[list[str]]()


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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_skipped] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    is_needed = any(item.get_closest_marker(name) for name in MARKERS_NOT_SKIPPED_IN_CI)
    if report.skipped and is_needed and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        item.config.stash[_skipped].append(f"{report.nodeid}: {reason}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration, skipping what needs a program or a registry is a failure."""
    if _skipped_in_ci(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    names = _skipped_in_ci(config)
    if names:
        terminalreporter.section("skipped, which CI=true does not allow", red=True)
        for name in names:
            terminalreporter.line(name)


def _skipped_in_ci(config: pytest.Config) -> list[str]:
    return config.stash[_skipped] if os.environ.get("CI") == "true" else []
