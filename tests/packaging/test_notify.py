"""What systemd is told, over the sockets that it listens on."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from torsync.service.systemd.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """The end of the socket that is systemd's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(20)

    def heard(self) -> str:
        return self._socket.recv(4096).decode()

    def has_heard_nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@torsync-test-{secrets.token_hex(8)}"
    address = str(tmp_path / "notify") if request.param == "path" else abstract
    with closing(Manager(address)) as listening:
        yield listening


def test_ready_and_stopping_are_told(manager: Manager) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.address})
    assert notifier.is_heard
    notifier.ready()
    assert manager.heard() == "READY=1"
    notifier.stopping()
    assert manager.heard() == "STOPPING=1"


def test_a_reload_is_told_with_the_time_it_begins(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address}
    notifier = Notifier.from_environ(environ, clock_ns=lambda: 5_000_001_999)
    notifier.reloading()
    assert manager.heard() == "RELOADING=1\nMONOTONIC_USEC=5000001"


def test_a_status_cannot_bring_in_a_line_of_its_own(manager: Manager) -> None:
    Notifier.from_environ({"NOTIFY_SOCKET": manager.address}).status("2 trees\nSTOPPING=1")
    assert manager.heard() == "STATUS=2 trees STOPPING=1"


def test_a_status_may_be_in_any_script(manager: Manager) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.address})
    notifier.status("größe")
    assert manager.heard() == "STATUS=größe"
    notifier.status("not UTF-8: \udcff")
    assert manager.heard() == "STATUS=not UTF-8: ?"


def test_the_watchdog_is_fed_twice_within_its_limit(manager: Manager) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier.from_environ(environ)
    assert notifier.watchdog_interval_s == 15.0
    notifier.watchdog()
    assert manager.heard() == "WATCHDOG=1"


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_for_this_process_is_not_fed(
    manager: Manager, watchdog: dict[str, str]
) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.address, **watchdog})
    assert notifier.watchdog_interval_s is None
    notifier.watchdog()
    assert manager.has_heard_nothing()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/socket"])
def test_without_a_socket_that_can_be_used_nothing_is_told(address: str) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert not notifier.is_heard
    assert notifier.watchdog_interval_s is None
    notifier.ready()


def test_nobody_at_the_socket_is_no_failure(tmp_path: Path) -> None:
    Notifier.from_environ({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_manager_that_reads_nothing_does_not_hold_up_the_service(manager: Manager) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.address})
    for _ in range(5000):  # more than any socket's queue
        notifier.status("still going")
    assert manager.heard() == "STATUS=still going"
