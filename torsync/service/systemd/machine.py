"""The machine that a unit is installed on, as far as that matters; tests bring their own."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import TorsyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMMAND_TIMEOUT_S = 600.0  # a start may finish an update that was cut off


class CommandError(TorsyncError):
    """A program of the system's failed."""

    code = "command_failed"


class Ended(NamedTuple):
    """How a program ended."""

    exit_code: int
    output: str


class Account(NamedTuple):
    """An account, the group that its files get, and all groups that it is in."""

    name: str
    uid: int
    group: str
    gids: frozenset[int]


def run_program(words: Sequence[str]) -> Ended:
    """Run a program; the exit code is 127 where there is none of that name."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are our own
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return Ended(127, error.strerror or str(error))
    except subprocess.TimeoutExpired:
        return Ended(124, f"it did not end within {_COMMAND_TIMEOUT_S:g} s")
    return Ended(done.returncode, done.stdout.strip())


def find_account(name: str) -> Account | None:
    """Look an account up; None if there is none."""
    try:
        found = pwd.getpwnam(name)
        group = grp.getgrgid(found.pw_gid).gr_name
    except KeyError:
        return None
    return Account(name, found.pw_uid, group, frozenset(os.getgrouplist(name, found.pw_gid)))


@dataclass
class Machine:
    """Where files go and how programs are run.

    Attributes:
        root: of the file system.
        environ: the environment.
        uid: of whoever installs.
        run: runs a program.
        account: looks an account up.
        commands: what was run to change something, in order.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    run: Callable[[Sequence[str]], Ended] = run_program
    account: Callable[[str], Account | None] = find_account
    commands: list[str] = field(default_factory=list)

    def path(self, absolute: str | Path) -> Path:
        """Where an absolute path is below the root."""
        return self.root / str(absolute).lstrip("/")

    def do(self, words: Sequence[str], *, hint: str = "") -> None:
        """Run a program that has to succeed.

        Raises:
            CommandError: it did not.
        """
        line = shlex.join(words)
        self.commands.append(line)
        ended = self.run(words)
        if ended.exit_code:
            said = f": {ended.output}" if ended.output else ""
            raise CommandError(f"`{line}` ended with {ended.exit_code}{said}", hint=hint)

    def first_closed(self, path: str, account: Account, *, want: int) -> str:
        """Find what keeps an account from a file or folder.

        Args:
            path: absolute.
            account: that wants to.
            want: 4 to read, 2 to write, 1 to run or to enter; for each folder above: to enter.

        Returns:
            The first path that is closed to it; "" if there is none, or if nothing is there.
        """
        parts = [*reversed(Path(path).parents), Path(path)]
        for part in parts:
            try:
                status = self.path(part).stat()
            except FileNotFoundError:
                return ""
            if not _may(status, account, want if part == parts[-1] else 1):
                return str(part)
        return ""


def _may(status: os.stat_result, account: Account, want: int) -> bool:
    if account.uid == 0:
        return True
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == account.uid:
        return mode >> 6 & want == want
    if status.st_gid in account.gids:
        return mode >> 3 & want == want
    return mode & want == want
