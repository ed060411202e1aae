"""Carry out a decided plan: stage, fetch, read back, commit. Nothing is decided here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, TreeError
from torsync.model.events import Stage as EventStage
from torsync.model.placement import Place, Placement, place_for_fetch, without_files
from torsync.model.plan import STAGED, Plan, content_bytes_of
from torsync.model.reuse import bytes_found, count_reused
from torsync.subscribe.assembling import assemble, copy_doubles
from torsync.subscribe.cloning import Copying
from torsync.subscribe.commit import Commit, CommitOutcome
from torsync.subscribe.fetch import Fetched, FetchGoal, either, use_web_seeds_of
from torsync.subscribe.hashing import HashedPieces, hash_pieces
from torsync.subscribe.leftovers import Leftovers
from torsync.subscribe.look import bytes_of
from torsync.subscribe.prepare import Preparation
from torsync.subscribe.seeding import addresses_of
from torsync.subscribe.stage import Stage, staged_name
from torsync.swarm.claims import claimed_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torsync.disk.tree import Tree
    from torsync.model.assess import Matcher
    from torsync.model.journal import Journal
    from torsync.model.known import Synced
    from torsync.model.reports import Reused
    from torsync.subscribe.cloning import Clone
    from torsync.subscribe.fetch import Fetcher
    from torsync.subscribe.patience import Patience
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice
    from torsync.subscribe.trash import Trash


class Update:
    """One run of one plan on one tree."""

    def __init__(
        self,
        tree: Tree,
        state: TreeState,
        plan: Plan,
        trash: Trash,
        *,
        is_released: Callable[[str], bool],
        voice: Voice,
        stopping: Callable[[], bool],
        patience: Patience,
    ) -> None:
        """Prepare.

        Args:
            tree: to change.
            state: of the tree.
            plan: what to do.
            trash: for what is removed and replaced.
            is_released: whether what is at a path is an earlier release's, and untouched.
            voice: says how it goes.
            stopping: whether the work shall stop.
            patience: with files that other programs hold.
        """
        self._patience = patience
        self._tree = tree
        self._state = state
        self._plan = plan
        self._is_released = is_released
        self._trash = trash
        self._voice = voice
        self._stopping = stopping
        self._stage = Stage(tree, plan.wanted.info_hash)
        self._needed = plan.needed
        self._copied_in_vain: frozenset[int] = frozenset()  # assembled, and not right
        self._broken: frozenset[int] = frozenset()  # pieces whose claims do not hold
        self.fetched = Fetched()
        self.bytes_hashed = 0

    @property
    def bytes_reused(self) -> Reused:
        """What of the release was in the tree: what is planned, but for what was found wrong."""
        found = count_reused(self._plan)
        in_vain = bytes_found(
            self._plan, self._copied_in_vain | self._broken | self.fetched.refused_claims
        )
        return found._replace(shifted=found.shifted - in_vain)

    @property
    def needs_stage(self) -> bool:
        """Whether anything has to be staged."""
        return any(planned.action in STAGED for planned in self._plan.files)

    def build(
        self,
        metainfo: Callable[[], bytes],
        fetcher: Fetcher,
        *,
        peers: tuple[tuple[str, int], ...],
        web_seeds: tuple[str, ...],
    ) -> None:
        """Have every staged file complete and checked; the visible tree stays as it is.

        Raises:
            TorsyncError: it could not be done; what has arrived is kept for the next try.
        """
        placement = place_for_fetch(self._plan)
        self._voice.stage(EventStage.STAGING)
        self._stage.prepare()
        self._open_up()  # first, as what it copies may end what was staged there
        have = Leftovers(
            self._stage,
            self._plan,
            record=self._state.get("staged"),
            hash_pieces=partial(self._hash, EventStage.VERIFYING),
        ).take_over(placement)
        clones = self._stage.clone_sources(self._plan, present=self._stage.leftovers())
        # The disk takes what was copied while the rest is fetched, and what was fetched while
        # it is read back: the commit waits for less. A descriptor is told of an error once,
        # here and not in the commit.
        copying = self._copying(clones)
        try:
            with copying:
                placement = self._assemble(placement, have)
                self._fetch(metainfo, fetcher, placement, have, copying, peers, web_seeds)
                self._copy_doubles(placement, have)
                if not copying.is_done:
                    self._voice.stage(EventStage.STAGING)
                copying.finish()
        finally:
            self._check_stored(copying.check_stored)
            self._keep_record(have)
        if self._needed:
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sync") as beside:
                fetched = beside.submit(self._tree.sync)
                try:
                    self._read_back(placement)
                finally:
                    self._check_stored(fetched.result)

    def prepare(self, *, synced: Synced, keep: Matcher) -> Preparation:
        """Give what turns the staged release into a journal; ``synced`` is the one before it."""
        return Preparation(
            self._tree,
            self._plan,
            self._stage,
            synced=synced,
            is_released=self._is_released,
            keep=keep,
        )

    def commit(self, journal: Journal) -> CommitOutcome:
        """Make the staged release visible.

        Raises:
            TreeError: something could not be written; see ``Commit.run``.
        """
        if journal.moves_anything:
            self._voice.stage(EventStage.COMMITTING)
            self._check_stored(self._tree.sync)
            self._state.store_journal(journal)
        meter = self._voice.file_meter(EventStage.COMMITTING, len(journal.placed))
        digest = self._plan.wanted.digest
        return Commit(
            self._tree,
            journal,
            self._trash,
            digest=digest,
            on_file=meter,
            patience=self._patience,
        ).run()

    def clear_stage(self) -> None:
        """Remove the stage after the commit has been recorded.

        An update that was cut off after its commit may have left one where none was needed now.

        Raises:
            TreeError: that was not possible.
        """
        self._stage.remove()

    # --- steps ------------------------------------------------------------------------------

    def _check_stored(self, sync: Callable[[], None]) -> None:
        """See that the disk took what was staged; what it did not take is not used again.

        It can still be read, from memory, and the disk tells of its failure but once.

        Raises:
            TreeError: it did not take something.
        """
        try:
            sync()
        except TreeError:
            with suppress(TorsyncError):
                self._state.put(staged="")
                self._stage.give_up(self._plan)
            raise

    def _open_up(self) -> None:
        """Save what users have edited of the files that are patched in place, and say which.

        From here on the tree is between releases, until an update has been recorded.
        """
        files = self._plan.wanted.files
        for index in sorted(self._plan.to_save):
            copy = self._stage.save_copy(files[index].path, index, self._plan, self._stopping)
            self._trash.take(copy, name=files[index].path)
        if self._plan.in_place:
            _release, begun = self._state.between()
            for index in self._plan.in_place:
                path = files[index].path
                begun[path] = self._plan.index.entries[path].inode
            self._state.begin_in_place(self._plan.wanted.name, begun)

    def _copying(self, clones: Sequence[Clone]) -> Copying:
        total = sum(length for clone in clones for _offset, length in clone.runs)
        return Copying(
            self._tree,
            clones,
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(EventStage.STAGING, total),
        )

    def _assemble(self, placement: Placement, have: bytearray) -> Placement:
        """Copy what is elsewhere in the tree and check its pieces; wrong ones are fetched."""
        copies = sorted(self._plan.copies)
        if not copies and not self._plan.claims:
            return placement
        pieces = sorted({*copies, *self._plan.claims})
        self._broken = assemble(
            self._tree,
            self._stage,
            self._plan,
            placement,
            done={piece for piece in self._plan.claims if have[piece]},
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(
                EventStage.STAGING, bytes_of(placement.manifest, pieces)
            ),
        )
        right = self._hash(EventStage.REREADING, placement, copies).good
        wanted = bytearray(placement.wanted)
        for piece in copies:
            have[piece] = piece in right
            wanted[piece] = 1
        self._needed = tuple(sorted({*self._needed, *copies} - right))
        self._copied_in_vain = frozenset(copies) - right
        return replace(placement, wanted=bytes(wanted))

    def _fetch(
        self,
        metainfo: Callable[[], bytes],
        fetcher: Fetcher,
        placement: Placement,
        have: bytearray,
        copying: Copying,
        peers: tuple[tuple[str, int], ...],
        web_seeds: tuple[str, ...],
    ) -> None:
        if all(have[piece] or not placement.wanted[piece] for piece in self._needed):
            return
        from torsync.swarm.held_web_seeds import hosts_to_match  # noqa: PLC0415 - libtorrent
        from torsync.swarm.torrent import AddRequest  # noqa: PLC0415 - libtorrent, when needed

        self._voice.stage(EventStage.DOWNLOADING)
        manifest = placement.manifest
        use_web_seeds = use_web_seeds_of(manifest, web_seeds, self._voice)
        copied = (clone.number for clone in copying.clones)
        claimed, wanted = without_files(
            placement, bytes(have), copied, frozenset(self._plan.lacking)
        )
        with self._stage.for_writing_by_name() as folder:
            request = AddRequest(
                metainfo=metainfo,
                save_path=str(self._tree.root),
                paths=self._paths(placement, folder),
                sizes=tuple(file.size for file in manifest.files),
                have=claimed,
                wanted=wanted,
                unfinished=self._claimed_blocks(have),
                peers=peers,
                web_seeds=web_seeds,
                use_web_seeds=use_web_seeds,
                web_seed_machines=(hosts_to_match(manifest, addresses_of) if use_web_seeds else {}),
            )
            self._state.put(staged="")
            fetcher.fetch(request, self._goal(placement, have), self.fetched, check=copying.check)

    def _copy_doubles(self, placement: Placement, have: bytearray) -> None:
        """Copy from what was fetched what is equal to it; it is read back with the rest."""
        pieces = [piece for piece in self._plan.doubles if not have[piece]]
        if not pieces:
            return
        self._voice.stage(EventStage.STAGING)
        copy_doubles(
            self._tree,
            self._stage,
            self._plan,
            placement,
            pieces,
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(
                EventStage.STAGING, bytes_of(placement.manifest, pieces)
            ),
        )

    def _paths(self, placement: Placement, stage: str) -> tuple[str, ...]:
        """Where each file is for now: relative to the tree, or absolute in the ``stage``."""
        paths = [file.path for file in placement.manifest.files]
        for index, path in placement.paths.items():
            paths[index] = path
        for index, place in enumerate(placement.places):
            if place is not Place.TREE:
                paths[index] = f"{stage}/{staged_name(index, place)}"
        return tuple(paths)

    def _goal(self, placement: Placement, have: bytearray) -> FetchGoal:
        manifest = placement.manifest
        files = tuple(
            manifest.pieces_of(index)
            for index, place in enumerate(placement.places)
            if place is Place.STAGE and manifest.files[index].size
        )
        missing = [piece for piece in self._needed if not have[piece] and placement.wanted[piece]]
        claimed = claimed_bytes(manifest, self._claimed_blocks(have))
        total_bytes = content_bytes_of(manifest, missing) - sum(claimed.values())
        there = either(bytes(have), bytes(not wanted for wanted in placement.wanted))
        return FetchGoal(total_bytes, files, there, claimed)

    def _claimed_blocks(self, have: bytearray) -> dict[int, bytes]:
        """The blocks that are there of pieces that are not."""
        claims = self._plan.claims.items()
        return {
            piece: claim.blocks
            for piece, claim in claims
            if not have[piece] and piece not in self._broken and piece not in self._plan.doubles
        }

    def _keep_record(self, have: bytearray) -> None:
        if self.fetched.have:
            staged = self._stage.record(either(self.fetched.have, bytes(have)))
            self._state.put(staged=staged.dump())

    def _read_back(self, placement: Placement) -> None:
        """Hash what was fetched once more: "finished" does not mean "on disk"."""
        found = self._hash(EventStage.REREADING, placement, self._needed)
        wrong = [piece for piece in self._needed if piece not in found.good]
        if wrong:
            self._state.put(staged="")
            path = self._paths_in(wrong)
            raise TreeError(
                f"{len(wrong)} fetched pieces are not on disk as they arrived, the first of them "
                f"in {path!r}",
                path=path,
                hint="the tree is as it was; check the disk, then try again",
            )

    def _paths_in(self, pieces: Iterable[int]) -> str:
        manifest = self._plan.wanted
        return next(
            (manifest.files[index].path for piece in pieces for index in manifest.files_in(piece)),
            "",
        )

    def _hash(self, stage: EventStage, placement: Placement, pieces: Iterable[int]) -> HashedPieces:
        listed = list(pieces)
        self._voice.stage(stage)
        found = hash_pieces(
            placement.manifest,
            listed,
            self._stage.open_for(placement),
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(stage, bytes_of(placement.manifest, listed)),
        )
        self.bytes_hashed += found.bytes_hashed
        return found
