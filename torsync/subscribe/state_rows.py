"""Rows of a tree's state that are more than facts: its journal, past releases and trash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.disk.database import DamagedError
from torsync.model.journal import Journal
from torsync.model.past import PastRelease
from torsync.model.reports import CheckReport
from torsync.model.stored import NUMBER, fits, load_json
from torsync.model.tree_index import LedgerRow

if TYPE_CHECKING:
    import sqlite3


def read_journal(database: sqlite3.Connection) -> Journal | None:
    """Read the journal of a commit that was cut off; None if there is none.

    Raises:
        DamagedError: it cannot be carried out.
    """
    query = "SELECT step FROM journal ORDER BY number"
    rows = database.execute(query) if _has_table(database, "journal") else ()
    try:
        found = Journal.load(row[0] for row in rows)
        if found is not None:
            CheckReport.from_json(found.report)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"its journal of an update is damaged: {error}") from error
    return found


def read_past_releases(database: sqlite3.Connection) -> list[PastRelease]:
    """Read the last releases, the newest first; rows that are damaged are left out."""
    if not _has_table(database, "releases"):
        return []
    query = "SELECT digest, info_hash, name, at_s FROM releases ORDER BY at_s DESC, digest"
    rows = database.execute(query)
    return [PastRelease(*row) for row in rows if fits(row, str, str, str, NUMBER)]


def read_trash_rows(database: sqlite3.Connection) -> dict[str, LedgerRow]:
    """Read what is known of files in the trash, by path; rows that are damaged are left out."""
    if not _has_table(database, "trash"):
        return {}
    rows = ((path, load_json(row)) for path, row in database.execute("SELECT * FROM trash"))
    return {
        path: LedgerRow(*row)
        for path, row in rows
        if isinstance(path, str) and fits(row, int, int, int, int, str)
    }


def _has_table(database: sqlite3.Connection, name: str) -> bool:
    """False in a database of an older torsync that nobody has written to since."""
    query = "SELECT EXISTS (SELECT * FROM sqlite_master WHERE name = ?)"
    return bool(database.execute(query, (name,)).fetchone()[0])
