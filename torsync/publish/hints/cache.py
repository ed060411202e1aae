"""The entries of a publication's hints file, in its hash cache; see ``model.hints.format``.

They are kept under the file's key, so that no path and no stamp matters: they are those of that
content. Those of the release before stay for one more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.hints.format import Entry, Filed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from torsync.disk.database import Database

TABLES = """
CREATE TABLE hints (
    key BLOB PRIMARY KEY, length INTEGER NOT NULL, groups INTEGER NOT NULL,
    chunks INTEGER NOT NULL, average INTEGER NOT NULL, is_unused INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE hint_entries (key BLOB PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE hint_parts (
    key BLOB NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, root BLOB NOT NULL,
    lengths BLOB NOT NULL, hashes BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY (key, start)
)
"""

_DELETE_UNUSED = "DELETE FROM hint_entries WHERE key IN (SELECT key FROM hints WHERE is_unused)"
_READ_BYTES = 8 * 1024**2


class CutPart(NamedTuple):
    """What is known of a segment of a file that is not cut to its end.

    Attributes:
        length: in bytes.
        root: over the blocks of a whole segment (BEP 52).
        lengths: of its chunks, as ``array("I")`` gives them.
        hashes: of its chunks.
        cells: of the segment.
    """

    length: int
    root: bytes
    lengths: bytes
    hashes: bytes
    cells: bytes


PartKey = tuple[bytes, int]
"""The file's key, and the first byte of the part."""


class HintsCache:
    """One publication's. It is used by one thread at a time."""

    def __init__(self, database: Database) -> None:
        """Take the open hash cache."""
        self._database = database

    def keys(self) -> set[bytes]:
        """Of all files whose entry is known."""
        return self._database.run(
            lambda database: {key for (key,) in database.execute("SELECT key FROM hints")}
        )

    def parts(self) -> dict[PartKey, CutPart]:
        """What is known of parts of files."""

        def read(database: sqlite3.Connection) -> dict[PartKey, CutPart]:
            rows = database.execute(
                "SELECT key, start, length, root, lengths, hashes, cells FROM hint_parts"
            )
            return {(key, start): CutPart(*rest) for key, start, *rest in rows}

        return self._database.run(read)

    def remember(
        self,
        entries: Sequence[Entry],
        parts: Mapping[PartKey, CutPart],
        joined: Collection[bytes] = (),
    ) -> None:
        """Add to what is known, in one transaction.

        Args:
            entries: of whole files.
            parts: of files that are not done.
            joined: keys of files whose parts are not needed any more.
        """
        ordered = sorted(entries)  # takes SQLite half the time
        rows = [
            (entry.key, len(entry.data), entry.groups, entry.chunks, entry.average)
            for entry in ordered
        ]
        data = [(entry.key, entry.data) for entry in ordered]

        def write(database: sqlite3.Connection) -> None:
            database.executemany(
                "INSERT OR REPLACE INTO hint_parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*key, *part) for key, part in parts.items()],
            )
            database.executemany("INSERT OR REPLACE INTO hints VALUES (?, ?, ?, ?, ?, 0)", rows)
            database.executemany("INSERT OR REPLACE INTO hint_entries VALUES (?, ?)", data)
            database.executemany("DELETE FROM hint_parts WHERE key = ?", [(key,) for key in joined])

        if rows or parts or joined:
            self._database.transact(write)

    def filed(self, keys: Collection[bytes]) -> list[Filed]:
        """What the index of a hints file says of these files, as far as they are known."""

        def read(database: sqlite3.Connection) -> list[Filed]:
            rows = database.execute(
                "SELECT key, length, groups, chunks, average FROM hints ORDER BY key"
            )
            return [Filed(*row) for row in rows if row[0] in keys]

        return self._database.run(read)

    def entries(self, keys: Collection[bytes]) -> Iterator[bytes]:
        """The entries of these files in the order of their keys; some are in memory at a time."""
        batch = self._database.run(partial(_read_on, last=b""))
        while batch:
            yield from (entry for key, entry in batch if key in keys)
            batch = self._database.run(partial(_read_on, last=batch[-1][0]))

    def finish_release(self, keys: Collection[bytes]) -> None:
        """Forget what neither this release nor the one before needs.

        Args:
            keys: of the files of the release that is public now.
        """

        def write(database: sqlite3.Connection) -> None:
            known = dict(database.execute("SELECT key, is_unused FROM hints"))
            again = [(key,) for key, is_unused in known.items() if is_unused and key in keys]
            unused = [(key,) for key, is_unused in known.items() if not (is_unused or key in keys)]
            if again or unused:
                database.executemany("UPDATE hints SET is_unused = 0 WHERE key = ?", again)
                database.execute(_DELETE_UNUSED)
                database.execute("DELETE FROM hints WHERE is_unused")
                database.executemany("UPDATE hints SET is_unused = 1 WHERE key = ?", unused)
            parts = database.execute("SELECT DISTINCT key FROM hint_parts").fetchall()
            database.executemany(
                "DELETE FROM hint_parts WHERE key = ?", [row for row in parts if row[0] not in keys]
            )

        self._database.transact(write)

    def clear(self) -> None:
        """Forget all."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM hint_entries")
            database.execute("DELETE FROM hints")
            database.execute("DELETE FROM hint_parts")

        self._database.transact(write)


def _read_on(database: sqlite3.Connection, last: bytes) -> list[tuple[bytes, bytes]]:
    """Read entries behind a key, until they are enough."""
    found: list[tuple[bytes, bytes]] = []
    left = _READ_BYTES
    rows = database.execute(
        "SELECT key, entry FROM hint_entries WHERE key > ? ORDER BY key", (last,)
    )
    for key, entry in rows:
        found.append((key, entry))
        left -= len(entry)
        if left <= 0:
            break
    return found
