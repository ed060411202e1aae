"""From one release to the next, and checks of all that is there."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.cases.releases import published_releases
from tests.benchmarks.cases.turns import chosen, judge, start_row, take_turns
from tests.benchmarks.contestants.chunked import CasyncFromDisk
from tests.benchmarks.contestants.peers import (
    Aria2,
    FuzzyRsync,
    Hashlib,
    LibtorrentCheck,
    LibtorrentCheckV2,
    MirroringLibtorrent,
    Rqbit,
    RqbitCheck,
    Rsync,
    SyncedRsync,
)
from tests.benchmarks.contestants.torsync import (
    Torsync,
    TorsyncInPlace,
    TorsyncV2,
    TorsyncVerify,
    TorsyncVerifyV2,
)
from tests.benchmarks.trees import PAIR_FILES, write_release_pair, write_small_releases
from tests.support.disks import SIZE, disk

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.cases.releases import Releases
    from tests.benchmarks.cases.turns import Turn
    from tests.benchmarks.contestants.base import Contestant
    from tests.benchmarks.table import Row

_PAIR_BYTES, _PAIR_PIECE = 2 * 1024**3, 256 * 1024
_GROWTH = 4
_SMALL_PIECE = 64 * 1024
_DISKS, _DISK_BYTES = ("ext4", "xfs"), 10 * 1024**3


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of the cases that are about a tree's next release."""
    rows: list[Row] = []
    if {"update-large", "update-8g", "staged-in-place", "verify"} & set(wanted):
        with published_releases(options, piece_size=_PAIR_PIECE) as work:
            pair = _write_pair(work)
            if "update-large" in wanted:
                rows += _update_large(work, pair)
            if "verify" in wanted:
                rows += _verify(work, pair[0])
            if "update-8g" in wanted:
                work.forget(but=frozenset({Torsync.name, Rsync.name}))
                rows += _update_grown(work, pair)
            if "staged-in-place" in wanted:
                work.forget()
                for kind in _DISKS:
                    rows += _staged_in_place(work, pair, kind)
    if "one-of-many" in wanted:
        rows += _one_of_many(options)
    return rows


def _update_large(work: Releases, pair: tuple[Path, Path]) -> list[Row]:
    contestants = (
        *(Rsync(), Torsync(), TorsyncInPlace(), MirroringLibtorrent(), Aria2(), Rqbit()),
        *((SyncedRsync(), FuzzyRsync(), TorsyncV2()) if work.options.all else ()),
        *([CasyncFromDisk()] if work.options.all else []),
    )
    goals = work.options.goals(ratio=0.6, MB_fetched=4.0)
    found = []
    for case, able, cold in (
        ("update-large", contestants, False),
        ("update-large, cold", (Rsync(), Torsync(), MirroringLibtorrent()), True),
    ):
        turns = _update_turns(case, work, able, *pair, cold=cold)
        take_turns(turns, work.options.repeat, work.options)
        rows = [row for row, _ in turns]
        judged = {} if cold else {Torsync.name: goals, TorsyncV2.name: goals}
        judge(rows, reference=Rsync.name, goals=judged)
        found += rows
    return found


def _staged_in_place(work: Releases, pair: tuple[Path, Path], kind: str) -> list[Row]:
    """The same on a file system of its own, so that it shows what that has to have room for."""
    contestants = (TorsyncInPlace(), Torsync(), Rsync())
    size = work.options.scaled(_DISK_BYTES, least=SIZE)
    turns = _update_turns(f"staged-in-place, {kind}", work, contestants, *pair)
    rows = [row for row, _ in turns]
    with ExitStack() as mounted:
        image, target = work.scratch / f"{kind}.image", work.scratch / kind
        try:
            work.disk = mounted.enter_context(disk(kind, image, target, size=size))
        except pytest.skip.Exception as reason:
            for row in rows:
                row.note = str(reason)
            return rows
        take_turns(turns, work.options.repeat, work.options)
        work.forget()
        work.disk = None
    image.unlink()
    goals = work.options.goals(ratio=1.5)
    judge(rows, reference=TorsyncInPlace.name, goals={Torsync.name: goals})
    return rows


def _update_grown(small: Releases, small_pair: tuple[Path, Path]) -> list[Row]:
    """The same change in a larger tree; both sizes take turns."""
    options = small.options
    turns: list[tuple[Row, Turn]] = []
    with published_releases(options, piece_size=_PAIR_PIECE) as large:
        large_pair = _write_pair(large, growth=_GROWTH)
        for contestant in chosen((Rsync(), Torsync()), options):
            for work, pair, size in ((small, small_pair, "2 GiB"), (large, large_pair, "8 GiB")):
                turns += _update_turns(f"update-8g, {size}", work, (contestant,), *pair)
        take_turns(turns, options.repeat, options)
    rows = [row for row, _ in turns]
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        before.is_reference = True
        after.reference = before if before.runs else None
        if after.contestant == Torsync.name:
            after.goals = options.goals(ratio=1.3)
    return rows


def _verify(work: Releases, release: Path) -> list[Row]:
    options = work.options
    goals = options.goals(ratio=1 / 0.85)
    rows: list[Row] = []
    turns: list[tuple[Row, Turn]] = []
    v1: tuple[Contestant, ...] = (LibtorrentCheck(), TorsyncVerify(), Hashlib("sha1"))
    v2 = (LibtorrentCheckV2(), TorsyncVerifyV2(), Hashlib("sha256"))
    cases: dict[str, tuple[Contestant, ...]] = {
        "verify, v1": (*v1, RqbitCheck()),
        "verify, v1, cold": v1,
        "verify, v2": v2,
    }
    for case, contestants in cases.items():
        able = chosen(contestants, options)
        made = [start_row(case, one, work.published(one, release), one.note) for one in able]
        cold = case.endswith("cold")
        turns += [
            (row, partial(work.check, row, one, release, cold=cold))
            for row, one in zip(made, able, strict=True)
        ]
        judged = {} if cold else {TorsyncVerify.name: goals}
        judge(made, reference=LibtorrentCheck.name, goals=judged)
        rows += made
    take_turns(turns, options.repeat, options)
    return rows


def _one_of_many(options: Options) -> list[Row]:
    rows: list[Row] = []
    for full, least in ((10_000, 9), (100_000, 10)):
        if not options.has_files(full):
            continue
        files, slow = options.scaled(full, least=least), (Aria2(), Rqbit(), CasyncFromDisk())
        contestants = (
            *(Rsync(), Torsync(), MirroringLibtorrent()),
            *(slow if options.all or full == 10_000 else ()),
            *([SyncedRsync()] if options.all else []),
        )
        with published_releases(options, piece_size=_SMALL_PIECE) as work:
            releases = write_small_releases(work.scratch, files=files)
            cases = {"other size": releases.other_size}
            if options.all:
                cases["same size"] = releases.same_size
            for case, new in cases.items():
                most = (new / releases.changed).stat().st_size + _SMALL_PIECE
                goals = options.goals(seconds=2.0, MB_fetched=most / 1e6, peak_MB=250)
                name = f"one-of-many, {files:,}, {case}"
                turns = _update_turns(name, work, contestants, releases.old, new)
                take_turns(turns, options.repeat, options)
                made = [row for row, _ in turns]
                judge(made, reference=Rsync.name, goals={Torsync.name: goals})
                rows += made
    return rows


def _update_turns(
    case: str,
    work: Releases,
    contestants: Sequence[Contestant],
    old: Path,
    new: Path,
    *,
    cold: bool = False,
) -> list[tuple[Row, Turn]]:
    turns: list[tuple[Row, Turn]] = []
    for one in chosen(contestants, work.options):
        row = start_row(case, one, work.published(one, old), one.update_note)
        turns.append((row, partial(work.update, row, one, old, new, cold=cold)))
    return turns


def _write_pair(work: Releases, *, growth: int = 1) -> tuple[Path, Path]:
    return write_release_pair(
        work.scratch,
        files=growth * PAIR_FILES,
        total=work.options.scaled(growth * _PAIR_BYTES),
        scale=work.options.scale,
    )
