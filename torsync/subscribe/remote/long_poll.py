"""Learn of a new release at once, where the server holds a request until there is one.

RFC 7240, section 4.3: ``Prefer: wait=N`` asks the server to wait for up to N seconds before it
says that nothing has changed, and ``Preference-Applied`` says that it does. A thread holds such
a request between polls. It only says that there is news: what is new is fetched by a poll.
"""

from __future__ import annotations

import os
import random as _random
import threading
import time
from collections import deque
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import TorsyncError
from torsync.subscribe.remote.rules import Timeouts, resolve_headers
from torsync.subscribe.remote.worker import cut_off

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from torsync.subscribe.remote.poll import Validators

WAIT_S = 50  # many proxies cut what is silent for 60 s
_MARGIN_S = 10.0
_CONNECT_S = 10.0
_HELD_S = 10.0  # a request that took less was not held
_AGAIN_S = 0.5
_FIRST_PAUSE_S = 1.0  # a server that is restarted is soon back
_LONGEST_PAUSE_S = 300.0
_MOST_PASSED_OVER = 63
_MOST_NEWS = 10
_NEWS_WITHIN_S = 60.0
_CLOSE_PATIENCE_S = 1.0


class Outcome(Enum):
    """How a request ended."""

    NEWS = "news"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"
    FAILED = "failed"
    UNREACHED = "unreached"


class Known(NamedTuple):
    """What the last poll got.

    Attributes:
        etag: of it; without one there is nothing to wait for.
        last_modified: of it; may be empty.
        sha256: of its body.
    """

    etag: str
    last_modified: str
    sha256: str


def judge(status: int, etag: str, known_etag: str, *, is_applied: bool) -> Outcome:
    """Decide what an answer means.

    Args:
        status: of the answer.
        etag: its header; may be empty.
        known_etag: what the client has.
        is_applied: whether the server said that it honours ``wait``.
    """
    if status not in {200, 304}:
        return Outcome.FAILED
    if not is_applied:
        return Outcome.IGNORED
    if status == 304:
        return Outcome.UNCHANGED
    # A proxy that compresses makes a tag weak; it is the same version (RFC 9110, section 8.8.3.2).
    if not etag or etag.removeprefix("W/") == known_etag.removeprefix("W/"):
        return Outcome.IGNORED
    return Outcome.NEWS


class Pace:
    """Decides when to ask again, so that no server is asked more often than it is held."""

    def __init__(self) -> None:
        self._unheld = 0
        self._ignored = 0
        self._passes_over = 0
        self._news_s: deque[float] = deque(maxlen=_MOST_NEWS)

    def pause_s(self, outcome: Outcome, took_s: float) -> float | None:
        """Decide how long to wait; None: until the next check.

        Proxies cut silent connections, and servers restart: neither is worth telling.

        Args:
            outcome: of the last request; not news.
            took_s: how long it was under way.
        """
        if outcome is Outcome.IGNORED:
            self._passes_over = min(2**self._ignored - 1, _MOST_PASSED_OVER)
            self._ignored = min(self._ignored + 1, 10)
            return None
        self._ignored = 0
        if took_s >= _HELD_S and outcome is not Outcome.UNREACHED:
            self._unheld = 0
            return _AGAIN_S
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._unheld, _LONGEST_PAUSE_S)
        self._unheld = min(self._unheld + 1, 10)
        return pause_s

    def takes_news(self, now_s: float) -> bool:
        """Whether to act on news; not if a server has something new whenever it is asked."""
        self._ignored = self._unheld = 0
        if len(self._news_s) == _MOST_NEWS and now_s - self._news_s[0] < _NEWS_WITHIN_S:
            return False
        self._news_s.append(now_s)
        return True

    def passes_over(self) -> bool:
        """Whether to leave out this check's request: servers that ignore it get ever fewer."""
        if not self._passes_over:
            return False
        self._passes_over -= 1
        return True


def _ignore() -> None:
    pass


class LongPoll:
    """Waits for news of one URL in a thread of its own, from the first ``arm`` to ``close``."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        ask: Callable[[Known], Outcome] | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        on_news: Callable[[], None] = _ignore,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: of the ``.torrent``; other than http and https there is nothing to wait for.
            headers: for the requests; a value ``env:NAME`` is looked up for each.
            ask: instead of a request, for tests.
            clock: gives seconds that only grow.
            random: in [0, 1), so that subscribers don't come in step after a server's restart.
            on_news: called when ``take_news`` has something to tell, in this one's thread.
        """
        self._url = url
        self._headers = headers
        self._ask = ask or self._hold
        self._clock = clock
        self._random = random
        self._on_news = on_news
        self._is_http = url.partition(":")[0].lower() in {"http", "https"}
        self._changed = threading.Condition()
        self._pace = Pace()
        self._armed: Known | None = None
        self._arms = 0
        self._news_for = ""  # the digest of what the server had something newer than
        self._is_news = False
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @property
    def is_listening(self) -> bool:
        """Whether there may be news at any moment."""
        return self._armed is not None or self._is_news

    def arm(self, validators: Validators, sha256: str) -> None:
        """Wait for something newer than what a check has just found.

        Args:
            validators: that came with it.
            sha256: of its body.
        """
        known = Known(validators.etag, validators.last_modified, sha256)
        with self._changed:
            self._arms += 1
            if self._is_closed or not self._is_http:
                return
            if self._news_for == sha256:
                # The check began before the news; or it was led by them, and found none: then
                # the server is not to be believed until the next check.
                if not self._is_news:
                    self._news_for = ""
                return
            self._news_for, self._is_news = "", False
            if known != self._armed:
                self._cut()
                self._armed = known if known.etag and not self._pace.passes_over() else None
            self._changed.notify_all()
            if self._armed is not None and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="long-poll", daemon=True)
                self._thread.start()

    def take_news(self) -> bool:
        """Whether the server has something new; True once."""
        with self._changed:
            found, self._is_news = self._is_news, False
            return found

    def close(self) -> None:
        """Wait no more. A connection that is only being made is left to end by itself."""
        with self._changed:
            self._is_closed = True
            self._armed = None
            self._cut()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_PATIENCE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._armed is not None or self._is_closed)
                if self._armed is None:
                    return
                known = self._armed
            began_s = self._clock()
            outcome = self._ask(known)
            with self._changed:
                self._socket = None
                if self._armed is known:
                    self._act(outcome, known, self._clock() - began_s)

    def _act(self, outcome: Outcome, known: Known, took_s: float) -> None:
        if outcome is Outcome.NEWS:
            self._armed = None
            if self._pace.takes_news(self._clock()):
                self._news_for, self._is_news = known.sha256, True
                self._on_news()
            return
        pause_s = self._pace.pause_s(outcome, took_s)
        if pause_s is None:
            self._armed = None
            return
        arms = self._arms
        self._changed.wait_for(
            lambda: self._arms != arms or self._is_closed, pause_s * (0.5 + self._random())
        )

    def _hold(self, known: Known) -> Outcome:
        from torsync.subscribe.remote.http import hold  # noqa: PLC0415  requests imports slowly

        conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
        read_s = WAIT_S + _MARGIN_S
        try:
            held = hold(
                self._url,
                headers=resolve_headers(self._headers, os.environ),
                conditions={name: value for name, value in conditions.items() if value},
                wait_s=WAIT_S,
                timeouts=Timeouts(connect_s=_CONNECT_S, read_s=read_s, attempts=1),
                deadline=time.monotonic() + _CONNECT_S + read_s,
                on_socket=partial(self._note_socket, known),
            )
        except TorsyncError:
            # What is wrong, the next check tells.
            return Outcome.UNREACHED if self._socket is None else Outcome.FAILED
        return judge(held.status, held.etag, known.etag, is_applied=held.is_applied)

    def _note_socket(self, known: Known, connected: socket.socket) -> None:
        with self._changed:
            self._socket = connected
            if self._armed is not known:
                self._cut()

    def _cut(self) -> None:
        """End the request that is held."""
        if self._socket is not None:
            cut_off(self._socket)
