"""The pace of work: what is said of it follows the last few seconds."""

from __future__ import annotations

import pytest

from torsync.model.pace import Pace


def test_nothing_is_said_before_time_has_passed() -> None:
    pace = Pace(100.0)
    pace.add(100.0, 50)
    assert (pace.rate, pace.time_left_s(100)) == (0, None)


def test_nothing_is_said_of_the_time_left_before_something_is_done() -> None:
    pace = Pace(100.0)
    pace.add(105.0, 0)
    assert (pace.rate, pace.time_left_s(100)) == (0, None)


def test_the_pace_is_what_was_done_by_the_time_it_took() -> None:
    pace = Pace(100.0)
    pace.add(100.1, 10)
    pace.add(102.0, 200)
    assert pace.rate == pytest.approx(100)
    assert pace.time_left_s(500) == pytest.approx(3)
    assert pace.time_left_s(200) == 0
    assert pace.time_left_s(100) == 0, "more was done than was thought"


def test_a_change_of_pace_is_noticed_within_seconds() -> None:
    pace = Pace(0.0)
    for tenth in range(1, 1001):
        pace.add(tenth / 10, tenth * 100)
    for tenth in range(1, 101):
        pace.add(100 + tenth / 10, 100_000 + tenth)
    assert pace.rate == pytest.approx(10, rel=0.2)


def test_nothing_is_known_at_first() -> None:
    pace = Pace(100.0)
    assert (pace.rate, pace.time_left_s(100)) == (0, None)


def test_what_is_slow_or_has_only_begun_has_a_pace() -> None:
    pace = Pace(0.0)
    pace.add(0.5, 50)
    assert pace.rate == pytest.approx(100)
    pace = Pace(0.0)
    pace.add(4.0, 2)
    assert pace.time_left_s(3) == pytest.approx(2)


def steady(pace: Pace) -> Pace:
    """A hundred per second, told four times a second for ten seconds."""
    for quarter in range(1, 41):
        pace.add(quarter / 4, quarter * 25)
    return pace


def test_one_step_without_anything_done_is_one_of_the_last_five_seconds() -> None:
    pace = steady(Pace(0.0))
    pace.add(10.25, 1000)
    assert pace.rate == pytest.approx(95, abs=0.5)


def test_after_five_seconds_without_anything_done_the_pace_is_nothing() -> None:
    pace = steady(Pace(0.0))
    for quarter in range(1, 21):
        assert pace.rate > 0
        pace.add(10 + quarter / 4, 1000)
    assert (pace.rate, pace.time_left_s(2000)) == (0, None)


def test_what_was_done_before_a_long_silence_does_not_count() -> None:
    pace = Pace(0.0)
    pace.add(10.0, 1000)
    pace.add(20.0, 1000)
    assert pace.rate == 0
