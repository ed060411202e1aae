"""Joining the DHT for a moment: it ends when it shall, and refused settings are told."""

from __future__ import annotations

import pytest

from torsync.model.config import SessionConfig
from torsync.model.errors import SwarmError
from torsync.swarm.dht_probe import DhtFound, join_dht


def test_it_ends_at_once_if_it_shall() -> None:
    session = SessionConfig(listen=("127.0.0.1:0", "127.0.0.1:6881"))
    assert join_dht(session, timeout_s=600, stopping=lambda: True) == DhtFound(0, listens=False)


def test_without_nodes_it_ends_in_time() -> None:
    session = SessionConfig(listen=("127.0.0.1:0",), settings={"dht_bootstrap_nodes": ""})
    assert join_dht(session, timeout_s=0.5, stopping=lambda: False).nodes == 0


def test_settings_that_libtorrent_refuses_are_told() -> None:
    session = SessionConfig(listen=("127.0.0.1:0",), settings={"tick_interval": "often"})
    with pytest.raises(SwarmError, match="refused its settings"):
        join_dht(session, timeout_s=600, stopping=lambda: False)
