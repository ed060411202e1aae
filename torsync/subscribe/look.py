"""Look at a tree: stat everything, hash what the ledger cannot vouch for."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torsync.model.assess import Matcher, assess
from torsync.model.assessment import Assessment, Here
from torsync.model.events import Level, Stage
from torsync.model.hash_batches import Walk
from torsync.model.known import NEVER_SYNCED, Synced, kind_of_all
from torsync.model.plan import Action, Plan, plan_update
from torsync.model.sharing import Sharing
from torsync.model.tree_index import ledger_row, row_as_found
from torsync.subscribe.hashing import HashedPieces, hash_pieces
from torsync.subscribe.identifying import identify_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torsync.disk.tree import Tree
    from torsync.model.config import CleanMode
    from torsync.model.manifest import Manifest
    from torsync.model.reports import VerifyReport
    from torsync.model.tree_index import DiskEntry, LedgerRow
    from torsync.subscribe.surroundings import Voice


@dataclass(frozen=True)
class Look:
    """One look at a tree with a release in mind.

    Attributes:
        assessment: what stat and ledger tell.
        ledger: what torsync remembers, by path.
        hashed: what hashing the doubtful pieces gave.
        begun: the inodes of files that an update was patching in place when it was cut off, by
            path: what has another one now, somebody has saved since.
    """

    assessment: Assessment
    ledger: dict[str, LedgerRow]
    hashed: HashedPieces
    begun: Mapping[str, int] = field(default_factory=dict)

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

    def is_released(self, path: str) -> bool:
        """Whether what is at a path is an earlier release's, and nobody has touched it."""
        row, entry = self.ledger.get(path), self.assessment.index.entries.get(path)
        if row is None or entry is None or not row.digest:
            return False
        return row.as_seen().vouches_for(entry)

    def is_edited(self, path: str) -> bool:
        """Whether what is at a path is a user's version of it, as far as is known."""
        is_half_patched = self.assessment.index.entries[path].inode == self.begun.get(path)
        return not is_half_patched and not self.is_released(path)

    def rows_to_carry(
        self, gone: Iterable[str] = (), *, settled: bytes = b""
    ) -> dict[str, LedgerRow]:
        """What the ledger goes on to say of files that were left alone, by path.

        Those at the paths that are ``gone`` were not. Of wanted files it goes on to vouch for
        those that are ``settled`` (one byte per file; see ``Plan.settled``).

        Files that are not selected stay as they are, and torsync's: those that were changed
        since, by whomever, as they are now.

        The others stay torsync's to remove later: those that the release no longer lists and that
        could not be removed for want of a complete look, and those that are wrong or could not
        be read, for whose content nobody vouches now.
        """
        index, here = self.assessment.index, self.assessment.here
        unselected = self.assessment.unselected
        listed = self.assessment.wanted.by_path
        left = set(gone)
        rows = {}
        for path, row in self.ledger.items():
            if path in left or not (path in index.entries or not index.complete):
                continue
            at = listed.get(path)
            if at is None or (settled and settled[at]):
                rows[path] = row
            elif at in unselected:
                seen = row_as_found(row, index.entries.get(path))
                if seen is not None:
                    rows[path] = seen
            elif here[at] is not Here.LOCAL:
                rows[path] = row._replace(digest="")
        return rows

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


def rows_learned(plan: Plan) -> dict[str, LedgerRow]:
    """What the ledger does not say yet of files that are right where they are."""
    entries, clock_ns = plan.index.entries, plan.index.clock_ns
    return {
        file.path: ledger_row(entries[file.path], plan.wanted.digest(index), clock_ns)
        for index, file in enumerate(plan.wanted.files)
        if not plan.settled[index] and plan.files[index].action is Action.KEEP
    }


def take_look(
    tree: Tree,
    manifest: Manifest,
    ledger: dict[str, LedgerRow],
    voice: Voice,
    *,
    keep: Matcher,
    select: Matcher | None = None,
    synced: Synced = NEVER_SYNCED,
    trust_ledger: bool,
    stopping: Callable[[], bool],
    trash: Callable[[], Mapping[str, LedgerRow]] = dict,
    hashing: bool = True,
) -> Look:
    """Scan the tree and hash its doubtful pieces; ``look_further`` goes on from there.

    Args:
        tree: to look at.
        manifest: of the release that it shall equal.
        ledger: what torsync remembers, by path.
        voice: says what is going on, and what could not be read.
        keep: paths that are not looked into: their local version stays.
        select: the paths that are wanted; None: every one.
        synced: the release that the ledger's files are of.
        trust_ledger: False to hash everything.
        stopping: asked while hashing.
        trash: gives what is known of old releases' files in the trash, by path; called if
            something is missed in the tree.
        hashing: False to leave what is doubtful unread.

    Raises:
        TreeError: a folder that the release needs is a link, a mount point or unreadable.
        InterruptedByUserError: ``stopping`` said so.
    """
    voice.stage(Stage.LOOKING)
    tree.forget_folders()
    index = tree.scan(like=ledger)
    trusted = ledger
    problems: Mapping[str, str] = index.problems
    while True:
        _tell_problems(voice, problems)
        assessment = assess(
            manifest,
            index,
            trusted,
            keep=keep,
            select=select,
            synced=synced,
            trust_ledger=trust_ledger,
        )
        problems = _unreadable(tree, assessment.sources_to_read())
        if problems:
            index = index.without(problems)
            continue
        found = _find_in_trash(tree, assessment, trash) if trusted is ledger else {}
        if not found:
            break
        trusted = {**ledger, **{path: row for path, (row, _entry) in found.items()}}
        entries = {path: entry for path, (_row, entry) in found.items()}
        index = replace(index, entries={**index.entries, **entries})
    if manifest.files and len(assessment.unselected) == len(manifest.files):
        voice.notice(
            Level.WARNING,
            "nothing_selected",
            f"no file of {manifest.name} is selected",
            "compare the patterns of `select` with the names in the release",
        )
    doubtful = list(assessment.doubtful_pieces()) if hashing else []
    hashed = HashedPieces()
    if doubtful:
        hashed = _hash(tree, assessment, doubtful, voice, stopping)
    return Look(assessment, ledger, hashed)


def look_further(
    tree: Tree, look: Look, voice: Voice, *, keep: Matcher, stopping: Callable[[], bool]
) -> Look:
    """Look for content that is not where it was looked for at first; see ``Sharing``.

    Args:
        tree: that was looked at.
        look: what was found there.
        voice: says what is going on, and what could not be read.
        keep: paths that stay where they are.
        stopping: asked while hashing.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    found, hashed = look.assessment, look.hashed
    sharing = Sharing(found, hashed.good, hashed.unreadable)
    if not sharing.lacking:
        return look
    identified = identify_files(
        tree,
        found.index.entries,
        sharing.to_identify(look.ledger),
        kind_of_all(found.wanted),
        stopping=stopping,
    )
    problems: dict[str, str] = {}
    while True:
        shared = sharing.share(identified.digests, keep=keep, barred=problems)
        blocked = _unreadable(tree, sharing.new_sources(shared))
        if not blocked:
            break
        problems |= blocked
    _tell_problems(voice, problems)
    again = HashedPieces()
    if doubtful := list(shared.doubtful_pieces()):
        again = _hash(tree, shared, doubtful, voice, stopping)
    return replace(
        look,
        assessment=replace(shared, index=shared.index.without(problems)),
        hashed=HashedPieces(
            hashed.good | again.good,
            hashed.unreadable | again.unreadable,
            hashed.changed | again.changed,
            hashed.bytes_hashed + identified.bytes_hashed + again.bytes_hashed,
        ),
    )


def _find_in_trash(
    tree: Tree, assessment: Assessment, trash: Callable[[], Mapping[str, LedgerRow]]
) -> dict[str, tuple[LedgerRow, DiskEntry]]:
    """Find the content of files that are not in the tree among what it had earlier."""
    wanted = assessment.wanted
    missed = {
        digest
        for index, here in enumerate(assessment.here)
        if here in {Here.ABSENT, Here.DOUBTFUL} and wanted.files[index].size
        for digest in wanted.digests(index)
    }
    found = {}
    for path, row in trash().items() if missed else ():
        if row.digest in missed:
            with suppress(OSError):
                entry = tree.stat(path)
                if entry is not None and row.vouches_for(entry) and not _open_problem(tree, path):
                    found[path] = row, entry
    return found


def _tell_problems(voice: Voice, problems: Mapping[str, str]) -> None:
    for path, problem in sorted(problems.items()):
        voice.notice(
            Level.WARNING,
            "unreadable",
            f"{path or '.'!r} could not be read: {problem}",
            "make it readable; nothing is removed while that is so",
        )


def _unreadable(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Find which of some files cannot be opened for reading, and why."""
    problems = {path: _open_problem(tree, path) for path in sorted(paths)}
    return {path: problem for path, problem in problems.items() if problem}


def _open_problem(tree: Tree, path: str) -> str:
    try:
        os.close(tree.open(path))
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    return ""


def _hash(
    tree: Tree,
    assessment: Assessment,
    pieces: list[int],
    voice: Voice,
    stopping: Callable[[], bool],
) -> HashedPieces:
    manifest = assessment.wanted
    voice.stage(Stage.VERIFYING)
    hashed = hash_pieces(
        manifest,
        pieces,
        lambda index: tree.open(assessment.source(index)),
        stopping=stopping,
        on_progress=voice.hash_meter(Stage.VERIFYING, manifest.files),
        seen=lambda index: assessment.index.entries.get(assessment.source(index)),
    )
    for index in assessment.sources:  # the file is not unreadable: it is not there
        hashed.unreadable.pop(index, None)
    return hashed


def bytes_of(manifest: Manifest, pieces: Iterable[int]) -> int:
    """How many bytes of files ``pieces`` (ascending) have."""
    return Walk(manifest).content_bytes(pieces)
