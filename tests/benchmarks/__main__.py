"""``python -m tests.benchmarks``: measure torsync beside its peers and print one table."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sys
from pathlib import Path

import libtorrent as lt

from tests.benchmarks.cases import CASES, Options, run_cases
from tests.benchmarks.measure import REPOSITORY
from tests.benchmarks.publisher import FORMATS
from tests.benchmarks.table import format_table

_SCALES = {"full": 1, "small": 20}


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--size", choices=_SCALES, default="full")
    parser.add_argument("--repeat", type=int, help="the best of so many counts (3; small: 1)")
    parser.add_argument("--checks", type=int, help="where nothing changed (5; small: 1)")
    parser.add_argument("--format", choices=FORMATS, default="v1")
    parser.add_argument("--only", action="append", default=[], metavar="CONTESTANT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run, for later")
    parser.add_argument("--dir", type=Path, help="where trees are made (default: temporary)")
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="where package-updates keeps what it has fetched from registries "
        "(default: the user's cache)",
    )
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - set(CASES)
    if unknown:
        parser.error(f"there is no case {min(unknown)!r}; there are {', '.join(CASES)}")
    if arguments.dir is not None:
        arguments.dir.mkdir(parents=True, exist_ok=True)
    full = arguments.size == "full"
    options = Options(
        scale=_SCALES[arguments.size],
        repeat=arguments.repeat or (3 if full else 1),
        checks=arguments.checks or (5 if full else 1),
        format=arguments.format,
        only=tuple(arguments.only),
        folder=arguments.dir,
        packages=arguments.packages,
        settle_s=2.5 if full else 0,
    )
    # Installed programs have their byte code with them, whatever the environment says here.
    compileall.compile_dir(REPOSITORY / "torsync", quiet=1)
    machine = (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"libtorrent {lt.__version__}, load {os.getloadavg()[0]:.1f} at the start; "
        f"size {arguments.size}, torrents {arguments.format}, best of {options.repeat} "
        f"({options.checks} where nothing changed)"
    )
    rows = run_cases(arguments.names, options)
    sys.stdout.write(f"{machine}\n\n{format_table(rows)}\n")
    if arguments.json is not None:
        report = {"machine": machine, "rows": [row.as_json() for row in rows]}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
