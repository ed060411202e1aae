"""Threads that work on small files take turns, unless the disk is what they wait for."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from torsync.subscribe.turns import SMALL_BYTES, Turns

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = 100
SMALL = FILES * SMALL_BYTES


class Clocks:
    """Time, and the processor time of whoever asks."""

    def __init__(self) -> None:
        self.now_s = self.cpu_s = 0.0

    def turns(self) -> Turns:
        return Turns(clock_s=lambda: self.now_s, cpu_clock_s=lambda: self.cpu_s)

    def work(self, turns: Turns, *, cpu_s: float, waiting_s: float) -> None:
        with turns.take(SMALL, FILES):
            self.now_s += cpu_s + waiting_s
            self.cpu_s += cpu_s


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@contextmanager
def another_at_work(turns: Turns) -> Iterator[None]:
    """Another thread is in the middle of small files."""
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        with turns.take(SMALL, FILES):
            began.set()
            assert done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert began.wait(60)
        yield
    finally:
        done.set()
        thread.join()


def begins_meanwhile(turns: Turns, content_bytes: int = SMALL, *, patience_s: float) -> bool:
    """Whether a further thread gets its turn while another one is at work."""
    began = threading.Event()

    def work() -> None:
        with turns.take(content_bytes, FILES):
            began.set()

    with another_at_work(turns):
        thread = threading.Thread(target=work)
        thread.start()
        is_let = began.wait(patience_s)
    thread.join()
    assert began.is_set(), "it is let at last"
    return is_let


def assert_one_at_a_time(turns: Turns) -> None:
    assert not begins_meanwhile(turns, patience_s=0.1)


def assert_side_by_side(turns: Turns, content_bytes: int = SMALL) -> None:
    assert begins_meanwhile(turns, content_bytes, patience_s=60)


def test_small_files_are_worked_on_one_at_a_time(clocks: Clocks) -> None:
    assert_one_at_a_time(clocks.turns())


def test_larger_files_are_not_waited_for(clocks: Clocks) -> None:
    assert_side_by_side(clocks.turns(), SMALL + 1)


def test_where_the_processor_is_busy_it_stays_one_at_a_time(clocks: Clocks) -> None:
    turns = clocks.turns()
    clocks.work(turns, cpu_s=1, waiting_s=1)
    assert_one_at_a_time(turns)


def test_where_the_disk_is_waited_for_others_read_meanwhile(clocks: Clocks) -> None:
    turns = clocks.turns()
    clocks.work(turns, cpu_s=1, waiting_s=1.1)
    assert_side_by_side(turns)


def test_after_a_while_it_is_found_out_anew(clocks: Clocks) -> None:
    turns = clocks.turns()
    clocks.work(turns, cpu_s=0, waiting_s=1)
    for _ in range(14):
        clocks.work(turns, cpu_s=1, waiting_s=0)
    assert_side_by_side(turns)
    assert_one_at_a_time(turns)


def test_who_fails_lets_the_next_one_in(clocks: Clocks) -> None:
    turns = clocks.turns()
    with pytest.raises(OSError, match="disk"), turns.take(SMALL, FILES):
        raise OSError("disk")
    with turns.take(SMALL, FILES):
        pass
