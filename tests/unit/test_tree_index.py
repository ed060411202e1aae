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
    assert row_as_found(ROW, ENTRY._replace(kind=kind)) is None, "whatever else stat says of it"


@pytest.mark.parametrize(
    "change", [{"size": 6}, {"mtime_ns": 9}, {"ctime_ns": 19}, {"ctime_ns": 21}, {"inode": 31}]
)
def test_a_row_vouches_for_a_file_only_if_all_that_stat_tells_is_the_same(
    change: dict[str, int],
) -> None:
    assert ROW.vouches_for(ENTRY)
    assert ROW.vouches_for(ENTRY._replace(mode=0o755))
    assert not ROW.vouches_for(ENTRY._replace(**change))


@pytest.mark.parametrize("ctime_ns", [0, 1, 20])
def test_a_smudged_row_is_told_from_one_that_vouches_and_has_what_was_seen(ctime_ns: int) -> None:
    clear = LedgerRow(5, 10, ctime_ns, 30, "digest")
    smudged = clear._replace(ctime_ns=~ctime_ns)
    assert (clear.is_smudged, smudged.is_smudged) == (False, True)
    assert clear.as_seen() == smudged.as_seen() == clear


@pytest.mark.parametrize(
    ("mode", "executable"), [(0o700, True), (0o100, True), (0o644, False), (0o611, False)]
)
def test_a_file_is_executable_if_its_owner_may_execute_it(mode: int, executable: bool) -> None:
    assert ENTRY._replace(mode=mode).executable is executable
