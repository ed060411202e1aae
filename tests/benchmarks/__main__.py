"""``python -m tests.benchmarks``: measure torsync beside its peers and print one table."""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import report
from tests.benchmarks.caches import way_to_empty
from tests.benchmarks.cases import CASES, Options, default_cases, run_cases
from tests.benchmarks.machine import describe_machine, find_versions, now
from tests.benchmarks.measure import REPOSITORY
from tests.benchmarks.publisher import FORMATS
from tests.benchmarks.summary import format_summary, put_summary
from tests.benchmarks.table import format_table

if TYPE_CHECKING:
    from tests.benchmarks.table import Row

_SCALES = {"full": 1, "small": 20, "tiny": 2_000}
_ROUNDS = {"full": 3, "small": 1, "tiny": 1}
_PATIENCE_S = 10.0


def main(argv: list[str] | None = None) -> None:
    """Measure, or print what was measured."""
    arguments = _parse(argv)
    if arguments.show:
        made = report.load_report(arguments.show)
        if arguments.readme:
            put_summary(arguments.readme, made)
        else:
            sys.stdout.write(format_summary(made))
        return
    began = time.monotonic()
    options = _options(arguments, began)
    # Installed programs have their byte code with them, whatever the environment says here.
    compileall.compile_dir(REPOSITORY / "torsync", quiet=1)
    session = {
        "date": now(),
        "machine": describe_machine(arguments.dir or Path(tempfile.gettempdir())),
        "versions": find_versions(),
        "options": {
            "size": arguments.size,
            "format": options.format,
            "rounds": options.repeat,
            "checks": options.checks,
            "all": options.all,
            "caches_emptied_by": options.empty_by,
        },
    }
    kept = None
    if arguments.add and arguments.json is not None and arguments.json.exists():
        kept = report.load_report(arguments.json)
    names = arguments.names or default_cases(options)
    if arguments.missing:
        names = _left(names, kept)
    measured: list[Row] = []

    def keep(rows: list[Row]) -> None:
        """Keep what there is, also if a later case fails."""
        measured.extend(rows)
        session["minutes"] = round((time.monotonic() - began) / 60, 1)
        if arguments.json is not None:
            made = report.make_report(session, measured)
            whole = report.merge_reports(kept, made) if kept else made
            report.write_report(arguments.json, whole)

    rows = run_cases(names, options, keep) if names else []
    made = report.make_report(session, rows)
    sys.stdout.write(f"{format_table(rows)}\n" if arguments.rows else format_summary(made))
    done = {report.base_of(row.case) for row in rows}
    if left := [name for name in names if name not in done]:
        sys.stdout.write(f"\nNo time for: {', '.join(left)}\n")


def _left(names: list[str], kept: dict[str, Any] | None) -> list[str]:
    """The cases that are not in a report yet."""
    found = {report.base_of(row["case"]) for row in kept["rows"]} if kept else set()
    return [name for name in names if name not in found]


def _options(arguments: argparse.Namespace, began: float) -> Options:
    full = arguments.size == "full"
    is_bounded = full and not arguments.all
    return Options(
        scale=_SCALES[arguments.size],
        repeat=arguments.repeat or _ROUNDS[arguments.size],
        checks=arguments.checks or (5 if full else 1),
        format=arguments.format,
        only=tuple(arguments.only),
        files=tuple(arguments.files),
        folder=arguments.dir,
        packages=arguments.packages,
        settle_s=2.5 if full else 0,
        all=arguments.all,
        patience_s=_PATIENCE_S if is_bounded else inf,
        ends_s=began + 60 * arguments.minutes if arguments.minutes else inf,
        empty_by=way_to_empty(may_be_whole=True),
    )


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--size", choices=_SCALES, default="full")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every contestant in every round; without it, what is slow, or differs little from "
        "others, is left out, and who has taken 10 s in a case has no further turn",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="begin no further case after so many"
    )
    parser.add_argument("--repeat", type=int, help="the median of so many turns counts (3)")
    parser.add_argument("--checks", type=int, help="where nothing has changed (5)")
    parser.add_argument("--format", choices=FORMATS, default="v1")
    parser.add_argument(
        "--files",
        action="append",
        type=int,
        default=[],
        choices=(300, 10_000, 100_000),
        help="of the trees that differ in it, those with so many",
    )
    parser.add_argument("--only", action="append", default=[], metavar="CONTESTANT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run, for later")
    parser.add_argument(
        "--add", action="store_true", help="keep the cases in FILE that are not measured now"
    )
    parser.add_argument(
        "--missing", action="store_true", help="with --add: only the cases that FILE has not"
    )
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="measure nothing: print what is in FILE"
    )
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="with --show: put it into FILE instead"
    )
    parser.add_argument(
        "--rows", action="store_true", help="print a line for each contestant, with its notes"
    )
    parser.add_argument("--dir", type=Path, help="where trees are made (default: temporary)")
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="where package-updates keeps what it has fetched from registries "
        "(default: the user's cache)",
    )
    arguments: argparse.Namespace = parser.parse_args(argv)
    unknown = set(arguments.names) - set(CASES)
    if unknown:
        parser.error(f"there is no case {min(unknown)!r}; there are {', '.join(CASES)}")
    if arguments.dir is not None:
        arguments.dir.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
