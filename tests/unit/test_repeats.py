"""The same trouble again and again is told at once, and then once an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.events import Level, Notice, Stage, StageStarted
from torsync.service.repeats import Repeats

if TYPE_CHECKING:
    from torsync.model.events import Event

DAY_S = 86_400


def away(name: str = "pack", message: str = "the server is away", code: str = "away") -> Notice:
    return Notice(name, Level.ERROR, code, message, "wait")


class Told:
    """What comes out, and a clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events: list[Event] = []
        self.repeats = Repeats(self.events.append, lambda: self.now_s)

    def loud(self) -> list[Event]:
        return [
            one for one in self.events if not isinstance(one, Notice) or one.level != Level.DEBUG
        ]


def test_a_server_that_is_away_for_a_day_is_told_of_once_an_hour() -> None:
    told = Told()
    for told.now_s in range(0, DAY_S, 10):
        told.repeats.sink(away())
    assert len(told.loud()) == 24
    assert len(told.events) == DAY_S // 10, "who wants to know can"


def test_another_trouble_and_that_of_another_one_are_told() -> None:
    told = Told()
    notices = [away(), away("other"), away(message="a file is missing"), away(code="gone")]
    for notice in notices:
        told.repeats.sink(notice)
    assert told.loud() == notices


def test_what_is_no_trouble_is_told_each_time() -> None:
    told = Told()
    events = [StageStarted("pack", Stage.WAITING), Notice("pack", Level.INFO, "new", "a release")]
    for event in events * 2:
        told.repeats.sink(event)
    assert told.events == events * 2
