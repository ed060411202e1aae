"""The poll: fetch the remote ``.torrent``, or learn that it has not changed."""

from __future__ import annotations

import hashlib
import os
import random as _random
import time
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from torsync.model.config import DEFAULT_MAX_TORRENT_BYTES
from torsync.model.errors import InterruptedByUserError, RemoteUnreachableError
from torsync.subscribe.remote.body import check_body
from torsync.subscribe.remote.local import file_path, read_regular_file
from torsync.subscribe.remote.rules import (
    Timeouts,
    TransientError,
    check_url,
    mask_url,
    resolve_headers,
    retry_delay_s,
)
from torsync.subscribe.remote.worker import run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Fetched", "NotModified", "Remote", "Timeouts", "Validators"]

_DEFAULT_TIMEOUTS = Timeouts()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server gave for a conditional request (RFC 9110, section 8.8); may be empty."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes at the URL: not parsed yet, a bencoded dictionary at first sight.

    Attributes:
        body: the whole ``.torrent``.
        sha256: of the body, in hexadecimal.
        validators: for the next poll.
    """

    body: bytes
    sha256: str
    validators: Validators


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server says that the ``.torrent`` is the one that the validators came with."""


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


class Remote:
    """One remote ``.torrent``: an http, https or file URL.

    Over HTTP, the proxies and certificate bundles that the environment names are used
    (``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``), ``.netrc`` is not: credentials
    come from the URL or from ``headers`` only, and go to no other host than the URL's.
    Messages show no header values, passwords or query strings.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        max_bytes: int = DEFAULT_MAX_TORRENT_BYTES,
        environ: Mapping[str, str] | None = None,
        timeouts: Timeouts = _DEFAULT_TIMEOUTS,
        wait: Callable[[float], bool] = _sleep,
        stopping: Callable[[], bool] | None = None,
        random: Callable[[], float] = _random.random,
        check: Callable[[bytes, str], None] = check_body,
    ) -> None:
        """Take what a poll needs; nothing is read or sent yet.

        Args:
            url: the ``.torrent``; http, https or file.
            headers: for the requests; a value ``env:NAME`` is looked up at each poll.
            max_bytes: the largest ``.torrent`` that is accepted.
            environ: where ``env:NAME`` is looked up; None: this process's environment.
            timeouts: of connection, silence and the whole poll; the number of attempts.
            wait: sleeps the seconds between attempts; True: the work shall stop.
            stopping: asked while a server is waited for; True: the work shall stop. None: it is
                waited for to the end.
            random: in [0, 1), for the jitter of the waits.
            check: refuses a body that is not what the URL should lead to.

        Raises:
            ConfigError: the URL is none that can be polled.
        """
        self._scheme = check_url(url).scheme
        self._url = url
        self._path = file_path(url) if self._scheme == "file" else ""
        self._headers = headers
        self._max_bytes = max_bytes
        self._environ = environ
        self._timeouts = timeouts
        self._wait = wait
        self._stopping = stopping
        self._random = random
        self._check = check

    def poll(
        self, validators: Validators | None = None, *, uncached: bool = False
    ) -> Fetched | NotModified:
        """Fetch the ``.torrent``; failures that may pass are tried again.

        Args:
            validators: of the last fetch, if the server shall send only what is new.
            uncached: caches on the way shall ask the server (RFC 9111, section 5.2.1.4).

        Raises:
            ConfigError: a header's environment variable is missing, or cannot be sent.
            RemoteUnreachableError: the URL did not answer properly.
            RemoteInvalidError: what it sent is no ``.torrent``, or too large.
            InterruptedByUserError: ``wait`` or ``stopping`` said so.
        """
        deadline = time.monotonic() + self._timeouts.total_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(validators or Validators(), deadline, uncached=uncached)
            except TransientError as error:
                failure = error
            delay_s = retry_delay_s(
                attempt, self._timeouts.backoff_s, failure.retry_after_s, self._random()
            )
            if attempt >= self._timeouts.attempts or time.monotonic() + delay_s >= deadline:
                times = "once" if attempt == 1 else f"{attempt} times"
                raise RemoteUnreachableError(
                    f"{failure.message} (tried {times})", hint=failure.hint
                )
            if self._wait(delay_s):
                raise self._left()

    def _attempt(
        self, validators: Validators, deadline: float, *, uncached: bool
    ) -> Fetched | NotModified:
        if self._scheme == "file":
            body = read_regular_file(self._path, mask_url(self._url), self._max_bytes)
            return self._fetched(body, mask_url(self._url), Validators())
        from torsync.subscribe.remote.http import get  # noqa: PLC0415  requests imports slowly

        conditions = {
            "If-None-Match": validators.etag,
            "If-Modified-Since": validators.last_modified,
            "Cache-Control": "no-cache" if uncached else "",
        }
        environ = os.environ if self._environ is None else self._environ
        ask = partial(
            get,
            self._url,
            headers=resolve_headers(self._headers, environ),
            conditions={name: value for name, value in conditions.items() if value},
            max_bytes=self._max_bytes,
            timeouts=self._timeouts,
            deadline=deadline,
        )
        # What waits for a silent server, or for a name, cannot be interrupted, only left.
        answer = ask() if self._stopping is None else run_until(ask, self._stopping)
        if answer is None:
            raise self._left()
        if answer.body is None:
            return NotModified()
        given = Validators(etag=answer.etag, last_modified=answer.last_modified)
        return self._fetched(answer.body, answer.shown_url, given)

    def _left(self) -> InterruptedByUserError:
        return InterruptedByUserError(f"{mask_url(self._url)}: stopped while it was polled")

    def _fetched(self, body: bytes, shown_url: str, validators: Validators) -> Fetched:
        self._check(body, shown_url)
        return Fetched(body=body, sha256=hashlib.sha256(body).hexdigest(), validators=validators)
