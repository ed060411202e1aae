"""Notifications through apprise: e-mail, chats, webhooks. Nothing waits for them to be sent."""

from __future__ import annotations

import logging
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from torsync.model.errors import ConfigError
from torsync.model.events import Level, Notice
from torsync.service.hooks.errands import Errands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apprise import Apprise

    from torsync.model.events import EventSink
    from torsync.model.update_report import Message

_PATIENCE_S = 30.0
_HINT = "`apprise -vv -b test URL` tells what is wrong with one"


class Notifications:
    """Sends messages to the ``[notify]`` URLs, one after the other, beside the work.

    Nothing that it says has a URL in it: they hold passwords and tokens.
    """

    def __init__(self, urls: Sequence[str], sink: EventSink) -> None:
        """Prepare; apprise is not imported yet.

        Args:
            urls: apprise's.
            sink: is told what could not be sent.

        Raises:
            ConfigError: there are URLs, and apprise is not installed.
        """
        self._urls = _possible(urls)
        self._sink = sink
        self._errands = Errands("notify")
        self._opened: tuple[tuple[str, ...], list[Apprise | None]] = ((), [])

    def configure(self, urls: Sequence[str]) -> None:
        """Send to other URLs from now on; ``check`` of others like these has been called.

        Raises:
            ConfigError: there are URLs, and apprise is not installed.
        """
        self._urls = _possible(urls)

    def check(self) -> None:
        """See that all URLs are of services that apprise knows; takes a moment.

        Raises:
            ConfigError: some are not.
        """
        problems = [
            f"notify.urls[{index}]: expected a URL of a service that apprise knows, with all that "
            f"it needs, found other text; {_HINT}"
            for index, service in enumerate(_open(self._urls))
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
        if self._urls and not self._errands.add(partial(self._send, name, message)):
            said = f"a notification was not sent, as too many others wait: {message.title}"
            self._warn(name, said, "")

    def close(self, stopping: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
        """Wait until all is sent, so long at most, or until ``stopping`` says so."""
        self._errands.wait(patience_s, stopping)

    def _send(self, name: str, message: Message) -> None:
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - costs start-up time

        urls = self._urls
        if self._opened[0] != urls:
            self._opened = (urls, _open(urls))
        for index, service in enumerate(self._opened[1]):
            which = f"notify.urls[{index}]"
            if service is None:
                self._warn(name, f"{which} is no URL of a service that apprise knows", _HINT)
                continue
            is_sent = service.notify(
                body=message.body,
                title=message.title,
                notify_type=NotifyType.FAILURE if message.is_failure else NotifyType.INFO,
                body_format=NotifyFormat.MARKDOWN,
            )
            if not is_sent:
                what = ", ".join(str(one.service_name) for one in service)
                said = f"{which} ({what}) could not be sent: {message.title}"
                self._warn(name, said, _HINT)

    def _warn(self, name: str, said: str, hint: str) -> None:
        self._sink(Notice(name, Level.WARNING, "not_notified", said, hint))


def _possible(urls: Sequence[str]) -> tuple[str, ...]:
    if urls and find_spec("apprise") is None:
        raise ConfigError(
            "`[notify] urls` needs apprise, which is not installed",
            hint="run `pip install 'torsync[notify]'` where torsync is installed, or take the "
            "urls out of the configuration",
        )
    return tuple(urls)


def _open(urls: Sequence[str]) -> list[Apprise | None]:
    """What sends to each URL; None where apprise does not know what to make of one."""
    if not urls:
        return []
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - costs start-up time

    log = logging.getLogger("apprise")  # it names URLs
    log.addHandler(logging.NullHandler())
    log.propagate = False
    asset = AppriseAsset(app_id="torsync", app_desc="torsync", app_url="")
    found: list[Apprise | None] = []
    for url in urls:
        service = Apprise(asset=asset)
        found.append(service if service.add(url) else None)
    return found
