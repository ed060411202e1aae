"""Who is let in to the control API: programs of the user, and no web page."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from torsync.model.errors import TorsyncError, UsageError
from torsync.service.control.lines import dump, error_line

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 * 1024
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:]+)\]|(?P<name>[^\[\]:]+))(?::[0-9]{1,5})?")
_METHODS = ("GET", "POST")
_JSON = "application/json"
_ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NO_PAGES = "leave the header Origin out: no page of another site is let in"


class NotAllowedError(TorsyncError):
    """A request that the control API does not listen to."""

    code = "not_allowed"


def answer(error: TorsyncError, status: int, **headers: str) -> Response:
    """Give the answer to a request that failed."""
    return Response(dump(error_line(error)), status, headers, media_type=_JSON)


class Gate:
    """An ASGI application that lets only some requests through to another.

    The address is on loopback, so whoever asks is on this machine. That could be another user,
    who does not have the token; or a web page in the user's browser. A page can have the
    browser ask any address by a name of its own that resolves to this machine (DNS rebinding):
    then ``Host`` is that name. What it asks across origins has an ``Origin`` (RFC 6454).
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_more)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        host = headers.getlist("host")
        if len(host) != 1 or not is_loopback(host[0]):
            error = NotAllowedError(
                "the host that was asked for is no name of the loopback interface",
                hint="use the URL in the file control/address of the state directory",
            )
            return answer(error, 403)
        if any(origin != f"http://{host[0]}" for origin in headers.getlist("origin")):
            return answer(NotAllowedError("web pages may not use it", hint=_NO_PAGES), 403)
        if method not in _METHODS:
            return answer(UsageError("expected GET or POST"), 405, Allow=", ".join(_METHODS))
        given = headers.getlist("authorization")
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self._expected):
            error = NotAllowedError(
                "expected the header Authorization with the token",
                hint="it is in the file control/token of the state directory: "
                "'Authorization: Bearer TOKEN'",
            )
            return answer(error, 401, **{"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > BODY_BYTES:
            return answer(UsageError(f"a body has at most {BODY_BYTES} bytes"), 413)
        if method == "POST" and _has_body(headers):
            media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != _JSON:
                return answer(UsageError(f"expected a body of Content-Type {_JSON}"), 415)
        return None


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header means this machine, whatever a name server says."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["v6"] or match["name"]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
