"""Machines far from one another: as ``tests.support.netns``, with delay and loss between them.

with wide_network(2, uplinks_mbit=[20, 20], line_mbit=20, rtt_ms=100, loss=0.001) as machines:
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.netns import Machine, NoNetworkError, make_namespace, run_ip
from tests.support.processes import end
from tests.swarms.router import MTU

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAMES = itertools.count()


@contextmanager
def wide_network(
    *,
    uplinks_mbit: Sequence[float],
    line_mbit: float,
    rtt_ms: float,
    loss: float = 0.0,
    buffer_ms: float = 100.0,
    congestion_control: str = "",
) -> Iterator[list[Machine]]:
    """Connect as many machines as there are uplinks by a router; they are gone with the block.

    Args:
        uplinks_mbit: what each one's line carries from it, in 10**6 bits per second.
        line_mbit: what each one's line carries to it.
        rtt_ms: round-trip time of empty lines.
        loss: the part of all packets that is lost, besides those that find a buffer full.
        buffer_ms: how long a packet waits for a line at most.
        congestion_control: of TCP; the system's own one if empty.

    Raises:
        NoNetworkError: without root, iproute2, TUN devices or a kernel that lets root do this.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NoNetworkError("only root may make network namespaces")
    if not Path("/dev/net/tun").exists():
        raise NoNetworkError("the kernel has no TUN devices")
    prefix = f"torsync-wide-{os.getpid()}-{next(_NAMES)}"
    with ExitStack() as stack:
        machines = [
            Machine(f"{prefix}-{at}", f"10.78.0.{at + 1}", "", "")
            for at in range(len(uplinks_mbit))
        ]
        for machine in machines:
            make_namespace(machine.namespace, stack)
        router = subprocess.Popen(
            [
                *("nice", "-n", "-10", sys.executable),
                str(Path(__file__).with_name("router.py")),
                *(f"{machine.namespace}={machine.address}" for machine in machines),
                *("--up-mbit", *map(str, uplinks_mbit), "--down-mbit", str(line_mbit)),
                *("--delay-ms", str(rtt_ms / 2), "--loss", str(loss)),
                *("--buffer-ms", str(buffer_ms)),
            ],
            stdout=subprocess.PIPE,
        )
        stack.callback(end, router)
        assert router.stdout is not None
        if not router.stdout.readline():
            raise NoNetworkError("the router did not start")
        for machine in machines:
            name = machine.namespace
            run_ip(f"-n {name} addr add {machine.address}/24 dev eth0")
            run_ip(f"-n {name} link set eth0 mtu {MTU} up")
            run_ip(f"-n {name} link set lo up")
            if congestion_control:
                setting = Path("/proc/sys/net/ipv4/tcp_congestion_control")
                with machine.entered():
                    setting.write_text(congestion_control, encoding="ascii")
        yield machines
