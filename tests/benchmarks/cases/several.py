"""Several subscribers at once, on machines of their own with slow links."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.cases.turns import take_turns
from tests.benchmarks.contestants.distributors import (
    BareSwarm,
    Home,
    Nginx,
    RsyncToMany,
    SuperSeeding,
    TorsyncSwarm,
    TorsyncWithFeed,
)
from tests.benchmarks.measure import Run, assert_equal_trees, read_tree, run_process
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree
from tests.support.netns import NoNetworkError, network

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.benchmarks.cases.options import Options
    from tests.benchmarks.contestants.distributors import Distributor
    from tests.support.netns import Machine

CASE = "four-subscribers"
_SUBSCRIBERS = 4
_FILES, _BYTES = 12, 40 * 1024**2
_RATE = "80mbit"
_MOST_TIMES, _MOST_COPIES = 1.4, 1.5


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure ``four-subscribers``, if it is wanted.

    Each contestant has a row for one subscriber, and one for four with the ratio to it. What
    counts as fetched is what has left the publisher's link, headers included.
    """
    if CASE not in wanted:
        return []
    distributors = (
        *(TorsyncSwarm(), BareSwarm(), Nginx(), RsyncToMany()),
        *((TorsyncWithFeed(), SuperSeeding()) if options.all else ()),
    )
    chosen = [one for one in distributors if not options.only or one.name in options.only]
    rows, turns = [], []
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        base = Path(name)
        release = base / "release"
        write_mixed_tree(release, files=_FILES, total=options.scaled(_BYTES))
        obstacle = _no_network()
        alone: dict[str, Row] = {}
        for one in chosen:
            counts = (_SUBSCRIBERS,) if one.beside else (1, _SUBSCRIBERS)
            for count in counts:
                row = _row(one, count, obstacle or one.obstacle())
                turns.append((row, partial(_turn, row, one, count, base)))
                rows.append(row)
                if count == 1:
                    alone[one.name] = row
                else:
                    row.reference = alone.get(one.beside or one.name)
            if one.name == TorsyncSwarm.name:
                most = _MOST_COPIES * _BYTES / 1e6
                rows[-1].goals = options.goals(ratio=_MOST_TIMES, MB_fetched=most)
        take_turns(turns, options.repeat, options)
    size = options.scaled(_BYTES)
    for row in rows:
        if row.runs:
            row.note = f"{_spread(row, size)}; {row.note}"
    return rows


def _row(one: Distributor, count: int, obstacle: str) -> Row:
    return Row(
        f"{CASE}, {count}",
        one.name,
        obstacle or one.note,
        takes_part=not obstacle,
        is_reference=count == 1,
    )


def _no_network() -> str:
    try:
        with network(1, rate=_RATE):
            return ""
    except NoNetworkError as error:
        return str(error)


def _turn(row: Row, one: Distributor, count: int, base: Path, is_first: bool) -> None:
    """Fetch to so many machines at once, on a network and from servers of this run alone."""
    release = base / "release"
    read_tree(release)
    os.sync()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=base)))
        home, *others = stack.enter_context(network(1 + count, rate=_RATE))
        (scratch / "home").mkdir()
        with home.entered():
            one.serve(Home(home, release, scratch / "home", stack))
        before = home.sent_bytes()

        def fetch(machine: Machine) -> Run:
            place = scratch / machine.address
            place.mkdir()
            with machine.entered():
                return run_process(one.command(machine, place), place)

        with ThreadPoolExecutor(count) as pool:
            runs = list(pool.map(fetch, others))
        sent = home.sent_bytes() - before
        for machine in others:
            assert_equal_trees(one.tree(scratch / machine.address), release)
            row.compared += 1
    row.runs.append(_together(runs, sent))


def _together(runs: list[Run], sent: int) -> Run:
    """All as one: the time of the slowest."""
    return Run(
        seconds=max(run.seconds for run in runs),
        user_s=sum(run.user_s for run in runs),
        system_s=sum(run.system_s for run in runs),
        peak_bytes=max(run.peak_bytes for run in runs),
        fetched_bytes=sent,
        output="",
    )


def _spread(row: Row, size: int) -> str:
    seconds = [run.seconds for run in row.runs]
    copies = [(run.fetched_bytes or 0) / size for run in row.runs]
    return (
        f"median {median(seconds):.2f} s, {median(copies):.2f} copies sent "
        f"({min(copies):.2f} to {max(copies):.2f})"
    )
