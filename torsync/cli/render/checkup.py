"""What ``doctor`` found, in words; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.cli.render.text import counted
from torsync.model.checkup import Verdict, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.checkup import Finding

_PROBLEMS = {Verdict.WARNING, Verdict.FAILED}


def worth_showing(findings: Sequence[Finding], *, quiet: bool) -> list[Finding]:
    """Leave out what is well, and what was not looked at, if asked to be quiet."""
    return [found for found in findings if not quiet or found.verdict in _PROBLEMS]


def summarise_checkup(findings: Sequence[Finding]) -> str:
    """Say how many findings there are of each verdict."""
    counts = count(findings)
    parts = [f"{counts[Verdict.OK]:,} ok"]
    if counts[Verdict.WARNING]:
        parts.append(counted(counts[Verdict.WARNING], "warning"))
    if counts[Verdict.FAILED]:
        parts.append(f"{counts[Verdict.FAILED]:,} failed")
    if counts[Verdict.SKIPPED]:
        parts.append(f"{counts[Verdict.SKIPPED]:,} skipped")
    return ", ".join(parts)
