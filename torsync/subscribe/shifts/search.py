"""Find content of wanted files that is in the tree at other offsets, with a release's hints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torsync.model.events import Level, Stage
from torsync.model.hints.cover import Cover
from torsync.model.hints.format import HintsError
from torsync.model.hints.matching import (
    Places,
    Unit,
    chunks_in,
    extend,
    groups_in,
    try_cells,
    units_of_groups,
)
from torsync.model.hints.worth import Sought, plan_search
from torsync.model.shifts import Run, Shifts
from torsync.subscribe.shifts.entries import Entries
from torsync.subscribe.shifts.old_files import OldFiles
from torsync.subscribe.shifts.source import HintsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torsync.disk.tree import Tree
    from torsync.model.hints.matching import Stretch
    from torsync.model.hints.worth import Span
    from torsync.model.plan import Plan
    from torsync.subscribe.shifts.source import HintsSource
    from torsync.subscribe.surroundings import Voice

_DETAILS_AT_ONCE = 4 * 1024**2  # bytes of hints that are taken apart at a time
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
    sought = plan_search(plan)
    if not sought:
        return Shifts()
    voice.stage(Stage.LOOKING_FOR_SHIFTS)
    before = source.bytes_received
    search = _Search(tree, plan, source, sought, voice, stopping)
    try:
        search.run()
    except HintsUnavailableError as error:
        voice.notice(Level.WARNING, error.code, error.message, error.hint)
    except HintsError as error:
        voice.notice(
            Level.WARNING,
            HintsUnavailableError.code,
            f"the hints of the release cannot be used: {error.message}",
            "the update goes on without; the publisher has to publish them anew",
        )
    finally:
        search.close()
    return Shifts(search.runs(), search.old.bytes_read, source.bytes_received - before)


@dataclass
class _File:
    """What is known of a file that is sought."""

    sought: Sought
    sources: list[int]
    own: int
    groups: list[Unit] = field(default_factory=list)
    cover: Cover = field(default_factory=Cover)

    @property
    def gaps(self) -> list[Span]:
        """What it lacks that has not been found."""
        return self.cover.gaps_in(self.sought.lacking)


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
        paths = [path for each in sought for path in each.sources]
        self.old = OldFiles(
            tree, plan.index.entries, paths, stopping=stopping, on_bytes=lambda _count: None
        )
        self._plan = plan
        self._entries = Entries(source, sought)
        numbers = self.old.numbers
        self._files = [
            _File(
                each,
                [numbers[path] for path in each.sources],
                numbers.get(plan.wanted.files[each.file_index].path, -1),
            )
            for each in sought
        ]
        self._voice = voice

    def close(self) -> None:
        self.old.close()

    def run(self) -> None:
        listed = {
            each.file_index for each in self._entries.read_groups([f.sought for f in self._files])
        }
        self._files = [file for file in self._files if file.sought.file_index in listed]
        for file in self._files:
            file.groups = list(units_of_groups(self._entries.groups(file.sought.file_index)))
        for average, files in self._by_average(self._files):
            self._match_groups(average, files)
        for batch in self._batches():
            self._match_details(batch)

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
                found[file.sought.file_index] = runs
        return found

    def _by_average(self, files: Sequence[_File]) -> Iterator[tuple[int, list[_File]]]:
        averages: dict[int, list[_File]] = {}
        for file in files:
            averages.setdefault(self._entries.average(file.sought.file_index), []).append(file)
        yield from sorted(averages.items())

    def _match_groups(self, average: int, files: Sequence[_File]) -> None:
        units = {file.sought.file_index: list(_in_gaps(file.groups, file.gaps)) for file in files}
        places = Places(unit for wanted in units.values() for unit in wanted)
        for stretch in self._stretches(average, files):
            places.note(stretch.source, groups_in(stretch))
        for file in files:
            places.settle(units[file.sought.file_index], file.cover, file.sources[0])

    def _stretches(self, average: int, files: Sequence[_File]) -> Iterator[Stretch]:
        numbers = dict.fromkeys(number for file in files for number in file.sources)
        return self.old.stretches(self.old.whole(numbers), average)

    def _batches(self) -> Iterator[list[_File]]:
        """Files of which something is still unknown, some at a time."""
        batch: list[_File] = []
        size = 0
        for file in self._files:
            gaps = file.gaps
            if not gaps:
                continue
            size += self._entries.detail_bytes(file.sought.file_index, gaps, file.sought.size)
            batch.append(file)
            if size >= _DETAILS_AT_ONCE:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _match_details(self, batch: Sequence[_File]) -> None:
        details = self._entries.read_details(
            {file.sought.file_index: file.gaps for file in batch},
            {file.sought.file_index: file.sought.size for file in batch},
        )
        batch = [file for file in batch if file.sought.file_index in details]
        for average, files in self._by_average(batch):
            places = Places(
                unit for file in files for unit in details[file.sought.file_index].chunks
            )
            for stretch in self._stretches(average, files):
                places.note(stretch.source, chunks_in(stretch))
            for file in files:
                detail = details[file.sought.file_index]
                places.settle(detail.chunks, file.cover, file.sources[0])
                extend(detail.chunks, file.cover, self.old.sees)
                try_cells(detail.cells, file.cover, file.own, self.old.sees)


def _in_gaps(units: Sequence[Unit], gaps: Sequence[Span]) -> Iterator[Unit]:
    """The units that overlap what is unknown; both ascending."""
    at = 0
    for unit in units:
        while at < len(gaps) and gaps[at].end <= unit.start:
            at += 1
        if at < len(gaps) and gaps[at].start < unit.end:
            yield unit
