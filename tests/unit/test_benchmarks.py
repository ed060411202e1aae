"""The benchmarks' harness, at a size at which no figure means anything."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.benchmarks import packages, shifted_trees, table, trees
from tests.benchmarks.cases import Options, run_cases
from tests.benchmarks.cases.releases import published_releases
from tests.benchmarks.contestants.base import Contestant
from tests.benchmarks.contestants.peers import Aria2
from tests.benchmarks.measure import BenchmarkError, Run, assert_equal_trees, file_sizes
from tests.support.disks import disk
from tests.support.packed import make_packed
from tests.support.programs import require
from tests.support.torrents import RawFile, make_raw, pad_file
from tests.support.trees import tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.publisher import Published

_ONE_RELEASE = ("first-sync", "nothing-changed", "verify-many", "parse")
_OPTIONS = Options(scale=10_000, repeat=1, checks=1, settle_s=0, all=False, files=(300, 100_000))


def _run_cases(
    names: tuple[str, ...], folder: Path, *, only: tuple[str, ...] = (), scale: int = 10_000
) -> dict[str, dict[str, table.Row]]:
    """Case → contestant → row, with what has to hold for every row."""
    for program in ("aria2c", "casync", "opentracker", "rsync"):
        require(program)

    rows = run_cases(names, replace(_OPTIONS, scale=scale, folder=folder, only=only))

    by_case: dict[str, dict[str, table.Row]] = {}
    for row in rows:
        by_case.setdefault(row.case, {})[row.contestant] = row
    assert list(dict.fromkeys(case.partition(",")[0] for case in by_case)) == list(names)
    not_compared = [row for row in rows if row.case.startswith("parse, ")]
    # It makes chunks, and no torrent; librqbit has wheels for one kind of machine.
    not_compared += [row for row in rows if row.contestant == "casync" and "release" in row.case]
    assert all(row.compared == 1 for row in rows if row not in not_compared)
    assert all(row.best is not None and row.best.peak_bytes > 1e6 for row in rows)
    assert list(folder.iterdir()) == []
    printed = table.format_table(rows).splitlines()
    assert len(printed) == 1 + len(rows)
    assert all(row.contestant in line for row, line in zip(rows, printed[1:], strict=True))
    assert [row["contestant"] for row in json.loads(json.dumps([row.as_json() for row in rows]))]
    return by_case


def _fetched(row: table.Row) -> int:
    assert row.best is not None
    assert row.best.fetched_bytes is not None
    return row.best.fetched_bytes


def _assert_updated(rows: dict[str, table.Row], contestants: set[str]) -> None:
    """Each has fetched something, and torsync tells what it has done."""
    assert rows.keys() == contestants
    assert all(_fetched(row) > 0 for row in rows.values())
    for name in contestants:
        if name.startswith("torsync"):
            assert rows[name].runs[0].hashed_bytes is not None
            assert sum(rows[name].runs[0].counts.values()) >= 10


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_each_case_of_one_release_has_every_contestant_and_compares_the_trees(
    tmp_path: Path,
) -> None:
    cases = _run_cases(_ONE_RELEASE, tmp_path)

    peers = {"libtorrent", "librqbit", "rsync"}
    cold = {"torsync", "rsync"}
    contestants = {
        "first-sync, 3": peers | {"torsync", "aria2c", "cp"},
        "first-sync, 10": peers | {"torsync", "cp", "casync"},
        "first-sync, 3, cold": cold | {"libtorrent", "cp"},
        "nothing-changed, 3": peers | {"torsync", "aria2c"},
        "nothing-changed, 10": peers | {"torsync", "casync"},
        "nothing-changed, 10, cold": cold,
        "verify-many, 10": {"libtorrent check", "librqbit check", "torsync verify"},
        "verify-many, 10, cold": {"libtorrent check", "torsync verify"},
    }
    assert {case: cases[case].keys() for case in contestants} == contestants
    assert _fetched(cases["first-sync, 3"]["torsync"]) == 2 * 1024**3 // 10_000
    assert _fetched(cases["first-sync, 10"]["torsync"]) > 20_000
    again = [rows for case, rows in cases.items() if case.startswith("nothing-changed")]
    assert [_fetched(rows["torsync"]) for rows in again] == [0] * 4
    assert len(cases) == 3 + 4 + 2 + 4


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.programs
def test_trees_of_every_size_are_measured_with_every_contestant(tmp_path: Path) -> None:
    options = replace(_OPTIONS, folder=tmp_path, files=(), all=True)

    rows = run_cases(("first-sync", "one-of-many", "first-release"), options)

    found: dict[str, set[str]] = {}
    for row in rows:
        assert row.runs, row.note
        found.setdefault(row.case, set()).add(row.contestant)
    assert {"casync", "libtorrent, sync", "cp, sync", "librqbit"} <= found["first-sync, 4"]
    assert {"casync", "rsync, sync", "aria2c", "librqbit"} <= found["one-of-many, 9, same size"]
    assert {"casync", "torf", "libtorrent"} <= found["first-release, 4"]


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_services_with_many_trees_are_measured_at_rest(tmp_path: Path) -> None:
    only = {"torsync", "torsync, long-poll", "torsync, publisher"}
    rows = _run_cases(("service-200",), tmp_path, only=tuple(only), scale=100)["service-200"]

    assert rows.keys() == only
    assert rows["torsync"].goals == {}, "at the full size only"
    for row in rows.values():
        figures = row.figures()
        assert figures["CPU percent"] is not None
        assert all(row.runs[0].counts[name] > 0 for name in ("threads", "descriptors"))


@pytest.mark.timeout(600)
@pytest.mark.programs
@pytest.mark.long
def test_an_update_is_measured_with_every_contestant_and_at_two_sizes(tmp_path: Path) -> None:
    cases = _run_cases(("update-large", "update-8g"), tmp_path)

    peers = {"rsync", "libtorrent", "aria2c", "librqbit"}
    _assert_updated(cases["update-large"], peers | {"torsync", "torsync, in place"})
    _assert_updated(cases["update-large, cold"], {"rsync", "torsync", "libtorrent"})
    small, grown = cases["update-8g, 2 GiB"], cases["update-8g, 8 GiB"]
    for rows in (small, grown):
        _assert_updated(rows, {"rsync", "torsync"})
    assert grown["torsync"].reference is small["torsync"]


@pytest.mark.timeout(600)
@pytest.mark.programs
@pytest.mark.long
def test_an_update_is_measured_on_file_systems_of_its_own_with_what_it_takes_of_them(
    tmp_path: Path,
) -> None:
    with disk("xfs", tmp_path / "image", tmp_path / "mounted"):  # else it is skipped here
        (tmp_path / "image").unlink()
    (tmp_path / "mounted").rmdir()

    cases = _run_cases(("staged-in-place",), tmp_path)

    assert list(cases) == ["staged-in-place, ext4", "staged-in-place, xfs"]
    for rows in cases.values():
        _assert_updated(rows, {"torsync", "torsync, in place", "rsync"})
        assert rows["torsync"].reference is rows["torsync, in place"]
        assert all((row.runs[0].extra_bytes or 0) > 0 for row in rows.values())


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_one_changed_file_of_many_is_measured_with_those_that_are_asked_for(
    tmp_path: Path,
) -> None:
    cases = _run_cases(("one-of-many",), tmp_path, only=("rsync", "torsync", "libtorrent"))

    assert list(cases) == ["one-of-many, 10, other size"]
    for rows in cases.values():
        _assert_updated(rows, {"rsync", "torsync", "libtorrent"})


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_full_checks_are_measured_in_both_formats(tmp_path: Path) -> None:
    cases = _run_cases(("verify",), tmp_path)

    both = {"libtorrent check", "torsync verify"}
    assert {case: set(rows) for case, rows in cases.items()} == {
        "verify, v1": both | {"hashlib sha1", "librqbit check"},
        "verify, v1, cold": both | {"hashlib sha1"},
        "verify, v2": both | {"hashlib sha256"},
    }
    assert all(_fetched(rows["libtorrent check"]) == 0 for rows in cases.values())
    for rows in cases.values():
        assert rows["torsync verify"].reference is rows["libtorrent check"]


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_releases_are_measured_with_every_author(tmp_path: Path) -> None:
    require("mktorrent")

    cases = _run_cases(("first-release", "next-release"), tmp_path)

    every = {"torsync", "libtorrent", "mktorrent", "torf"}
    assert {case: set(rows) for case, rows in cases.items()} == {
        "first-release, 3": every,
        "first-release, 3, cold": {"torsync", "mktorrent"},
        "first-release, 10": {"torsync", "libtorrent", "casync"},
        "next-release, 3, other size": {"torsync", "mktorrent"},
        "next-release, 10, other size": {"torsync"},
    }
    for case, rows in cases.items():
        assert rows["torsync"].reference is rows.get("mktorrent", rows.get("libtorrent"))
        (run,) = rows["torsync"].runs
        files = int(case.split(", ")[1])
        changed = (0, files) if case.startswith("first") else (1, 0)
        assert (run.counts["modified"], run.counts["added"]) == changed


@pytest.mark.timeout(600)
@pytest.mark.programs
@pytest.mark.long
def test_shifted_content_is_measured_with_hints_counted_by_the_server(tmp_path: Path) -> None:
    require("nginx")
    only = ("rsync", "torsync", "torsync, no hints")

    cases = _run_cases(("insert-1g", "zip"), tmp_path, only=only)

    assert cases.keys() == {"insert-1g", "zip, stored"}
    inserted = cases["insert-1g"]
    assert _fetched(inserted["torsync"]) < _fetched(inserted["torsync, no hints"])
    assert 0 < (inserted["torsync"].runs[0].hint_bytes or 0) < _fetched(inserted["torsync"])
    assert (inserted["torsync, no hints"].runs[0].hint_bytes or 0) < 1_000  # the 404
    assert all(
        row.bytes_reference is rows["rsync"] for rows in cases.values() for row in rows.values()
    )


@pytest.mark.timeout(600)
@pytest.mark.programs
def test_what_hints_cost_is_measured_beside_the_same_without(tmp_path: Path) -> None:
    cases = _run_cases(("hints",), tmp_path)

    assert list(cases) == ["hints, first release", "hints, next release"]
    for rows in cases.values():
        assert rows["torsync"].reference is rows["torsync, no hints"]
        assert (rows["torsync"].runs[0].hint_bytes or 0) > 100
        assert rows["torsync, no hints"].runs[0].hint_bytes == 0


def test_packages_that_cannot_be_had_are_left_out_and_the_table_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("nginx")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", "/nowhere")
    where = {"folder": tmp_path / "run", "packages": tmp_path / "cache"}
    options = replace(_OPTIONS, all=True, **where)
    (tmp_path / "run").mkdir()

    rows = run_cases(("package-updates",), options)

    notes = {row.case.partition(", ")[2]: row.note for row in rows}
    assert notes.keys() == {"django", "typescript", "numpy", "scipy"}
    assert not any(row.takes_part or row.runs for row in rows)
    assert notes["typescript"] == "npm is not installed, which fetches typescript@5.6.2"
    assert notes["django"].startswith("Django==5.1.3 cannot be had: ")


def test_an_archive_that_is_not_the_pinned_one_is_not_used(tmp_path: Path) -> None:
    package = packages.PACKAGES[0]
    (tmp_path / package.file_name(package.old)).write_bytes(b"another")

    with pytest.raises(packages.UnavailableError, match="is not the one that is asked for"):
        packages.unpack_releases(package, tmp_path / "base", tmp_path)


def test_files_that_two_releases_share_are_linked_and_the_others_have_other_times(
    tmp_path: Path,
) -> None:
    content = {"same": b"1", "moved": b"22", "changed": b"333"}
    old = write_tree(tmp_path / "old", content)
    new = write_tree(
        tmp_path / "new", {"same": b"1", "there": b"22", "changed": b"4444", "b": b"5"}
    )

    assert packages.link_equal_files(old, new) == len(b"44445")

    assert trees.differing_paths(old, new) == {"moved", "there", "changed", "b"}
    times = [(root / "changed").stat().st_mtime for root in (old, new)]
    assert times[1] - times[0] > 80_000
    assert {path: (new / path).read_bytes() for path in ("same", "b")} == {"same": b"1", "b": b"5"}


@pytest.mark.parametrize(
    ("write", "similar"),
    [
        (partial(shifted_trees.write_insertion, size=50_000), 49_000),
        (partial(shifted_trees.write_zips, members=9, stored=True), 100_000),
        (partial(shifted_trees.write_databases, rows=300, vacuum=False), 100_000),
        (partial(shifted_trees.write_databases, rows=300, vacuum=True), 100_000),
        (partial(shifted_trees.write_logs, size=50_000, rotated=True), 50_000),
        (partial(shifted_trees.write_logs, size=50_000, rotated=False), 50_000),
    ],
)
def test_releases_with_shifted_content_are_the_same_each_time_and_have_much_in_common(
    tmp_path: Path, write: Callable[[Path], tuple[Path, Path]], similar: int
) -> None:
    old, new = write(tmp_path / "a")
    again = write(tmp_path / "b")

    assert_equal_trees(old, again[0])
    assert_equal_trees(new, again[1])
    before, after = (b"".join(tree_bytes(root).values()) for root in (old, new))
    assert before != after
    blocks = {before[at : at + 64] for at in range(len(before) - 63)}
    common = sum(64 for at in range(0, len(after) - 63, 64) if after[at : at + 64] in blocks)
    assert common >= similar


def test_columns_are_shown_where_a_row_has_a_figure_and_hints_are_part_of_what_was_fetched() -> (
    None
):
    plain = table.Row("case", "rsync", runs=[_run(1.0, 2_000_000)], is_reference=True)
    run = _run(1.0).telling(fetched=1_000_000, hints=20_000)
    hinted = table.Row("case", "torsync", runs=[run], bytes_reference=plain)

    assert hinted.figures()["MB ratio"] == 0.5
    headings = table.format_table([plain]).splitlines()[0].split("  ")
    assert not {"MB ratio", "hints MB", "extra MB"} & set(headings)
    shown = table.format_table([plain, hinted]).splitlines()
    assert [len(line) for line in shown[1:]] == [len(shown[1])] * 2
    headings = [
        "seconds",
        "best",
        "ratio",
        "CPU",
        "s",
        "MB",
        "fetched",
        "MB",
        "ratio",
        "hints",
        "MB",
        "peak",
        "MB",
    ]
    assert shown[0].split() == ["case", "contestant", *headings, "note"]
    assert shown[2].split() == [
        "case",
        "torsync",
        "1.000",
        "1.000",
        "-",
        "-",
        "1.0",
        "0.50",
        "0.020",
        "10",
    ]


def test_the_release_pair_is_the_same_each_time_and_changes_what_it_says(tmp_path: Path) -> None:
    old, new = trees.write_release_pair(tmp_path / "a", files=60, total=4_000_000, scale=1000)
    again = trees.write_release_pair(tmp_path / "b", files=60, total=4_000_000, scale=1000)

    assert_equal_trees(old, again[0])
    assert_equal_trees(new, again[1])
    before, after = file_sizes(old), file_sizes(new)
    assert (len(before), sum(before.values())) == (60, 4_000_000)
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    assert {"part05/obsolete.pak", "archives/models-1.0.pak"} < gone
    content = {(old / path).read_bytes() for path in before}
    added = {path for path in come if (new / path).read_bytes() not in content}
    assert sum(after[path] for path in added) == sum([1950, 1100, 60, 40])
    assert len(come) == len(added) + 1 + 12
    patched = {
        path
        for path in before.keys() & after.keys()
        if (old / path).read_bytes() != (new / path).read_bytes()
    }
    assert patched == {"archives/base.pak"}
    (path,) = patched
    pairs = zip((old / path).read_bytes(), (new / path).read_bytes(), strict=True)
    differing = [at for at, (one, other) in enumerate(pairs) if one != other]
    assert differing[-1] - differing[0] < 100
    assert trees.differing_paths(old, new) == gone | come | patched


def test_of_the_small_releases_one_file_differs(tmp_path: Path) -> None:
    old, same, other, changed = trees.write_small_releases(tmp_path, files=10)

    assert trees.differing_paths(old, same) == trees.differing_paths(old, other) == {changed}
    sizes = [(release / changed).stat().st_size for release in (old, same, other)]
    assert sizes == [sizes[0], sizes[0], sizes[0] + 100]
    assert len({(release / changed).read_bytes() for release in (old, same, other)}) == 3


class _Unmoved(Contestant):
    """Claims success, and leaves its folder at the release that it saw first."""

    name = "unmoved"

    def sync(self, published: Published, place: Path) -> Run:
        tree = self.tree(place, published)
        if not tree.exists():
            for path in file_sizes(published.folder):
                write_tree(tree, {path: (published.folder / path).read_bytes()})
        return Run(1.0, 0.0, 0.0, 0, None, "").telling(fetched=0)


def test_a_contestant_that_is_not_at_the_release_it_shall_be_at_ends_the_benchmark(
    tmp_path: Path,
) -> None:
    options = replace(_OPTIONS, folder=tmp_path)
    row = table.Row("case", "unmoved")
    with published_releases(options, piece_size=16 * 1024) as work:
        releases = trees.write_small_releases(work.scratch, files=3)
        with pytest.raises(BenchmarkError, match=f"{releases.changed} differs"):
            work.update(row, _Unmoved(), releases.old, releases.same_size, is_first=False)
        with pytest.raises(BenchmarkError, match=f"{releases.changed} differs"):
            work.update(row, _Unmoved(), releases.other_size, releases.old, is_first=False)
    assert (len(row.runs), row.compared) == (1, 0)


def test_what_aria2_leaves_undone_is_done_for_it_but_its_pad_files_stay(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "new/release", {"a": b"12", "b/c": b"3"})
    place = tmp_path / "place"
    write_tree(place / "release", {"a": b"12345", "b/c": b"3", "b/old": b"", ".pad/7": bytes(7)})

    Aria2().tidy(cast("Any", SimpleNamespace(folder=folder)), place)

    assert_equal_trees(place / "release", folder, without=".pad")
    assert (place / "release/.pad/7").exists()


def _run(seconds: float, fetched: int | None = None, hashed: int | None = None) -> Run:
    run = Run(seconds, 0.0, 0.0, 10_000_000, None, "")
    return run if fetched is None else run.telling(fetched=fetched, hashed=hashed)


def test_the_median_of_times_counts_and_the_most_of_all_else() -> None:
    reference = table.Row("case", "rsync", runs=[_run(9.0), _run(2.0), _run(1)], is_reference=True)
    goals = {"ratio": 0.6, "MB fetched": 4.0, "peak MB": 250.0}
    runs = [_run(0.5, 3_000_000, 0), _run(1.5, 5_000_000, 70_000_000)]
    runs = [
        replace(run, extra_bytes=extra) for run, extra in zip(runs, (7_000_000, 1), strict=True)
    ]
    row = table.Row("case", "torsync", "note", runs, reference=reference, goals=goals)

    figures = {"seconds": 1.0, "ratio": 0.5, "MB fetched": 5.0, "peak MB": 10.0, "extra MB": 7.0}
    assert {name: row.figures()[name] for name in figures} == figures
    assert row.cells()[-1] == (
        "ratio within 0.6; MB fetched MISSES 4; peak MB within 250; hashed 70.0 MB; note"
    )
    assert reference.ratio == 1
    assert row.figures()["best"] == 0.5
    assert [run["hashed_bytes"] for run in row.as_json()["runs"]] == [0, 70_000_000]
    row.reference = None
    assert row.verdicts()[0] == "ratio not judged (0.6)"


def test_a_packed_torrent_has_large_files_on_boundaries_and_small_ones_side_by_side(
    tmp_path: Path,
) -> None:
    piece = 32 * 1024
    sizes = {"a": 10, "b/c": 20_000, "b-d": 2 * piece + 1, "e": piece, "f": 0, "g": 5, "h": piece}
    folder = write_tree(tmp_path / "packed", dict(sizes))
    content = tree_bytes(folder)

    def pad(length: int) -> tuple[str, RawFile]:
        return f".pad/{length}", pad_file(length)

    small, gaps = content["b/c"], (piece - 10, piece - 1, piece - 20_000, piece - 5)
    by_hand = [
        *(("a", content["a"]), pad(gaps[0]), ("b-d", content["b-d"]), pad(gaps[1])),
        *(("b/c", small), pad(gaps[2]), ("e", content["e"]), ("f", b""), ("g", content["g"])),
        *(pad(gaps[3]), ("h", content["h"])),
    ]
    expected = make_raw(by_hand, name="packed", piece_size=piece, roots=True)
    assert make_packed(folder, piece_size=piece) == expected


def test_trees_that_differ_in_a_byte_or_a_name_are_told_apart(tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", {"a/b": b"1234", "c": b""})
    write_tree(tmp_path / "one", {".torsync/marker": b"not compared", ".pad/12": b"nor this"})
    same = write_tree(tmp_path / "same", {"a/b": b"1234", "c": b""})
    assert_equal_trees(one, same, without=".pad")
    with pytest.raises(BenchmarkError, match="pad/12 is too much"):
        assert_equal_trees(one, same)
    (one / ".pad/12").unlink()

    for name, other in (("byte", {"a/b": b"1235", "c": b""}), ("name", {"a/b": b"1234"})):
        expected = write_tree(tmp_path / name, other)
        with pytest.raises(
            BenchmarkError, match="a/b differs" if name == "byte" else "c is too much"
        ):
            assert_equal_trees(one, expected)
    assert_equal_trees(one, tmp_path / "byte", contents={"c"})
    with pytest.raises(BenchmarkError, match="a/b differs"):
        assert_equal_trees(one, tmp_path / "byte", contents={"a/b"})
