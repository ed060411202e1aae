"""What ``doctor`` finds: a verdict on each thing that has to work, and the next step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from torsync.model.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torsync.model.errors import TorsyncError

CONFIGURATION = "configuration.file"
"""The check whose failure means that nothing else can be looked at."""


class Verdict(str, Enum):
    """What one check came to."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: stable identifier, for scripts: a group, a dot, and what was looked at.
        verdict: on it.
        message: what was found, or why it was not looked at.
        hint: the next step; never empty after a warning or a failure.
        name: of the subscription or publication; empty if it is about no single one.
    """

    check: str
    verdict: Verdict
    message: str
    hint: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.hint and self.verdict in {Verdict.WARNING, Verdict.FAILED}:
            raise ValueError(f"{self.check}: expected a next step, found none: {self.message}")

    def as_json(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints, without its ``type``."""
        return {
            "name": self.name,
            "check": self.check,
            "verdict": self.verdict.value,
            "message": self.message,
            "hint": self.hint,
        }


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, message)


def warning(check: str, message: str, hint: str) -> Finding:
    """It works, or may, and could be better."""
    return Finding(check, Verdict.WARNING, message, hint)


def failed(check: str, message: str, hint: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAILED, message, hint)


def skipped(check: str, why: str, hint: str = "") -> Finding:
    """It was not looked at."""
    return Finding(check, Verdict.SKIPPED, why, hint)


def failure(check: str, error: TorsyncError, hint: str) -> Finding:
    """What an error says; ``hint`` is for one that has none of its own."""
    return failed(check, error.message, error.hint or hint)


def named(name: str, findings: Iterable[Finding]) -> list[Finding]:
    """Say which subscription or publication findings are about."""
    return [replace(found, name=name) for found in findings]


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """Decide the exit code: warnings are no failure."""
    broken = {found.check for found in findings if found.verdict is Verdict.FAILED}
    if CONFIGURATION in broken:
        return ExitCode.USAGE
    return ExitCode.FAILED if broken else ExitCode.OK


def count(findings: Iterable[Finding]) -> Mapping[Verdict, int]:
    """How many findings there are of each verdict."""
    found = Counter(one.verdict for one in findings)
    return {verdict: found[verdict] for verdict in Verdict}
