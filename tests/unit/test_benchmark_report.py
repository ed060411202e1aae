"""What the benchmarks print and keep, and that README shows what was kept."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks import caches, machine, report, summary, table
from tests.benchmarks.__main__ import main
from tests.benchmarks.cases import CASES, TOGETHER, Options, default_cases, run_cases
from tests.benchmarks.cases.turns import take_turns
from tests.benchmarks.losses import WHY, find_losses
from tests.benchmarks.measure import REPOSITORY, BenchmarkError, Run, read_tree
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path

_README = REPOSITORY / "README.md"
_RESULTS = REPOSITORY / report.RESULTS


def _row(case: str, contestant: str, *seconds: float, fetched: int | None = None) -> table.Row:
    runs = [Run(one, 0.1, 0.2, 10_000_000, fetched, "") for one in seconds]
    return table.Row(case, contestant, runs=runs)


def _session(date: str = "2026-01-02T03:04Z") -> dict[str, Any]:
    return {
        "date": date,
        "machine": machine.describe_machine(REPOSITORY),
        "versions": {"torsync": "1.2.3"},
        "options": {
            "size": "full",
            "rounds": 3,
            "checks": 5,
            "all": False,
            "caches_emptied_by": caches.FILES,
        },
    }


def test_readme_shows_the_figures_that_were_kept() -> None:
    kept = report.load_report(_RESULTS)

    assert summary.shown_summary(_README) == summary.format_summary(kept)


def test_every_loss_that_readme_shows_is_explained_and_every_case_has_its_figures() -> None:
    kept = report.load_report(_RESULTS)

    assert "not explained" not in summary.format_summary(kept).lower()
    measured = {report.base_of(row["case"]) for row in kept["rows"] if "runs" in row}
    cases = set(default_cases(Options(all=False)))
    sentence = re.search(r"Not measured since [^.]*\.", _README.read_text())
    assert set(re.findall("`(.+?)`", sentence[0] if sentence else "")) == cases - measured
    assert WHY.keys() <= set(CASES)
    for session in kept["sessions"]:
        assert {"date", "machine", "versions", "options"} <= session.keys()


def test_a_case_has_one_line_with_a_column_for_each_peer_and_the_losses_below() -> None:
    rows = [
        _row("update-large", "rsync", 0.5, 0.4, 0.6, fetched=155_000_000),
        _row("update-large", "torsync", 0.3, 0.9, 0.8, fetched=3_800_000),
        _row("update-large", "torsync, in place", 0.05, fetched=3_800_000),
        _row("verify, v1", "libtorrent check", 2.0),
        _row("verify, v1", "torsync verify", 2.1),
        _row("verify, v1", "hashlib sha1", 11.11),
        table.Row("verify, v1", "librqbit check", "not installed", takes_part=False),
    ]

    printed = summary.format_summary(report.make_report(_session(), rows)).splitlines()

    assert "torsync 1.2.3" in printed[0]
    assert printed[2].count("|") == printed[3].count("|") == 10
    assert [line.split("|")[1:-1] for line in printed[4:6]] == [
        [" verify 2 GiB, v1 ", " 2.10 s ", " 2.00 s ", *["  "] * 5, " hashlib sha1 11.1 s "],
        [
            *(" update of 2 GiB ", " 0.80 s, 3.80 MB ", "  ", " 0.50 s, 155 MB "),
            *("  ", "  ", "  ", "  ", " in place 0.050 s, 3.80 MB "),
        ],
    ]
    why = f"{WHY['update-large'][0].upper()}{WHY['update-large'][1:]}"
    assert [line for line in printed if line.startswith("* ")] == [
        f"* update of 2 GiB (1.6 times rsync). {why}"
    ]


def test_more_bytes_are_a_loss_too_and_what_is_not_explained_says_so() -> None:
    rows = [
        _row("other, x", "rsync", 1.0, fetched=1_000_000).as_json(),
        _row("other, x", "torsync", 1.0, fetched=1_200_000).as_json(),
    ]

    limit = _row("other, x", "cp", 0.1).as_json()
    cases = {"other, x": [limit, *rows], "other, y": rows}

    assert find_losses(cases, names={"other": "another"}) == [
        "another x (1.2 times rsync in MB); y (1.2 times rsync in MB). Not explained."
    ]
    rows[1]["MB_fetched"] = 1.04
    assert find_losses(cases, names={"other": "another"}) == []


def test_a_report_is_read_back_and_a_later_one_replaces_the_cases_that_it_has(
    tmp_path: Path,
) -> None:
    first = report.make_report(_session("first"), [_row("log, a", "cp", 1), _row("zip", "cp", 2)])
    report.write_report(tmp_path / "kept", first)
    assert report.load_report(tmp_path / "kept") == json.loads(json.dumps(first))

    later = report.make_report(_session("later"), [_row("log, b", "cp", 3)])
    both = report.merge_reports(first, later)

    said = [(row["case"], both["sessions"][row["session"]]["date"]) for row in both["rows"]]
    assert said == [("zip", "first"), ("log, b", "later")]
    told = summary.format_summary(both).splitlines()
    assert told[0].startswith("first and later, ")
    assert told[1] == "", "they differ in date alone"
    both["sessions"][1]["versions"] = {"torsync": "1.2.4"}
    told = summary.format_summary(both).splitlines()
    assert [line.partition(",")[0] for line in told[:2]] == ["zip: first", "log: later"]
    again = report.merge_reports(both, report.make_report(_session("again"), [_row("zip", "cp")]))
    assert [session["date"] for session in again["sessions"]] == ["later", "again"]


def test_whoever_has_taken_long_in_a_case_has_no_further_turn_but_everybody_has_one() -> None:
    rows = {name: table.Row("case", name) for name in ("slow", "fast")}

    def turn(name: str, takes_s: float, is_first: bool) -> None:
        assert is_first == (not rows[name].runs)
        rows[name].runs.append(Run(takes_s, 0, 0, 0, None, ""))

    turns = [
        (rows["slow"], lambda is_first: turn("slow", 8, is_first)),
        (rows["fast"], lambda is_first: turn("fast", 1.5, is_first)),
    ]
    take_turns(turns, 3, Options(patience_s=3))

    assert {name: len(row.runs) for name, row in rows.items()} == {"slow": 1, "fast": 2}


def test_a_peer_that_fails_takes_part_no_longer_but_torsync_may_not_fail() -> None:
    peer, own = table.Row("case", "peer"), table.Row("case", "torsync")

    def fail(_: bool) -> None:
        raise BenchmarkError("too many files")

    take_turns([(peer, fail)], 3, Options())
    assert (peer.takes_part, peer.note, peer.runs) == (False, "failed: too many files", [])
    with pytest.raises(BenchmarkError, match="too many files"):
        take_turns([(own, fail)], 3, Options())


def test_no_case_is_begun_when_it_is_late() -> None:
    assert run_cases(("parse",), Options(ends_s=1, clock=lambda: 2.0)) == []
    assert sorted(CASES) == sorted(name for group in TOGETHER for name in group)


def test_only_what_was_not_kept_is_measured_and_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.json"
    usual = default_cases(Options(all=False))
    others = [_row(case, "cp", 1.5) for case in usual if case not in {"parse", "log"}]
    report.write_report(kept, report.make_report(_session("earlier"), others))
    asked: list[tuple[str, ...]] = []

    def measure(names: list[str], _: Options, done: Any) -> list[table.Row]:
        asked.append(tuple(names))
        rows = [_row("parse, v1", "cp", 2.5)]
        done(rows)
        return rows

    monkeypatch.setattr("tests.benchmarks.__main__.run_cases", measure)
    printed = io.StringIO()
    monkeypatch.setattr("sys.stdout", printed)

    main(["--json", str(kept), "--add", "--missing", "--minutes", "1"])

    assert asked == [("log", "parse")]
    assert printed.getvalue().endswith("\nNo time for: log\n")
    rows = report.load_report(kept)["rows"]
    assert [row["case"] for row in rows if row["session"] == 1] == ["parse, v1"]
    assert len(rows) == len(usual) - 1


def test_files_are_dropped_from_memory_and_stay_what_they_are(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"a/b": b"1" * 100_000, "c": b""})
    read_tree(tree)

    caches.empty_caches([tree], how=caches.way_to_empty(may_be_whole=False))

    assert (tree / "a/b").read_bytes() == b"1" * 100_000


def test_the_machine_and_the_versions_of_what_is_installed_are_told(tmp_path: Path) -> None:
    told = machine.describe_machine(tmp_path)
    versions = machine.find_versions()

    assert told["processor"]
    assert told["file_system"]
    assert int(str(told["memory_bytes"])) > 2**27
    assert {"Python", "torsync", "libtorrent"} <= versions.keys()
    assert all(version[0].isalnum() for version in versions.values())


def test_kept_figures_are_shown_again_and_put_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.json"
    report.write_report(kept, report.make_report(_session(), [_row("log, a", "cp", 1.5)]))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- figures: begin -->\nearlier\n<!-- figures: end -->\nafter\n")
    printed = io.StringIO()
    monkeypatch.setattr("sys.stdout", printed)

    main(["--show", str(kept)])
    main(["--show", str(kept), "--readme", str(readme)])

    assert "| log a |" in printed.getvalue()
    shown = readme.read_text()
    assert summary.shown_summary(readme) == printed.getvalue()
    assert shown.startswith("before\n<!--")
    assert shown.endswith("-->\nafter\n")
    assert "earlier" not in shown
