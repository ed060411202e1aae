"""When a watched folder is released: once it is quiet, and now and then if it never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsync.model.settling import Settling

SETTLE_S = 2.0


def test_nothing_is_due_without_an_edit() -> None:
    settling = Settling(SETTLE_S)
    assert settling.due_s() is None
    assert not settling.is_edited


def test_it_is_due_once_the_last_edit_is_old_enough() -> None:
    settling = Settling(SETTLE_S)
    settling.edited(10.0)
    assert settling.due_s() == 12.0
    settling.edited(11.5)
    assert settling.due_s() == 13.5


def test_a_folder_that_never_settles_is_released_after_ten_times_the_settle_time() -> None:
    settling = Settling(SETTLE_S)
    for tenth in range(1000):
        settling.edited(tenth / 10)
    assert settling.due_s() == 20.0


def test_a_short_settle_time_does_not_make_that_often() -> None:
    settling = Settling(0.1)
    for tenth in range(1000):
        settling.edited(tenth / 10)
    assert settling.due_s() == 10.0


def test_what_was_edited_before_a_release_is_in_it() -> None:
    settling = Settling(SETTLE_S)
    settling.edited(0.0)
    settling.begun()
    assert settling.due_s() is None
    settling.edited(5.0)  # while it is made
    settling.ended(4.0, 5.5)
    assert settling.due_s() == 7.0


def test_a_release_that_costs_much_is_rested_from() -> None:
    settling = Settling(SETTLE_S)
    settling.begun()
    settling.ended(0.0, 60.0)
    settling.edited(61.0)
    assert settling.due_s() == 120.0, "half of the time at most"
    for second in range(61, 1000):
        settling.edited(float(second))
    assert settling.due_s() == 600.0, "a tenth of the time, where it never settles"


def test_a_failure_is_tried_again_later_and_later_and_an_edit_may_mend_it() -> None:
    settling = Settling(SETTLE_S)
    waits = []
    now_s = 0.0
    for _ in range(10):
        settling.begun()
        settling.ended(now_s, now_s, failed=True)
        due_s = settling.due_s()
        assert due_s is not None
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    settling.begun()
    settling.ended(now_s, now_s, failed=True)
    settling.edited(now_s + 1)
    assert settling.due_s() == now_s + 1 + SETTLE_S
    settling.begun()
    settling.ended(now_s + 3, now_s + 3)
    assert settling.due_s() is None


def test_a_failure_in_a_folder_that_never_settles_is_tried_again_soon_and_ever_later() -> None:
    settling = Settling(SETTLE_S)
    now_s, waits = 20.0, []
    settling.edited(0.0)
    for _ in range(5):
        assert not settling.is_settled(now_s - 19.5 if not waits else now_s)
        settling.begun()
        settling.edited(now_s)
        settling.ended(now_s, now_s, failed=True)
        for tenth in range(1, 400):
            settling.edited(now_s + tenth / 10)
        due_s = settling.due_s()
        assert due_s is not None
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits[:3] == [2, 4, 8]


@given(
    settle_s=st.floats(0.0, 60.0),
    gaps_s=st.lists(st.floats(0.0, 30.0), max_size=40),
    cost_s=st.floats(0.0, 100.0),
    failing=st.booleans(),
)
def test_every_edit_is_released_neither_too_soon_nor_too_late(
    settle_s: float, gaps_s: list[float], cost_s: float, *, failing: bool
) -> None:
    settling = Settling(settle_s)
    now_s = 0.0
    first_s: float | None = None
    ended_s = float("-inf")
    for gap_s in gaps_s:
        now_s += gap_s
        due_s = settling.due_s()
        if due_s is not None and due_s <= now_s:
            began_s = now_s
            settling.begun()
            now_s += cost_s
            settling.ended(began_s, now_s, failed=failing)
            first_s, ended_s = None, now_s
        settling.edited(now_s)
        first_s = now_s if first_s is None else first_s
        due_s = settling.due_s()
        assert due_s is not None
        forced_s = max(10 * settle_s, 10.0)
        slack = 1e-6
        assert due_s <= max(now_s + settle_s, ended_s + cost_s) + slack
        assert due_s <= max(first_s + forced_s, ended_s + 9 * cost_s) + slack
        if not failing:
            assert due_s >= min(now_s + settle_s, first_s + forced_s) - slack


@pytest.mark.parametrize("settle_s", [0.0, SETTLE_S])
def test_a_first_edit_is_due_after_the_settle_time_whatever_the_clock_says(settle_s: float) -> None:
    settling = Settling(settle_s)
    settling.edited(1e9)
    assert settling.due_s() == 1e9 + settle_s
