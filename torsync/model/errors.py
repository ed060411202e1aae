"""Every failure torsync reports: what happened, to what, and what to do about it.

An error carries a stable ``code`` for scripts, a sentence for people, a hint with the
next step, and the exit code that the command line ends with. Remote problems split in
two, as a caller reacts differently: the remote could not be reached (try again later),
or what it sent is wrong (the publisher has to mend it).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """What a torsync process ends with; people script against these."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REMOTE = 3
    DIFFERS = 4
    REFUSED = 5
    BUSY = 6
    INTERRUPTED = 130


_NUMBER = re.compile(r"\d[\d.,]*")
_SEVERITY = (
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.FAILED,
    ExitCode.REMOTE,
    ExitCode.REFUSED,
    ExitCode.BUSY,
    ExitCode.DIFFERS,
    ExitCode.OK,
)


def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
    """Decide the exit code of a run over several subscriptions (0 for none)."""
    return min(codes, key=_SEVERITY.index, default=ExitCode.OK)


class TorsyncError(Exception):
    """Base of all expected failures.

    Attributes:
        code: stable identifier, printed as ``code`` in JSON.
        exit_code: what the process ends with.
        message: one sentence that names the thing, what was expected and what was found.
        hint: what to do about it; may be empty.
    """

    code: str = "failed"
    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def is_same_failure(one: str, other: str) -> bool:
    """Whether two messages tell of the same trouble, at other numbers perhaps."""
    return _NUMBER.sub("#", one) == _NUMBER.sub("#", other)


class UsageError(TorsyncError):
    """The command line asks for something that does not exist or make sense."""

    code = "usage"
    exit_code = ExitCode.USAGE


def is_mistake(error: TorsyncError) -> bool:
    """Whether a command asked for what there is not, and nothing has failed."""
    return isinstance(error, (UsageError, NotInTrashError))


class ConfigError(TorsyncError):
    """The configuration is wrong; ``problems`` holds one line for each thing to mend."""

    code = "config"
    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class RemoteError(TorsyncError):
    """The remote ``.torrent`` could not be had or used."""

    code = "remote"
    exit_code = ExitCode.REMOTE


class RemoteUnreachableError(RemoteError):
    """The remote did not answer properly; trying again later may help."""

    code = "remote_unreachable"


class RemoteInvalidError(RemoteError):
    """The remote answered with something that is not an acceptable ``.torrent``."""

    code = "remote_invalid"


class ManifestError(RemoteInvalidError):
    """The bytes are not a ``.torrent`` that torsync can apply safely."""

    code = "manifest_invalid"

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"the .torrent cannot be used: {problem}",
            hint=hint or "the publisher has to mend the .torrent; the tree stays as it is",
        )
        self.problem = problem


class UntrustedError(RemoteError):
    """A release is not the publisher's newest: unsigned, forged, by another key, or older.

    Attributes:
        reason: which of these, as ``model.trust.Refusal`` names them.
    """

    code = "untrusted"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SwarmError(TorsyncError):
    """The BitTorrent session failed, or no peer delivered."""

    code = "swarm"


class NoPeersError(SwarmError):
    """The content could not be had from any peer or web seed in the time allowed."""

    code = "no_peers"
    exit_code = ExitCode.REMOTE


class TreeError(TorsyncError):
    """The tree on disk is not as it has to be, or could not be read or written."""

    code = "tree"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class LockedError(TreeError):
    """Another program holds a file that has to be replaced or removed."""

    code = "locked"


class DiskFullError(TreeError):
    """The file system has no room for what has to be written."""

    code = "disk_full"


class NotInTrashError(TorsyncError):
    """There is no such file or folder in the trash."""

    code = "not_in_trash"


class FeedError(TorsyncError):
    """The feed cannot listen, or has failed."""

    code = "feed"


class ControlError(TorsyncError):
    """The control API cannot listen, or has failed; or it does not answer as it should."""

    code = "control"


class UnfinishedError(TorsyncError):
    """An update was cut off in its commit, which has to be finished first; nothing was done."""

    code = "unfinished"
    exit_code = ExitCode.DIFFERS


class StateError(TorsyncError):
    """The state directory could not be read or written."""

    code = "state"


class NotSyncedError(TorsyncError):
    """There is no synced manifest yet to compare the tree with."""

    code = "not_synced"
    exit_code = ExitCode.DIFFERS


class NotPolledError(TorsyncError):
    """No release is known that could be planned for or applied."""

    code = "not_polled"


class RefusedError(TorsyncError):
    """A guard wants a person to say that this is meant; nothing was done."""

    code = "refused"
    exit_code = ExitCode.REFUSED


class PostponedError(TorsyncError):
    """An update has to wait: a command refused it, or it is not the time for it.

    Attributes:
        reason: why, in a few words, for ``status``.
        is_timed: whether it waits for its hours, and not for a better moment.
    """

    code = "postponed"
    exit_code = ExitCode.DIFFERS

    def __init__(
        self, message: str, *, reason: str = "", is_timed: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or message
        self.is_timed = is_timed


class RelayedError(TorsyncError):
    """What another torsync failed with, told here."""

    def __init__(self, code: str, exit_code: int, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = ExitCode(exit_code)


class BusyError(TorsyncError):
    """Another process holds the tree."""

    code = "busy"
    exit_code = ExitCode.BUSY


class ServiceStoppedError(BusyError):
    """The service stopped, or was reloaded, before it came to what was asked of it."""

    code = "service_stopped"


class InterruptedByUserError(TorsyncError):
    """The work was stopped by a signal; what was done so far is kept."""

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED
