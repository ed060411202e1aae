"""What an update would do, from one look at the tree. Nothing is written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.config import ApplyMode, CleanMode, SubscriptionConfig
from torsync.model.forecast import forecast
from torsync.model.reuse import plan_reuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.model.assess import Matcher
    from torsync.model.plan import Plan
    from torsync.model.reports import CheckReport
    from torsync.model.shifts import Shifts
    from torsync.subscribe.look import Look


def foresee(
    config: SubscriptionConfig,
    look: Look,
    *,
    keep: Matcher,
    find: Callable[[Plan], Shifts],
    fits: Callable[[Plan], bool],
    from_release: str,
    dry_run: bool = False,
) -> tuple[Plan, CheckReport]:
    """Plan an update, and begin its report.

    Args:
        config: of the subscription.
        look: at its tree.
        keep: its patterns.
        find: looks for content that a plan would fetch at other places of the tree.
        fits: whether there is room to stage a plan.
        from_release: the name of the release that the tree is at.
        dry_run: the plan is not carried out now: report each action.

    Raises:
        TreeError: something that is not torsync's to remove is in the way.
        InterruptedByUserError: that was asked for while content was looked for.
    """
    whole = look.plan(keep=keep, clean=config.clean)
    shifts = find(whole)
    plan = plan_reuse(whole, shifts)
    if config.apply is ApplyMode.IN_PLACE:
        plan = plan.patching_in_place(look.is_edited)
        if plan.shifted and not fits(plan):  # what has shifted needs a copy; the rest does not
            plan = plan_reuse(whole).patching_in_place(look.is_edited)
    report = forecast(config.name, plan, dry_run=dry_run)
    report.from_release = from_release
    report.bytes_hashed = look.hashed.bytes_hashed + shifts.bytes_read
    report.bytes_hints = shifts.hint_bytes
    report.unreadable += _withholding(config, look)
    return plan, report


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
