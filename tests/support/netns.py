"""Machines of their own on slow links: network namespaces around a bridge.

with network(5, rate="80mbit") as machines:
    with machines[0].entered():
        seeder = LibtorrentSeeder(host=machines[0].address)
    with machines[1].entered():
        running = torsync.start("check-now")

A process belongs to the namespace that its parent was in when it was started, and a socket to
the one that it was made in, so what is started inside of the block stays there. All, the bridge
included, is in namespaces made for this: nothing of the machine's own network changes, and there
is no way from them to it. It takes root, and Debian's iproute2.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Burst: several of the 64 KiB that the kernel hands down at once. Latency: what a usual router
# holds back before it drops, 500 kB at 80 Mbit/s.
BURST, LATENCY = "128kb", "50ms"

_CLONE_NEWNET = 0x40000000
_NAMES = itertools.count()


class NoNetworkError(Exception):
    """Namespaces cannot be made here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """One network namespace with one address."""

    namespace: str
    address: str

    def sent_bytes(self) -> int:
        """What has left through its link, headers included."""
        told = _run(f"ip -n {self.namespace} -json -stats link show eth0")
        return int(json.loads(told)[0]["stats64"]["tx"]["bytes"])

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in this machine's network: this thread, and what it starts meanwhile."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            _set_network(f"/run/netns/{self.namespace}")
            try:
                yield
            finally:
                _set_network_to(home.fileno())


@contextmanager
def network(count: int, *, rate: str) -> Iterator[list[Machine]]:
    """Connect machines by a bridge; they are gone with the block.

    Args:
        count: of machines.
        rate: of each one's link, each way, as ``tc`` writes it: ``80mbit``.

    Raises:
        NoNetworkError: without root, iproute2, or a kernel that lets root do this.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NoNetworkError("only root may make network namespaces")
    prefix = f"torsync-{os.getpid()}-{next(_NAMES)}"
    bridge = f"{prefix}-bridge"
    with ExitStack() as stack:
        _make(bridge, stack)
        _ip(f"-n {bridge} link add bridge0 type bridge")
        _ip(f"-n {bridge} link set bridge0 up")
        machines = [Machine(f"{prefix}-{at}", f"10.77.0.{at + 1}") for at in range(count)]
        for at, machine in enumerate(machines):
            name, port = machine.namespace, f"port{at}"
            _make(name, stack)
            _ip(f"-n {name} link add eth0 type veth peer name {port} netns {bridge}")
            _ip(f"-n {bridge} link set {port} master bridge0 up")
            _ip(f"-n {name} addr add {machine.address}/24 dev eth0")
            _ip(f"-n {name} link set eth0 up")
            _ip(f"-n {name} link set lo up")
            for place, link in ((name, "eth0"), (bridge, port)):
                shape = f"root tbf rate {rate} burst {BURST} latency {LATENCY}"
                _run(f"tc -n {place} qdisc add dev {link} {shape}")
        yield machines


def _make(namespace: str, stack: ExitStack) -> None:
    _ip(f"netns add {namespace}")
    stack.callback(partial(_ip, f"netns del {namespace}"))


def _ip(arguments: str) -> None:
    _run(f"ip {arguments}")


def _run(command: str) -> str:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True)
    except FileNotFoundError:
        raise NoNetworkError("iproute2 is not installed") from None
    if done.returncode:
        raise NoNetworkError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def _set_network(path: str) -> None:
    with open(path, "rb") as namespace:
        _set_network_to(namespace.fileno())


def _set_network_to(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
