"""A request to the control API: refused in words, or an order that can be carried out."""

from __future__ import annotations

import asyncio
import json
import math
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.hostile.fuzz.oracle import judged
from tests.support.control import ScriptedDesk
from torsync.model.errors import TorsyncError
from torsync.model.orders import EmptyTrash, Restore, Rollback, order_as_json, order_from_json
from torsync.service.control.app import ControlApp
from torsync.service.desk import ReloadReport

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from torsync.model.orders import Order, Terms
    from torsync.service.inbox import Pending

MAX_BYTES = 8192
_TOKEN = "x" * 43
_ROUTES = (
    ("POST", b"/api/v1/orders/pack"),
    ("POST", b"/api/v1/orders/maps"),
    ("POST", b"/api/v1/reload"),
    ("GET", b"/api/v1/plan/nothing"),
)
_NOWHERE = Path("/nowhere")


class _DoneError(TorsyncError):
    """What every order ends with here."""

    code = "done"


class _Desk(ScriptedDesk):
    """Looks at every order as whoever carries it out would, and ends it."""

    def give(self, name: str, order: Order, terms: Terms) -> Pending:
        pending = super().give(name, order, terms)
        check_order(order, terms)
        self.given.clear()
        pending.fail(_DoneError("done"))
        return pending


def check_order(order: Order, terms: Terms) -> None:
    """Assert that an order's options are what the system and a terminal can take."""
    assert order_from_json(order_as_json(order)) == order
    texts = [*terms.again]
    numbers = [terms.patience_s] if terms.patience_s is not None else []
    if isinstance(order, Restore):
        texts += [order.path, order.stamp, *order.meant]
    elif isinstance(order, Rollback):
        texts.append(order.release)
    elif isinstance(order, EmptyTrash):
        numbers.append(order.older_than_s)
    for text in texts:
        assert b"\0" not in os.fsencode(text)
    for number in numbers:
        assert math.isfinite(number)
        assert number >= 0


@cache
def _parts() -> tuple[asyncio.AbstractEventLoop, ControlApp, _Desk]:
    desk = _Desk(_NOWHERE)
    return asyncio.new_event_loop(), ControlApp(desk, _NOWHERE, _TOKEN), desk


def try_one(data: bytes) -> None:
    """Send the bytes: as a body, or with a line before it as the path and headers."""
    if not data:
        return
    way, rest = data[0] % 6, data[1:]
    headers = [
        (b"host", b"127.0.0.1:1"),
        (b"authorization", b"Bearer " + _TOKEN.encode()),
        (b"content-type", b"application/json"),
    ]
    if way < 4:
        method, path = _ROUTES[way]
        query, body = b"", rest
    else:
        first, _, body = rest.partition(b"\n")
        method = "GET" if way == 4 else "POST"
        path, _, query = first.partition(b"?")
        lines, _, body = body.partition(b"\n\n")
        for line in lines.split(b"\n") if lines else ():
            name, _, value = line.partition(b":")
            if name:
                headers.append((name.lower(), value.strip()))
        path = b"/" + path
        if path.startswith((b"/api/v1/events", b"/api/v1/plan/pack")):
            return  # these go on
    headers.append((b"content-length", str(len(body)).encode()))
    loop, app, desk = _parts()
    desk.reloads = [ReloadReport()]
    with judged():
        status, found = loop.run_until_complete(_ask(app, method, path, query, headers, body))
    assert status < 500 or b'"done"' in found, (status, found[:500])
    assert len(found) < 20_000
    for line in found.splitlines():
        assert isinstance(json.loads(line), dict)
    if status >= 400:
        assert json.loads(found)["message"]
        assert found.isascii()


async def _ask(
    app: ControlApp,
    method: str,
    path: bytes,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> tuple[int, bytes]:
    from urllib.parse import unquote_to_bytes

    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        # as uvicorn does it
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 2),
        "server": ("127.0.0.1", 1),
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    status = 0
    found = b""

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, found
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            found += message.get("body", b"")

    await asyncio.wait_for(app(scope, receive, send), 30)
    return status, found
