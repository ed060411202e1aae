"""The benchmarks' harness, at a size at which no figure means anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import table
from tests.benchmarks.cases import CASES, Options, run_cases
from tests.benchmarks.measure import BenchmarkError, assert_equal_trees
from tests.support.programs import require
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.programs
def test_every_case_has_every_contestant_and_compares_what_was_synced(tmp_path: Path) -> None:
    for program in ("aria2c", "opentracker", "rsync"):
        require(program)

    rows = run_cases([], Options(scale=10_000, repeat=1, checks=1, folder=tmp_path))

    by_case: dict[str, set[str]] = {}
    for row in rows:
        by_case.setdefault(row.case.partition(",")[0], set()).add(row.contestant)
    assert tuple(by_case) == CASES
    first = {"libtorrent", "libtorrent, sync", "torsync", "aria2c", "rsync"}
    assert by_case["first-sync-large"] == by_case["first-sync-small"] == first
    again = {"torsync", "torsync, file: URL", "libtorrent", "aria2c", "rsync"}
    assert by_case["nothing-changed"] == again
    assert all(row.compared == 1 for row in rows if row.case != "parse")
    assert all(row.best is not None and row.best.peak_bytes > 1e6 for row in rows)
    large, small, *again = (row.best for row in rows if row.contestant == "torsync")
    assert large is not None
    assert large.fetched_bytes == 2 * 1024**3 // 10_000
    assert small is not None
    assert (small.fetched_bytes or 0) > 20_000
    assert [run and run.fetched_bytes for run in again] == [0, 0]
    assert list(tmp_path.iterdir()) == []

    printed = table.format_table(rows).splitlines()
    assert len(printed) == 1 + len(rows)
    assert all(row.contestant in line for row, line in zip(rows, printed[1:], strict=True))
    assert json.loads(json.dumps(rows[0].as_json()))["trees_compared"] == 1


def test_trees_that_differ_in_a_byte_or_a_name_are_told_apart(tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", {"a/b": b"1234", "c": b""})
    write_tree(tmp_path / "one", {".torsync/marker": b"not compared"})
    assert_equal_trees(one, write_tree(tmp_path / "same", {"a/b": b"1234", "c": b""}))

    for name, other in (("byte", {"a/b": b"1235", "c": b""}), ("name", {"a/b": b"1234"})):
        with pytest.raises(
            BenchmarkError, match="a/b differs" if name == "byte" else "c is too much"
        ):
            assert_equal_trees(one, write_tree(tmp_path / name, other))
