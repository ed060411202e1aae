"""Whether a fetch makes progress."""

from __future__ import annotations

from torsync.subscribe.arrivals import Arrivals


def test_each_new_block_is_progress_and_silence_counts_from_the_last_one() -> None:
    arrivals = Arrivals(100.0)
    assert not arrivals.look(0, 101.0)
    assert arrivals.silent_s(102.0) == 2.0
    assert arrivals.look(16_384, 103.0)
    assert not arrivals.look(16_384, 104.0)
    assert arrivals.silent_s(105.0) == 2.0


def test_what_is_thrown_away_is_no_progress_and_has_to_arrive_again() -> None:
    arrivals = Arrivals(0.0)
    arrivals.look(0, 1.0)
    arrivals.look(65_536, 2.0)
    assert not arrivals.look(0, 3.0)
    assert arrivals.silent_s(4.0) == 2.0
    assert arrivals.look(16_384, 5.0)


def test_another_round_is_no_progress() -> None:
    arrivals = Arrivals(0.0)
    arrivals.look(65_536, 1.0)
    arrivals.begin_round(1.5)
    assert not arrivals.look(131_072, 2.0)
    assert (arrivals.silent_s(3.0), arrivals.quiet_s(3.0)) == (3.0, 1.5)
    assert arrivals.look(147_456, 4.0)
