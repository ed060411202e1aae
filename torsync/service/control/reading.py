"""What the control API tells: status, history, log and metrics.

This module imports starlette; see ``app``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from torsync import __version__
from torsync.model.errors import TorsyncError, UsageError
from torsync.model.events import Level
from torsync.service.control.gate import answer
from torsync.service.overview import Overview

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from starlette.requests import Request

    from torsync.service.desk import Desk
    from torsync.service.logbook import Logbook

_ROOT = "/api/v1"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_UPDATES = 10
_LOG_LINES = 100
_MOST = 100_000


def routes_for(desk: Desk, state_dir: Path, logbook: Logbook) -> list[Route]:
    """Give the routes; to be called once, before the service begins: its metrics count from then.

    Args:
        desk: the running service.
        state_dir: of it.
        logbook: of it.
    """
    from torsync.service.metrics import Metrics  # noqa: PLC0415 - costs start-up time

    overview = Overview(state_dir, desk)
    metrics = Metrics(desk, overview)

    def status(request: Request) -> Response:
        subscriptions, publications = overview.live_status(_names(request, desk))
        return _told(
            {
                "version": __version__,
                "subscriptions": [report.as_json() for report in subscriptions],
                "publications": [report.as_json() for report in publications],
            }
        )

    def history(request: Request) -> Response:
        found = overview.live_history(_names(request, desk), _number(request, _UPDATES))
        return _told(
            {
                "subscriptions": [one.as_json() for one in found if not one.is_publication],
                "publications": [one.as_json() for one in found if one.is_publication],
            }
        )

    def logs(request: Request) -> Response:
        names, last = request.query_params.getlist("name"), _number(request, _LOG_LINES)
        records = logbook.lines(names, last, _level(request))
        lines = (json.dumps({"type": "log", **record.as_json()}) + "\n" for record in records)
        return Response("".join(lines), media_type=_LINES)

    def exposition(_request: Request) -> Response:
        body, media_type = metrics.exposition()
        return Response(body, headers={"Content-Type": media_type})

    return [
        Route(f"{_ROOT}/status", _answering(status), methods=["GET"]),
        Route(f"{_ROOT}/history", _answering(history), methods=["GET"]),
        Route(f"{_ROOT}/logs", _answering(logs), methods=["GET"]),
        Route("/metrics", _answering(exposition), methods=["GET"]),
    ]


def _answering(tell: Callable[[Request], Response]) -> Any:
    """Do it in a thread, as it reads files; answer with the error that it fails with."""

    async def handle(request: Request) -> Response:
        try:
            return await run_in_threadpool(tell, request)
        except UsageError as error:
            return answer(error, 400)
        except TorsyncError as error:
            return answer(error, 500)

    return handle


def _told(found: dict[str, Any]) -> Response:
    return Response(json.dumps(found, allow_nan=False) + "\n", media_type=_JSON)


def _names(request: Request, desk: Desk) -> Collection[str]:
    names = request.query_params.getlist("name")
    known = {worker.config.name for worker in desk.workers()}
    for name in names:
        if name not in known:
            raise UsageError(
                f"the service has no subscription or publication {name!r:.200}",
                hint="`torsync reload` has it read the configuration again",
            )
    return names


def _number(request: Request, default: int) -> int:
    text = request.query_params.get("n", str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"n: expected a number, found {text!r:.80}")
    return min(int(text), _MOST)


def _level(request: Request) -> Level:
    text = request.query_params.get("level", Level.INFO.value)
    try:
        return Level(text)
    except ValueError:
        known = ", ".join(level.value for level in Level)
        raise UsageError(f"level: expected one of {known}, found {text!r:.80}") from None
