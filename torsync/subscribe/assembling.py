"""Copy what is elsewhere in a tree to where it belongs in the stage: whole pieces, and blocks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torsync.disk.copying import OpenFiles, RunCopier
from torsync.disk.tree import Tree, doing
from torsync.model.assessment import Extent
from torsync.model.errors import DiskFullError, InterruptedByUserError, TreeError
from torsync.model.placement import Placement, matched_runs
from torsync.model.shifts import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from torsync.model.plan import Plan
    from torsync.subscribe.stage import Stage


def assemble(
    tree: Tree,
    stage: Stage,
    plan: Plan,
    placement: Placement,
    *,
    done: Container[int] = (),
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> frozenset[int]:
    """Copy the content of a plan's pieces and claimed blocks into the stage.

    Args:
        tree: that it is in.
        stage: to copy it to.
        plan: tells which pieces and blocks that is.
        placement: of the release's files.
        done: pieces for whose claims there is nothing left to do.
        stopping: whether the work shall stop.
        on_bytes: told of the bytes of pieces.

    Returns:
        The pieces whose claims do not hold, as what they are taken from cannot be read or has
        changed: nothing depends on them but how much is fetched.

    Raises:
        TreeError: a piece that is copied as a whole could not be read, or changed meanwhile;
            or the disk is full.
        InterruptedByUserError: ``stopping`` said so.
    """
    copier = _Copier(tree, stage, plan, placement, stopping, on_bytes)
    pieces = {piece: (Stretch(0, extents),) for piece, extents in plan.copies.items()}
    for path in copier.copy_all(pieces):
        with doing("look at", path):
            stage.check_untouched(path, plan)
    claims = {piece: claim for piece, claim in plan.claims.items() if piece not in done}
    broken: set[int] = set()
    stretches = {piece: claim.stretches for piece, claim in claims.items()}
    seen = copier.copy_all(stretches, broken)
    changed = {path for path in seen if not _is_untouched(stage, plan, path)}
    if changed:
        broken.update(
            piece
            for piece, claim in claims.items()
            if any(extent.path in changed for extent in claim.extents)
        )
    return frozenset(broken)


def copy_doubles(
    tree: Tree,
    stage: Stage,
    plan: Plan,
    placement: Placement,
    pieces: Iterable[int],
    *,
    stopping: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> None:
    """Copy pieces from those that were fetched in their place, within the stage.

    Args:
        tree: that the stage is in.
        stage: that has the fetched pieces.
        plan: tells where the content of ``pieces`` is, see ``Plan.doubles``.
        placement: of the release's files.
        pieces: to copy.
        stopping: whether the work shall stop.
        on_bytes: told of the bytes of pieces.

    Raises:
        TreeError: something could not be read or written, or the disk is full.
        InterruptedByUserError: ``stopping`` said so.
    """

    def staged(piece: int) -> tuple[Stretch, ...]:
        extents = tuple(
            Extent("", 0, length)
            if index is None
            else Extent(stage.path(index, placement.places[index]), offset, length)
            for index, offset, length in plan.wanted.segments(plan.doubles[piece])
        )
        return (Stretch(0, extents),)

    copier = _Copier(tree, stage, plan, placement, stopping, on_bytes)
    copier.copy_all({piece: staged(piece) for piece in pieces})


def _is_untouched(stage: Stage, plan: Plan, path: str) -> bool:
    try:
        with doing("look at", path):
            stage.check_untouched(path, plan)
    except TreeError:
        return False
    return True


class _Copier:
    def __init__(
        self,
        tree: Tree,
        stage: Stage,
        plan: Plan,
        placement: Placement,
        stopping: Callable[[], bool],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._tree = tree
        self._stage = stage
        self._manifest = plan.wanted
        self._places = placement.places
        self._stopping = stopping
        self._on_bytes = on_bytes
        self._runs = RunCopier()

    def copy_all(
        self, pieces: Mapping[int, Iterable[Stretch]], broken: set[int] | None = None
    ) -> set[str]:
        """Copy stretches of pieces; gives the paths that they came from.

        What fails goes into ``broken``, but for a full disk; without it, it is raised.
        """
        sources = OpenFiles(self._tree)
        targets = OpenFiles(self._tree, os.O_RDWR | os.O_CREAT)
        try:
            for piece, stretches in sorted(pieces.items()):
                if self._stopping():
                    raise InterruptedByUserError("stopped while copying")
                try:
                    self._copy(piece, stretches, sources, targets)
                except DiskFullError:
                    raise
                except TreeError:
                    if broken is None:
                        raise
                    broken.add(piece)
                self._on_bytes(self._manifest.piece_size(piece))
        finally:
            sources.close()
            targets.close()
        return sources.seen

    def _copy(
        self, piece: int, stretches: Iterable[Stretch], sources: OpenFiles, targets: OpenFiles
    ) -> None:
        for run in matched_runs(self._manifest.segments(piece), stretches):
            target = self._stage.path(run.file_index, self._places[run.file_index])
            with doing("copy", run.source or target):
                self._runs.copy(
                    sources.get(run.source) if run.source else None,
                    targets.get(target),
                    (run.source_offset, run.offset, run.length),
                )
