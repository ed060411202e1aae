"""Fixtures for tests against those who mean harm."""

from __future__ import annotations

from tests.swarm.conftest import publisher as publisher  # noqa: PLC0414 - a fixture for all here
from tests.swarm.conftest import publishing as publishing  # noqa: PLC0414 - the same
from tests.swarm.conftest import torsync as torsync  # noqa: PLC0414 - the same
