"""What the control API answers to which request; see "Control API" in the README.

This module imports starlette; ``server`` imports it when the API is started.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from torsync.model.config import PublicationConfig
from torsync.model.errors import ConfigError, ExitCode, TorsyncError, UsageError
from torsync.model.names import shown_value
from torsync.model.orders import MakeRelease, Terms, order_from_json
from torsync.service.control.gate import BODY_BYTES, Gate, answer
from torsync.service.control.lines import dump
from torsync.service.control.planning import give_plan
from torsync.service.control.streams import Ears, Stream, at_work, order_lines, sent_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from torsync.model.orders import Order
    from torsync.service.desk import Desk

    Handler = Callable[[Request], Awaitable[Response]]

ROOT = "/api/v1"
LINES = "application/x-ndjson"
EVENTS = "text/event-stream"
_BODY_S = 10.0  # for a client to send what it asks
_ORDER_KEYS = ("order", "terms")


class ControlApp:
    """The ASGI application; it runs in the control API's own event loop."""

    def __init__(
        self, desk: Desk, state_dir: Path, token: str, routes: Sequence[BaseRoute] = ()
    ) -> None:
        """Prepare.

        Args:
            desk: the running service.
            state_dir: where the states of its trees are.
            token: that lets in.
            routes: what else there is to be read.
        """
        self._desk = desk
        self._state_dir = state_dir
        self._is_closing = threading.Event()
        own = [
            Route(f"{ROOT}/events", self._events, methods=["GET"]),
            Route(f"{ROOT}/reload", _told(self._reload), methods=["POST"]),
            Route(f"{ROOT}/orders/{{name:path}}", _told(self._order), methods=["POST"]),
            Route(f"{ROOT}/plan/{{name:path}}", _told(self._plan), methods=["GET"]),
        ]
        handlers: Any = {404: _no_such_route, 405: _no_such_method}
        self._app = Gate(Starlette(routes=[*own, *routes], exception_handlers=handlers), token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def close(self) -> None:
        """End what goes on."""
        self._is_closing.set()

    async def _events(self, request: Request) -> Response:
        names = request.query_params.getlist("name")
        ears = Ears(self._desk.hub, names or None)
        return Stream(sent_events(ears, self._is_closing.is_set), EVENTS)

    async def _reload(self, _request: Request) -> Response:
        report = await run_in_threadpool(self._desk.reload)
        return Response(dump({"type": "reload", **report.as_json()}), media_type="application/json")

    async def _order(self, request: Request) -> Response:
        found = _parsed(await _body(request))
        for key in found:
            if key not in _ORDER_KEYS:
                raise UsageError(
                    f"{shown_value(key)} is unknown here; expected {' and '.join(_ORDER_KEYS)}"
                )
        order = order_from_json(_object(found, "order"))
        terms = Terms.from_json(_object(found, "terms"))
        return await self._give(request.path_params["name"], order, terms)

    async def _plan(self, request: Request) -> Response:
        name = request.path_params["name"]
        config = self._config_of(name)
        if isinstance(config, PublicationConfig):
            return await self._give(name, MakeRelease(dry_run=True), Terms())
        hub, pending, ears = give_plan(config, self._state_dir, self._is_closing)
        return Stream(order_lines(name, pending, ears, hub, []), LINES)

    async def _give(self, name: str, order: Order, terms: Terms) -> Response:
        hub = self._desk.hub
        ears = Ears(hub, [name])  # before: nothing that is said of it is missed
        before = at_work(hub, name)
        try:
            pending = await run_in_threadpool(self._desk.give, name, order, terms)
        except UsageError as error:
            ears.close()
            self._config_of(name)
            raise error from None
        except BaseException:
            ears.close()
            raise
        return Stream(order_lines(name, pending, ears, hub, before), LINES)

    def _config_of(self, name: str) -> Any:
        for worker in self._desk.workers():
            if worker.config.name == name:
                return worker.config
        raise NotThereError(
            f"the service has no subscription or publication {name!r:.200}",
            hint="`torsync reload` has it read the configuration again",
        )


class NotThereError(UsageError):
    """There is nothing of that name."""


def _told(handler: Handler) -> Handler:
    """Answer with the error that a handler fails with."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except TorsyncError as error:
            return answer(error, _status(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return handle


def _status(error: TorsyncError) -> int:
    if isinstance(error, NotThereError):
        return 404
    if isinstance(error, ConfigError):
        return 422
    return {ExitCode.USAGE: 400, ExitCode.BUSY: 409}.get(error.exit_code, 500)


async def _body(request: Request) -> bytes:
    async def read() -> bytes:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY_BYTES:
                raise UsageError(f"a body has at most {BODY_BYTES} bytes")
        return body

    try:
        return await asyncio.wait_for(read(), _BODY_S)
    except (TimeoutError, asyncio.TimeoutError):
        raise UsageError(f"the body did not come within {_BODY_S:.0f} s") from None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError('expected a JSON object such as {"order": {"command": "check-now"}}')
    return found


def _object(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{key!r}: expected a JSON object, found {shown_value(value)}")
    return value


async def _no_such_route(request: Request, _error: Exception) -> Response:
    return answer(UsageError(f"there is nothing at {_path(request)}"), 404)


def _path(request: Request) -> str:
    """What was asked for; without its query, which need not be UTF-8."""
    return shown_value(request.scope["path"])


async def _no_such_method(request: Request, _error: Exception) -> Response:
    return answer(UsageError(f"{_path(request)} takes another method"), 405)
