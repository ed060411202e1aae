"""The tables of a tree's state."""

from __future__ import annotations

from torsync.disk.database import Schema

_STEPS = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE history (
    at_s REAL NOT NULL, info_hash TEXT NOT NULL, release TEXT NOT NULL, report TEXT NOT NULL
);
""",
    """
CREATE TABLE journal (number INTEGER PRIMARY KEY, step TEXT NOT NULL);
CREATE TABLE releases (
    digest TEXT PRIMARY KEY, info_hash TEXT NOT NULL, name TEXT NOT NULL, at_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE trash (path TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
""",
)
SCHEMA = Schema("the state", _STEPS, "the tree is hashed once, and nothing is fetched that it has")
