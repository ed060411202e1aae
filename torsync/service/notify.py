"""Notifications through apprise: e-mail, chats, webhooks. Nothing waits for them to be sent."""

from __future__ import annotations

import logging
import queue
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import ConfigError
from torsync.model.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apprise import Apprise

    from torsync.model.events import EventSink
    from torsync.model.update_report import Message

_MOST_WAITING = 100
_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.1
_HINT = "`apprise -vv -b test URL` tells what is wrong with one"


class _Waiting(NamedTuple):
    name: str
    message: Message


class Notifications:
    """Sends messages to the ``[notify]`` URLs, in a thread of its own that starts with the first.

    No message of its own has a URL: they hold passwords and tokens.
    """

    def __init__(self, urls: Sequence[str], sink: EventSink) -> None:
        """Prepare; apprise is not imported yet.

        Args:
            urls: apprise's.
            sink: is told what could not be sent.

        Raises:
            ConfigError: there are URLs, and apprise is not installed.
        """
        if urls and find_spec("apprise") is None:
            raise ConfigError(
                "`[notify] urls` needs apprise, which is not installed",
                hint="run `pip install torsync[notify]` where torsync is installed, or take the "
                "urls out of the configuration",
            )
        self._urls = tuple(urls)
        self._sink = sink
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def configure(self, urls: Sequence[str]) -> None:
        """Send to other URLs from now on.

        Raises:
            ConfigError: that cannot be done; it goes on with those of before.
        """
        other = Notifications(urls, self._sink)
        other.check()
        self._urls = other._urls

    def check(self) -> None:
        """See that all URLs are of services that apprise knows; takes a moment.

        Raises:
            ConfigError: some are not.
        """
        if not self._urls:
            return
        problems = [
            f"notify.urls[{index}]: expected a URL of a service that apprise knows, with all that "
            f"it needs, found other text; {_HINT}"
            for index, service in enumerate(self._services())
            if service is None
        ]
        if problems:
            raise ConfigError(
                "the configuration has notifications that cannot be sent",
                problems=tuple(problems),
                hint="correct them, then try again",
            )

    def send(self, name: str, message: Message) -> None:
        """Have a message sent; it does not wait for that.

        Args:
            name: of the subscription or publication that it is about.
            message: to send.
        """
        if not self._urls:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait(_Waiting(name, message))
        except queue.Full:
            said = f"a notification was not sent, as {_MOST_WAITING} others wait: {message.title}"
            self._warn(name, said, "")

    def close(
        self, patience_s: float = _TIMEOUT_S, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until all is sent, so long at most, or until ``stopping`` says so."""
        thread = self._thread
        if thread is None:
            return
        ends_s = time.monotonic() + patience_s
        try:
            self._queue.put(None, timeout=_LOOK_EVERY_S)
        except queue.Full:
            return
        while thread.is_alive() and time.monotonic() < ends_s:
            thread.join(_LOOK_EVERY_S)
            if stopping():
                return

    def _work(self) -> None:
        urls, services = self._urls, self._services()
        while (waiting := self._queue.get()) is not None:
            if urls != self._urls:
                urls, services = self._urls, self._services()
            for index, service in enumerate(services):
                self._send_to(service, index, waiting)

    def _send_to(self, service: Apprise | None, index: int, waiting: _Waiting) -> None:
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - costs start-up time

        title, body, is_failure = waiting.message
        which = f"notify.urls[{index}]"
        if service is None:
            self._warn(waiting.name, f"{which} is no URL of a service that apprise knows", _HINT)
            return
        is_sent = service.notify(
            body=body,
            title=title,
            notify_type=NotifyType.FAILURE if is_failure else NotifyType.INFO,
            body_format=NotifyFormat.MARKDOWN,
        )
        if not is_sent:
            what = ", ".join(str(one.service_name) for one in service)
            self._warn(waiting.name, f"{which} ({what}) could not be sent: {title}", _HINT)

    def _services(self) -> list[Apprise | None]:
        """What sends to each URL; None where apprise does not know what to make of one."""
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - costs start-up time

        log = logging.getLogger("apprise")  # it names URLs
        log.addHandler(logging.NullHandler())
        log.propagate = False
        asset = AppriseAsset(app_id="torsync", app_desc="torsync", app_url="")
        found: list[Apprise | None] = []
        for url in self._urls:
            service = Apprise(asset=asset)
            found.append(service if service.add(url) else None)
        return found

    def _warn(self, name: str, said: str, hint: str) -> None:
        self._sink(Notice(name, Level.WARNING, "not_notified", said, hint))
