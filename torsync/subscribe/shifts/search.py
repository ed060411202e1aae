"""Find content of wanted files that is in the tree at other offsets, with a release's hints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.model.events import Level, Stage
from torsync.model.hints.cover import Cover
from torsync.model.hints.format import HintsError
from torsync.model.hints.matching import (
    Places,
    chunks_in,
    extend,
    groups_in,
    try_cells,
    units_of_groups,
)
from torsync.model.hints.regions import parts_for
from torsync.model.hints.worth import files_to_search, is_enough
from torsync.model.shifts import NO_SHIFTS, Run, Shifts
from torsync.subscribe.shifts.entries import Entries, Unknown
from torsync.subscribe.shifts.old_files import OldFiles, heed
from torsync.subscribe.shifts.proving import Prover
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torsync.disk.tree import Tree
    from torsync.model.hints.matching import Stretch, Unit
    from torsync.model.hints.regions import Part
    from torsync.model.hints.worth import Sought, Span
    from torsync.model.plan import Plan
    from torsync.subscribe.shifts.entries import Detail
    from torsync.subscribe.shifts.source import HintsSource
    from torsync.subscribe.surroundings import Voice

_COSTS = "without hints, more is fetched"
_GROUPS = 64 * 1024  # that are looked for at a time
_DETAILS = 4 * 1024**2  # bytes of hints that are taken apart at a time
_LARGE = 8 * 1024**2  # bytes that are lacking of a file that is looked into by pieces
_TRIES = 6  # times what is lacking: bytes that are read where chunks and cells may be
_TELL_EVERY = 8 * 1024**2


def find_shifts(
    tree: Tree,
    plan: Plan,
    source: HintsSource,
    *,
    voice: Voice,
    stopping: Callable[[], bool],
) -> Shifts:
    """Find old content of the files that a plan would have to fetch parts of.

    Hints that are wrong are ignored; so is a file that cannot be read, or changes meanwhile.
    Every run's bytes were hashed where they are, and had a hash that the hints or the manifest
    give; only pieces' hashes prove that they are right.

    Args:
        tree: that the plan is for.
        plan: what would be fetched without.
        source: of the release's hints.
        voice: says what is going on, and that hints cannot be had.
        stopping: asked several times a second, from several threads.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    sought = list(_heeding(stopping, files_to_search(plan)))
    if not is_enough(sought):
        return NO_SHIFTS
    voice.stage(Stage.LOOKING_FOR_SHIFTS)
    before = source.bytes_received
    search = _Search(tree, plan, source, sought, voice, stopping)
    try:
        search.run()
    except HintsUnavailableError as error:
        voice.notice(Level.WARNING, error.code, f"{error.message}; {_COSTS}", error.hint)
    except HintsError as error:
        voice.notice(
            Level.WARNING,
            HintsUnavailableError.code,
            f"{source.shown}: the hints of the release cannot be used: {error.message}; {_COSTS}",
            error.hint or "the publisher has to put the hints file there anew",
        )
    finally:
        search.close()
    return Shifts(search.runs(), search.old.bytes_read, source.bytes_received - before)


class _Tries:
    """Looks whether units are where they are supposed to be, up to so many bytes."""

    def __init__(self, old: OldFiles, most_bytes: int) -> None:
        self._old = old
        self._left = most_bytes

    def sees(self, source: int, offset: int, unit: Unit) -> bool:
        self._left -= unit.length
        return self._left >= 0 and self._old.sees(source, offset, unit)


@dataclass
class _File:
    """What is known of a file that is sought.

    Attributes:
        sought: what it lacks, and where to look.
        sources: numbers of the old files to look into, the likeliest first.
        own: number of the one that it would be at the same offset of; -1 if there is none.
        tries: sees whether the old files have something somewhere.
        parts: of the old files, to be cut.
        cover: what has been found.
    """

    sought: Sought
    sources: list[int]
    own: int
    tries: _Tries
    parts: list[Part] = field(default_factory=list)
    cover: Cover = field(default_factory=Cover)

    @property
    def index(self) -> int:
        """Of the file in the wanted manifest."""
        return self.sought.file_index

    @property
    def gaps(self) -> list[Span]:
        """What it lacks that has not been found."""
        return self.cover.gaps_in(self.sought.lacking)

    @property
    def unknown_bytes(self) -> int:
        """How much that is."""
        return sum(end - start for start, end in self.gaps)


class _Search:
    def __init__(
        self,
        tree: Tree,
        plan: Plan,
        source: HintsSource,
        sought: Sequence[Sought],
        voice: Voice,
        stopping: Callable[[], bool],
    ) -> None:
        paths = dict.fromkeys(path for each in sought for path in each.sources)
        self.old = OldFiles(
            tree,
            plan.index.entries,
            paths,
            stopping=stopping,
            on_read=_meter(voice, sum(plan.index.entries[path].size for path in paths)),
        )
        self._plan = plan
        self._needed = frozenset(plan.needed)
        self._entries = Entries(source, sought)
        numbers = self.old.numbers
        self._files = [
            _File(
                each,
                [numbers[path] for path in each.sources],
                numbers.get(_patched(plan, each.file_index), -1),
                _Tries(self.old, _TRIES * each.lacking_bytes),
            )
            for each in sought
        ]

    def close(self) -> None:
        self.old.close()

    def run(self) -> None:
        sought = [file.sought for file in self._files]
        listed = {each.file_index for each in self._entries.read_groups(sought)}
        self._files = [file for file in self._files if file.index in listed]
        for batch in self._batches(lambda file: self._entries.group_count(file.index), _GROUPS):
            self._match_groups(batch)
        for batch in self._batches(self._detail_bytes, _DETAILS):
            self._match_details(batch)

    def _batches(self, cost: Callable[[_File], int], most: int) -> Iterator[list[_File]]:
        """Files of which something is unknown, so many at a time that memory is bounded."""
        batch: list[_File] = []
        total = 0
        for file in self._files:
            self.old.heed()
            if file.gaps:
                total += cost(file)
                batch.append(file)
            if total >= most:
                yield batch
                batch, total = [], 0
        if batch:
            yield batch

    def _detail_bytes(self, file: _File) -> int:
        return self._entries.detail_bytes(Unknown(file.sought, file.gaps))

    def runs(self) -> dict[int, tuple[Run, ...]]:
        """What was found, in files that are still as they were."""
        found = {}
        for file in self._files:
            runs = tuple(
                Run(start, end - start, self.old.paths[source], start + shift)
                for start, end, source, shift in file.cover.within(file.sought.lacking)
                if not self.old.is_bad(source)
            )
            if runs:
                found[file.index] = runs
        return found

    # --- groups ---------------------------------------------------------------------------------

    def _match_groups(self, batch: Sequence[_File]) -> None:
        for average, files in self._by_average(batch):
            units = {file.index: self._groups_of(file) for file in files}
            for file in files:
                file.parts = self.old.whole(file.sources)
                if file.sought.lacking_bytes >= _LARGE:
                    self._prove(file, units[file.index])
            places = Places(unit for wanted in units.values() for unit in wanted)
            for stretch in self._stretches(average, files):
                places.note(stretch.source, groups_in(stretch))
            for file in files:
                self.old.heed()
                places.settle(units[file.index], file.cover, file.sources[0])

    def _groups_of(self, file: _File) -> list[Unit]:
        units = units_of_groups(self._entries.groups(file.sought))
        return list(_overlapping(units, file.sought.lacking))

    def _prove(self, file: _File, groups: Sequence[Unit]) -> None:
        """Look into a large file by pieces, and cut only what that leaves open."""
        wanted = self._plan.wanted
        lacking = [piece for piece in wanted.pieces_of(file.index) if piece in self._needed]
        average = self._entries.average(file.index)
        prover = Prover(wanted, file.index, lacking, self.old, average)
        prover.run(groups, file.sources, file.cover)
        if file.unknown_bytes <= file.sought.lacking_bytes // 2:
            file.parts = parts_for(file.gaps, file.cover, file.own, self.old.sizes)

    def _by_average(self, files: Sequence[_File]) -> Iterator[tuple[int, list[_File]]]:
        averages: dict[int, list[_File]] = {}
        for file in files:
            averages.setdefault(self._entries.average(file.index), []).append(file)
        yield from sorted(averages.items())

    def _stretches(self, average: int, files: Sequence[_File]) -> Iterator[Stretch]:
        parts = dict.fromkeys(part for file in files if file.gaps for part in file.parts)
        return self.old.stretches(list(parts), average)

    # --- chunks and cells -----------------------------------------------------------------------

    def _match_details(self, batch: Sequence[_File]) -> None:
        unknown = [Unknown(file.sought, file.gaps) for file in batch]
        details = self._entries.read_details(unknown)
        listed = [file for file in batch if file.index in details]
        for average, files in self._by_average(listed):
            self._match_chunks(average, files, details)
            again = [file for file in files if self._is_much_unknown(file)]
            for file in again:
                file.parts = self.old.whole(file.sources)
            if again:
                self._match_chunks(average, again, details)

    def _is_much_unknown(self, file: _File) -> bool:
        """Whether what was not found near its neighbours may be anywhere."""
        worth = max(_LARGE // 8, file.sought.lacking_bytes // 32)
        return file.unknown_bytes > worth and file.parts != self.old.whole(file.sources)

    def _match_chunks(
        self, average: int, files: Sequence[_File], details: Mapping[int, Detail]
    ) -> None:
        places = Places(unit for file in files for unit in details[file.index].chunks)
        for stretch in self._stretches(average, files):
            places.note(stretch.source, chunks_in(stretch))
        for file in files:
            self.old.heed()
            detail = details[file.index]
            places.settle(detail.chunks, file.cover, file.sources[0])
            extend(detail.chunks, file.cover, file.tries.sees)
            try_cells(detail.cells, file.cover, file.own, file.tries.sees)


def _heeding(stopping: Callable[[], bool], items: Iterable[Sought]) -> Iterator[Sought]:
    for item in items:
        heed(stopping)
        yield item


def _patched(plan: Plan, file_index: int) -> str:
    """The path whose content a file has where nothing is lacking, or would have."""
    return plan.files[file_index].source or plan.wanted.files[file_index].path


def _overlapping(units: Iterable[Unit], spans: Sequence[Span]) -> Iterator[Unit]:
    """The units that overlap some of ``spans``; both ascending."""
    at = 0
    for unit in units:
        while at < len(spans) and spans[at].end <= unit.start:
            at += 1
        if at < len(spans) and spans[at].start < unit.end:
            yield unit


def _meter(voice: Voice, bytes_total: int) -> Callable[[int], None]:
    """Give a function that is told how much has been read, and says it now and then."""
    tell = voice.bytes_meter(Stage.LOOKING_FOR_SHIFTS, bytes_total)
    told = 0

    def note(bytes_read: int) -> None:
        nonlocal told
        upto = min(bytes_read, bytes_total)
        if upto - told >= _TELL_EVERY:
            tell(upto - told)
            told = upto

    return note
