"""What the service tells systemd: ready, reloading, stopping, alive (sd_notify(3)).

The protocol is a datagram of ``NAME=value`` lines to the socket in ``NOTIFY_SOCKET``. Without
that variable nothing is told.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Notifier:
    """Tells systemd how the service is doing; any thread may.

    A notification that cannot be delivered is dropped: the service goes on, and systemd, should
    it miss the notification, does what the unit says.

    Attributes:
        watchdog_interval_s: seconds between calls of ``watchdog`` that systemd is content with,
            half of its limit; None where it does not watch.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_interval_s: float | None = None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Prepare.

        Args:
            address: of the socket: an absolute path, or a name after "@" (Linux's abstract
                sockets); "" tells nobody anything.
            watchdog_interval_s: see above.
            clock_ns: gives CLOCK_MONOTONIC in nanoseconds.
        """
        self._address = b"\0" + os.fsencode(address[1:]) if address[:1] == "@" else address
        self._clock_ns = clock_ns
        self.watchdog_interval_s = watchdog_interval_s if address else None

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> Notifier:
        """Read what systemd has put into the environment.

        ``WATCHDOG_PID`` that is another process's means that the watchdog is not for this one.
        An address of another kind (``vsock:``) is for virtual machines, and not used.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return cls()
        return cls(address, _watchdog_interval_s(environ), clock_ns=clock_ns)

    @property
    def is_heard(self) -> bool:
        """Whether systemd has asked for notifications."""
        return bool(self._address)

    def ready(self) -> None:
        """Tell that the service has started, or that a reload has ended, well or not."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell that a reload begins; ``ready`` ends it (``Type=notify-reload``)."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={self._clock_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the service is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Tell in one line what the service is doing; ``systemctl status`` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> None:
        """Tell that the service is alive; see ``watchdog_interval_s``."""
        if self.watchdog_interval_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(
                    False
                )  # the watchdog's thread must not hang with a busy systemd
                channel.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            pass  # see the class: nobody listens, it is behind, or too many files are open


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    limit_us = environ.get("WATCHDOG_USEC", "")
    meant_for = environ.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(os.getpid()):
        return None
    if not limit_us.isascii() or not limit_us.isdigit() or not int(limit_us):
        return None
    return int(limit_us) / 2e6
