"""One table of what was measured, in Markdown: a line for each case, a column for each peer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.benchmarks.losses import find_losses
from tests.benchmarks.report import base_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWN = "torsync"
_COLUMNS = (_OWN, "libtorrent", "rsync", "aria2c", "librqbit", "casync", "cp")
_SAME_JOB = {f"{name} check": name for name in ("libtorrent", "librqbit")} | {
    "torsync verify": _OWN
}
_PHRASES = {
    "first-sync": "first sync, files:",
    "nothing-changed": "nothing changed, files:",
    "verify-many": "verify, files:",
    "verify": "verify 2 GiB,",
    "update-large": "update of 2 GiB",
    "update-8g": "the same update in",
    "staged-in-place": "the same update, own disk,",
    "one-of-many": "one file changed of",
    "edit-to-sync": "edit until 2 have it",
    "parse": "parse 200,000 files,",
    "first-release": "first release, files:",
    "next-release": "next release, files:",
    "four-subscribers": "40 MiB at 80 Mbit/s, subscribers:",
    "package-updates": "update of",
    "insert-1g": "a byte put in front of 1 GiB",
    "zip": "member of a zip changed,",
    "sqlite": "1 % of SQLite rows changed,",
    "log": "log",
    "hints": "1 GiB with hints,",
    "service-200": "service at rest, 200 trees",
}
_BEGIN, _END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
_SAME_BYTES, _NO_BYTES_MB = 1.1, 0.01


def format_summary(made: dict[str, Any]) -> str:
    """What it was measured with, the table, and where torsync loses."""
    lines = [*_describe_sessions(made), ""]
    cases: dict[str, list[dict[str, Any]]] = {}
    for row in made["rows"]:
        if row.get("runs"):
            cases.setdefault(row["case"], []).append(row)
    lines += [_line(["case", *_COLUMNS, "others"]), "|".join(["", *["---"] * 9, ""])]
    lines += [_line(_cells(case, rows)) for case, rows in _in_order(cases)]
    if losses := find_losses(cases, names=_PHRASES):
        lines += ["", "Where another one is faster, or fetches less, by a tenth or more:", ""]
        lines += [f"* {text}" for text in losses]
    return "\n".join(lines) + "\n"


def put_summary(readme: Path, made: dict[str, Any]) -> None:
    """Replace what is between the two marks in a file."""
    before, _, rest = readme.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}{format_summary(made)}{_END}{after}")


def shown_summary(readme: Path) -> str:
    """What is between the two marks."""
    return readme.read_text().partition(_BEGIN)[2].partition(_END)[0]


def _describe_sessions(made: dict[str, Any]) -> Iterator[str]:
    """One paragraph for all sessions that differ in date and load alone."""
    alike: dict[str, list[int]] = {}
    for number, session in enumerate(made["sessions"]):
        machine = {**session["machine"], "load_at_start": None}
        key = json.dumps([machine, session["versions"], session["options"]])
        alike.setdefault(key, []).append(number)
    for numbers in alike.values():
        sessions = [made["sessions"][number] for number in numbers]
        machine, options = sessions[0]["machine"], sessions[0]["options"]
        bases = dict.fromkeys(
            base_of(row["case"]) for row in made["rows"] if row["session"] in numbers
        )
        which = f"{', '.join(bases)}: " if len(alike) > 1 else ""
        dates = " and ".join(session["date"] for session in sessions)
        loads = " and ".join(str(session["machine"]["load_at_start"]) for session in sessions)
        versions = ", ".join(f"{name} {found}" for name, found in sessions[0]["versions"].items())
        size = "" if options["size"] == "full" else f" Size {options['size']}: it means nothing."
        yield (
            f"{which}{dates}, {machine['cores']} cores ({machine['processor']}), "
            f"{machine['memory_bytes'] / 1024**3:.0f} GiB of memory, {machine['file_system']}, "
            f"{machine['kernel']}, load {loads} at the start; {versions}. "
            f"Medians of up to {max(options['rounds'], options['checks'])} turns; caches emptied "
            f"by {options['caches_emptied_by']} where it says cold.{size}"
        )


def _in_order(
    cases: dict[str, list[dict[str, Any]]],
) -> list[tuple[str, list[dict[str, Any]]]]:
    order = {name: number for number, name in enumerate(_PHRASES)}
    return sorted(cases.items(), key=lambda one: order[base_of(one[0])])


def _cells(case: str, rows: list[dict[str, Any]]) -> list[str]:
    with_bytes = _differ([row.get("MB_fetched") for row in rows])
    found: dict[str, str] = {}
    others = []
    for row in rows:
        name = _SAME_JOB.get(row["contestant"], row["contestant"])
        cell = _cell(row, with_bytes=with_bytes)
        if name in _COLUMNS and name not in found:
            found[name] = cell
        else:
            others.append(f"{name.removeprefix('torsync, ')} {cell}")
    return [_name(case), *(found.get(name, "") for name in _COLUMNS), "; ".join(others)]


def _cell(row: dict[str, Any], *, with_bytes: bool) -> str:
    if "CPU_percent" in row:
        return f"{row['CPU_percent']:.1f} % CPU, {row['peak_MB']:.0f} MB of memory"
    parts = [f"{_digits(row['seconds'])} s"]
    if with_bytes and "MB_fetched" in row:
        parts.append(f"{_digits(row['MB_fetched'])} MB")
    if "extra_MB" in row:
        parts.append(f"{_digits(row['extra_MB'])} MB of room")
    return ", ".join(parts)


def _differ(values: list[float | None]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and max(known) > max(_SAME_BYTES * min(known), _NO_BYTES_MB)


def _digits(value: float) -> str:
    """Three significant digits at most, and not more than three decimals."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _name(case: str) -> str:
    """What a reader calls a case."""
    base, _, rest = case.partition(", ")
    name = f"{_PHRASES[base]} {rest}".strip()
    return f"{name.removesuffix('cold').rstrip(' ,')}, cold" if rest.endswith("cold") else name


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
