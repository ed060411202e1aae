"""One release: fetched into an empty folder, and checked again where nothing has changed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases.turns import chosen, judge, start_row, take_turns
from tests.benchmarks.contestants.peers import Aria2, BareLibtorrent, Rsync, SyncedLibtorrent
from tests.benchmarks.contestants.torsync import Torsync, TorsyncFromFile
from tests.benchmarks.measure import assert_equal_trees, read_tree
from tests.benchmarks.publisher import Publisher
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree, write_small_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.base import Contestant
    from tests.benchmarks.publisher import Published

_LARGE_FILES, _LARGE_BYTES, _LARGE_PIECE = 300, 2 * 1024**3, 1024**2
_SMALL_FILES, _SMALL_PIECE = 100_000, 64 * 1024


@dataclass
class _Workload:
    """One published tree, and the folders that are in sync with it."""

    published: Published
    scratch: Path
    options: Options
    synced: dict[str, Path] = field(default_factory=dict)
    _places: int = 0

    def first_sync(self, row: Row, contestant: Contestant, is_last: bool) -> None:  # noqa: ARG002
        """Fill a fresh folder, compare it, and keep it instead of the last one."""
        self._places += 1
        place = self.scratch / f"place{self._places}"
        place.mkdir()
        self._calm_down()
        row.runs.append(contestant.sync(self.published, place))
        self._compare(row, contestant, place)
        if contestant.name in self.synced:
            shutil.rmtree(self.synced[contestant.name])
        self.synced[contestant.name] = place

    def check_again(self, row: Row, contestant: Contestant, is_last: bool) -> None:
        """Check a folder that is in sync; at last see that it still is."""
        if contestant.name not in self.synced:
            self.first_sync(Row("(preparation)", contestant.name), contestant, is_last=True)
        place = self.synced[contestant.name]
        self._calm_down()
        row.runs.append(contestant.sync(self.published, place))
        if is_last:
            self._compare(row, contestant, place)

    def _compare(self, row: Row, contestant: Contestant, place: Path) -> None:
        tree = contestant.tree(place, self.published)
        assert_equal_trees(tree, self.published.folder, without=contestant.leftovers)
        row.compared += 1

    def _calm_down(self) -> None:
        """Nobody pays for what another one left to be written, or finds the source cold."""
        read_tree(self.published.folder)
        os.sync()


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of ``first-sync-…`` and ``nothing-changed``."""
    rows: list[Row] = []
    again = "nothing-changed" in wanted
    if again or "first-sync-large" in wanted:
        files, size = options.scaled(_LARGE_FILES, least=3), options.scaled(_LARGE_BYTES)
        write = partial(write_mixed_tree, files=files, total=size)
        with _workload(options, write, piece_size=_LARGE_PIECE) as work:
            if "first-sync-large" in wanted:
                rows += _first_sync("first-sync-large", work, options.goals(ratio=1 / 0.9))
            if again:
                goals = options.goals(seconds=0.3)
                rows += _nothing_changed(f"nothing-changed, {files:,}", work, goals)
    if again or "first-sync-small" in wanted:
        files = options.scaled(_SMALL_FILES, least=3)
        write = partial(write_small_tree, files=files)
        with _workload(options, write, piece_size=_SMALL_PIECE) as work:
            if "first-sync-small" in wanted:
                rows += _first_sync("first-sync-small", work, options.goals(peak_MB=250))
            if again:
                goals = options.goals(seconds=1.0, peak_MB=250)
                rows += _nothing_changed(f"nothing-changed, {files:,}", work, goals)
    return rows


def _first_sync(case: str, work: _Workload, goals: dict[str, float]) -> list[Row]:
    contestants = (BareLibtorrent(), SyncedLibtorrent(), Torsync(), Aria2(), Rsync())
    able = chosen(contestants, work.options)
    rows = [start_row(case, one, work.published, one.note) for one in able]
    turns = [(row, partial(work.first_sync, row, one)) for row, one in zip(rows, able, strict=True)]
    take_turns(turns, work.options.repeat)
    judge(rows, reference="libtorrent", goals={Torsync.name: goals})
    return rows


def _nothing_changed(case: str, work: _Workload, goals: dict[str, float]) -> list[Row]:
    contestants = (Rsync(), Torsync(), TorsyncFromFile(), BareLibtorrent(), Aria2())
    able = chosen(contestants, work.options)
    rows = [start_row(case, one, work.published, one.again_note) for one in able]
    turns = [
        (row, partial(work.check_again, row, one)) for row, one in zip(rows, able, strict=True)
    ]
    take_turns(turns, work.options.checks)
    judge(rows, reference="rsync", goals={Torsync.name: goals})
    return rows


@contextmanager
def _workload(
    options: Options, write: Callable[[Path], None], *, piece_size: int
) -> Iterator[_Workload]:
    """Write a tree and publish it; all is removed with the block."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        base = Path(name)
        folder = base / "release"
        write(folder)
        offered = base / "offered"
        offered.mkdir()
        with Publisher(offered) as publisher:
            published = publisher.offer(folder, piece_size=piece_size, format=options.format)
            yield _Workload(published, base, options)
