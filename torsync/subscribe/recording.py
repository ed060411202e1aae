"""What a tree's state remembers of an update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsync.model.history import record_of_update

if TYPE_CHECKING:
    from torsync.model.reports import CheckReport
    from torsync.subscribe.state import TreeState


def history_of(
    state: TreeState, report: CheckReport, at_s: float
) -> tuple[float, str, str, dict[str, Any]]:
    """Give what ``record_sync`` takes; the state is that of before the update."""
    synced = state.synced
    before = next((past for past in state.past_releases() if past.digest == synced), None)
    record = record_of_update(report, at_s, from_info_hash=before.info_hash if before else "")
    return at_s, report.info_hash, report.release, record.as_json()
