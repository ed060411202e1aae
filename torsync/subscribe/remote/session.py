"""The session that requests are sent with: no cookies or redirects, a deadline on every read."""

from __future__ import annotations

import http.client
import io
import time
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer


def deadline_session(
    read_s: float,
    deadline: Callable[[], float],
    on_socket: Callable[[socket.socket], None],
    on_address: Callable[[str], None],
) -> requests.Session:
    """Make a session whose reads end after ``read_s`` of silence, and at the deadline.

    Args:
        read_s: the longest silence of the server.
        deadline: the one in force, on ``time.monotonic``'s clock.
        on_socket: given the socket that an answer is about to be read from.
        on_address: given the IP address of a server that is connected to, before anything is sent;
            not called where a proxy connects. It may raise an ``OSError``.
    """
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for prefix in ("https://", "http://"):
        session.mount(prefix, _DeadlineAdapter(read_s, deadline, on_socket, on_address))
    return session


class _Session(requests.Session):
    """A session that leaves redirects alone."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: requests would read a redirect's body, however long it is."""


class _DeadlineAdapter(HTTPAdapter):
    """Makes every read from a socket end at the deadline, while headers arrive too.

    The time-out of requests is for each read: a server that sends a byte now and then
    would hold the poll for ever.
    """

    def __init__(
        self,
        read_s: float,
        deadline: Callable[[], float],
        on_socket: Callable[[socket.socket], None],
        on_address: Callable[[str], None],
    ) -> None:
        self._on_address = on_address
        self._response_class = partial(
            _DeadlineResponse, read_s=read_s, deadline=deadline, on_socket=on_socket
        )
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._limit(self.poolmanager, self._on_address)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not known:
            self._limit(manager, None)
        return manager

    def close(self) -> None:
        # urllib3 itself waits for the garbage collector, as failures refer to what they fail in.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                manager.pools[key].close()
        super().close()

    def _limit(self, manager: Any, on_address: Callable[[str], None] | None) -> None:
        # Derived from the classes found there, as those of a SOCKS proxy are others.
        manager.pool_classes_by_scheme = {
            scheme: type(
                pool.__name__,
                (pool,),
                {
                    "ConnectionCls": _connection_class(
                        pool.ConnectionCls, staticmethod(self._response_class), on_address
                    )
                },
            )
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }


def _connection_class(
    base: type[Any], response_class: object, on_address: Callable[[str], None] | None
) -> type[Any]:
    """A class of connections that answer with ``response_class`` and tell where they lead."""

    def new_connection(self: Any) -> socket.socket:
        connected: socket.socket = base._new_conn(self)  # noqa: SLF001 - before TLS, as urllib3 has it
        if on_address is not None:
            try:
                on_address(connected.getpeername()[0])
            except BaseException:
                connected.close()
                raise
        return connected

    return type(
        base.__name__, (base,), {"response_class": response_class, "_new_conn": new_connection}
    )


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(
        self,
        sock: socket.socket,
        *args: Any,
        read_s: float,
        deadline: Callable[[], float],
        on_socket: Callable[[socket.socket], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        on_socket(sock)
        self._reader = _DeadlineReader(self.fp.detach(), sock, read_s, deadline)
        self.fp = _BoundedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the headers are incomplete")
        # urllib3 would log what it cannot parse, with the whole URL.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _BoundedReader(io.BufferedReader):
    """Reads as much as was asked for.

    A chunk (RFC 9112, section 7.1) whose size is negative would have http.client read all that
    ever comes, at once.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            raise http.client.HTTPException("a read without a limit")
        return super().read(size)


class _DeadlineReader(io.RawIOBase):
    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        read_s: float,
        deadline: Callable[[], float],
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._read_s = read_s
        self._deadline = deadline
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left_s = self._deadline() - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(min(self._read_s, left_s))
        count = self._raw.readinto(buffer)
        self.ended = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
