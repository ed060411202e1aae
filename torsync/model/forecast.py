"""What a plan would do, as a report."""

from __future__ import annotations

from torsync.model.plan import Action, Plan
from torsync.model.reports import CheckReport
from torsync.model.tree_index import Kind


def forecast(name: str, plan: Plan) -> CheckReport:
    """What a plan would do, as a report; carrying it out replaces that by what was done."""
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
    return CheckReport(
        name=name,
        release=plan.wanted.name,
        info_hash=plan.wanted.info_hash,
        changed=not plan.is_empty,
        kept=len(plan.paths(Action.KEEP)),
        moved=moved,
        copied=copied,
        patched=patched,
        fetched=fetched,
        trashed=list(dict.fromkeys([*replaced, *removed])),
        kept_local=plan.paths(Action.LOCAL),
        unreadable=plan.paths(Action.UNREADABLE),
        bytes_to_fetch=plan.bytes_to_fetch,
        bytes_total=plan.wanted.total_size,
    )
