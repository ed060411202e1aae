"""What a plan would do, as a report."""

from __future__ import annotations

from torsync.model.plan import Action, Plan
from torsync.model.reports import CheckReport, PlannedAction
from torsync.model.reuse import count_reused
from torsync.model.selection import selected_bytes
from torsync.model.tree_index import Kind


def forecast(name: str, plan: Plan, *, dry_run: bool = False) -> CheckReport:
    """What a plan would do, as a report; carrying it out replaces that by what was done.

    Args:
        name: of the subscription.
        plan: to tell of.
        dry_run: nothing will be done: tell of each action.
    """
    entries = plan.index.entries
    fetched = [*plan.paths(Action.FETCH), *plan.paths(Action.LINK)]
    patched = plan.paths(Action.PATCH)
    moved, copied = plan.paths(Action.MOVE), plan.paths(Action.COPY)
    replaced = [
        path
        for path in (*patched, *fetched, *moved, *copied)
        if path in entries and entries[path].kind is not Kind.FOLDER and path not in plan.moved
    ]
    removed = [
        removal.path
        for removal in (*plan.in_the_way, *plan.removals)
        if removal.path not in plan.moved
    ]
    unselected = [index for index in plan.acting if plan.files[index].action is Action.UNSELECTED]
    report = CheckReport(
        name=name,
        release=plan.wanted.name,
        info_hash=plan.wanted.info_hash,
        changed=not plan.is_empty,
        kept=len(plan.files) - len(plan.acting),
        moved=moved,
        copied=copied,
        patched=patched,
        fetched=fetched,
        trashed=sorted({*replaced, *removed}),
        kept_local=plan.paths(Action.LOCAL),
        unreadable=plan.paths(Action.UNREADABLE),
        bytes_to_fetch=plan.bytes_to_fetch,
        bytes_reused=count_reused(plan),
        unselected=len(unselected),
        bytes_total=selected_bytes(plan.wanted, unselected),
    )
    if dry_run:
        report.dry_run = True
        report.actions = planned_actions(plan)
    return report


def planned_actions(plan: Plan) -> list[PlannedAction]:
    """What is done: to the release's files in its order, then what is removed.

    Files that are kept or not selected are left out, as there may be very many.
    The old version of a file that is replaced goes to the trash too, and is not told here: its
    path stays.
    """
    found = [
        PlannedAction(
            planned.action.value.replace(" ", "_"),
            file.path,
            planned.source,
            file.size,
            planned.reason,
        )
        for file, planned in zip(plan.wanted.files, plan.files, strict=True)
        if planned.action is not Action.KEEP and planned.action is not Action.UNSELECTED
    ]
    removed = {removal.path: removal.reason for removal in (*plan.removals, *plan.in_the_way)}
    for path, reason in removed.items():
        if path in plan.moved:
            continue
        entry = plan.index.entries[path]
        size = entry.size if entry.kind is Kind.FILE else 0
        found.append(PlannedAction("trash", path, "", size, reason))
    return found
