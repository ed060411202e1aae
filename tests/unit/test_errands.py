"""What is done beside the work: in order, not without end, and not for ever waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from torsync.service.hooks.errands import _MOST_WAITING, Errands

if TYPE_CHECKING:
    import pytest

LONG_S = 60.0


def test_errands_are_done_one_after_the_other() -> None:
    errands, done = Errands("test"), list[int]()
    for number in range(20):
        assert errands.add(lambda number=number: done.append(number))  # type: ignore[misc]
    assert errands.wait(LONG_S)
    assert done == list(range(20))
    assert errands.wait(0), "nothing is left to be done"


def test_more_than_a_hundred_do_not_wait() -> None:
    errands, goes_on, begun = Errands("test"), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert goes_on.wait(LONG_S)

    assert errands.add(first)
    assert begun.wait(LONG_S)
    assert all(errands.add(lambda: None) for _ in range(_MOST_WAITING))
    assert not errands.add(lambda: None)
    assert not errands.wait(0)
    assert not errands.wait(LONG_S, stopping=lambda: True)
    goes_on.set()
    assert errands.wait(LONG_S)


def test_one_that_fails_as_nobody_foresaw_does_not_keep_the_next_from_being_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errands, done, told = Errands("test"), list[str](), threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _what: told.set())

    def fail() -> None:
        raise ZeroDivisionError

    assert errands.add(fail)
    assert told.wait(LONG_S)
    assert errands.wait(LONG_S)
    assert errands.add(lambda: done.append("next"))
    assert errands.wait(LONG_S)
    assert done == ["next"]
