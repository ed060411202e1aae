"""What a full verify says about each file, from the pieces that hashing found right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.assess import Assessment, Here, Matcher
from torsync.model.reports import VerifyReport
from torsync.model.tree_index import DiskEntry, Kind, LedgerRow

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


def judge(
    name: str,
    assessment: Assessment,
    good: Container[int],
    unreadable: Container[int],
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
) -> VerifyReport:
    """Sort every file of the release, and every other file in the tree, into the report.

    A piece that mixes files (v1) and is wrong or cannot be hashed for want of a neighbour says
    nothing about the files that the ledger vouches for, as long as it can be another's fault.
    An edited file under ``keep`` is no damage.

    Args:
        name: of the subscription.
        assessment: made without trusting the ledger.
        good: the pieces whose content is right.
        unreadable: the files that could not be read while hashing.
        ledger: what torsync remembers, by path.
        keep: paths whose local version stays.
    """
    wanted, index = assessment.wanted, assessment.index
    report = VerifyReport(
        name,
        release=wanted.name,
        info_hash=wanted.info_hash,
        bytes_total=wanted.total_size,
    )
    suspects = _Suspects(assessment, good, ledger)
    for file_index, file in enumerate(wanted.files):
        entry = index.entries.get(file.path)
        here = assessment.here[file_index]
        if here is Here.UNREADABLE or file_index in unreadable:
            report.unreadable.append(file.path)
        elif here is Here.RIGHT:
            report.ok += 1
        elif entry is None or (entry.kind is not Kind.FILE and file.link_target is None):
            report.missing.append(file.path)
        elif not (bad := suspects.bad_pieces(file_index)) and entry.size == file.size:
            if file.link_target is None:
                report.ok += 1
            else:
                (report.kept_local if keep(file.path) else report.damaged).append(file.path)
        elif keep(file.path):
            report.kept_local.append(file.path)
        elif entry.size != file.size:
            report.wrong_size.append(file.path)
        else:
            report.damaged.append(file.path)
            report.damaged_pieces[file.path] = bad
    report.unlisted = [
        path
        for path, entry in index.entries.items()
        if entry.kind not in {Kind.FOLDER, Kind.MOUNT}
        and path not in wanted.by_path
        and not keep(path)
    ]
    report.unreadable += [path for path in index.problems if path not in wanted.by_path]
    return report


class _Suspects:
    """Whose fault a wrong piece is."""

    def __init__(
        self, assessment: Assessment, good: Container[int], ledger: Mapping[str, LedgerRow]
    ) -> None:
        self._assessment = assessment
        self._good = good
        self._ledger = ledger

    def bad_pieces(self, file_index: int) -> list[int]:
        """The wrong pieces that count against a file."""
        wrong = [
            piece
            for piece in self._assessment.wanted.pieces_of(file_index)
            if piece not in self._good
        ]
        if wrong and self._is_vouched(file_index):
            return [piece for piece in wrong if not self._others_may_have_done_it(piece)]
        return wrong

    def _others_may_have_done_it(self, piece: int) -> bool:
        return any(not self._is_vouched(other) for other in self._assessment.wanted.files_in(piece))

    def _is_vouched(self, file_index: int) -> bool:
        file = self._assessment.wanted.files[file_index]
        entry: DiskEntry | None = self._assessment.index.entries.get(file.path)
        row = self._ledger.get(file.path)
        return (
            entry is not None
            and row is not None
            and entry.size == file.size
            and row.vouches_for(entry)
        )
