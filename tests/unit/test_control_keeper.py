"""The control API follows the configuration, and no trouble with it ends the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from torsync.model.config import ServiceConfig
from torsync.model.errors import ControlError
from torsync.model.events import Event, Notice
from torsync.service.control_keeper import ControlKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, TWO = ServiceConfig(("127.0.0.1", 1)), ServiceConfig(("127.0.0.1", 2))
NONE = ServiceConfig(None)


class Opened:
    """What is open until it is closed."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


@dataclass
class World:
    """Addresses that can be listened on, or not."""

    now_s: float = 0.0
    taken: set[ServiceConfig] = field(default_factory=set)
    open: list[ServiceConfig] = field(default_factory=list)
    tries: int = 0
    events: list[Event] = field(default_factory=list)

    def open_control(self, config: ServiceConfig) -> Opened:
        self.tries += 1
        if config in self.taken:
            raise ControlError("the port is taken", hint="take another")
        self.open.append(config)
        return Opened(lambda: self.open.remove(config))

    def keeper(self) -> ControlKeeper:
        return ControlKeeper(self.open_control, self.events.append, lambda: self.now_s)


def test_it_is_open_where_the_configuration_says_and_nowhere_else() -> None:
    world = World()
    keeper = world.keeper()
    keeper.open(ONE)
    keeper.follow(ONE)
    assert (world.open, world.tries) == ([ONE], 1)
    keeper.follow(TWO)
    assert world.open == [TWO]
    keeper.follow(NONE)
    assert world.open == []
    keeper.follow(ONE)
    keeper.close()
    keeper.close()
    assert world.open == []


def test_what_cannot_be_opened_at_first_is_the_caller_s_to_see_to() -> None:
    world = World(taken={ONE})
    with pytest.raises(ControlError):
        world.keeper().open(ONE)


def test_what_cannot_be_opened_later_is_told_once_and_tried_again() -> None:
    world = World(taken={TWO})
    keeper = world.keeper()
    keeper.open(ONE)
    for _ in range(100):
        world.now_s += 1
        keeper.follow(TWO)
    assert world.open == []
    assert world.tries == pytest.approx(1 + 100 / 10, abs=1)
    told = [event for event in world.events if isinstance(event, Notice)]
    assert [notice.code for notice in told] == ["control"]
    assert "tried again" in told[0].hint
    keeper.follow(ONE)
    assert world.open == [ONE], "another address is tried at once"
    keeper.follow(TWO)
    world.taken.clear()
    world.now_s += 10
    keeper.follow(TWO)
    assert world.open == [TWO]
