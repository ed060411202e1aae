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
    from collections.abc import Iterator, Mapping

# Burst: several of the 64 KiB that the kernel hands down at once. Latency: what a usual router
# holds back before it drops, 500 kB at 80 Mbit/s.
BURST, LATENCY = "128kb", "50ms"

_ONLY_CALLS = """
table inet gate {
    chain input {
        type filter hook input priority 0
        iif lo accept
        ct state established,related accept
        meta l4proto { tcp, udp } drop
    }
}
"""

_CLONE_NEWNET = 0x40000000
_NAMES = itertools.count()


class NoNetworkError(Exception):
    """Namespaces cannot be made here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """One network namespace with one address, and the bridge's port that its link ends at."""

    namespace: str
    address: str
    bridge: str
    port: str

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

    def refuse_calls(self) -> None:
        """Be behind something like NAT from now on: only who was called gets through to it.

        Raises:
            NoNetworkError: nftables is not installed, or the kernel has none.
        """
        self._execute("nft -f -", _ONLY_CALLS)

    def cut_connections(self, port: int) -> None:
        """Cut its TCP connections from or to a port: both ends are told, as by a reset."""
        self._execute(f"ss -K -t ( sport = :{port} or dport = :{port} )")

    def move_to_side(self, side: int) -> None:
        """Be connected only with the machines on the same side, 0 or 1; all begin on 0."""
        run_ip(f"-n {self.bridge} link set {self.port} master bridge{side}")

    def _execute(self, command: str, text: str = "") -> None:
        _run(f"ip netns exec {self.namespace} {command}", text)


@contextmanager
def network(
    count: int, *, rate: str, uplinks: Mapping[int, str] | None = None
) -> Iterator[list[Machine]]:
    """Connect machines by a bridge; they are gone with the block.

    Args:
        count: of machines.
        rate: of each one's link, each way, as ``tc`` writes it: ``80mbit``.
        uplinks: machine, from 0 → the rate of what it sends, where that is another.

    Raises:
        NoNetworkError: without root, iproute2, or a kernel that lets root do this.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NoNetworkError("only root may make network namespaces")
    prefix = f"torsync-{os.getpid()}-{next(_NAMES)}"
    bridge = f"{prefix}-bridge"
    with ExitStack() as stack:
        make_namespace(bridge, stack)
        for side in range(2):
            run_ip(f"-n {bridge} link add bridge{side} type bridge")
            run_ip(f"-n {bridge} link set bridge{side} up")
        machines = [
            Machine(f"{prefix}-{at}", f"10.77.0.{at + 1}", bridge, f"port{at}")
            for at in range(count)
        ]
        for at, machine in enumerate(machines):
            name, port = machine.namespace, machine.port
            make_namespace(name, stack)
            run_ip(f"-n {name} link add eth0 type veth peer name {port} netns {bridge}")
            run_ip(f"-n {bridge} link set {port} master bridge0 up")
            run_ip(f"-n {name} addr add {machine.address}/24 dev eth0")
            run_ip(f"-n {name} link set eth0 up")
            run_ip(f"-n {name} link set lo up")
            uplink = (uplinks or {}).get(at, rate)
            for place, link, speed in ((name, "eth0", uplink), (bridge, port, rate)):
                shape = f"root tbf rate {speed} burst {BURST} latency {LATENCY}"
                _run(f"tc -n {place} qdisc add dev {link} {shape}")
        yield machines


def make_namespace(namespace: str, stack: ExitStack) -> None:
    """Make one that is gone with the stack."""
    run_ip(f"netns add {namespace}")
    stack.callback(partial(run_ip, f"netns del {namespace}"))


def run_ip(arguments: str) -> None:
    """Run ``ip``, as every system with iproute2 has it."""
    _run(f"ip {arguments}")


def _run(command: str, text: str = "") -> str:
    try:
        done = subprocess.run(command.split(), input=text, capture_output=True, text=True)
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
