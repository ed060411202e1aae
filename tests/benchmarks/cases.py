"""What is measured: each case lets its contestants take turns, several times."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import bench_parse
from tests.benchmarks.contestants import (
    Aria2,
    BareLibtorrent,
    Rsync,
    SyncedLibtorrent,
    Torsync,
    TorsyncFromFile,
)
from tests.benchmarks.measure import (
    assert_equal_trees,
    read_tree,
    run_process,
    write_mixed_tree,
    write_small_tree,
)
from tests.benchmarks.publisher import publish
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.contestants import Contestant
    from tests.benchmarks.publisher import Published

CASES = ("first-sync-large", "first-sync-small", "nothing-changed", "parse")

_LARGE_FILES, _LARGE_BYTES, _LARGE_PIECE = 300, 2 * 1024**3, 1024**2
_SMALL_FILES, _SMALL_PIECE = 100_000, 64 * 1024
_PARSE_FILES = 200_000
# The issue speaks of torrents of at most 24 MB; a hybrid of that many files has twice that.
_PARSE_GOALS = {"v1", "v1 packed", "v2"}

_LOAD_BY_LIBTORRENT = """
import sys
import libtorrent as lt
with open(sys.argv[1], "rb") as file:
    data = file.read()
limits = {"max_buffer_size": 1 << 30, "max_pieces": 1 << 26, "max_decode_tokens": 1 << 28}
layout = lt.load_torrent_buffer(data, limits).ti.layout()
paths = [layout.file_path(index) for index in range(layout.num_files())]
"""
_LOAD_BY_TORSYNC = """
import sys
from torsync.model.metainfo import parse_metainfo
with open(sys.argv[1], "rb") as file:
    data = file.read()
paths = [file.path for file in parse_metainfo(data).files]
"""


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        scale: everything is so many times smaller than the full size.
        repeat: how often each contestant takes its turn.
        checks: how often it does where nothing has changed, which is short.
        format: of the torrents.
        only: names of contestants; empty for all.
        folder: where everything is made, in folders that are removed again.
    """

    scale: int = 1
    repeat: int = 3
    checks: int = 5
    format: str = "v1"
    only: tuple[str, ...] = ()
    folder: Path | None = None

    def scaled(self, full: int, *, least: int = 1) -> int:
        """The size for this run."""
        return max(full // self.scale, least)


@dataclass
class _Workload:
    """One published tree, and the folders that are in sync with it."""

    published: Published
    scratch: Path
    options: Options
    synced: dict[str, Path] = field(default_factory=dict)
    _places: int = 0

    def first_sync(self, row: Row, contestant: Contestant) -> None:
        """Fill a fresh folder, compare it, and keep it instead of the last one."""
        self._places += 1
        place = self.scratch / f"place{self._places}"
        place.mkdir()
        self._calm_down()
        row.runs.append(contestant.sync(self.published, place))
        assert_equal_trees(contestant.tree(place, self.published), self.published.folder)
        row.compared += 1
        _tell(row)
        if contestant.name in self.synced:
            shutil.rmtree(self.synced[contestant.name])
        self.synced[contestant.name] = place

    def check_again(self, row: Row, contestant: Contestant) -> None:
        """Check a folder that is in sync."""
        if contestant.name not in self.synced:
            self.first_sync(Row("(preparation)", contestant.name), contestant)
        place = self.synced[contestant.name]
        self._calm_down()
        row.runs.append(contestant.sync(self.published, place))
        _tell(row)

    def compare(self, row: Row, contestant: Contestant) -> None:
        """See that a folder that was checked again is still in sync."""
        place = self.synced[contestant.name]
        assert_equal_trees(contestant.tree(place, self.published), self.published.folder)
        row.compared += 1

    def _calm_down(self) -> None:
        """Nobody pays for what another one left to be written, or finds the source cold."""
        read_tree(self.published.folder)
        os.sync()


def run_cases(names: Sequence[str], options: Options) -> list[Row]:
    """Measure the named cases (all if none is named) and give their rows, in order."""
    wanted = list(names or CASES)
    rows: list[Row] = []
    again = "nothing-changed" in wanted
    if again or "first-sync-large" in wanted:
        files, size = options.scaled(_LARGE_FILES, least=3), options.scaled(_LARGE_BYTES)
        write = partial(write_mixed_tree, files=files, total=size)
        with _workload(options, write, piece_size=_LARGE_PIECE) as work:
            if "first-sync-large" in wanted:
                rows += _first_sync("first-sync-large", work, {"ratio": 1 / 0.9})
            if again:
                rows += _nothing_changed(f"nothing-changed, {files:,}", work, {"seconds": 0.3})
    if again or "first-sync-small" in wanted:
        files = options.scaled(_SMALL_FILES, least=3)
        write = partial(write_small_tree, files=files)
        with _workload(options, write, piece_size=_SMALL_PIECE) as work:
            if "first-sync-small" in wanted:
                rows += _first_sync("first-sync-small", work, {"peak MB": 250})
            if again:
                goals = {"seconds": 1.0, "peak MB": 250}
                rows += _nothing_changed(f"nothing-changed, {files:,}", work, goals)
    if "parse" in wanted:
        rows += _parse(options)
    order = {name: number for number, name in enumerate(CASES)}
    return sorted(rows, key=lambda row: order[row.case.partition(",")[0]])


def _first_sync(case: str, work: _Workload, goals: dict[str, float]) -> list[Row]:
    contestants = (BareLibtorrent(), SyncedLibtorrent(), Torsync(), Aria2(), Rsync())
    rows = _take_turns(case, work, contestants, work.first_sync, rounds=work.options.repeat)
    return _judged(rows, goals if work.options.scale == 1 else {}, reference="libtorrent")


def _nothing_changed(case: str, work: _Workload, goals: dict[str, float]) -> list[Row]:
    contestants = (Rsync(), Torsync(), TorsyncFromFile(), BareLibtorrent(), Aria2())
    rounds = work.options.checks
    rows = _take_turns(case, work, contestants, work.check_again, rounds=rounds, again=True)
    return _judged(rows, goals if work.options.scale == 1 else {}, reference="rsync")


def _take_turns(
    case: str,
    work: _Workload,
    contestants: Sequence[Contestant],
    turn: Callable[[Row, Contestant], None],
    *,
    rounds: int,
    again: bool = False,
) -> list[Row]:
    only = work.options.only
    chosen = [one for one in contestants if not only or one.name in only]
    rows = [Row(case, one.name, _note(one, work, again=again)) for one in chosen]
    able = [
        (row, one)
        for row, one in zip(rows, chosen, strict=True)
        if not one.obstacle(work.published)
    ]
    for number in range(rounds):
        first = number % len(able) if able else 0  # nobody always follows the same one
        for row, one in (*able[first:], *able[:first]):
            turn(row, one)
    if again:
        for row, one in able:
            work.compare(row, one)
    return rows


def _note(contestant: Contestant, work: _Workload, *, again: bool) -> str:
    said = (again and contestant.again_note) or contestant.note
    return contestant.obstacle(work.published) or said


def _judged(rows: list[Row], goals: dict[str, float], *, reference: str) -> list[Row]:
    found = next((row for row in rows if row.contestant == reference and row.runs), None)
    for row in rows:
        row.reference = found if found is not row else None
        if row.contestant == Torsync.name:
            row.goals = goals
    return rows


def _parse(options: Options) -> list[Row]:
    files = options.scaled(_PARSE_FILES, least=3)
    goals: dict[str, float] = {"seconds": 5.0, "peak MB": 500} if options.scale == 1 else {}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="parse-", dir=options.folder) as name:
        scratch = Path(name)
        path = scratch / "large.torrent"
        for kind in bench_parse.FORMATS:
            bench_parse.write_torrent(path, kind, files)
            size = path.stat().st_size
            reference = Row("parse", f"libtorrent {kind}", f"{size / 1e6:.1f} MB")
            row = Row("parse", f"torsync {kind}", f"{size / 1e6:.1f} MB", reference=reference)
            row.goals = goals if kind in _PARSE_GOALS else {}
            for _ in range(options.repeat):
                for one, program in ((reference, _LOAD_BY_LIBTORRENT), (row, _LOAD_BY_TORSYNC)):
                    run = run_process([sys.executable, "-c", program, str(path)], scratch)
                    one.runs.append(run)
            rows += [reference, row]
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
        with publish(folder, offered, piece_size=piece_size, format=options.format) as published:
            yield _Workload(published, base, options)


def _tell(row: Row) -> None:
    sys.stderr.write(f"{row.case}: {row.contestant}: {row.runs[-1].seconds:.3f} s\n")
