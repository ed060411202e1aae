"""Releases in which content has shifted, beside those who look for content anywhere in a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.cases.releases import published_releases
from tests.benchmarks.cases.turns import chosen, judge, start_row, take_turns
from tests.benchmarks.contestants.chunked import Casync, Copy, DeltaRsync, SyncedCopy
from tests.benchmarks.contestants.peers import MirroringLibtorrent
from tests.benchmarks.contestants.torsync import Torsync, TorsyncInPlace, TorsyncUnhinted
from tests.benchmarks.packages import (
    PACKAGES,
    UnavailableError,
    default_cache,
    fetch_archives,
    link_equal_files,
    unpack_releases,
)
from tests.benchmarks.publisher import HINTED, find_program
from tests.benchmarks.shifted_trees import (
    write_databases,
    write_insertion,
    write_logs,
    write_zips,
)
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.base import Contestant

    Write = Callable[[Path], tuple[Path, Path]]

_FINDERS = (DeltaRsync(), Casync())
_MORE_FINDERS = (Casync(16), MirroringLibtorrent())
_INSERTED = 1024**3
_ZIP_MEMBERS, _ROWS, _LOG = 1_200, 88_000, 20_000_000
# Content that chunks of 4 KiB leave to be fetched in blocks of 16 KiB, and their hints at 12 bytes.
_MOST_MB = {
    "django": (0.18, 0.002),
    "typescript": (0.29, 0.036),
    "numpy": (8.68, 0.026),
    "scipy": (39.3, 0.13),
}
_TELLING = {"django", "scipy"}
"""The packages that are measured where not all is asked for: text, and compiled code."""
_MARGIN = 1.1
_MOST_TIMES_COPYING = 1.5
_INSERTED_MOST_MB = 1.0


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure the wanted ones of the cases that are about content at other offsets."""
    rows: list[Row] = []
    if "package-updates" in wanted:
        cache = options.packages or default_cache()
        for package in PACKAGES:
            if package.name not in _TELLING and not options.all:
                continue
            write = partial(unpack_releases, package, cache=cache)
            # Packages are as large as they are, whatever size is asked for.
            content, hints = _MOST_MB[package.name]
            goals = {"MB fetched": _MARGIN * content + hints}
            case = f"package-updates, {package.name}"
            try:
                fetch_archives(package, cache)
            except UnavailableError as error:
                rows += [_left_out(case, one, str(error)) for one in _contestants(options)]
                continue
            rows += _case(case, write, options, goals)
    if "insert-1g" in wanted:
        write = partial(write_insertion, size=options.scaled(_INSERTED))
        goals = options.goals(MB_fetched=_INSERTED_MOST_MB, ratio=_MOST_TIMES_COPYING)
        # Of 1 GiB, cutting and compressing two releases takes casync minutes.
        slow = (SyncedCopy(), Casync()) if options.all else ()
        others = (Copy(), DeltaRsync(), *slow)
        rows += _case("insert-1g", write, options, goals, others, reference=Copy.name)
    for case, write in _others(options):
        if case.partition(",")[0] in wanted:
            rows += _case(case, write, options, {})
    return rows


def _others(options: Options) -> list[tuple[str, Write]]:
    members, rows = options.scaled(_ZIP_MEMBERS, least=3), options.scaled(_ROWS, least=100)
    size = options.scaled(_LOG, least=50_000)
    found: list[tuple[str, Write]] = [
        ("zip, stored", partial(write_zips, members=members, stored=True)),
        ("sqlite, updates", partial(write_databases, rows=rows, vacuum=False)),
        ("log, rotated", partial(write_logs, size=size, rotated=True)),
    ]
    if options.all:
        found += [
            ("zip, deflated", partial(write_zips, members=members, stored=False)),
            ("sqlite, vacuum", partial(write_databases, rows=rows, vacuum=True)),
            ("log, appended", partial(write_logs, size=size, rotated=False)),
        ]
    return found


def _contestants(options: Options, others: Sequence[Contestant] = _FINDERS) -> list[Contestant]:
    more = (*_MORE_FINDERS, TorsyncInPlace()) if options.all else ()
    return chosen((*others, Torsync(), TorsyncUnhinted(), *more), options)


def _case(
    case: str,
    write: Write,
    options: Options,
    goals: dict[str, float],
    others: Sequence[Contestant] = _FINDERS,
    reference: str = DeltaRsync.name,
) -> list[Row]:
    contestants = _contestants(options, others)
    if find_program("nginx") is None:
        return [_left_out(case, one, "nginx is not installed") for one in contestants]
    with published_releases(options, piece_size=0, format=HINTED) as work:
        old, new = write(work.scratch)
        changed = link_equal_files(old, new)
        rows = [
            start_row(case, one, work.published(one, old), one.update_note) for one in contestants
        ]
        turns = [
            (row, partial(work.update, row, one, old, new))
            for row, one in zip(rows, contestants, strict=True)
        ]
        take_turns(turns, options.repeat, options)
        judge(rows, reference=reference, goals={Torsync.name: goals})
        rsync = next((row for row in rows if row.contestant == DeltaRsync.name), None)
        torrent = len(work.published(Torsync(), new).torrent)
        for row in rows:
            row.bytes_reference = rsync
            if row.contestant == Torsync.name:
                row.note = f"changed files {_mb(changed)}, .torrent {_mb(torrent)}; {row.note}"
            elif row is rsync and row.runs:
                told = row.runs[-1].counts
                literal, sent = _mb(told["literal_bytes"]), _mb(told["sent_bytes"])
                row.note = f"literal data {literal}, sent {sent}; {row.note}"
    return rows


def _left_out(case: str, contestant: Contestant, obstacle: str) -> Row:
    return Row(case, contestant.name, obstacle, takes_part=False)


def _mb(count: int) -> str:
    return f"{count / 1e6:,.3f} MB"
