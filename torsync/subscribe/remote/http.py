"""One conditional request over HTTP with ``requests``, redirects included.

This module imports requests, which takes a while; ``remote`` imports it when it is needed.
"""

from __future__ import annotations

import base64
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

import urllib3

from torsync import __version__
from torsync.model.errors import RemoteInvalidError
from torsync.subscribe.remote.body import BodyDecoder, too_large_error
from torsync.subscribe.remote.failures import TRY_LATER, request_failure
from torsync.subscribe.remote.rules import (
    MAX_REDIRECTS,
    REDIRECTS,
    TransientError,
    changed_lately,
    mask_url,
    may_send_headers,
    parse_retry_after_s,
    redirect_error,
    redirect_target,
    status_error,
    usable_etag,
    usable_last_modified,
)
from torsync.subscribe.remote.session import deadline_session

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

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
    """Send a GET and follow its redirects.

    ``headers`` and the URL's user and password go to the URL's own scheme, host and port
    only, or to https on the same host. Proxies and certificate bundles of the environment
    are used as requests does; ``.netrc`` is not, as credentials that are not in the
    subscription would go out unseen. Cookies are not kept.

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
    asking = _following(
        "GET", url, headers=headers, conditions=conditions, timeouts=timeouts, deadline=deadline
    )
    with asking as (response, shown):
        is_conditional = bool(_CONDITIONS & {*conditions})
        return _read_answer(response, shown, max_bytes, conditional=is_conditional)


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
    and redirects are as in ``get``.

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
    asking = _following(
        "HEAD",
        url,
        headers=headers,
        conditions={**conditions, "Prefer": f"wait={wait_s}"},
        timeouts=timeouts,
        deadline=deadline,
        on_socket=on_socket,
    )
    with asking as (response, _shown):
        applied = response.headers.get("Preference-Applied", "").lower().split(",")
        is_applied = any(part.partition("=")[0].strip() == "wait" for part in applied)
        return Held(response.status_code, response.headers.get("ETag", ""), is_applied)


def _leave(_socket: socket.socket) -> None:
    pass


@contextmanager
def _following(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    conditions: Mapping[str, str],
    timeouts: Timeouts,
    deadline: float,
    on_socket: Callable[[socket.socket], None] = _leave,
) -> Iterator[tuple[requests.Response, str]]:
    """Send a request, follow redirects, and give the last answer with its URL as shown.

    What fails while the answer is read fails as the request does.
    """
    own = _merged(_basic_auth(url), headers)
    origin = current = _without_userinfo(url)
    offered: Mapping[str, str] = {}
    shown = mask_url(url)
    with deadline_session(timeouts.read_s, deadline, on_socket) as session:
        for _ in range(MAX_REDIRECTS + 1):
            sent = _merged(
                {"User-Agent": f"torsync/{__version__}", "Accept": "*/*"},
                own if may_send_headers(origin, current) else offered,
                conditions,
                {"Accept-Encoding": "gzip, deflate"},
            )
            try:
                with session.request(
                    method,
                    current,
                    # Bytes: http.client would refuse text beyond Latin-1, and show it.
                    headers={
                        name: value.encode("utf-8", "surrogateescape")
                        for name, value in sent.items()
                    },
                    auth=_keep_headers,
                    timeout=(
                        _bounded_s(timeouts.connect_s, deadline),
                        _bounded_s(timeouts.read_s, deadline),
                    ),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    if response.status_code not in REDIRECTS:
                        yield response, shown
                        return
                    location = response.headers.get("Location", "")
            except (OSError, urllib3.exceptions.HTTPError) as error:
                # Their texts hold whole URLs and header values: neither shown nor chained.
                raise request_failure(error, shown, timeouts, deadline) from None
            # http.client reads headers as Latin-1; those beyond ASCII are UTF-8 in practice.
            following = redirect_target(
                current, location.encode("latin-1", "replace").decode("utf-8", "replace")
            )
            shown = f"{mask_url(url)} (redirected to {mask_url(following)})"
            offered = _basic_auth(following)
            current = _without_userinfo(following)
    raise redirect_error(url, f"more than {MAX_REDIRECTS} of them in a row")


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
    encodings = [
        name
        for part in response.headers.get("Content-Encoding", "").lower().split(",")
        if (name := part.strip().removeprefix("x-")) not in ("", "identity")
    ] or ["identity"]
    if encodings not in (["gzip"], ["deflate"], ["identity"]):
        raise RemoteInvalidError(
            f"{shown}: expected Content-Encoding gzip, deflate or none, "
            f"found {','.join(encodings)[:40]!r}",
            hint="the server ignores Accept-Encoding: tell the publisher",
        )
    declared = _content_length(response)
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


def _content_length(response: requests.Response) -> int:
    """The bytes that the server announced; 0 if it did not, or not validly."""
    text = response.headers.get("Content-Length", "").strip()
    if "Transfer-Encoding" in response.headers or not (text.isascii() and text.isdecimal()):
        return 0
    # More digits than any body has: Python refuses to read thousands of them.
    return int(text) if len(text) < 20 else 10**20


def _truncated(shown: str, found: str) -> TransientError:
    return TransientError(
        f"{shown}: expected a whole .torrent, found the connection closed after {found}",
        hint=TRY_LATER,
    )


def _bounded_s(timeout_s: float, deadline: float) -> float:
    return max(0.001, min(timeout_s, deadline - time.monotonic()))


def _merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; names differ in case only are the same, and the last one wins."""
    merged = {name.lower(): (name, value) for part in parts for name, value in part.items()}
    return dict(merged.values())


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that adds nothing: without one, requests would look into ``.netrc``."""
    return request


def _basic_auth(url: str) -> dict[str, str]:
    """The header for a URL's ``user:password@`` (RFC 7617); none without one."""
    userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return {}
    user, _, password = userinfo.partition(":")
    credentials = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
