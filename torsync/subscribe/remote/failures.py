"""What the exceptions of requests, urllib3, ssl and the system mean for a poll."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from torsync.model.errors import RemoteUnreachableError
from torsync.subscribe.remote.addresses import PrivateAddressError
from torsync.subscribe.remote.rules import ConnectionLostError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torsync.subscribe.remote.rules import Timeouts

TRY_LATER = "check the network; if other hosts answer, the publisher's server is down: try later"
_LOST = "the connection closed by the other side"
_LOST_TLS = "the TLS connection closed before the answer was complete"
_CERTIFICATE = (
    "check this machine's clock and the host name in the URL; "
    "name a private authority's certificate in REQUESTS_CA_BUNDLE"
)


def request_failure(
    error: Exception, shown: str, timeouts: Timeouts, deadline: float
) -> RemoteUnreachableError:
    """Turn an exception of requests, urllib3, ssl or the system into one of ours.

    Args:
        error: what was raised; its text is not used where it may hold URLs or header values.
        shown: the URL as it shall be shown, masked already.
        timeouts: that were in force.
        deadline: on ``time.monotonic``'s clock.
    """
    found, hint, transient = _explain(list(_causes(error)), timeouts, deadline)
    if isinstance(error, requests.exceptions.ProxyError):
        found, hint = f"the proxy failed: {found}", "check the proxy settings in the environment"
    message = f"{shown}: expected a .torrent, found {found}"
    if found in {_LOST, _LOST_TLS}:
        return ConnectionLostError(message, hint=hint)
    if transient:
        return TransientError(message, hint=hint)
    return RemoteUnreachableError(message, hint=hint)


def _explain(
    causes: list[BaseException], timeouts: Timeouts, deadline: float
) -> tuple[str, str, bool]:
    """Decide what is found, the hint, and whether another attempt may help."""

    def first(*kinds: type[BaseException]) -> Any:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if private := first(PrivateAddressError):
        return (
            f"a server on the internet that leads to {private.address}, which is in this network",
            "it is not followed; if that is meant to be, use the URL there itself",
            False,
        )
    if refusal := next(filter(None, map(_certificate_refusal, causes)), ""):
        return f"a certificate that is not accepted: {refusal}", _CERTIFICATE, False
    if time.monotonic() >= deadline:
        return f"no complete answer within {timeouts.total_s:g} s", TRY_LATER, True
    if first(ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return _LOST_TLS, TRY_LATER, True
    if first(ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        reason = getattr(first(ssl.SSLError), "reason", None) or "unknown reason"
        return (
            f"no usable TLS connection: {reason}",
            "check that the URL's scheme and port belong together",
            False,
        )
    if failed := first(socket.gaierror):
        return (
            f"no address for the host name ({failed.strerror})",
            "check the host name in the URL, and the network",
            True,
        )
    # Not urllib3's own: its class for a time-out includes refused connections.
    if first(requests.exceptions.ConnectTimeout):
        return f"no connection within {timeouts.connect_s:g} s", TRY_LATER, True
    if first(TimeoutError, urllib3.exceptions.ReadTimeoutError):
        return f"no data in time (limit {timeouts.read_s:g} s)", TRY_LATER, True
    if first(ConnectionRefusedError):
        return "the connection refused", "check host and port in the URL; " + TRY_LATER, True
    if first(ConnectionError):
        return _LOST, TRY_LATER, True
    if first(http.client.IncompleteRead, urllib3.exceptions.IncompleteRead):
        return "the connection closed before the body was complete", TRY_LATER, True
    if failed := next((c for c in causes if isinstance(c, OSError) and c.errno), None):
        return failed.strerror or "a system error", TRY_LATER, True
    if first(http.client.HTTPException, urllib3.exceptions.ProtocolError):
        return "an answer that is not HTTP", "check host and port in the URL", True
    if first(requests.exceptions.InvalidProxyURL):
        return "a malformed proxy URL", "check the proxy settings in the environment", False
    if first(requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError):
        return "a URL that cannot be requested", "check the URL", False
    if failed := next((cause for cause in causes if type(cause) is OSError), None):
        return (
            str(failed)[:200],
            "check the proxy and certificate settings in the environment",
            False,
        )
    return type(causes[0]).__name__, "check the URL and the proxy settings", False


def _certificate_refusal(cause: BaseException) -> str:
    """Why a certificate was not accepted; empty if the cause is another."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return getattr(cause, "verify_message", "") or "unknown reason"
    # urllib3 compares host names itself at times; where its class is defined differs by version.
    return str(cause) if type(cause).__name__ == "CertificateError" else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps: urllib3 and requests nest them in four ways."""
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        nested = [current.__cause__, getattr(current, "reason", None), *current.args]
        # Only urllib3's: the context of others may be what the caller is handling.
        if isinstance(current, urllib3.exceptions.HTTPError):
            nested.append(current.__context__)
        waiting.extend(cause for cause in nested if isinstance(cause, BaseException))
