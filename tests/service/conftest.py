"""Fixtures for tests of a real ``torsync run``, and of what machines do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher
from tests.support.publishers import Publishing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Publishing]:
    """The program, with a configuration that holds nothing yet; it listens on ``port``."""
    with Publishing(tmp_path / "torsync") as program:
        yield program


@pytest.fixture
def publisher(tmp_path: Path, seeder: LibtorrentSeeder, torsync: Publishing) -> Publisher:
    """Has published nothing yet; torsync subscribes to it, and polls every second."""
    published = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=published.url, peers=published.peers, interval="1s")
    return published
