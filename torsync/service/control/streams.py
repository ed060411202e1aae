"""Answers that go on while the service works: what is said meanwhile, as it is said."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from torsync.model.errors import NoPeersError, TorsyncError
from torsync.model.events import Notice, Progress, Stage, StageStarted
from torsync.model.units import format_duration
from torsync.service.control.lines import BEGUN, dump, error_line, event_line, report_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection

    from starlette.types import Receive, Scope, Send

    from torsync.model.events import Event
    from torsync.service.hub import Hub, Listener
    from torsync.service.inbox import Pending

KEEP_ALIVE_S = 10.0
_PACE_S = 0.05  # between two looks at progress
_LOOK_S = 0.5  # for what nobody tells of
_AT_REST = {
    *(None, Stage.WAITING, Stage.SEEDING, Stage.PAUSED, Stage.POSTPONED),
    *(Stage.NEEDS_APPROVAL, Stage.FAILED),
}


class Stream(Response):
    """An answer in parts, each sent when the client has taken most of the one before.

    The parts end early when the client is gone.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], media_type: str) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers()
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def _send(self, send: Send) -> None:
        async with aclosing(self._parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Ears:
    """Hears a hub in another thread's name: wakes who waits in the event loop."""

    def __init__(self, hub: Hub, names: Collection[str] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._is_rung = False
        self._held = ExitStack()
        self.listener: Listener = self._held.enter_context(hub.listening(names, self.ring))

    def ring(self) -> None:
        """Say that there is something to look at; from any thread."""
        if not self._is_rung:
            self._is_rung = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._news.set)

    async def wait(self, seconds: float) -> bool:
        """Wait until somebody rings; whether somebody did."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        self._news.clear()
        self._is_rung = False  # from here on, who says something rings again
        return True

    def heard(self) -> list[Event]:
        """What was said since; of progress that follows on other progress, the last alone."""
        found: list[Event] = []
        while (event := self.listener.get()) is not None:
            if found and _continues(found[-1], event):
                found.pop()
            found.append(event)
        return found

    def close(self) -> None:
        """Listen no more."""
        self._held.close()


def _continues(before: Event, event: Event) -> bool:
    return (
        isinstance(before, Progress)
        and isinstance(event, Progress)
        and (before.subscription, before.stage) == (event.subscription, event.stage)
    )


async def order_lines(
    name: str, pending: Pending, ears: Ears, hub: Hub, before: list[dict[str, Any]]
) -> AsyncGenerator[bytes, None]:
    """Give what is said of a name until an order has its outcome, and that.

    An order that nobody listens to any more is given up, as far as it can be.

    Args:
        name: of the subscription or publication.
        pending: the order.
        ears: that hear the name; they are closed at the end.
        hub: knows what it does.
        before: what is given first; see ``at_work``.
    """
    pending.when_ended(ears.ring)
    loop = asyncio.get_running_loop()
    said_s = loop.time()
    is_begun = False
    try:
        lines = before
        while True:
            is_ended = pending.is_ended  # before: all that was said until then is heard
            lines += map(event_line, filter(_is_work, ears.heard()))
            if pending.is_begun and not is_begun:
                is_begun = True
                lines.append(BEGUN)
            if not is_ended and (error := _out_of_patience(name, pending, hub)) is not None:
                pending.cancel()
                yield b"".join(map(dump, [*lines, error_line(error)]))
                return
            if is_ended:
                yield b"".join(map(dump, [*lines, _outcome(pending)]))
                return
            if lines:
                yield b"".join(map(dump, lines))
                lines, said_s = [], loop.time()
                await asyncio.sleep(_PACE_S)
            elif loop.time() - said_s >= KEEP_ALIVE_S:
                yield b"\n"
                said_s = loop.time()
            await ears.wait(_LOOK_S)
    finally:
        if not pending.is_ended:
            pending.cancel()
        ears.close()


def at_work(hub: Hub, name: str) -> list[dict[str, Any]]:
    """What a name is at, if it works on something that an order may have to wait for."""
    live = hub.live(name)
    if live.stage is None or live.stage in _AT_REST:
        return []
    events: list[Event] = [StageStarted(name, live.stage, live.detail)]
    if live.progress is not None:
        events.append(live.progress)
    return [event_line(event) for event in events]


def _is_work(event: Event) -> bool:
    """Whether a command that does the work itself could say this: it does not rest."""
    return isinstance(event, Notice) or event.stage not in _AT_REST


def _outcome(pending: Pending) -> dict[str, Any]:
    try:
        return report_line(pending.outcome())
    except TorsyncError as error:
        return error_line(error)


def _out_of_patience(name: str, pending: Pending, hub: Hub) -> NoPeersError | None:
    """The error of an order that waits for a fetch for which nothing arrives."""
    patience_s = pending.terms.patience_s
    if patience_s is None or pending.is_begun or hub.live(name).stage is not Stage.DOWNLOADING:
        return None
    silent_s = hub.stalled_s(name)
    if silent_s < patience_s:
        return None
    return NoPeersError(
        f"nothing arrived for {format_duration(silent_s)}, and the service goes on with the "
        "update that it was at before",
        hint=f"`torsync status {name}` tells how far it is; what has arrived is kept",
    )


async def sent_events(ears: Ears, is_closing: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Give what is said as server-sent events, until the service stops.

    Args:
        ears: hear what is asked for; they are closed at the end.
        is_closing: whether the service stops.
    """
    loop = asyncio.get_running_loop()
    lost = 0
    try:
        yield b": listening\n\n"
        said_s = loop.time()
        while not is_closing():
            parts = [b"data: " + dump(event_line(event)) + b"\n" for event in ears.heard()]
            if ears.listener.lost > lost:
                parts.insert(0, f": {ears.listener.lost - lost} were lost\n\n".encode("ascii"))
                lost = ears.listener.lost
            if not parts and loop.time() - said_s >= KEEP_ALIVE_S:
                parts.append(b": still here\n\n")
            if parts:
                yield b"".join(parts)
                said_s = loop.time()
                await asyncio.sleep(_PACE_S)
            await ears.wait(_LOOK_S)
    finally:
        ears.close()
