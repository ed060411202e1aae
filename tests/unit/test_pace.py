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
