"""Leaks that are planted, to see that they are found."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_BYTES = 4096


class Leak:
    """Leaks nothing."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._kept: list[object] = []

    def poll(self) -> None:
        """Leak something for a poll."""

    def release(self) -> None:
        """Leak something for a release."""


class MemoryPerPoll(Leak):
    def poll(self) -> None:
        self._kept.append(bytearray(_POLL_BYTES))


class ObjectPerPoll(Leak):
    def poll(self) -> None:
        self._kept.append([])


class ThreadPerRelease(Leak):
    def release(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class DescriptorPerRelease(Leak):
    def release(self) -> None:
        self._kept.append(os.open(self._scratch, os.O_RDONLY))


class FilePerRelease(Leak):
    def release(self) -> None:
        (self._scratch / "state" / f"left {len(self._kept)}").touch()
        self._kept.append(None)


class BytePerPoll(Leak):
    """Writes to the state with each poll."""

    def poll(self) -> None:
        with Path(self._scratch / "state" / "grows").open("ab") as file:
            file.write(b"a line of a log that nobody cuts\n")


LEAKS: dict[str, Callable[[Path], Leak]] = {
    "memory": MemoryPerPoll,
    "objects": ObjectPerPoll,
    "threads": ThreadPerRelease,
    "descriptors": DescriptorPerRelease,
    "files": FilePerRelease,
    "file-bytes": BytePerPoll,
}
