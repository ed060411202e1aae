"""Where torsync is slower than another one, or fetches more, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST = 1.1
"""A tenth more is what turns differ by among themselves."""

_LEAST_S, _LEAST_MB = 0.02, 0.05
_OWN = ("torsync", "torsync verify")
_NO_PEERS = ("torsync", "cp", "hashlib")
"""torsync itself, and those who show how fast the machine is."""

WHY = {
    "first-sync": "torsync reads everything that has come back from the disk and hashes it, waits "
    "until it is on the disk, and records each file; the others do nothing of that.",
    "nothing-changed": "starting Python and polling over HTTP take 0.15 s.",
    "verify-many": "of 53 µs a file, 18 go into opening, reading and hashing it, by one thread "
    "(two would wait for one another at each system call); the rest goes into looking, comparing "
    "and judging, in Python.",
    "verify": "SHA-1 of v1 is as fast as hashlib; SHA-256 of v2 goes over blocks of 16 KiB, at "
    "each of which Python's threads wait for one another.",
    "update-large": "0.25 s are Python's start and imports; then the patched file is copied, read "
    "back and synced.",
    "update-8g": "the same as in 2 GiB.",
    "staged-in-place": "a changed file is written anew, and synced, beside its old version; rsync "
    "syncs nothing.",
    "one-of-many": "parsing the manifest of all files, looking at each, and handing the torrent "
    "to libtorrent are in proportion to the files, not to the change.",
    "parse": "torsync checks every name and builds an object for every file, in Python.",
    "first-release": "torsync computes SHA-256 of every file besides SHA-1 of the pieces, then "
    "hints; the .torrent is public before those.",
    "next-release": "looking at all files, and writing the whole manifest again in Python.",
    "four-subscribers": "to start, and to find each other, takes peers a second or two.",
    "package-updates": "BitTorrent has blocks of 16 KiB; rsync's are smaller, and casync's chunks "
    "are compressed. The start, with HTTP and libtorrent, takes 0.25 s.",
    "insert-1g": "torsync reads the old content twice more than cp does: to find out what is the "
    "same, and to check what it has put together.",
    "zip": "blocks of 16 KiB, and 0.25 s of start.",
    "sqlite": "changes lie closer together than blocks of 16 KiB: rsync's are smaller.",
    "log": "0.25 s of start; casync's chunks are compressed.",
}
"""Case, without sizes and variants → what takes torsync longer there."""


def find_losses(
    cases: Mapping[str, Sequence[Mapping[str, Any]]], *, names: Mapping[str, str]
) -> list[str]:
    """A line for each kind of case in which torsync loses.

    Args:
        cases: case → its rows as in a report, those without runs left out.
        names: kind of case → what it is called.
    """
    told: dict[str, list[str]] = {}
    for case, rows in cases.items():
        if found := _compare(rows):
            base, _, rest = case.partition(", ")
            told.setdefault(base, []).append(f"{rest} ({found})".strip())
    return [f"{names[base]} {'; '.join(found)}. {explain(base)}" for base, found in told.items()]


def explain(base: str) -> str:
    """Why; says so where nobody has looked yet."""
    why = WHY.get(base, "not explained.")
    return why[0].upper() + why[1:]


def _compare(rows: Sequence[Mapping[str, Any]]) -> str:
    """By how much the best of the others is better; empty if none is."""
    own = next((row for row in rows if row["contestant"] in _OWN), None)
    if own is None:
        return ""
    others = [row for row in rows if not row["contestant"].startswith(_NO_PEERS)]
    if any("MB_fetched" in row for row in rows):
        # Whoever has taken it from the same disk did without a network.
        others = [row for row in others if "MB_fetched" in row]
    parts = []
    for figure, least, what in (("seconds", _LEAST_S, ""), ("MB_fetched", _LEAST_MB, " in MB")):
        known = [row for row in others if figure in row]
        if figure not in own or not known:
            continue
        best = min(known, key=lambda row: float(row[figure]))
        more = own[figure] - best[figure]
        if more > least and own[figure] > LEAST * best[figure]:
            times = f"{own[figure] / best[figure]:.1f}" if best[figure] else "infinitely"
            parts.append(f"{times} times {best['contestant']}{what}")
    return ", ".join(parts)
