"""Fixtures for tests in which torsync and seeders exchange data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync
from tests.support.hints import Hinted
from tests.support.privileges import unprivileged_environment
from tests.support.processes import HOST, free_port
from tests.support.publishers import Publishing
from tests.support.seeders import LibtorrentSeeder
from tests.support.updates import Updates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def torsync(tmp_path: Path) -> Iterator[Torsync]:
    """The program, with a configuration that holds no subscription yet."""
    with Torsync(tmp_path) as program:
        yield program


@pytest.fixture
def publishing(tmp_path: Path) -> Iterator[Publishing]:
    """The program as a publisher, with a configuration that holds no publication yet."""
    with Publishing(tmp_path / "publisher") as program:
        yield program


@pytest.fixture
def port(torsync: Torsync) -> int:
    """Where torsync listens for peers."""
    port = free_port(udp=True)
    torsync.session["listen"] = [f"{HOST}:{port}"]
    return port


@pytest.fixture
def publisher(tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync) -> Publisher:
    """Has published nothing yet; torsync subscribes to it."""
    published = Publisher(tmp_path / "published", seeder)
    torsync.subscribe(url=published.url, peers=published.peers)
    return published


@pytest.fixture
def updates(tmp_path: Path, seeder: LibtorrentSeeder, torsync: Torsync) -> Updates:
    """A publisher and a subscriber who has nothing yet."""
    return Updates(tmp_path, torsync, seeder)


@pytest.fixture
def unprivileged(tmp_path: Path) -> dict[str, str]:
    """An environment in which torsync, run by root, may read no more than other users may."""
    return unprivileged_environment(tmp_path / "site")


@pytest.fixture(scope="module")
def lasting_seeder() -> Iterator[LibtorrentSeeder]:
    """A seeder for all tests of a module, who remove what they add."""
    with LibtorrentSeeder() as running:
        yield running


@pytest.fixture
def hinted(tmp_path: Path, lasting_seeder: LibtorrentSeeder, torsync: Torsync) -> Iterator[Hinted]:
    """A publisher of releases with hints, and a subscriber who has nothing yet."""
    publisher = Hinted(tmp_path, torsync, lasting_seeder)
    yield publisher
    publisher.withdraw()
