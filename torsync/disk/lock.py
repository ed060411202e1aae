"""One writer per tree, and who it is."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from torsync.model.errors import BusyError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_S = 0.2  # longer than ``holder_pid`` of another process has it


@contextmanager
def hold_tree(folder: Path, *, name: str, command: str) -> Iterator[None]:
    """Hold the lock of a tree, whose state is in ``folder``.

    Args:
        folder: the tree's state folder.
        name: of the subscription, for the message.
        command: what the holder is doing, told to others who want the tree.

    Raises:
        BusyError: another process holds it; the message says which.
        StateError: the lock file could not be made.
    """
    holder = folder / "holder"
    lock = FileLock(folder / "lock")
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock.acquire(timeout=_PATIENCE_S, poll_interval=_PATIENCE_S / 10)
            held.callback(lock.release)
            held.callback(holder.unlink, missing_ok=True)
            holder.write_text(f"{os.getpid()} {command}\n", encoding="utf-8")
        except Timeout:
            raise BusyError(
                f"{name!r} is in use by {_read_holder(holder)}",
                hint="wait until it is done, or stop it",
            ) from None
        except OSError as error:
            raise StateError(
                f"the lock {str(folder / 'lock')!r} could not be made: {error.strerror}",
                hint="check the disk and the permissions of the state directory",
            ) from error
        yield


def holder_pid(folder: Path) -> int | None:
    """The process that holds the tree now, if any."""
    lock = FileLock(folder / "lock")
    if not folder.is_dir():
        return None
    try:
        lock.acquire(timeout=0)
    except Timeout:
        first = _read(folder / "holder").partition(" ")[0]
        return int(first) if first.isdigit() else None
    except OSError:
        return None
    lock.release()
    return None


def holder_command(folder: Path) -> str:
    """What the process that holds the tree said that it is doing; empty if that is unknown."""
    return _read(folder / "holder").partition(" ")[2]


def _read_holder(holder: Path) -> str:
    pid, _, command = _read(holder).partition(" ")
    return f"`{command}`, process {pid}" if command else "another process"


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
