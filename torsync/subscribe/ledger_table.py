"""The ledger's rows in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torsync.disk.database import DamagedError
from torsync.model.stored import fits
from torsync.model.tree_index import LedgerRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

Stat = tuple[int, int, int, int]
_NOTHING_KNOWN: Mapping[str, str] = {}
SeenByFolder = dict[str, dict[str, Stat]]
"""Folder → name → size, mtime_ns, ctime_ns and inode."""

_LARGEST = 2**63 - 1  # integer of SQLite; inodes are unsigned, and times may be past the year 2262
_ODD = (
    "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM ledger"
    " WHERE typeof(mtime_ns) <> 'integer' OR typeof(ctime_ns) <> 'integer'"
    " OR typeof(inode) <> 'integer' OR typeof(size) <> 'integer'"
    " OR typeof(path) <> 'text' OR typeof(digest) <> 'text'"
)


def read_ledger(
    database: sqlite3.Connection, known: Mapping[str, str] = _NOTHING_KNOWN
) -> dict[str, LedgerRow]:
    """Read all rows by path; paths that are ``known`` are not kept twice."""
    wide_rows = dict(_wide_rows(database))
    rows = database.execute("SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM ledger")
    make = tuple.__new__  # what LedgerRow() comes to in the end
    found = {known.get(row[0], row[0]): make(LedgerRow, row[1:]) for row in rows}
    return found | wide_rows


def _wide_rows(database: sqlite3.Connection) -> Iterator[tuple[str, LedgerRow]]:
    """The rows with a number that is no integer of SQLite's, see ``_stored``.

    Raises:
        DamagedError: a row has something else than that.
    """
    for path, size, *stamps, digest in database.execute(_ODD):
        try:
            mtime_ns, ctime_ns, inode = map(int, stamps)
        except ValueError:
            raise DamagedError("a row of its ledger is damaged") from None
        if not fits((path, size, digest), str, int, str):
            raise DamagedError("a row of its ledger is damaged")
        yield path, LedgerRow(size, mtime_ns, ctime_ns, inode, digest)


def read_seen(database: sqlite3.Connection) -> SeenByFolder:
    """Read what stat said of every file."""
    found: SeenByFolder = {}
    wide_rows = list(_wide_rows(database))
    rows = database.execute("SELECT path, size, mtime_ns, ctime_ns, inode FROM ledger")
    for row in rows:
        folder, _, name = row[0].rpartition("/")
        found.setdefault(folder, {})[name] = row[1:]
    for path, wide in wide_rows:
        folder, _, name = path.rpartition("/")
        found[folder][name] = wide[:4]
    return found


def replace_ledger(
    database: sqlite3.Connection,
    stored: Mapping[str, LedgerRow],
    rows: Mapping[str, LedgerRow],
) -> None:
    """Make the table say ``rows``; ``stored`` is what it says now, as far as is known."""
    gone = ((path,) for path in stored if path not in rows)
    database.executemany("DELETE FROM ledger WHERE path = ?", gone)
    write_rows(database, ((path, row) for path, row in rows.items() if stored.get(path) != row))
    count = database.execute("SELECT count(*) FROM ledger").fetchone()[0]
    if count != len(rows):  # it was not what ``stored`` says
        database.execute("DELETE FROM ledger")
        write_rows(database, rows.items())


def write_rows(database: sqlite3.Connection, rows: Iterable[tuple[str, LedgerRow]]) -> None:
    """Add or replace rows."""
    database.executemany(
        "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
        ((path, *_stored(row)) for path, row in rows),
    )


def _stored(row: LedgerRow) -> tuple[object, ...]:
    """What SQLite keeps of a row: a number that is too large for it as digits."""
    stamps = row.mtime_ns, row.ctime_ns, row.inode
    if min(stamps) >= -_LARGEST and max(stamps) <= _LARGEST:
        return row
    wide = [n if -_LARGEST <= n <= _LARGEST else str(n).encode() for n in stamps]
    return (row.size, *wide, row.digest)
