"""Daily windows: when they are open, and when they open next, whatever the clock does."""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torsync.model.window import DAY_S, DailyWindow, next_opening_in_s

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S = 3600
MINUTE_S = 60
NIGHT = DailyWindow(2 * HOUR_S, 5 * HOUR_S)
OVER_MIDNIGHT = DailyWindow(23 * HOUR_S, HOUR_S)
FORWARD_S = calendar.timegm((2026, 3, 29, 1, 0, 0))  # 02:00 becomes 03:00 in Central Europe
BACK_S = calendar.timegm((2026, 10, 25, 1, 0, 0))  # 03:00 becomes 02:00


def central_europe(moment_s: float) -> float:
    is_summer = FORWARD_S <= moment_s < BACK_S
    return (moment_s + (2 if is_summer else 1) * HOUR_S) % DAY_S


@pytest.mark.parametrize(
    ("window", "hour", "is_open", "opens_in_h"),
    [
        (NIGHT, 1.5, False, 0.5),
        (NIGHT, 2, True, 0),
        (NIGHT, 4.5, True, 0),
        (NIGHT, 5, False, 21),
        (OVER_MIDNIGHT, 22, False, 1),
        (OVER_MIDNIGHT, 23, True, 0),
        (OVER_MIDNIGHT, 0, True, 0),
        (OVER_MIDNIGHT, 1, False, 22),
    ],
)
def test_a_window_has_its_begin_and_not_its_end(
    window: DailyWindow, hour: float, is_open: bool, opens_in_h: float
) -> None:
    day_s = hour * HOUR_S
    assert window.is_open(day_s) is is_open
    assert window.opens_in_s(day_s) == opens_in_h * HOUR_S


def test_it_is_shown_as_it_is_written() -> None:
    assert str(NIGHT) == "02:00-05:00"
    assert str(DailyWindow(23 * HOUR_S + 5 * MINUTE_S, 0)) == "23:05-00:00"


@pytest.mark.parametrize(
    ("what", "window", "now_s", "expected_s"),
    [
        ("open", NIGHT, FORWARD_S - 3 * DAY_S + HOUR_S, 0),
        ("another night", NIGHT, FORWARD_S - 3 * DAY_S, 0),
        ("begins in the hour that is left out", NIGHT, FORWARD_S - 2 * HOUR_S, 2 * HOUR_S),
        (
            "after an hour was left out",
            DailyWindow(4 * HOUR_S, 5 * HOUR_S),
            FORWARD_S - HOUR_S,
            7200,
        ),
        ("after an hour came twice", DailyWindow(4 * HOUR_S, 5 * HOUR_S), BACK_S - HOUR_S, 10_800),
        (
            "is left out as a whole",
            DailyWindow(2 * HOUR_S, 3 * HOUR_S),
            FORWARD_S - HOUR_S,
            DAY_S,
        ),
        (
            "comes twice: between the two",
            DailyWindow(2 * HOUR_S, 2 * HOUR_S + 1800),
            BACK_S - 1200,
            1200,
        ),
    ],
)
def test_the_next_opening_where_the_clock_is_put_forward_and_back(
    what: str, window: DailyWindow, now_s: int, expected_s: int
) -> None:
    assert next_opening_in_s(window, now_s, central_europe) == pytest.approx(expected_s, abs=1)


def jumping(at_s: int, by_s: int) -> Callable[[float], float]:
    return lambda moment_s: (moment_s + (by_s if moment_s >= at_s else 0)) % DAY_S


minutes = st.integers(0, DAY_S // MINUTE_S - 1).map(lambda minute: minute * MINUTE_S)
jumps = st.sampled_from([-HOUR_S, -HOUR_S // 2, 0, HOUR_S // 2, HOUR_S])


@given(begins=minutes, ends=minutes, now=minutes, jump_at=minutes, jump=jumps)
@example(begins=0, ends=60, now=60, jump_at=0, jump=0)
def test_the_next_opening_is_the_first_minute_that_is_in_the_window(
    begins: int, ends: int, now: int, jump_at: int, jump: int
) -> None:
    window = DailyWindow(begins, ends)
    now_s, to_day_s = now + 100 * DAY_S, jumping(jump_at + 100 * DAY_S, jump)
    later = range(now_s, now_s + 3 * DAY_S, MINUTE_S)
    first_s = next((moment for moment in later if window.is_open(to_day_s(moment))), None)
    found_s = next_opening_in_s(window, now_s, to_day_s)
    if first_s is None:
        assert begins == ends, "only a window that is no time at all never opens"
    else:
        assert abs(now_s + found_s - first_s) <= 1
        assert window.is_open(to_day_s(now_s + found_s))


def test_a_clock_that_never_goes_right_does_not_take_for_ever() -> None:
    found_s = next_opening_in_s(NIGHT, FORWARD_S, lambda moment_s: (moment_s * 1.5) % DAY_S)
    assert 0 < found_s < 10 * DAY_S
