"""What hints cost a publisher, beside hashing the same files."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases.publishing import PublishedFolder
from tests.benchmarks.cases.turns import judge, take_turns
from tests.benchmarks.contestants.authors import TorsyncAuthor, TorsyncUnhintedAuthor
from tests.benchmarks.table import Row
from tests.benchmarks.trees import write_mixed_tree

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.benchmarks.cases.options import Options

_FILES, _BYTES, _PIECE = 300, 1024**3, 1024**2


def run_cases(wanted: Collection[str], options: Options) -> list[Row]:
    """Measure ``hints``, if it is wanted: of a first release, and of one with a changed file."""
    if "hints" not in wanted:
        return []
    rows: list[Row] = []
    authors = (TorsyncUnhintedAuthor(), TorsyncAuthor())
    able = [one for one in authors if not options.only or one.name in options.only]
    files, size = options.scaled(_FILES, least=3), options.scaled(_BYTES)
    with tempfile.TemporaryDirectory(prefix="hints-", dir=options.folder) as name:
        base = Path(name)
        write_mixed_tree(base / "release", files=files, total=size)
        folder = PublishedFolder(base / "release", base, _PIECE, options)
        for case in ("hints, first release", "hints, next release"):
            found = [Row(case, one.name, one.note) for one in able]
            do = folder.first
            if case == "hints, next release":
                do = partial(folder.next, more=0)
                for one in able:
                    folder.prepare(one)
            pairs = zip(found, able, strict=True)
            take_turns(
                [(row, partial(do, row, one)) for row, one in pairs], options.repeat, options
            )
            judge(found, reference=TorsyncUnhintedAuthor.name, goals={})
            rows += found
    for row in rows:
        row.note = f"{_told(row, size)}{row.note}"
    return rows


def _told(row: Row, size: int) -> str:
    """What hints of a first release take besides: on a busy machine, processor time tells more."""
    mine, other = row.best, row.reference.best if row.reference else None
    if mine is None or other is None or not mine.hint_bytes or "first" not in row.case:
        return ""
    gib = size / 1024**3
    cpu, before = (run.user_s + run.system_s for run in (mine, other))
    return (
        f"per GiB {(mine.seconds - other.seconds) / gib:.2f} s more, {(cpu - before) / gib:.2f} s "
        f"of processor time beside {before / gib:.2f} s for hashing, and hints of "
        f"{mine.hint_bytes / 1e6 / gib:.2f} MB; "
    )
