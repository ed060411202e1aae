"""One release: fetched into an empty folder, and checked again where nothing has changed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.caches import empty_caches
from tests.benchmarks.cases.turns import chosen, judge, start_row, take_turns
from tests.benchmarks.contestants.chunked import CasyncFromDisk, Copy, SyncedCopy
from tests.benchmarks.contestants.peers import (
    Aria2,
    BareLibtorrent,
    LibtorrentCheck,
    Rqbit,
    RqbitCheck,
    Rsync,
    SyncedLibtorrent,
)
from tests.benchmarks.contestants.torsync import Torsync, TorsyncFromFile, TorsyncVerify
from tests.benchmarks.measure import assert_equal_trees, read_tree
from tests.benchmarks.publisher import Publisher
from tests.benchmarks.trees import write_mixed_tree, write_small_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.base import Contestant
    from tests.benchmarks.publisher import Published
    from tests.benchmarks.table import Row

_LARGE_FILES, _LARGE_BYTES, _LARGE_PIECE = 300, 2 * 1024**3, 1024**2
_SMALL_PIECE = 64 * 1024


class _Size(NamedTuple):
    """A tree that is measured on.

    Attributes:
        files: how many.
        piece_size: of its torrent, in bytes.
        write: writes it.
        first, again: what a first sync and a check shall take at most.
    """

    files: int
    piece_size: int
    write: Callable[[Path], None]
    first: dict[str, float]
    again: dict[str, float]


@dataclass
class _Workload:
    """One published tree, and the folders that are in sync with it."""

    published: Published
    scratch: Path
    options: Options
    synced: dict[str, Path] = field(default_factory=dict)
    _places: int = 0

    def first_sync(
        self, row: Row, contestant: Contestant, is_first: bool, *, cold: bool = False
    ) -> None:
        """Fill a fresh folder, compare it, and keep it instead of the last one."""
        place = self._new_place()
        self._calm_down(None, cold=cold)
        row.runs.append(contestant.sync(self.published, place))
        self._compare(row, contestant, place, every_byte=is_first)
        self._keep(contestant, place)

    def check_again(
        self, row: Row, contestant: Contestant, is_first: bool, *, cold: bool = False
    ) -> None:
        """Check a folder that is in sync, and see that it still is."""
        if _key(contestant) not in self.synced:
            place = self._new_place()
            contestant.prepare(self.published, place)
            self._keep(contestant, place)
        place = self.synced[_key(contestant)]
        self._calm_down(place, cold=cold)
        row.runs.append(contestant.sync(self.published, place))
        if is_first:
            self._compare(row, contestant, place, every_byte=True)

    def _new_place(self) -> Path:
        self._places += 1
        place = self.scratch / f"place{self._places}"
        place.mkdir()
        return place

    def _keep(self, contestant: Contestant, place: Path) -> None:
        if _key(contestant) in self.synced:
            shutil.rmtree(self.synced[_key(contestant)])
        self.synced[_key(contestant)] = place

    def _compare(self, row: Row, contestant: Contestant, place: Path, *, every_byte: bool) -> None:
        tree = contestant.tree(place, self.published)
        contents = None if every_byte else ()
        assert_equal_trees(
            tree, self.published.folder, without=contestant.leftovers, contents=contents
        )
        row.compared += every_byte

    def _calm_down(self, place: Path | None, *, cold: bool) -> None:
        """Nobody pays for what another one left to be written, or finds other files cold."""
        if cold:
            roots = [self.published.folder, *([place] if place else [])]
            empty_caches(roots, how=self.options.empty_by)
            return
        read_tree(self.published.folder)
        if place:
            read_tree(place)
        os.sync()


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of ``first-sync``, ``nothing-changed`` and ``verify-many``."""
    rows: list[Row] = []
    for size in _sizes(options):
        names = {"first-sync", "nothing-changed"} | (
            {"verify-many"} if size.piece_size == _SMALL_PIECE else set()
        )
        if not names & set(wanted):
            continue
        with _workload(options, size) as work:
            if "first-sync" in wanted:
                rows += _first_sync(size, work)
            if "nothing-changed" in wanted:
                rows += _nothing_changed(size, work)
            if "verify-many" in names & set(wanted):
                rows += _verify_many(size, work)
    return rows


def _sizes(options: Options) -> list[_Size]:
    large, many, most = (
        options.scaled(_LARGE_FILES, least=3),
        options.scaled(10_000, least=4),
        options.scaled(100_000, least=10),
    )
    write_large = partial(write_mixed_tree, files=large, total=options.scaled(_LARGE_BYTES))
    goals = options.goals
    most_first, most_again = goals(peak_MB=250), goals(seconds=1.0, peak_MB=250)
    write_many, write_most = (partial(write_small_tree, files=files) for files in (many, most))
    first, again = goals(ratio=1 / 0.9), goals(seconds=0.3)
    sizes = {
        _LARGE_FILES: _Size(large, _LARGE_PIECE, write_large, first, again),
        10_000: _Size(many, _SMALL_PIECE, write_many, {}, {}),
        100_000: _Size(most, _SMALL_PIECE, write_most, most_first, most_again),
    }
    return [size for full, size in sizes.items() if options.has_files(full)]


def _first_sync(size: _Size, work: _Workload) -> list[Row]:
    case = f"first-sync, {size.files:,}"
    contestants: tuple[Contestant, ...] = (
        *(BareLibtorrent(), Torsync(), Rqbit(), Rsync(), Copy()),
        *_slow(size, work.options),
        *((SyncedLibtorrent(), SyncedCopy()) if work.options.all else ()),
    )
    rows = _turns(case, work, contestants, BareLibtorrent.name, goals=size.first, again=False)
    if work.options.all or size.piece_size != _SMALL_PIECE:
        cold = (BareLibtorrent(), Torsync(), Rsync(), Copy())
        rows += _turns(f"{case}, cold", work, cold, BareLibtorrent.name, again=False, cold=True)
    return rows


def _slow(size: _Size, options: Options) -> list[Contestant]:
    """aria2c is slow with many files, and casync takes minutes to cut 2 GiB into chunks."""
    is_large, is_most = size.piece_size == _LARGE_PIECE, size.files >= options.scaled(100_000)
    aria2 = [Aria2()] if options.all or not is_most else []
    return [*aria2, *([CasyncFromDisk()] if options.all or not is_large else [])]


def _nothing_changed(size: _Size, work: _Workload) -> list[Row]:
    case = f"nothing-changed, {size.files:,}"
    contestants: tuple[Contestant, ...] = (
        *(Rsync(), Torsync(), BareLibtorrent(), Rqbit()),
        *_slow(size, work.options),
        *([TorsyncFromFile()] if work.options.all else []),
    )
    cold = (Rsync(), Torsync())
    return [
        *_turns(case, work, contestants, Rsync.name, goals=size.again, again=True),
        *_turns(f"{case}, cold", work, cold, Rsync.name, again=True, cold=True),
    ]


def _verify_many(size: _Size, work: _Workload) -> list[Row]:
    case, reference = f"verify-many, {size.files:,}", LibtorrentCheck.name
    contestants = (LibtorrentCheck(), TorsyncVerify(), RqbitCheck())
    cold = contestants[:2]
    return [
        *_turns(case, work, contestants, reference, again=True),
        *_turns(f"{case}, cold", work, cold, reference, again=True, cold=True),
    ]


def _turns(
    case: str,
    work: _Workload,
    contestants: tuple[Contestant, ...],
    reference: str,
    *,
    goals: dict[str, float] | None = None,
    again: bool,
    cold: bool = False,
) -> list[Row]:
    options = work.options
    able = chosen(contestants, options)
    do = work.check_again if again else work.first_sync
    rows = [
        start_row(case, one, work.published, one.again_note if again else one.note) for one in able
    ]
    turns = [(row, partial(do, row, one, cold=cold)) for row, one in zip(rows, able, strict=True)]
    take_turns(turns, options.checks if again and not cold else options.repeat, options)
    judge(rows, reference=reference, goals={Torsync.name: goals or {}})
    return rows


def _key(contestant: Contestant) -> str:
    return contestant.folder_of or contestant.name


@contextmanager
def _workload(options: Options, size: _Size) -> Iterator[_Workload]:
    """Write a tree and publish it; all is removed with the block."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        base = Path(name)
        folder = base / "release"
        size.write(folder)
        offered = base / "offered"
        offered.mkdir()
        with Publisher(offered) as publisher:
            published = publisher.offer(folder, piece_size=size.piece_size, format=options.format)
            yield _Workload(published, base, options)
