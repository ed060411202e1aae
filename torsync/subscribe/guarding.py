"""Ask the guards before anything of an update is done; their decisions are in ``model.guard``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.model.config import CleanMode
from torsync.model.events import Level
from torsync.model.guard import (
    Refusal,
    refuse_deletes,
    refuse_empty,
    refuse_space,
    refuse_unrelated,
)
from torsync.model.space import Room, bytes_in_place, stage_bytes
from torsync.subscribe.room import has_reflinks, measure_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from torsync.disk.tree import Tree
    from torsync.model.assess import Matcher
    from torsync.model.config import SubscriptionConfig
    from torsync.model.known import Synced
    from torsync.model.plan import Plan
    from torsync.model.reports import CheckReport
    from torsync.subscribe.admission import Admission
    from torsync.subscribe.look import Look
    from torsync.subscribe.override import Override
    from torsync.subscribe.release import Release
    from torsync.subscribe.surroundings import Voice


class Guard:
    """The guards of one tree that look at a plan."""

    def __init__(
        self,
        config: SubscriptionConfig,
        admission: Admission,
        override: Override,
        *,
        keep: Matcher,
        make_room: Callable[[int, frozenset[str]], int] = lambda _short, _but: 0,
        spare: Callable[[frozenset[str]], int] = lambda _but: 0,
    ) -> None:
        """Prepare.

        Args:
            config: of the subscription.
            admission: of its tree.
            override: what a person has allowed.
            keep: matches what the user said is theirs.
            make_room: is told how many bytes are short, and which files are needed; gives back
                how many bytes it made free.
            spare: the same without doing it: how many it could make free.
        """
        self._config = config
        self._admission = admission
        self._override = override
        self._keep = keep
        self._make_room = make_room
        self._spare = spare
        self._reflinks: dict[int, bool] = {}  # by device

    def check_update(
        self,
        tree: Tree,
        release: Release,
        plan: Plan,
        look: Look,
        synced: Synced,
        *,
        agree: Callable[[], None],
    ) -> None:
        """Refuse to bring a tree to a release unless that is harmless, or allowed.

        With that its first sync begins, so it gets its marker. ``agree`` is called before
        anything is changed, if nothing is refused; it may raise, to end that.

        Raises:
            RefusedError: it is refused; nothing was changed.
            TorsyncError: tree or state cannot be used.
        """
        refusals = self._refuse_update(plan, look, synced)
        self._check(tree, plan, refusals, release.digest, agree)

    def check_mending(
        self,
        tree: Tree,
        release: Release,
        plan: Plan,
        look: Look,
        *,
        clean: bool,
        agree: Callable[[], None],
    ) -> None:
        """Refuse to repair or clean a tree unless that is harmless, or allowed.

        ``agree`` is called as by ``check_update``.

        Raises:
            RefusedError: it is refused; nothing was changed.
            TorsyncError: tree or state cannot be used.
        """
        refusals = self._refuse_deletes(plan, look, mirror=clean)
        self._check(tree, plan, refusals, release.digest, agree)

    def foretell(
        self,
        tree: Tree,
        release: Release,
        plan: Plan,
        look: Look,
        synced: Synced,
        report: CheckReport,
        voice: Voice,
    ) -> None:
        """Tell how much room an update takes, and what it would be refused for.

        Raises:
            TreeError: the file system cannot be asked.
        """
        room = self._measure(tree, plan)
        report.space_needed, report.space_free = stage_bytes(plan, room), room.free_bytes
        if report.space_needed > room.free_bytes:
            room = replace(room, free_bytes=room.free_bytes + self._spare(_sources(plan)))
        refusals = [*self._refuse_update(plan, look, synced), *self._refuse_space(plan, room)]
        refused = self._override.refused(refusals, release.digest, again=("apply",))
        if refused is not None:
            said = f"the update would be {refused.message}"
            voice.notice(Level.WARNING, "would_be_refused", said, refused.hint)

    def fits(self, tree: Tree, plan: Plan) -> bool:
        """Whether there is room to stage a plan, with what the trash could give.

        Raises:
            TreeError: the file system cannot be asked.
        """
        room = self._measure(tree, plan)
        short = stage_bytes(plan, room) - room.free_bytes
        return short <= 0 or short <= self._spare(_sources(plan))

    def _check(
        self,
        tree: Tree,
        plan: Plan,
        refusals: list[Refusal],
        digest: str,
        agree: Callable[[], None],
    ) -> None:
        room = self._measure(tree, plan)
        short = stage_bytes(plan, room) - room.free_bytes
        spare = self._spare(_sources(plan)) if short > 0 else 0
        possible = replace(room, free_bytes=room.free_bytes + spare)
        in_vain = [*refusals, *self._refuse_space(plan, possible)]
        if self._override.refused(in_vain, digest) is None:
            agree()
            if short > 0 and self._make_room(short, _sources(plan)):
                room = self._measure(tree, plan)
        refused = self._override.refused([*refusals, *self._refuse_space(plan, room)], digest)
        if refused is not None:
            raise refused
        self._admission.mark(tree)

    def _refuse_update(self, plan: Plan, look: Look, synced: Synced) -> list[Refusal]:
        config = self._config
        unrelated = empty = None
        if self._admission.standing.is_first:
            path = str(config.path)
            unrelated = refuse_unrelated(plan, path, keep=self._keep, clean=config.clean)
        if not plan.wanted.total_size and synced.manifest is not None:
            empty = refuse_empty(plan.wanted, synced.manifest.total_size)
        mirror = config.clean is CleanMode.MIRROR
        return [
            *(found for found in (unrelated, empty) if found is not None),
            *self._refuse_deletes(plan, look, mirror=mirror),
        ]

    def _refuse_deletes(self, plan: Plan, look: Look, *, mirror: bool) -> list[Refusal]:
        found = refuse_deletes(plan, look.ledger, self._config.max_delete, mirror=mirror)
        return [found] if found is not None else []

    def _refuse_space(self, plan: Plan, room: Room) -> list[Refusal]:
        in_place, needed = bytes_in_place(plan, room), stage_bytes(plan, room)
        found = refuse_space(str(self._config.path), needed, room.free_bytes, in_place)
        return [found] if found is not None else []

    def _measure(self, tree: Tree, plan: Plan) -> Room:
        reflinks = False
        if any(plan.files[index].is_cloned for index in plan.acting):
            if tree.device not in self._reflinks:
                self._reflinks[tree.device] = has_reflinks(tree)
            reflinks = self._reflinks[tree.device]
        return measure_room(tree, plan.wanted.info_hash, reflinks=reflinks)


def _sources(plan: Plan) -> frozenset[str]:
    """The paths that a plan takes content from; what it takes from the trash has to stay there."""
    return frozenset(
        [
            *(plan.files[index].source for index in plan.acting),
            *(extent.path for extents in plan.copies.values() for extent in extents),
            *(extent.path for claim in plan.claims.values() for extent in claim.extents),
        ]
    )
