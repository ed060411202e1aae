"""Many small trees in one service, which has nothing to do."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases.turns import take_turns
from tests.benchmarks.measure import Run, assert_equal_trees
from tests.benchmarks.table import Row
from tests.support.many_trees import KINDS, Many

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.benchmarks.cases.options import Options
    from tests.support.many_trees import Figures, RunningService

CASE = "service-200"
_COUNT = 200
_REST_S = 30
_MOST_MB, _MOST_CPU = 400, 2.0
_NAMES = {
    "plain": "torsync",
    "feed": "torsync, long-poll",
    "publications": "torsync, publisher",
}


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure ``service-200``, if it is wanted.

    The time is from the start of a service that has all content, and knows it, until it seeds all
    of it; processor and memory are those of the half minute after that.
    """
    if CASE not in wanted:
        return []
    count, rest_s = options.scaled(_COUNT), options.scaled(_REST_S)
    rows, turns = [], []
    for kind in KINDS:
        name = _NAMES[kind]
        if options.only and name not in options.only:
            continue
        if kind != "plain" and not (options.all or options.only):
            continue
        row = Row(CASE, name)
        if kind != "publications":
            row.goals = options.goals(peak_MB=_MOST_MB, CPU_percent=_MOST_CPU)
        rows.append(row)
        turns.append((row, partial(_turn, row, kind, count, rest_s, options.folder)))
    take_turns(turns, options.repeat, options)
    return rows


def _turn(
    row: Row, kind: str, count: int, rest_s: float, folder: Path | None, _is_first: bool
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder) as scratch,
        Many(Path(scratch), count) as many,
    ):
        publisher = _settled(many, "publications")
        if kind == "publications":
            row.runs.append(_measured(many, kind, publisher, rest_s))
        else:
            subscriber = _settled(many, kind)
            if kind == "plain":
                publisher.stop()
            row.runs.append(_measured(many, kind, subscriber, rest_s))
            for name in many.names():
                assert_equal_trees(many.trees(kind) / name, many.contents / name)
        row.compared += 1
        row.note = _describe(row.runs[-1], count)


def _settled(many: Many, kind: str) -> RunningService:
    service = many.start(kind)
    service.wait_until_all_seed()
    return service


def _measured(many: Many, kind: str, before: RunningService, rest_s: float) -> Run:
    """Start it again, and leave it alone."""
    before.stop()
    service = many.start(kind)
    seconds = service.wait_until_all_seed()
    figures = service.rest(rest_s)
    service.stop()
    return _run(seconds, figures)


def _run(seconds: float, figures: Figures) -> Run:
    return Run(
        seconds=seconds,
        user_s=0.0,
        system_s=0.0,
        peak_bytes=figures.peak_bytes,
        fetched_bytes=None,
        output="",
        counts={
            "threads": figures.threads,
            "descriptors": figures.descriptors,
            "switches_per_s": round(figures.switches_per_s),
        },
        cpu_percent=100 * figures.cpu,
    )


def _describe(run: Run, count: int) -> str:
    counts = run.counts
    return (
        f"start until {count} seed, then at rest: {counts['threads']} threads, "
        f"{counts['descriptors']} descriptors, {counts['switches_per_s']} wake-ups a second"
    )
