"""A router between distant machines, for kernels without netem. Run by path, as root.

``NETNS=ADDRESS… --rates UP… --down MBIT --delay-ms N --loss F --buffer-ms N`` makes a TUN device
``eth0`` in each namespace, prints a line, and carries packets among them until it is ended. What
it does to a packet: it waits for the sender's line and then for the receiver's, each of which
drops what would wait longer than its buffer; it may be lost; and it is on its way for the delay.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import time
from contextlib import suppress
from dataclasses import dataclass

MTU = 1500

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MOST_AT_ONCE = 64


@dataclass
class Line:
    """One direction of a machine's line.

    Attributes:
        bytes_per_s: that it carries.
        buffer_s: what waits longer than that is dropped.
        free_s: when what it carries now will be through.
    """

    bytes_per_s: float
    buffer_s: float
    free_s: float = 0.0

    def through_s(self, size: int, now_s: float) -> float | None:
        """When a packet of so many bytes is through; None if it is dropped."""
        begins = max(self.free_s, now_s)
        if begins - now_s > self.buffer_s:
            return None
        self.free_s = begins + size / self.bytes_per_s
        return self.free_s


def main() -> None:
    """Carry packets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machines", nargs="+", metavar="NETNS=ADDRESS")
    parser.add_argument("--up-mbit", nargs="+", type=float, required=True)
    parser.add_argument("--down-mbit", type=float, required=True)
    parser.add_argument("--delay-ms", type=float, required=True, help="one way")
    parser.add_argument("--loss", type=float, default=0.0, help="part of all packets")
    parser.add_argument("--buffer-ms", type=float, default=100.0)
    given = parser.parse_args()
    chance = random.Random(1)
    buffer_s, delay_s = given.buffer_ms / 1e3, given.delay_ms / 1e3
    devices: dict[int, Line] = {}
    ways: dict[bytes, tuple[int, Line]] = {}
    poll = select.epoll()
    for one, up_mbit in zip(given.machines, given.up_mbit, strict=True):
        namespace, _, address = one.partition("=")
        device = _make_device(namespace)
        devices[device] = Line(up_mbit * 125_000, buffer_s)
        down = Line(given.down_mbit * 125_000, buffer_s)
        ways[bytes(map(int, address.split(".")))] = device, down
        poll.register(device, select.EPOLLIN)
    print("ready", flush=True)
    on_their_way: list[tuple[float, int, int, bytes]] = []
    numbers = itertools.count()
    while True:
        wait_s = max(0.0, on_their_way[0][0] - time.monotonic()) if on_their_way else 1.0
        for device, _ in poll.poll(wait_s):
            line = devices[device]
            for _ in range(_MOST_AT_ONCE):
                try:
                    packet = os.read(device, 65_536)
                except BlockingIOError:
                    break
                way = ways.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                if way is None or (given.loss and chance.random() < given.loss):
                    continue
                through_s = line.through_s(len(packet), time.monotonic())
                if through_s is not None:
                    through_s = way[1].through_s(len(packet), through_s)
                if through_s is not None:
                    entry = (through_s + delay_s, next(numbers), way[0], packet)
                    heapq.heappush(on_their_way, entry)
        now_s = time.monotonic()
        while on_their_way and on_their_way[0][0] <= now_s:
            _, _, device, packet = heapq.heappop(on_their_way)
            with suppress(OSError):
                os.write(device, packet)


def _make_device(namespace: str) -> int:
    """A TUN device in a namespace; it is gone with this process."""
    with open(f"/run/netns/{namespace}", "rb") as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _IFF_TUN | _IFF_NO_PI))
    return device


if __name__ == "__main__":
    main()
