"""Fixtures: clients by others, each one process for all tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.foreign_seeders import Aria2Seeder, TransmissionSeeder
from tests.support.qbittorrent import QBittorrent
from tests.support.rqbit import Rqbit
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60


@pytest.fixture(scope="module")
def announced() -> Iterator[Tracker]:
    """A tracker that serves nothing yet."""
    with Tracker() as running:
        yield running


@pytest.fixture(scope="module")
def transmission() -> Iterator[TransmissionSeeder]:
    with TransmissionSeeder(deadline_s=DEADLINE_S) as running:
        yield running


@pytest.fixture(scope="module")
def aria2() -> Iterator[Aria2Seeder]:
    with Aria2Seeder(deadline_s=DEADLINE_S) as running:
        yield running


@pytest.fixture(scope="module")
def qbittorrent() -> Iterator[QBittorrent]:
    with QBittorrent(deadline_s=DEADLINE_S) as running:
        yield running


@pytest.fixture(scope="module")
def rqbit() -> Iterator[Rqbit]:
    with Rqbit(deadline_s=DEADLINE_S) as running:
        yield running


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Torsync]:
    """The program, with a configuration that holds no subscription yet."""
    with Torsync(tmp_path) as program:
        yield program
