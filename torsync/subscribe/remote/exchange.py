"""Requests over HTTP with ``requests``, redirects included, and what their answers declare.

This module imports requests, which takes a while; ``remote`` imports it when it is needed.
"""

from __future__ import annotations

import base64
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

import urllib3

from torsync import __version__
from torsync.subscribe.remote.addresses import (
    PrivateAddressError,
    has_public_address,
    is_public_address,
)
from torsync.subscribe.remote.failures import request_failure
from torsync.subscribe.remote.rules import (
    MAX_REDIRECTS,
    REDIRECTS,
    mask_url,
    may_send_headers,
    redirect_error,
    redirect_target,
)
from torsync.subscribe.remote.session import deadline_session

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from torsync.subscribe.remote.rules import Timeouts


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask: a URL, or where redirects from it have led.

    Attributes:
        url: without user and password.
        credentials: the header that the URL's user and password make (RFC 7617), or nothing.
        asked: the URL before all redirects, as it may be shown.
        led: the URL that redirects led to, as it may be shown; empty before the first one.
    """

    url: str
    credentials: Mapping[str, str]
    asked: str
    led: str = ""

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f"{self.asked} (redirected to {self.led})" if self.led else self.asked

    def redirected(self, url: str) -> Place:
        """Where a redirect leads from here."""
        return replace(place_of(url), asked=self.asked, led=mask_url(url))


def place_of(url: str) -> Place:
    """Take a URL apart into what is asked for and what is sent with it."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return Place(bare, _basic_auth(url), mask_url(url))


class Exchange:
    """Sends requests on behalf of a subscription, over connections that are kept.

    The subscription's headers, and the user and password of its URL, go to that URL's own
    scheme, host and port only, or to https on the same host. Proxies and certificate bundles of
    the environment are used as requests does; ``.netrc`` is not, as credentials that are not in
    the subscription would go out unseen. Cookies are not kept.
    """

    def __init__(
        self,
        origin: str,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        deadline: Callable[[], float],
        on_socket: Callable[[socket.socket], None] = lambda _socket: None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            origin: the URL that ``headers`` are configured for.
            headers: what the subscription configures, resolved.
            timeouts: of the connection and of silence.
            deadline: the one in force, on ``time.monotonic``'s clock; nothing is waited for
                after it.
            on_socket: given each socket once a request has been sent; what shuts it down ends
                the wait for the answer.
        """
        self._origin = origin
        self._own = _merged(_basic_auth(origin), headers)
        self._timeouts = timeouts
        self._deadline = deadline
        self._asked = origin
        self._is_origin_public: bool | None = None
        self._session = deadline_session(timeouts.read_s, deadline, on_socket, self._check_address)

    def __enter__(self) -> Exchange:  # noqa: PYI034  Self needs Python 3.11
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    @contextmanager
    def ask(
        self, method: str, place: Place, conditions: Mapping[str, str]
    ) -> Iterator[tuple[requests.Response, Place]]:
        """Send a request, follow redirects, and give the last answer and where it came from.

        What fails while the answer is read fails as the request does.

        Args:
            method: such as GET.
            place: where to ask; that of an earlier answer saves its redirects.
            conditions: headers that are sent wherever a redirect leads.

        Raises:
            TransientError: another attempt may succeed.
            RemoteUnreachableError: no answer, or a refused redirect.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._asked = place.url
            is_own = may_send_headers(self._origin, place.url)
            sent = _merged(
                {"User-Agent": f"torsync/{__version__}", "Accept": "*/*"},
                self._own if is_own else place.credentials,
                {"Accept-Encoding": "gzip, deflate"},
                conditions,
            )
            try:
                with self._send(method, place.url, sent) as response:
                    if response.status_code not in REDIRECTS:
                        yield response, place
                        return
                    location = response.headers.get("Location", "")
            except (OSError, urllib3.exceptions.HTTPError) as error:
                # Their texts hold whole URLs and header values: neither shown nor chained.
                failure = request_failure(error, place.shown, self._timeouts, self._deadline())
                raise failure from None
            # http.client reads headers as Latin-1; those beyond ASCII are UTF-8 in practice.
            location = location.encode("latin-1", "replace").decode("utf-8", "replace")
            place = place.redirected(redirect_target(place.url, location))
        raise redirect_error(place.asked, f"more than {MAX_REDIRECTS} of them in a row")

    def _check_address(self, address: str) -> None:
        """Refuse to be led from a server on the internet into this network, or this machine.

        Whoever answers the subscription's URL could else have this machine send requests to those
        that are not to be reached from outside.
        """
        is_public = is_public_address(address)
        if urlsplit(self._asked).hostname == urlsplit(self._origin).hostname:
            self._is_origin_public = is_public
        elif not is_public:
            if self._is_origin_public is None:
                self._is_origin_public = has_public_address(urlsplit(self._origin).hostname or "")
            if self._is_origin_public:
                raise PrivateAddressError(address)

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> requests.Response:
        return self._session.request(
            method,
            url,
            # Bytes: http.client would refuse text beyond Latin-1, and show it.
            headers={
                name: value.encode("utf-8", "surrogateescape") for name, value in headers.items()
            },
            auth=_keep_headers,
            timeout=(
                self._bounded_s(self._timeouts.connect_s),
                self._bounded_s(self._timeouts.read_s),
            ),
            allow_redirects=False,
            stream=True,
        )

    def _bounded_s(self, timeout_s: float) -> float:
        return max(0.001, min(timeout_s, self._deadline() - time.monotonic()))


def content_length(response: requests.Response) -> int | None:
    """The bytes that the server announced; None if it did not, or not validly."""
    text = response.headers.get("Content-Length", "").strip()
    if "Transfer-Encoding" in response.headers or not (text.isascii() and text.isdecimal()):
        return None
    # More digits than any body has: Python refuses to read thousands of them.
    return int(text) if len(text) < 20 else 10**20


def content_encodings(response: requests.Response) -> list[str]:
    """The encodings of the body in the order applied; ``identity`` if there is none."""
    return [
        name
        for part in response.headers.get("Content-Encoding", "").lower().split(",")
        if (name := part.strip().removeprefix("x-")) not in ("", "identity")
    ] or ["identity"]


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
