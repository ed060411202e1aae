"""Peers are called by TCP first."""

from __future__ import annotations

import pytest

from torsync.swarm.calling import TCP_FIRST_S, Calling


class Session:
    """Notes whether it may call by uTP, each time that it is told."""

    def __init__(self, *configured: str) -> None:
        self.told: list[bool] = []
        self.calling = Calling(self.told.append, configured)


def test_utp_is_allowed_some_time_after_a_torrent_was_added() -> None:
    session = Session()
    session.calling.look(0.0)
    session.calling.added(10.0)
    session.calling.look(10.0 + TCP_FIRST_S - 0.01)
    assert session.told == [False]
    session.calling.look(10.0 + TCP_FIRST_S)
    session.calling.look(1000.0)
    assert session.told == [False, True]


def test_each_torrent_that_is_added_has_its_peers_called_by_tcp_first() -> None:
    session = Session()
    session.calling.added(0.0)
    session.calling.look(TCP_FIRST_S)
    session.calling.added(TCP_FIRST_S + 1)
    session.calling.added(TCP_FIRST_S + 2)
    session.calling.look(2 * TCP_FIRST_S + 1)
    assert session.told == [False, True, False, False]
    session.calling.look(2 * TCP_FIRST_S + 2)
    assert session.told[4:] == [True]


@pytest.mark.parametrize("at_s", [0.0, TCP_FIRST_S, 1e6])
def test_what_is_configured_stays_as_it_is(at_s: float) -> None:
    session = Session("enable_outgoing_utp", "tick_interval")
    session.calling.added(0.0)
    session.calling.look(at_s)
    assert session.told == []
