"""What a person asks of one subscription or publication, as values that can be sent.

A command does what an order says by itself, or leaves it to the service if that holds the tree:
both carry out the same value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Union

from torsync.model.errors import UsageError
from torsync.model.guard import ALLOWABLE, Allowance
from torsync.model.names import shown_value
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, PauseReport, VerifyReport
from torsync.model.trash_reports import TrashEmptied, TrashRestored

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_S = 1e11  # three thousand years

Report = Union[CheckReport, VerifyReport, PublishReport, TrashRestored, TrashEmptied, PauseReport]


@dataclass(frozen=True, slots=True)
class Terms:
    """How an order is to be carried out.

    Attributes:
        patience_s: give up a fetch after so long without a byte; None: never.
        allowed: what a person said is meant, should a guard ask.
        again: the command that is to be given again, with more allowed, if one does; and its
            options. The subscription's name comes in between.
        automatic: nobody asked for it: it is what the service does by itself, in the hours that
            it may. It is not sent: what is sent was asked for.
    """

    patience_s: float | None = None
    allowed: frozenset[Allowance] = frozenset()
    again: tuple[str, ...] = ("apply",)
    automatic: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give what ``from_json`` reads."""
        names = [name for name, allowance in ALLOWABLE.items() if allowance in self.allowed]
        return {"patience_s": self.patience_s, "allowed": names, "again": list(self.again)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Terms:
        """Read what ``as_json`` gave; what is missing has its default.

        Raises:
            UsageError: it is something else.
        """
        _refuse_unknown(found, ("patience_s", "allowed", "again"), "the terms of an order")
        patience_s = found.get("patience_s")
        if patience_s is not None:
            patience_s = _seconds("patience_s", patience_s)
        names = _texts("allowed", found.get("allowed", []))
        for name in names:
            if name not in ALLOWABLE:
                raise _expected("allowed", f"one of {', '.join(ALLOWABLE)}", name)
        again = _texts("again", found.get("again", list(cls().again)))
        return cls(patience_s, frozenset(ALLOWABLE[name] for name in names), again)


@dataclass(frozen=True, slots=True)
class Check:
    """Poll, and bring the tree to the newest release; ``force`` ignores what the last poll left."""

    command: ClassVar[str] = "check-now"
    report: ClassVar[type[CheckReport]] = CheckReport
    preempts: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True

    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring the tree to the release that the last poll got."""

    command: ClassVar[str] = "apply"
    report: ClassVar[type[CheckReport]] = CheckReport
    preempts: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Rollback:
    """Bring the tree to an earlier release: its name, or its info-hash's beginning."""

    command: ClassVar[str] = "rollback"
    report: ClassVar[type[CheckReport]] = CheckReport
    preempts: ClassVar[bool] = True

    release: str = ""

    @property
    def is_repeatable(self) -> bool:
        """Whether to do it twice is to do it once."""
        return bool(self.release)


@dataclass(frozen=True, slots=True)
class Verify:
    """Hash the tree, or only stat it (``quick``), and mend it if asked to."""

    command: ClassVar[str] = "verify"
    report: ClassVar[type[VerifyReport]] = VerifyReport
    preempts: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True

    quick: bool = False
    repair: bool = False
    clean: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring back a file or folder from the trash.

    Attributes:
        path: as it was given.
        meant: what that may mean, relative to the tree; the first that is in the trash.
        stamp: of the update that put it there, or its beginning; empty: the newest.
    """

    command: ClassVar[str] = "trash restore"
    report: ClassVar[type[TrashRestored]] = TrashRestored
    preempts: ClassVar[bool] = True

    is_repeatable: ClassVar[bool] = False

    path: str = ""
    meant: tuple[str, ...] = ()
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class EmptyTrash:
    """Remove for good what has been in the trash for so long."""

    command: ClassVar[str] = "trash empty"
    report: ClassVar[type[TrashEmptied]] = TrashEmptied
    preempts: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True

    older_than_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MakeRelease:
    """Make a release of a publication, if anything changed."""

    command: ClassVar[str] = "publish"
    report: ClassVar[type[PublishReport]] = PublishReport
    preempts: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True

    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing by itself, and seed nothing, until it is resumed."""

    command: ClassVar[str] = "pause"
    report: ClassVar[type[PauseReport]] = PauseReport
    preempts: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""

    command: ClassVar[str] = "resume"
    report: ClassVar[type[PauseReport]] = PauseReport
    preempts: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True


Order = Union[Check, Apply, Rollback, Verify, Restore, EmptyTrash, MakeRelease, Pause, Resume]
FOR_SUBSCRIPTIONS: tuple[type[Order], ...] = (
    *(Check, Apply, Rollback, Verify, Restore, EmptyTrash, Pause, Resume),
)
FOR_PUBLICATIONS: tuple[type[Order], ...] = (MakeRelease, Pause, Resume)
_BY_COMMAND: dict[str, type[Order]] = {
    kind.command: kind for kind in (*FOR_SUBSCRIPTIONS, *FOR_PUBLICATIONS)
}


def order_as_json(order: Order) -> dict[str, Any]:
    """Give what ``order_from_json`` reads: the ``command``, and its options by name."""
    found: dict[str, Any] = {"command": order.command}
    for field in fields(order):
        value = getattr(order, field.name)
        found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def order_from_json(found: Mapping[str, Any]) -> Order:
    """Read what ``order_as_json`` gave; options that are missing have their defaults.

    Raises:
        UsageError: it is something else.
    """
    command = found.get("command")
    kind = _BY_COMMAND.get(command) if isinstance(command, str) else None
    if kind is None:
        raise _expected("command", f"one of {', '.join(_BY_COMMAND)}", command)
    known = {field.name: field.default for field in fields(kind)}
    _refuse_unknown(found, ("command", *known), repr(kind.command))
    options: dict[str, Any] = {}
    for name, default in known.items():
        value = found.get(name, default)
        if isinstance(default, tuple):
            value = _texts(name, value)
        elif isinstance(default, float):
            value = _seconds(name, value)
        elif not isinstance(value, type(default)):
            raise _expected(name, type(default).__name__, value)
        elif isinstance(value, str) and not _is_text(value):
            raise _expected(name, "text that a file name can be", value)
        options[name] = value
    return kind(**options)


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(map(_is_text, value)):
        raise _expected(name, "an array of text", value)
    return tuple(value)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _expected(name, "seconds", value)
    # JSON as Python reads it has numbers that compare with nothing, and endless ones.
    if not 0 <= value <= _LONGEST_S:
        raise _expected(name, "seconds from 0 on", value)
    return float(value)


def _is_text(value: object) -> bool:
    """Whether it is text that the system takes: names that are not UTF-8 have surrogates."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _refuse_unknown(found: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for name in found:
        if name not in known:
            raise UsageError(
                f"{shown_value(name)} is no option of {what}; expected one of {', '.join(known)}",
                hint="look up the options in the description of the control API",
            )


def _expected(name: str, expected: str, found: object) -> UsageError:
    return UsageError(
        f"{shown_value(name)}: expected {expected}, found {shown_value(found)}",
        hint="look up the options in the description of the control API",
    )
