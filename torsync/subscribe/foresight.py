"""What an update would do, from one look at the tree. Nothing is written here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.model.config import ApplyMode, CleanMode, SubscriptionConfig
from torsync.model.events import Level
from torsync.model.forecast import forecast
from torsync.model.units import format_size
from torsync.subscribe.tree import doing

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.assess import Matcher
    from torsync.model.plan import Plan
    from torsync.model.reports import CheckReport
    from torsync.subscribe.look import Look
    from torsync.subscribe.surroundings import Voice


def foresee(config: SubscriptionConfig, look: Look, *, keep: Matcher) -> tuple[Plan, CheckReport]:
    """Plan an update, and begin its report."""
    plan = look.plan(keep=keep, clean=config.clean)
    if config.apply is ApplyMode.IN_PLACE:
        plan = plan.patching_in_place()
    report = forecast(config.name, plan)
    report.bytes_hashed = look.hashed.bytes_hashed
    report.unreadable += _withholding(config, look)
    return plan, report


def tell_plan(
    config: SubscriptionConfig, look: Look, plan: Plan, root: Path, voice: Voice
) -> CheckReport:
    """Report all of a plan that is not carried out now; a notice says if space is short.

    Args:
        config: of the subscription.
        look: that the plan is from.
        plan: to tell of.
        root: the tree; it need not be there.
        voice: for the notice.

    Raises:
        TreeError: the file system cannot be asked for its space.
    """
    report = forecast(config.name, plan, dry_run=True)
    report.bytes_hashed = look.hashed.bytes_hashed
    report.unreadable += _withholding(config, look)
    report.space_free = free_bytes(root)
    if report.space_needed > report.space_free:
        voice.notice(
            Level.WARNING,
            "space_short",
            f"the update needs {format_size(report.space_needed)} in {str(root)!r}, where "
            f"{format_size(report.space_free)} are free",
            "make room on the file system before the update",
        )
    return report


def free_bytes(folder: Path) -> int:
    """How much may be written to the file system that a folder is on, or will be made on.

    Raises:
        TreeError: it cannot be asked.
    """
    there = next((found for found in (folder, *folder.parents) if found.exists()), folder)
    with doing("ask for the free space of", str(there)):
        found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def _withholding(config: SubscriptionConfig, look: Look) -> list[str]:
    """What could not be read, if something stays for that reason that would be removed."""
    index, listed = look.assessment.index, look.assessment.wanted.by_path
    unselected = look.assessment.unselected
    if index.complete or config.clean is CleanMode.OFF:
        return []
    if config.clean is CleanMode.MANAGED and all(path in listed for path in look.ledger):
        return []
    return [
        path or "." for path in index.problems if path not in listed or listed[path] in unselected
    ]
