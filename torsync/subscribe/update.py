"""Carry out a decided plan: stage, fetch, read back, commit. Nothing is decided here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from torsync.model.errors import TorsyncError, TreeError
from torsync.model.events import Level
from torsync.model.events import Stage as EventStage
from torsync.model.placement import Place, Placement, place_for_fetch
from torsync.model.plan import STAGED, Plan, content_bytes_of
from torsync.subscribe.commit import Commit, CommitOutcome
from torsync.subscribe.fetch import Fetched, FetchGoal
from torsync.subscribe.hashing import HashedPieces, hash_pieces
from torsync.subscribe.look import bytes_of
from torsync.subscribe.prepare import Preparation
from torsync.subscribe.stage import Stage, StagedRecord, staged_name
from torsync.swarm.web_seeds import web_seeds_work

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from torsync.model.assess import Matcher
    from torsync.model.journal import Journal
    from torsync.model.known import Synced
    from torsync.subscribe.fetch import Fetcher
    from torsync.subscribe.patience import Patience
    from torsync.subscribe.state import TreeState
    from torsync.subscribe.surroundings import Voice
    from torsync.subscribe.trash import Trash
    from torsync.subscribe.tree import Tree


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
        self.fetched = Fetched()
        self.bytes_hashed = 0

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
        have = self._take_over_leftovers(placement)
        self._clone()
        placement = self._assemble(placement, have)
        # The disk takes what was copied while the rest is fetched, and what was fetched while
        # it is read back: the commit waits for less. A descriptor is told of an error once,
        # here and not in the commit.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sync") as beside:
            syncs = [beside.submit(self._tree.sync)]
            try:
                if self._needed:
                    self._fetch(metainfo, fetcher, placement, have, peers, web_seeds)
                    syncs.append(beside.submit(self._tree.sync))
                    self._read_back(placement)
            finally:
                for sync in syncs:
                    self._check_stored(sync.result)

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

    def _take_over_leftovers(self, placement: Placement) -> bytearray:
        """Find which pieces an earlier, interrupted update of this release has staged."""
        have = bytearray(placement.have)
        names = self._stage.leftovers()
        staged = {}
        for index, place in enumerate(placement.places):
            if place is Place.TREE:
                continue
            name = self._stage.path(index, place).rpartition("/")[2]
            if name in names:
                staged[index] = name
        for name in set(names) - set(staged.values()):
            self._stage.discard(name)
        if not staged:
            return have
        doubtful = sorted(
            {
                piece
                for index in staged
                for piece in placement.manifest.pieces_of(index)
                if placement.wanted[piece]
            }
        )
        right = self._right_leftovers(placement, staged, doubtful)
        for piece in doubtful:
            have[piece] = piece in right
        for index, name in staged.items():
            pieces = placement.manifest.pieces_of(index)
            expected = placement.have[pieces.start : pieces.stop]
            found = have[pieces.start : pieces.stop]
            is_wrong = any(was and not now for was, now in zip(expected, found, strict=True))
            if is_wrong or not self._is_like_its_source(placement, index):
                self._stage.discard(name)
                have[pieces.start : pieces.stop] = expected
        return have

    def _is_like_its_source(self, placement: Placement, index: int) -> bool:
        """Whether a staged clone has the content of pieces that cannot be hashed in the stage.

        They are right in the tree, but a neighbour that is not staged has bytes in them.
        """
        planned, manifest = self._plan.files[index], placement.manifest
        if not planned.is_cloned:
            return True
        runs = [
            (segment.file_offset, segment.length)
            for piece in manifest.pieces_of(index)
            if self._plan.good[piece] and not placement.have[piece]
            for segment in manifest.segments(piece)
            if segment.file_index == index
        ]
        return self._stage.is_clone_at(index, planned.source, runs)

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

    def _right_leftovers(
        self, placement: Placement, staged: Container[int], doubtful: list[int]
    ) -> set[int]:
        record = StagedRecord.load(self._state.get("staged"))
        if record is None or record != self._stage.record(record.have):
            return self._hash(EventStage.VERIFYING, placement, doubtful).good

        def has_all_files(piece: int) -> bool:
            """A file that was where it belongs then may have been edited since."""
            return all(
                index in staged or placement.places[index] is Place.TREE
                for index in placement.manifest.files_in(piece)
            )

        return {
            piece
            for piece in doubtful
            if record.have[piece] and (placement.have[piece] or has_all_files(piece))
        }

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

    def _clone(self) -> None:
        total = sum(
            self._plan.wanted.files[index].size
            for index in self._plan.acting
            if self._plan.files[index].is_cloned
        )
        self._stage.clone_sources(
            self._plan,
            present=self._stage.leftovers(),
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(EventStage.STAGING, total),
        )

    def _assemble(self, placement: Placement, have: bytearray) -> Placement:
        """Copy pieces from elsewhere in the tree and check them; wrong ones are fetched."""
        copies = sorted(self._plan.copies)
        if not copies:
            return placement
        self._stage.assemble(
            self._plan,
            placement,
            stopping=self._stopping,
            on_bytes=self._voice.bytes_meter(
                EventStage.STAGING, bytes_of(placement.manifest, copies)
            ),
        )
        right = self._hash(EventStage.REREADING, placement, copies).good
        wanted = bytearray(placement.wanted)
        for piece in copies:
            have[piece] = piece in right
            wanted[piece] = 1
        self._needed = tuple(sorted({*self._needed, *copies} - right))
        return replace(placement, wanted=bytes(wanted))

    def _fetch(
        self,
        metainfo: Callable[[], bytes],
        fetcher: Fetcher,
        placement: Placement,
        have: bytearray,
        peers: tuple[tuple[str, int], ...],
        web_seeds: tuple[str, ...],
    ) -> None:
        if all(have[piece] for piece in self._needed):
            return
        from torsync.swarm.torrent import AddRequest  # noqa: PLC0415 - libtorrent, when needed

        self._voice.stage(EventStage.DOWNLOADING)
        manifest = placement.manifest
        use_web_seeds = web_seeds_work(manifest)
        if not use_web_seeds and (manifest.web_seeds or web_seeds):
            self._voice.notice(
                Level.WARNING,
                "web_seeds_unusable",
                "web seeds are not used: libtorrent gets pieces of v2-only torrents wrong from "
                f"them if they are as small as {manifest.piece_length // 1024} KiB",
                "the publisher should use pieces of 1 MiB or more, or v1 or hybrid",
            )
        with self._stage.for_writing_by_name() as folder:
            request = AddRequest(
                metainfo=metainfo,
                save_path=str(self._tree.root),
                paths=self._paths(placement, folder),
                sizes=tuple(file.size for file in manifest.files),
                have=bytes(have),
                wanted=placement.wanted,
                peers=peers,
                web_seeds=web_seeds,
                use_web_seeds=use_web_seeds,
            )
            self._state.put(staged="")
            try:
                fetcher.fetch(request, self._goal(placement, have), self.fetched)
            except TorsyncError:
                self._keep_record()
                raise
            self._keep_record()

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
        missing = (piece for piece in self._needed if not have[piece])
        return FetchGoal(content_bytes_of(manifest, missing), files)

    def _keep_record(self) -> None:
        if self.fetched.have:
            self._state.put(staged=self._stage.record(self.fetched.have).dump())

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
