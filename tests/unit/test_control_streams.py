"""What a listener of the service hears: of progress the newest, what it lost, a sign of life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from torsync.model.events import Event, Level, Notice, Progress, Stage, StageStarted
from torsync.model.orders import Check, Terms
from torsync.model.reports import CheckReport
from torsync.service import hub as hub_module
from torsync.service.control import streams as module
from torsync.service.control.streams import Ears, at_work, order_lines, sent_events
from torsync.service.hub import Hub
from torsync.service.inbox import Pending

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest


def heard_of(hub: Hub, *events: Event) -> list[Event]:
    async def listen() -> list[Event]:
        ears = Ears(hub, None)
        for event in events:
            hub.sink(event)
        try:
            assert await ears.wait(60)
            return ears.heard()
        finally:
            ears.close()

    return asyncio.run(listen())


def downloading(done: int, name: str = "pack", stage: Stage = Stage.DOWNLOADING) -> Progress:
    return Progress(name, stage, bytes_done=done, bytes_total=10)


def test_of_progress_that_goes_on_only_the_newest_is_heard() -> None:
    notice = Notice("pack", Level.INFO, "code", "said")
    said = [
        *(downloading(1), downloading(2), downloading(3)),
        downloading(4, "other"),
        downloading(5),
        notice,
        *(downloading(6), downloading(7, stage=Stage.HASHING)),
    ]
    assert heard_of(Hub(), *said) == [*said[2:5], *said[5:]]


def test_what_a_name_is_at_is_told_with_how_far_it_is() -> None:
    hub = Hub()
    assert at_work(hub, "pack") == []
    hub.sink(StageStarted("pack", Stage.DOWNLOADING, "from afar"))
    (begun,) = at_work(hub, "pack")
    assert (begun["stage"], begun["detail"]) == ("downloading", "from afar")
    hub.sink(downloading(5))
    assert [line["type"] for line in at_work(hub, "pack")] == ["stage", "progress"]
    hub.sink(StageStarted("pack", Stage.SEEDING))
    assert at_work(hub, "pack") == [], "it rests"


async def first_parts(parts: AsyncGenerator[bytes, None], count: int) -> list[bytes]:
    found = []
    async for part in parts:
        found.append(part)
        if len(found) == count:
            break
    await parts.aclose()
    return found


def test_that_events_were_lost_is_told_once_and_silence_is_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_MOST_UNHEARD", 2)
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    hub = Hub()

    async def listen() -> list[bytes]:
        ears = Ears(hub, None)
        for number in range(5):
            hub.sink(Notice("pack", Level.INFO, f"code {number}", "said"))
        return await first_parts(sent_events(ears, lambda: False), 3)

    begun, told, silence = asyncio.run(listen())
    assert begun == b": listening\n\n"
    assert told.startswith(b": 3 were lost\n\ndata: ")
    assert told.count(b"data: ") == 2
    assert silence == b": still here\n\n"


def test_an_event_stream_ends_with_the_service() -> None:
    async def listen() -> list[bytes]:
        return await first_parts(sent_events(Ears(Hub(), None), lambda: True), 99)

    assert asyncio.run(listen()) == [b": listening\n\n"]


def test_an_order_that_takes_long_keeps_its_connection_alive_and_is_given_up_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    hub, waiting, done = Hub(), Pending(Check(), Terms()), Pending(Check(), Terms())
    done.fulfil(CheckReport("pack"))

    async def ask(pending: Pending, count: int) -> list[bytes]:
        return await first_parts(order_lines("pack", pending, Ears(hub, {"pack"}), hub, []), count)

    assert asyncio.run(ask(waiting, 2)) == [b"\n", b"\n"]
    assert waiting.is_cancelled
    (outcome,) = asyncio.run(ask(done, 9))
    assert b'"report"' in outcome
    assert not done.is_cancelled
