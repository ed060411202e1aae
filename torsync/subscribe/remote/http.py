"""One conditional request over HTTP: for a ``.torrent``, or for the news that there is a new one.

This module imports requests, which takes a while; ``remote`` imports it when it is needed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from torsync.model.errors import RemoteInvalidError
from torsync.subscribe.remote.body import BodyDecoder, too_large_error
from torsync.subscribe.remote.exchange import (
    Exchange,
    content_encodings,
    content_length,
    place_of,
)
from torsync.subscribe.remote.failures import TRY_LATER
from torsync.subscribe.remote.rules import (
    TransientError,
    changed_lately,
    parse_retry_after_s,
    status_error,
    usable_etag,
    usable_last_modified,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    import requests

    from torsync.subscribe.remote.rules import Timeouts

_CHUNK_BYTES = 64 * 1024
_CONDITIONS = frozenset({"If-None-Match", "If-Modified-Since"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sent: a body with its validators, or None for "not modified".

    Attributes:
        body: decoded; None after status 304.
        etag: the header ``ETag``, empty if there was none that can be trusted.
        last_modified: likewise the header ``Last-Modified``; see ``changed_lately`` and
            ``usable_last_modified``.
        shown_url: where it came from, for messages.
    """

    body: bytes | None
    etag: str
    last_modified: str
    shown_url: str


def get(
    url: str,
    *,
    headers: Mapping[str, str],
    conditions: Mapping[str, str],
    max_bytes: int,
    timeouts: Timeouts,
    deadline: float,
) -> Answer:
    """Send a GET and follow its redirects, as ``Exchange`` does.

    Args:
        url: http or https.
        headers: what the subscription configures, resolved.
        conditions: ``If-None-Match`` and ``If-Modified-Since``, or nothing; and what else is to be
            sent wherever a redirect leads.
        max_bytes: the largest decoded body that is accepted.
        timeouts: of the connection and of silence.
        deadline: on ``time.monotonic``'s clock; nothing is waited for after it.

    Raises:
        TransientError: another attempt may succeed.
        RemoteUnreachableError: no answer, a refused redirect, or a status that is no success.
        RemoteInvalidError: the answer cannot be a ``.torrent``.
    """
    exchange = Exchange(url, headers=headers, timeouts=timeouts, deadline=lambda: deadline)
    with exchange, exchange.ask("GET", place_of(url), conditions) as (response, place):
        is_conditional = bool(_CONDITIONS & {*conditions})
        return _read_answer(response, place.shown, max_bytes, conditional=is_conditional)


@dataclass(frozen=True, slots=True)
class Held:
    """How a request ended that the server was asked to hold.

    Attributes:
        status: of the answer.
        etag: the header ``ETag``; empty if there was none.
        is_applied: whether the server said that it does what it was asked (RFC 7240).
    """

    status: int
    etag: str
    is_applied: bool


def hold(
    url: str,
    *,
    headers: Mapping[str, str],
    conditions: Mapping[str, str],
    wait_s: int,
    timeouts: Timeouts,
    deadline: float,
    on_socket: Callable[[socket.socket], None],
) -> Held:
    """Ask the server to wait for a change before it answers (RFC 7240, section 4.3).

    It is a HEAD: the ``.torrent`` itself is fetched by the poll that follows. Headers, proxies
    and redirects are those of ``Exchange``.

    Args:
        url: http or https.
        headers: what the subscription configures, resolved.
        conditions: ``If-None-Match`` and ``If-Modified-Since``.
        wait_s: how long the server shall wait.
        timeouts: of the connection, and of the silence.
        deadline: on ``time.monotonic``'s clock; nothing is waited for after it.
        on_socket: given each socket once the request has been sent; what shuts it down ends
            the wait.

    Raises:
        RemoteUnreachableError: no answer, or a refused redirect.
    """
    exchange = Exchange(
        url,
        headers=headers,
        timeouts=timeouts,
        deadline=lambda: deadline,
        on_socket=on_socket,
    )
    asked = {**conditions, "Prefer": f"wait={wait_s}"}
    with exchange, exchange.ask("HEAD", place_of(url), asked) as (response, _place):
        applied = response.headers.get("Preference-Applied", "").lower().split(",")
        is_applied = any(part.partition("=")[0].strip() == "wait" for part in applied)
        return Held(response.status_code, response.headers.get("ETag", ""), is_applied)


def _read_answer(
    response: requests.Response, shown: str, max_bytes: int, *, conditional: bool
) -> Answer:
    etag = response.headers.get("ETag", "")
    modified = response.headers.get("Last-Modified", "")
    if response.status_code == 304:
        if not conditional:
            raise RemoteInvalidError(
                f"{shown}: expected a .torrent, found status 304 (Not Modified) "
                "though the request had no condition",
                hint="the server or a cache before it is at fault: tell the publisher",
            )
        return Answer(None, etag, modified, shown)
    now = datetime.now(timezone.utc)
    if response.status_code != 200:
        retry_after_s = parse_retry_after_s(response.headers.get("Retry-After", ""), now)
        raise status_error(shown, response.status_code, retry_after_s)
    if changed_lately(modified, response.headers.get("Date", "")):
        etag = modified = ""
    body = _read_body(response, shown, max_bytes)
    return Answer(body, usable_etag(etag), usable_last_modified(modified, now), shown)


def _read_body(response: requests.Response, shown: str, max_bytes: int) -> bytes:
    encodings = content_encodings(response)
    if encodings not in (["gzip"], ["deflate"], ["identity"]):
        raise RemoteInvalidError(
            f"{shown}: expected Content-Encoding gzip, deflate or none, "
            f"found {','.join(encodings)[:40]!r}",
            hint="the server ignores Accept-Encoding: tell the publisher",
        )
    declared = content_length(response) or 0
    if encodings == ["identity"] and declared > max_bytes:
        raise too_large_error(shown, max_bytes)
    decoder = BodyDecoder(encodings[0], max_bytes)
    received = 0
    # Checked below: not all versions of urllib3 do, and none says how much came.
    response.raw.enforce_content_length = False
    try:
        # Decoded here, as older versions of urllib3 inflate a chunk without a limit.
        while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
            received += len(chunk)
            if not decoder.feed(chunk):
                raise too_large_error(shown, max_bytes)
        body = decoder.finish()
    except zlib.error:
        raise RemoteInvalidError(
            f"{shown}: expected a body in {encodings[0]}, found one that does not decode",
            hint="the server or a proxy damages the answer: tell the publisher",
        ) from None
    except EOFError:
        raise _truncated(shown, f"{received} bytes of a longer {encodings[0]} body") from None
    if received < declared:
        raise _truncated(shown, f"{received} of {declared} bytes")
    return body


def _truncated(shown: str, found: str) -> TransientError:
    return TransientError(
        f"{shown}: expected a whole .torrent, found the connection closed after {found}",
        hint=TRY_LATER,
    )
