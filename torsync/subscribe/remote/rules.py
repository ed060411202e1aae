"""What the poll decides: which headers go where, which redirect is followed, what a status means.

Nothing here reads or sends anything; ``http`` carries out what is decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from torsync.model.errors import ConfigError, RemoteUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.errors import TorsyncError

MAX_REDIRECTS = 10
MAX_WAIT_S = 30.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_SETTLED_S = 2.0
_MOST_SHOWN = 500  # characters of a URL; a redirect may have any number
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1: a token
# One tag, as RFC 9110, section 8.8.3 has it, or without the quotes, as some servers do.
_ENTITY_TAG = re.compile(r'(?:W/)?"[!#-~]{0,1000}"|[A-Za-z0-9._:+/=-]{1,1000}', re.ASCII)
_DELAY_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a poll may take, and how often it is tried.

    Attributes:
        connect_s: for a connection to one address, TLS handshake included.
        read_s: the longest silence of a connected server.
        total_s: for the whole poll, with redirects, all attempts and the waits between them.
        attempts: requests that may fail for a passing reason before the poll fails.
        backoff_s: upper bound of the first wait; it doubles up to ``MAX_WAIT_S``.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 300.0
    attempts: int = 4
    backoff_s: float = 0.5


class TransientError(RemoteUnreachableError):
    """A failure that may have passed when the request is sent again.

    Attributes:
        retry_after_s: what the server asked to wait; 0 if it did not say.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ConnectionLostError(TransientError):
    """The other side closed the connection."""


class RemoteMissingError(RemoteUnreachableError):
    """There is nothing at the URL."""


def mask_url(url: str) -> str:
    """Show a URL without what may be secret in it: password, query and fragment.

    A name without a password is hidden as well, for it is often a token. Of a long one, such as a
    redirect to anything, only the beginning is shown.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a malformed URL)"
    if parts.scheme == "file":
        return _shown(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    shown = f"{user}:***@" if colon else "***@" if at else ""
    query = "?…" if parts.query else ""
    return _shown(f"{parts.scheme}://{shown}{host}{parts.path}{query}")


def check_url(url: str) -> SplitResult:
    """Split a subscription's URL, if it is one that can be polled.

    Raises:
        ConfigError: it is no http, https or file URL, or has no host or a wrong port.
    """
    problem = url_problem(url)
    if problem:
        raise ConfigError(
            f"url {mask_url(url)}: expected an http, https or file URL, found {problem}",
            hint="a URL looks like https://host/name.torrent or file:///folder/name.torrent",
        )
    return urlsplit(url)


def resolve_headers(headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Look up the ``env:NAME`` values of configured headers; no error shows a value.

    Raises:
        ConfigError: a variable is missing, or a name or value cannot be sent in a header.
    """
    resolved = {}
    for name, configured in headers.items():
        value = configured
        if configured.startswith("env:"):
            variable = configured[4:].strip()
            if variable not in environ:
                raise ConfigError(
                    f'header {name}: expected its value in the environment variable "{variable}", '
                    "which is not set",
                    hint=f"set {variable} where torsync runs, or change the subscription's headers",
                )
            value = environ[variable]
        value = value.strip()
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigError(
                f"header {_printable(name)!r}: expected a header name, "
                "found characters that none may have",
                hint="correct the name in the subscription's headers",
            )
        if any(ord(character) < 32 and character != "\t" for character in value):
            raise ConfigError(
                f"header {name}: expected one line of text, found a control character",
                hint="correct the value in the subscription's headers or in the environment",
            )
        resolved[name] = value
    return resolved


def may_send_headers(origin: str, target: str) -> bool:
    """Decide whether headers configured for ``origin`` may go to ``target``.

    They go to the same scheme, host and port, and from http to https on the same host: who
    sent that redirect has seen them already, and a way out of plain text is welcome.
    """
    old, new = urlsplit(origin), urlsplit(target)
    if old.hostname != new.hostname:
        return False
    return (old.scheme, new.scheme) == ("http", "https") or _endpoint(old) == _endpoint(new)


def redirect_target(current: str, location: str) -> str:
    """Decide where a redirect leads, as an absolute URL without a fragment.

    Raises:
        RemoteUnreachableError: it leads from https to http, to another scheme, or nowhere.
    """
    try:
        target = urljoin(current, location.strip())
        problem = "nothing" if not location.strip() else url_problem(target)
        parts = urlsplit(target)
    except ValueError:
        raise redirect_error(current, "a malformed URL") from None
    if problem or parts.scheme not in _DEFAULT_PORTS:
        raise redirect_error(current, problem or f"a {parts.scheme} URL")
    if urlsplit(current).scheme == "https" and parts.scheme == "http":
        raise RemoteUnreachableError(
            f"{mask_url(current)} redirects to {mask_url(target)}: expected https to stay https, "
            "found a redirect to plain http",
            hint="ask the publisher to redirect to https, or subscribe to the http URL itself",
        )
    return parts._replace(fragment="").geturl()


def redirect_error(url: str, found: str) -> RemoteUnreachableError:
    """The error for a redirect that is not followed."""
    return RemoteUnreachableError(
        f"{mask_url(url)}: expected a redirect to an http or https URL, found {found}",
        hint="check the URL; if it is right, the publisher has to mend the redirect",
    )


def said_of(wanted: str, failure: TorsyncError) -> str:
    """The message of a failure, where something else than a ``.torrent`` was asked for."""
    return failure.message.replace("expected a .torrent", f"expected {wanted}", 1)


def status_error(url: str, status: int, retry_after_s: float = 0.0) -> RemoteUnreachableError:
    """The error for an HTTP status other than success, redirect and "not modified".

    Args:
        url: as it shall be shown, masked already.
        status: the three digits.
        retry_after_s: from the header ``Retry-After``.
    """
    message = f"{url}: expected a .torrent, found status {status}{_phrase(status)}"
    if status in TRANSIENT_STATUSES:
        hint = "try again later; if it persists, ask the publisher about the server"
        return TransientError(message, hint=hint, retry_after_s=retry_after_s)
    if status in (401, 403):
        hint = "check headers in the subscription: the server does not accept the credentials"
    elif status == 407:
        hint = "check the proxy settings in the environment: the proxy wants credentials"
    elif status in (404, 410):
        hint = "check the URL: the server has nothing there (any more)"
        return RemoteMissingError(message, hint=hint)
    else:
        hint = "check the URL and the headers in the subscription"
    return RemoteUnreachableError(message, hint=hint)


def parse_retry_after_s(value: str, now: datetime) -> float:
    """Read ``Retry-After`` (RFC 9110, section 10.2.3): seconds or a date; 0 if it is neither."""
    text = value.strip()
    if _DELAY_SECONDS.fullmatch(text):
        return float(text)
    date = _parse_date(text)
    return 0.0 if date is None else max(0.0, (date - now).total_seconds())


def changed_lately(last_modified: str, date: str) -> bool:
    """Whether what was sent may change again without a sign of it in the validators.

    ``Last-Modified``, and the ``ETag`` that many servers make of it, count whole seconds: a
    ``.torrent`` that was replaced less than that before the answer can be replaced once more
    under the same validators (RFC 9110, section 8.8.2.2).
    """
    modified, answered = _parse_date(last_modified), _parse_date(date)
    if modified is None or answered is None:
        return False
    return (answered - modified).total_seconds() < _SETTLED_S


def usable_etag(etag: str) -> str:
    """Give back a header ``ETag`` that a later request may send; empty if none should.

    It is kept until the next release, so that a wrong one keeps that from ever being seen: ``*``
    and a list match releases to come, and what no request can carry makes all of them fail.
    """
    return etag if _ENTITY_TAG.fullmatch(etag) else ""


def usable_last_modified(last_modified: str, now: datetime) -> str:
    """Give back a header ``Last-Modified`` that a later request may send; empty if none should.

    Nothing that is published later would be newer than a date to come (RFC 9110, section 8.8.2.1).
    """
    date = _parse_date(last_modified)
    is_plain = last_modified.isascii() and last_modified.isprintable()
    is_usable = date is not None and date <= now and is_plain
    return last_modified if is_usable else ""


def _parse_date(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - costs start-up time

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def retry_delay_s(attempt: int, backoff_s: float, retry_after_s: float, random: float) -> float:
    """Decide the wait after the ``attempt``-th failure: full jitter, or what the server asks.

    Args:
        attempt: counts from 1.
        backoff_s: upper bound of the first wait.
        retry_after_s: what the server asked for; 0 if it did not.
        random: in [0, 1).
    """
    jittered = random * min(MAX_WAIT_S, backoff_s * 2.0 ** min(attempt - 1, 32))
    return max(jittered, min(retry_after_s, MAX_WAIT_S))


def url_problem(url: str) -> str:
    """What keeps a URL from being asked for; empty if nothing does."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "a malformed host or port"
    if parts.scheme == "file":
        return ""
    if parts.scheme not in _DEFAULT_PORTS:
        return f'the scheme "{_printable(parts.scheme)}"' if parts.scheme else "no scheme"
    if not parts.hostname:
        return "no host"
    return "port 0" if port == 0 else ""


def _endpoint(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def _shown(url: str) -> str:
    return _printable(url if len(url) <= _MOST_SHOWN else f"{url[:_MOST_SHOWN]}…")


def _printable(text: str) -> str:
    """Replace what could steer a terminal; URLs of redirects come from strangers."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
