"""Which process listens on a port, as far as this system tells."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENS = "0A"


class Owner(NamedTuple):
    """A process.

    Attributes:
        pid: its id.
        program: its name.
    """

    pid: int
    program: str


def owner_of(port: int) -> Owner | None:
    """Find the process that listens on a TCP port; None if the system does not tell."""
    inodes = set(_listening(port))
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for name in _names("/proc"):
        if name.isdecimal() and any(link in wanted for link in _open_in(name)):
            return Owner(int(name), _program(name))
    return None


def _listening(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as rows:
            for row in rows:
                fields = row.split()
                is_it = fields[1].rpartition(":")[2] == f"{port:04X}" and fields[3] == _LISTENS
                if is_it:
                    yield fields[9]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _open_in(process: str) -> Iterator[str]:
    folder = f"/proc/{process}/fd"
    for name in _names(folder):
        with suppress(OSError):
            yield os.readlink(f"{folder}/{name}")


def _program(process: str) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
