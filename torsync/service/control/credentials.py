"""Where the control API is, and the token that lets in: files that only the user can read.

In ``STATE_DIR/control``: ``token``, made once; ``address``, a URL, while a service runs; and a
lock that the service holds meanwhile. Nobody else's program is sent the token, even if it
listens on a port that a service had before.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from torsync.disk.durable import write_durably
from torsync.disk.lock import hold_tree, holder_pid
from torsync.model.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE = "torsync run"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN_BYTES = 32


def control_folder(state_dir: Path) -> Path:
    """Where token and address are."""
    return state_dir / "control"


@contextmanager
def held_control(state_dir: Path) -> Iterator[None]:
    """Be the one service that works with a state directory.

    Raises:
        BusyError: another one is.
        StateError: the folder cannot be used.
    """
    folder = control_folder(state_dir)
    with hold_tree(folder, name=str(state_dir), command=SERVICE):
        with _in_words(folder):
            os.chmod(folder, 0o700)
        forget_address(state_dir)  # of one that was killed
        try:
            yield
        finally:
            forget_address(state_dir)


def service_pid(state_dir: Path) -> int | None:
    """The service that works with a state directory, if its control API is there."""
    return holder_pid(control_folder(state_dir))


def make_token(state_dir: Path) -> str:
    """Give the token; a new one if there is none, or others could have read or written it.

    Raises:
        StateError: it cannot be read or made.
    """
    file = control_folder(state_dir) / "token"
    with _in_words(file):
        known = _read_private(file)
        if known is not None:
            return known
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        fresh = file.with_name(f"token.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as written:
                written.write(f"{token}\n")
                written.flush()
                os.fsync(descriptor)
            fresh.replace(file)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
    return token


def load_token(state_dir: Path) -> str:
    """Read the token.

    Raises:
        StateError: it cannot be read.
    """
    file = control_folder(state_dir) / "token"
    with _in_words(file):
        return file.read_text(encoding="ascii", errors="replace").strip()


def write_address(state_dir: Path, url: str) -> None:
    """Leave word of where the control API is.

    Raises:
        StateError: that was not possible.
    """
    file = control_folder(state_dir) / "address"
    with _in_words(file):
        write_durably(file, f"{url}\n".encode("ascii"))


def load_address(state_dir: Path) -> str:
    """Where the control API is; empty if that is not known."""
    try:
        text = (control_folder(state_dir) / "address").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.strip()


def forget_address(state_dir: Path) -> None:
    """Say that the control API is nowhere."""
    with suppress(OSError):
        (control_folder(state_dir) / "address").unlink(missing_ok=True)


def _read_private(file: Path) -> str | None:
    """Read a token that nobody else can have read or written; None if there is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        if file.is_symlink():
            return None  # it is replaced
        raise
    with open(descriptor, encoding="ascii", errors="replace") as opened:
        found = os.fstat(descriptor)
        is_private = stat.S_ISREG(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not is_private or found.st_uid != os.geteuid():
            return None
        text = opened.read(1024).strip()
    return text if _TOKEN.fullmatch(text) else None


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"{str(file)!r} could not be used: {os.strerror(error.errno or 0)}",
            hint="check the disk and the permissions of the state directory",
        ) from error
