"""The history in a database: its newest updates, and what all of them come to.

The database has the tables ``history`` and ``meta``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torsync.model.history import (
    KEPT_PATHS_OF,
    KEPT_UPDATES,
    Totals,
    UpdateRecord,
    read_stored,
    without_paths,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

_INSERT = "INSERT INTO history VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM history WHERE rowid <= (SELECT max(rowid) FROM history) - ?"
_WITH_PATHS = (
    "SELECT rowid, * FROM history WHERE rowid <= (SELECT max(rowid) FROM history) - ?"
    " AND report LIKE '%_paths\": [_%\"%'"
)
_STRIP = "UPDATE history SET report = ? WHERE rowid = ?"


def add_update(
    database: sqlite3.Connection,
    at_s: float,
    info_hash: str,
    release: str,
    record: Mapping[str, Any],
) -> None:
    """Remember an update, and forget the oldest ones; in a transaction of the caller's.

    Args:
        database: to write to.
        at_s: when it was, in Unix seconds.
        info_hash: of the release.
        release: its name.
        record: ``UpdateRecord.as_json``.
    """
    database.execute(_INSERT, (at_s, info_hash, release, json.dumps(record)))
    database.execute(_FORGET, (KEPT_UPDATES,))
    for row, *stored in database.execute(_WITH_PATHS, (KEPT_PATHS_OF,)).fetchall():
        known = _readable(stored)
        if known is None:
            database.execute("DELETE FROM history WHERE rowid = ?", (row,))
            continue
        bare = {
            name: value
            for name, value in without_paths(known).as_json().items()
            if not name.endswith("_paths")
        }
        database.execute(_STRIP, (json.dumps(bare), row))
    totals = _totals(database).plus(UpdateRecord.from_json(record))
    database.execute("INSERT OR REPLACE INTO meta VALUES ('totals', ?)", (totals.dump(),))


def read_history(database: sqlite3.Connection, limit: int) -> tuple[list[UpdateRecord], Totals]:
    """The newest updates, the newest first; and what all that ever were come to.

    What is damaged is left out.
    """
    query = "SELECT * FROM history ORDER BY rowid DESC LIMIT ?"
    found = map(_readable, database.execute(query, (limit,)))
    return [record for record in found if record is not None], _totals(database)


def _readable(stored: Sequence[Any]) -> UpdateRecord | None:
    """Read a row; None if it is damaged."""
    try:
        return read_stored(*stored)
    except ValueError:
        return None


def read_last_s(database: sqlite3.Connection) -> float | None:
    """When the newest update was, in Unix seconds; None if there was none."""
    query = "SELECT max(at_s) FROM history WHERE typeof(at_s) = 'real'"
    row = database.execute(query).fetchone()
    return None if row[0] is None else float(row[0])


def _totals(database: sqlite3.Connection) -> Totals:
    row = database.execute("SELECT value FROM meta WHERE key = 'totals'").fetchone()
    return Totals.load(row[0] if row else "")
