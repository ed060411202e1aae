"""What is remembered of files that torsync put on disk once, and no longer looks after."""

from __future__ import annotations

import pytest

from torsync.model.tree_index import DiskEntry, Kind, LedgerRow, ledger_row, row_as_found

ENTRY = DiskEntry(Kind.FILE, 5, 10, 20, 30, 0o644)
ROW = ledger_row(ENTRY, "digest", 1000)
EDITED = ENTRY._replace(mtime_ns=11, ctime_ns=21)


def test_an_untouched_file_and_one_that_could_not_be_seen_stay_as_they_are_known() -> None:
    assert row_as_found(ROW, ENTRY) == ROW
    assert row_as_found(ROW, None) == ROW


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.LINK])
@pytest.mark.parametrize("row", [ROW, ROW._replace(ctime_ns=~ROW.ctime_ns)])
def test_nobody_vouches_for_what_was_changed(row: LedgerRow, kind: Kind) -> None:
    found = row_as_found(row, EDITED._replace(kind=kind))
    assert found == LedgerRow(5, 11, 21, 30, "")


@pytest.mark.parametrize("kind", [Kind.FOLDER, Kind.MOUNT, Kind.OTHER])
def test_what_is_no_file_any_more_is_forgotten(kind: Kind) -> None:
    assert row_as_found(ROW, EDITED._replace(kind=kind)) is None
