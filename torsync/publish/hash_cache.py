"""What is known of a publication's files without reading them, in SQLite.

A file is known by its path, size, both times and inode, as the ledger of a subscription knows
its own. A change in the very tick of the file system's clock in which a file was hashed would not
show: such a row does not count the next time, see ``torsync.model.tree_index.ledger_row``.

A file that was renamed has another ctime. It is known again by inode, size, mtime and the inode's
*generation*, which is another one once the number has been given to a new file. Where the file
system tells no generation (``FS_IOC_GETVERSION``), a renamed file is hashed. What that does
not show: a file that was written to, got its old mtime back, and was renamed, all in between two
releases.

Everything here can be had again by hashing: a file that is damaged or from a newer torsync is put
aside, and a new one begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torsync.disk.database import Database, Schema
from torsync.publish.hints.cache import TABLES, HintsCache

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torsync.disk.stamps import FileStamp

KEPT_RELEASES = 3
"""For so many releases the hash of a packed piece is kept that none of them has."""

_LARGEST = 2**63 - 1  # integer of SQLite
_AHEAD_NS = 24 * 3600 * 1_000_000_000  # longer than any look takes
_COLUMNS = "path, size, mtime_ns, ctime_ns, inode, generation, piece_length, root, layer, v1"

SCHEMA = Schema(
    "the hash cache",
    (
        """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, generation INTEGER NOT NULL,
    piece_length INTEGER NOT NULL, root BLOB NOT NULL, layer BLOB NOT NULL, v1 BLOB NOT NULL
);
CREATE TABLE parts (
    path TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    piece_length INTEGER NOT NULL, layer BLOB NOT NULL, v1 BLOB NOT NULL,
    PRIMARY KEY (path, start)
);
CREATE TABLE packed (key BLOB PRIMARY KEY, sha1 BLOB NOT NULL, unused_since INTEGER) WITHOUT ROWID
""",
        TABLES,
    ),
    "the folder is hashed once",
)


class KnownFile(NamedTuple):
    """The hashes of a file, and what it was like when it was hashed; its times as ``FileStamp``.

    Attributes:
        ctime_ns: inverted (``~``, so below zero) where a further change might not have shown;
            such a row is never believed once it has been stored.
        generation: of its inode; -1 if it is not known.
        piece_length: that ``layer`` and ``v1`` are for.
        root: BEP 52 pieces root.
        layer: BEP 52 piece layer; empty for a file of at most one piece.
        v1: SHA-1 of its pieces, the last one filled up with zeros; empty where not needed so far.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    generation: int
    piece_length: int
    root: bytes
    layer: bytes
    v1: bytes


class KnownPart(NamedTuple):
    """The hashes of a part of a large file that has not been hashed to its end."""

    length: int
    stamp: tuple[int, int, int, int]
    piece_length: int
    layer: bytes
    v1: bytes


PartKey = tuple[str, int]
"""Path, and first byte of the part."""


class HashCache:
    """One publication's. It is used by one thread at a time."""

    def __init__(self, file: Path, *, on_new: Callable[[str, str], None]) -> None:
        """Open it, or begin it.

        Args:
            file: its name.
            on_new: told what happened, and a hint, when it was no use and a new one was begun.

        Raises:
            StateError: it cannot be used.
        """
        self._database = Database(file, SCHEMA, on_new=on_new)

    @property
    def hints(self) -> HintsCache:
        """What is known for hints files."""
        return HintsCache(self._database)

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def files(self) -> dict[str, KnownFile]:
        """Give all that is known of whole files, by path."""
        return self._database.run(_read_files)

    def parts(self) -> dict[PartKey, KnownPart]:
        """Give all that is known of parts of files."""
        return self._database.run(_read_parts)

    def packed(self) -> dict[bytes, bytes]:
        """Give the SHA-1 of packed pieces by the key of their content."""
        return self._database.run(
            lambda database: dict(database.execute("SELECT key, sha1 FROM packed"))
        )

    def remember(
        self,
        files: Mapping[str, KnownFile],
        parts: Mapping[PartKey, KnownPart],
        packed: Mapping[bytes, bytes],
        *,
        clock_ns: int,
    ) -> None:
        """Add to what is known, in one transaction.

        Args:
            files: by path; their parts are not needed any more.
            parts: of files that are not done.
            packed: SHA-1 by key.
            clock_ns: what the file system's clock said before the first of them was looked at.
        """

        def write(database: sqlite3.Connection) -> None:
            _write_files(database, files, clock_ns)
            begun = database.execute("SELECT DISTINCT path FROM parts").fetchall()
            whole = [row for row in begun if row[0] in files]
            database.executemany("DELETE FROM parts WHERE path = ?", whole)
            database.executemany(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (*key, part.length, *_stored(part.stamp, clock_ns), *part[2:])
                    for key, part in parts.items()
                ],
            )
            database.executemany(
                "INSERT OR REPLACE INTO packed VALUES (?, ?, NULL)", list(packed.items())
            )

        if files or parts or packed:
            self._database.transact(write)

    def finish_release(
        self, gone: Iterable[str], packed_before: Iterable[bytes], packed_now: Iterable[bytes]
    ) -> None:
        """Forget what the last releases do not need.

        Args:
            gone: paths that are known, and not published any more.
            packed_before: the keys of all packed pieces that are known.
            packed_now: those that the release has.
        """
        gone, now, before = list(gone), set(packed_now), set(packed_before)

        def write(database: sqlite3.Connection) -> None:
            number = 1 + _number(database)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('release', ?)", (number,))
            for table in ("files", "parts"):
                database.executemany(
                    f"DELETE FROM {table} WHERE path = ?",  # noqa: S608 - two names from above
                    [(path,) for path in gone],
                )
            unused = {
                key
                for (key,) in database.execute(
                    "SELECT key FROM packed WHERE unused_since IS NOT NULL"
                )
            }
            mark = "UPDATE packed SET unused_since = ? WHERE key = ?"
            database.executemany(mark, [(None, key) for key in unused & now])
            database.executemany(mark, [(number, key) for key in before - now - unused])
            database.execute(
                "DELETE FROM packed WHERE unused_since <= ?", (number - KEPT_RELEASES,)
            )

        self._database.transact(write)


def _number(database: sqlite3.Connection) -> int:
    row = database.execute("SELECT value FROM meta WHERE key = 'release'").fetchone()
    return int(row[0]) if row else 0


def _read_files(database: sqlite3.Connection) -> dict[str, KnownFile]:
    make = tuple.__new__  # what KnownFile() comes to in the end
    found: dict[str, KnownFile] = {
        row[0]: make(KnownFile, row[1:])
        for row in database.execute(f"SELECT {_COLUMNS} FROM files")  # noqa: S608 - from above
    }
    wide = database.execute("SELECT path, inode FROM files WHERE inode < 0")
    for path, inode in wide:
        found[path] = found[path]._replace(inode=inode + 2**64)
    return found


def _read_parts(database: sqlite3.Connection) -> dict[PartKey, KnownPart]:
    found = {}
    for path, start, length, *row in database.execute("SELECT * FROM parts"):
        size, mtime_ns, ctime_ns, inode, piece_length, layer, v1 = row
        stamp = (size, mtime_ns, ctime_ns, inode + 2**64 if inode < 0 else inode)
        found[path, start] = KnownPart(length, stamp, piece_length, layer, v1)
    return found


def _write_files(
    database: sqlite3.Connection, files: Mapping[str, KnownFile], clock_ns: int
) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(path, *_stored(row[:4], clock_ns), *row[4:]) for path, row in files.items()],
    )


def _stored(stamp: FileStamp | tuple[int, int, int, int], clock_ns: int) -> tuple[int, ...]:
    """What SQLite keeps of a stamp: signed integers, and no ctime that a change may not move.

    A time past the year 2262 becomes one that no file has: the file is hashed each time.
    """
    size, mtime_ns, ctime_ns, inode = stamp
    last_ns = ctime_ns or mtime_ns  # a file system without a ctime says 0
    if clock_ns <= last_ns < clock_ns + _AHEAD_NS and ctime_ns >= 0:
        ctime_ns = ~ctime_ns
    return (
        size,
        _within(mtime_ns),
        _within(ctime_ns),
        inode - 2**64 if inode > _LARGEST else inode,
    )


def _within(number: int) -> int:
    return number if -_LARGEST <= number <= _LARGEST else -_LARGEST
