"""Hints from a web server, by Range requests (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
import time
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.format import Range
from torsync.subscribe.remote.parts import UPLOAD, LocalHints, Part, PartsReader
from torsync.subscribe.remote.references import hints_url
from torsync.subscribe.remote.rules import (
    ConnectionLostError,
    Timeouts,
    resolve_headers,
    said_of,
    status_error,
    usable_etag,
)
from torsync.subscribe.remote.worker import cut_off, run_until
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    import requests

    from torsync.subscribe.remote.exchange import Exchange, Place
    from torsync.subscribe.shifts.source import HintsSource

__all__ = ["LocalHints", "RemoteHints", "hints_url", "open_hints"]

DEFAULT_MAX_HINT_BYTES = 64 * 1024 * 1024

_MOST_WHOLE_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_GRACE_S = 1.0  # what heeds the deadline itself can say what it waited for
_TIMEOUTS = Timeouts(connect_s=10.0, read_s=10.0, total_s=30.0, attempts=1)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)
_NOT_FOR_US = frozenset({401, 403, 404, 410})
_SLOW = "the server or the network is slow: the next update will try again"
_NO_RANGES = "the publisher needs a server that heeds Range requests, as most web servers do"


def open_hints(
    url: str,
    *,
    origin: str,
    headers: Mapping[str, str] = _NO_HEADERS,
    stopping: Callable[[], bool] = lambda: False,
    max_bytes: int = DEFAULT_MAX_HINT_BYTES,
    timeouts: Timeouts = _TIMEOUTS,
) -> HintsSource:
    """Prepare to read a hints file; nothing is opened or sent before the first reading.

    Args:
        url: from ``hints_url``: http, https or file.
        origin: the subscription's URL: its headers and password go to no other server.
        headers: of the subscription; a value ``env:NAME`` is looked up.
        stopping: whether the work shall stop.
        max_bytes: the most that is ever received.
        timeouts: of connection, silence, and all readings together.
    """
    if url.partition(":")[0].lower() == "file":
        return LocalHints(url, stopping=stopping, max_bytes=max_bytes)
    return RemoteHints(
        url,
        origin=origin,
        headers=headers,
        stopping=stopping,
        max_bytes=max_bytes,
        timeouts=timeouts,
    )


class _Version(NamedTuple):
    """What tells versions of the file apart."""

    etag: str
    last_modified: str
    size: int


class RemoteHints(PartsReader):
    """Hints on a web server, read over one connection that is kept.

    Nothing that goes wrong is tried again, for an update can do without hints; only a connection
    that the server closed between two requests is made anew.
    """

    def __init__(
        self,
        url: str,
        *,
        origin: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        stopping: Callable[[], bool] = lambda: False,
        max_bytes: int = DEFAULT_MAX_HINT_BYTES,
        timeouts: Timeouts = _TIMEOUTS,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: http or https.
            origin: the subscription's URL: its headers and password go to no other server.
            headers: of the subscription; a value ``env:NAME`` is looked up.
            stopping: whether the work shall stop.
            max_bytes: the most that is ever received.
            timeouts: of connection and silence; ``total_s`` is for all that is spent in ``read``.
            environ: where ``env:NAME`` is looked up; None: this process's environment.
            clock: gives seconds that only grow, to tell how long a reading took.
        """
        super().__init__(url, stopping=stopping, max_bytes=max_bytes)
        self._origin = origin
        self._headers = headers
        self._timeouts = timeouts
        self._environ = environ
        self._clock = clock
        self._left_s = timeouts.total_s
        self._deadline = 0.0
        self._exchange: Exchange | None = None
        self._place: Place | None = None
        self._socket: socket.socket | None = None
        self._version: _Version | None = None
        self._whole: bytes | None = None
        self._is_kept = False
        self._is_answered = False

    def close(self) -> None:
        """Close the connection; who waits for it is left."""
        super().close()
        if self._socket is not None:
            cut_off(self._socket)
        if self._exchange is not None:
            self._exchange.close()

    def _fetch(self, spans: Sequence[Range]) -> list[Part]:
        if not spans:
            return []
        if self._whole is None:
            self._check_limit(sum(span.length for span in spans))
            if self._version is not None:
                self._check_end(spans[-1], self._version.size)
            if self._left_s <= 0:
                raise self._too_slow()
            parts = self._fetch_in_time(spans)
        if self._whole is not None:
            self._check_end(spans[-1], len(self._whole))
            return [Part(Range(0, len(self._whole)), self._whole)]
        return parts

    def _fetch_in_time(self, spans: Sequence[Range]) -> list[Part]:
        began_s = self._clock()
        self._deadline = time.monotonic() + self._left_s
        last = self._deadline + _GRACE_S
        parts = run_until(
            partial(self._ask_all, spans),
            lambda: self._stopping() or time.monotonic() >= last,
        )
        self._left_s -= self._clock() - began_s
        if parts is not None:
            return parts
        if time.monotonic() >= last:
            raise self._too_slow()
        self.close()
        raise self._stopped()

    def _too_slow(self) -> HintsUnavailableError:
        found = f", found no complete answer within {self._timeouts.total_s:g} s"
        return self._unavailable(found, hint=_SLOW)

    def _ask_all(self, spans: Sequence[Range]) -> list[Part]:
        parts = []
        for span in spans:
            parts.append(Part(span, self._ask_once_more(span)))
            # The first answer may have brought everything; or nobody waits for the rest.
            if self._whole is not None or self._failure is not None:
                break
        return parts

    def _ask_once_more(self, span: Range) -> bytes:
        was_kept = self._is_kept
        try:
            return self._ask(span)
        except ConnectionLostError:
            if not was_kept or self._is_answered or self._failure is not None:
                raise
        return self._ask(span)

    def _ask(self, span: Range) -> bytes:
        self._is_kept = self._is_answered = False
        exchange, place = self._opened()
        conditions = {
            "Range": f"bytes={span.offset}-{span.end - 1}",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",  # the release before had its hints at the same URL
        }
        etag = "" if self._version is None else usable_etag(self._version.etag)
        if etag.startswith('"'):  # a weak one may not be sent (RFC 9110, section 13.1.5)
            conditions["If-Range"] = etag
        with exchange.ask("GET", place, conditions) as (response, answering):
            self._is_answered = True
            data = self._answer(response, span, answering.shown)
        self._place = answering
        self._is_kept = True
        return data

    def _opened(self) -> tuple[Exchange, Place]:
        if self._exchange is None or self._place is None:
            from torsync.subscribe.remote.exchange import (  # noqa: PLC0415  imports slowly
                Exchange,
                place_of,
            )

            environ = os.environ if self._environ is None else self._environ
            self._place = place_of(self._url)
            self._exchange = Exchange(
                self._origin,
                headers=resolve_headers(self._headers, environ),
                timeouts=self._timeouts,
                deadline=lambda: self._deadline,
                on_socket=self._note_socket,
            )
        return self._exchange, self._place

    def _note_socket(self, connected: socket.socket) -> None:
        self._socket = connected
        if self._failure is not None:
            cut_off(connected)

    def _answer(self, response: requests.Response, span: Range, shown: str) -> bytes:
        from torsync.subscribe.remote.exchange import (  # noqa: PLC0415  imports slowly
            content_encodings,
            content_length,
        )

        status = response.status_code
        if status not in {200, 206}:
            if status == 416:
                raise self._ends_early(span, "status 416 (Range Not Satisfiable)", shown)
            error = status_error(shown, status)
            hint = UPLOAD if status in _NOT_FOR_US else error.hint
            raise HintsUnavailableError(said_of("hints", error), hint=hint)
        encodings = content_encodings(response)
        if encodings != ["identity"]:
            found = f" as they are, found Content-Encoding {','.join(encodings)[:40]!r}"
            raise self._unavailable(found, shown)
        declared = content_length(response)
        if status == 206:
            self._check_part(response, span, shown)
            if declared not in (None, span.length):
                found = f", found {declared} bytes where {span.length} were asked for"
                raise self._unavailable(found, shown)
            return self._read_body(response, span.length, shown)
        if self._version is not None:
            raise self._changed(shown)
        if declared is None or declared > _MOST_WHOLE_BYTES:
            size = "of unknown size" if declared is None else f"of {declared} bytes"
            found = f" in parts, found that the server sends all of a file {size}"
            raise self._unavailable(found, shown, hint=_NO_RANGES)
        self._check_end(span, declared, shown)
        self._check_limit(declared)
        self._whole = self._read_body(response, declared, shown)
        return b""

    def _check_part(self, response: requests.Response, span: Range, shown: str) -> None:
        told = response.headers.get("Content-Range", "")
        asked = f" with bytes {span.offset} to {span.end - 1}"
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if match is None:
            raise self._unavailable(f"{asked}, found Content-Range {told[:80]!r}", shown)
        first, last, size = map(int, match.groups())
        version = _Version(
            response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""), size
        )
        if self._version not in (None, version):
            raise self._changed(shown)
        self._check_end(span, size, shown)
        if (first, last) != (span.offset, span.end - 1):
            raise self._unavailable(f"{asked}, found bytes {first} to {last}", shown)
        self._version = version

    def _read_body(self, response: requests.Response, count: int, shown: str) -> bytes:
        """Read a body that has to have ``count`` bytes, to its end: the connection is kept then."""
        data = bytearray()
        # Checked here: not all versions of urllib3 do.
        response.raw.enforce_content_length = False
        while len(data) <= count:
            most = min(_CHUNK_BYTES, count + 1 - len(data))
            chunk = response.raw.read(most, decode_content=False)
            if not chunk:
                break
            data += chunk
            self.bytes_received += len(chunk)
        if len(data) > count:
            raise self._unavailable(f", found more than the {count} bytes that are due", shown)
        if len(data) < count:
            found = f", found the connection closed after {len(data)} of {count} bytes"
            raise self._unavailable(found, shown, hint=_SLOW)
        return bytes(data)
