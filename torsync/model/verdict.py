"""What a verify says about each file: from the pieces that are right, or from stat alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.model.assessment import Assessment, Here
from torsync.model.names import in_private
from torsync.model.reports import VerifyReport
from torsync.model.selection import selected_bytes
from torsync.model.tree_index import Kind, LedgerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from torsync.model.assess import Matcher


def judge(
    name: str,
    assessment: Assessment,
    good: Container[int],
    unreadable: Container[int],
    ledger: Mapping[str, LedgerRow],
    *,
    keep: Matcher,
    changed: Container[int] = (),
) -> VerifyReport:
    """Sort every file of the release, and every other file in the tree, into the report.

    A piece that mixes files (v1) and is wrong or cannot be hashed for want of a neighbour says
    nothing about the files that the ledger vouches for, as long as it can be another's fault.
    An edited file under ``keep`` is no damage. Those that are not selected are only counted.

    Args:
        name: of the subscription.
        assessment: what stat tells; what it doubts has been hashed.
        good: the pieces whose content is right.
        unreadable: the files that could not be read while hashing.
        ledger: what torsync remembers, by path.
        keep: paths whose local version stays.
        changed: the files that changed while they were hashed: not all their pieces need be
            as they were found.
    """
    suspects = _Suspects(assessment, good, unreadable, ledger)

    def told_by_pieces(report: VerifyReport, file_index: int, path: str) -> None:
        bad = suspects.bad_pieces(file_index)
        if not bad and file_index not in changed:
            report.ok += 1
        elif keep(path):
            report.kept_local.append(path)
        elif not bad:
            report.modified.append(path)
        else:
            report.damaged.append(path)
            report.damaged_pieces[path] = bad

    return _sorted(name, assessment, unreadable, keep, told_by_pieces)


def judge_quick(name: str, assessment: Assessment, *, keep: Matcher) -> VerifyReport:
    """Sort the files by stat and ledger alone, as ``judge`` does by their content.

    Args:
        name: of the subscription.
        assessment: made trusting the ledger.
        keep: paths whose local version stays.
    """

    def not_vouched_for(report: VerifyReport, _file_index: int, path: str) -> None:
        (report.kept_local if keep(path) else report.modified).append(path)

    return _sorted(name, assessment, (), keep, not_vouched_for)


def _sorted(
    name: str,
    assessment: Assessment,
    unreadable: Container[int],
    keep: Matcher,
    sort_by_content: Callable[[VerifyReport, int, str], None],
) -> VerifyReport:
    """Sort what stat can tell; ``sort_by_content`` does it for files of the right size."""
    wanted, index = assessment.wanted, assessment.index
    report = VerifyReport(
        name,
        release=wanted.name,
        info_hash=wanted.info_hash,
        unselected=len(assessment.unselected),
        bytes_total=selected_bytes(wanted, assessment.unselected),
    )
    for file_index, file in enumerate(wanted.files):
        if file_index in assessment.unselected:
            continue
        entry = index.entries.get(file.path)
        here = assessment.here[file_index]
        kind = Kind.FILE if file.link_target is None else Kind.LINK
        if here is Here.UNREADABLE or file_index in unreadable:
            report.unreadable.append(file.path)
        elif here is Here.RIGHT:
            report.ok += 1
        elif entry is None:
            report.missing.append(file.path)
        elif (entry.kind, entry.size) == (Kind.FILE, file.size) and kind is Kind.FILE:
            sort_by_content(report, file_index, file.path)
        elif keep(file.path):
            report.kept_local.append(file.path)
        elif entry.kind is not kind:
            report.missing.append(file.path)
        elif kind is Kind.LINK:
            report.damaged.append(file.path)
        else:
            report.wrong_size.append(file.path)
    listed = wanted.by_path
    report.unlisted = [
        path
        for path, entry in index.entries.items()
        if path not in listed  # first, as nearly all are
        and entry.kind not in {Kind.FOLDER, Kind.MOUNT}
        and not in_private(path)  # a look takes in what the trash has of the missing
        and not keep(path)
    ]
    report.unreadable += [path for path in index.problems if path not in listed]
    return report


class _Suspects:
    """Whose fault a wrong piece is."""

    def __init__(
        self,
        assessment: Assessment,
        good: Container[int],
        unreadable: Container[int],
        ledger: Mapping[str, LedgerRow],
    ) -> None:
        self._assessment = assessment
        self._good = good
        self._unreadable = unreadable
        self._ledger = ledger
        self._vouched: dict[int, bool] = {}  # asked once per neighbour of a small file

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
        return any(
            other in self._unreadable or not self._is_vouched(other)
            for other in self._assessment.wanted.files_in(piece)
        )

    def _is_vouched(self, file_index: int) -> bool:
        if file_index not in self._vouched:
            wanted = self._assessment.wanted
            row = self._ledger.get(wanted.files[file_index].path)
            entry = self._assessment.entry(file_index)
            self._vouched[file_index] = (
                row is not None
                and entry is not None
                and row.vouches_for(entry)
                and row.digest in wanted.digests(file_index)
            )
        return self._vouched[file_index]
