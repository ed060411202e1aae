"""Look at a tree: stat everything, hash what the ledger cannot vouch for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torsync.model.assess import Assessment, Here, Matcher, assess
from torsync.model.events import Level, Stage
from torsync.model.hash_batches import Walk
from torsync.model.plan import Plan, plan_update
from torsync.subscribe.hashing import HashedPieces, hash_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torsync.model.config import CleanMode
    from torsync.model.manifest import Manifest
    from torsync.model.reports import VerifyReport
    from torsync.model.tree_index import LedgerRow
    from torsync.subscribe.surroundings import Voice
    from torsync.subscribe.tree import Tree


@dataclass(frozen=True)
class Look:
    """One look at a tree with a release in mind.

    Attributes:
        assessment: what stat and ledger tell.
        ledger: what torsync remembers, by path.
        hashed: what hashing the doubtful pieces gave.
    """

    assessment: Assessment
    ledger: dict[str, LedgerRow]
    hashed: HashedPieces

    def plan(self, *, keep: Matcher, clean: CleanMode) -> Plan:
        """Decide what makes the tree the release; see ``plan_update``."""
        return plan_update(
            self.assessment,
            self.hashed.good,
            self.ledger,
            keep=keep,
            clean=clean,
            unreadable=self.hashed.unreadable,
        )

    def rows_to_carry(self, trashed: Iterable[str] = ()) -> dict[str, LedgerRow]:
        """What the ledger goes on to say of files that were left alone, by path.

        They stay torsync's to remove later: those that the release no longer lists and that
        could not be removed for want of a complete look, and those that are wrong or could not
        be read, for whose content nobody vouches now.
        """
        index = self.assessment.index
        here = dict(zip(self.assessment.wanted.by_path, self.assessment.here, strict=True))
        gone = set(trashed)
        return {
            path: row._replace(digest="") if path in here else row
            for path, row in self.ledger.items()
            if path not in gone
            and here.get(path) is not Here.LOCAL
            and (path in index.entries or not index.complete)
        }

    def judged(self, report: VerifyReport) -> Look:
        """The same look with a verify's verdict: edited ``keep`` files are not ours to mend.

        A file that is right, but shares a wrong piece with one that isn't, is right from here on.
        """
        wrong = {*report.missing, *report.damaged, *report.wrong_size, *report.unreadable}
        wrong.update(report.modified)
        local = {*report.kept_local}

        def verdict(seen: Here, path: str) -> Here:
            if path in local:
                return Here.LOCAL
            return seen if seen is not Here.DOUBTFUL or path in wrong else Here.RIGHT

        assessment = self.assessment
        here = tuple(
            verdict(seen, file.path)
            for seen, file in zip(assessment.here, assessment.wanted.files, strict=True)
        )
        return replace(self, assessment=replace(assessment, here=here))


def take_look(
    tree: Tree,
    manifest: Manifest,
    ledger: dict[str, LedgerRow],
    voice: Voice,
    *,
    keep: Matcher,
    trust_ledger: bool,
    stopping: Callable[[], bool],
    hashing: bool = True,
) -> Look:
    """Scan the tree and hash its doubtful pieces.

    Args:
        tree: to look at.
        manifest: of the release that it shall equal.
        ledger: what torsync remembers, by path.
        voice: says what is going on, and what could not be read.
        keep: paths that are not looked into: their local version stays.
        trust_ledger: False to hash everything.
        stopping: asked while hashing.
        hashing: False to leave what is doubtful unread.

    Raises:
        TreeError: a folder that the release needs is a link, a mount point or unreadable.
        InterruptedByUserError: ``stopping`` said so.
    """
    voice.stage(Stage.LOOKING)
    tree.forget_folders()
    index = tree.scan()
    for path, problem in sorted(index.problems.items()):
        voice.notice(
            Level.WARNING,
            "unreadable",
            f"{path or '.'!r} could not be read: {problem}",
            "make it readable; nothing is removed while that is so",
        )
    assessment = assess(manifest, index, ledger, keep=keep, trust_ledger=trust_ledger)
    doubtful = list(assessment.doubtful_pieces()) if hashing else []
    hashed = HashedPieces()
    if doubtful:
        hashed = _hash(tree, assessment, doubtful, voice, stopping)
    return Look(assessment, ledger, hashed)


def _hash(
    tree: Tree,
    assessment: Assessment,
    pieces: list[int],
    voice: Voice,
    stopping: Callable[[], bool],
) -> HashedPieces:
    files = assessment.wanted.files
    voice.stage(Stage.VERIFYING)
    return hash_pieces(
        assessment.wanted,
        pieces,
        lambda index: tree.open(files[index].path),
        stopping=stopping,
        on_progress=voice.hash_meter(Stage.VERIFYING, files),
        seen=assessment.entry,
    )


def bytes_of(manifest: Manifest, pieces: Iterable[int]) -> int:
    """How many bytes of files ``pieces`` (ascending) have."""
    return Walk(manifest).content_bytes(pieces)
