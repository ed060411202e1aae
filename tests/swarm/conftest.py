"""Fixtures for tests in which torsync and seeders exchange data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.privileges import unprivileged_environment
from tests.support.updates import Updates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder


@pytest.fixture
def updates(tmp_path: Path, seeder: LibtorrentSeeder) -> Iterator[Updates]:
    """A publisher and a subscriber who has nothing yet."""
    with Torsync(tmp_path) as torsync:
        yield Updates(tmp_path, torsync, seeder)


@pytest.fixture
def unprivileged(tmp_path: Path) -> dict[str, str]:
    """An environment in which torsync, run by root, may read no more than other users may."""
    return unprivileged_environment(tmp_path / "site")
