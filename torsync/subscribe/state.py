"""What torsync remembers of one tree, in its state directory.

A SQLite database holds the ledger, what the last poll got, what is staged, and the history;
beside it lie the ``.torrent`` files of the releases it names. The synced manifest moves only
when an update is complete, in the same transaction as the ledger.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from torsync.model.errors import StateError
from torsync.model.tree_index import LedgerRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE history (
    at_s REAL NOT NULL, info_hash TEXT NOT NULL, release TEXT NOT NULL, report TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class PollState:
    """What the last poll got: ``sha256`` (hex) names the body; validators for the next one."""

    url: str
    sha256: str
    etag: str
    last_modified: str


def state_folder(state_dir: Path, tree: Path) -> Path:
    """Where the state of a tree is: the folder's name follows from the tree's real path."""
    real = os.path.realpath(tree)
    key = sha256(os.fsencode(real)).hexdigest()[:16]
    return state_dir / "trees" / f"{os.path.basename(real)[:40]}-{key}"


class TreeState:
    """The state of one tree. One thread uses it; SQLite lets other processes read along."""

    def __init__(self, folder: Path) -> None:
        """Open or make the state in ``folder``.

        Raises:
            StateError: it could not be made, or is from a newer torsync.
        """
        self.folder = folder
        self._file = folder / "state.sqlite"
        with self._guarded():
            (folder / "releases").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._file, timeout=10, isolation_level=None, check_same_thread=False
        )
        try:
            if _version(database) == 0:
                _make_tables(database)
            self._check_version(_version(database))
            with suppress(sqlite3.OperationalError):  # another process is just doing the same
                database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
        except BaseException:
            database.close()
            raise
        return database

    def _check_version(self, version: int) -> None:
        if version != _SCHEMA_VERSION:
            raise StateError(
                f"the state in {str(self._file)!r} has version {version}, this torsync knows "
                f"version {_SCHEMA_VERSION}",
                hint="use the torsync that wrote it, or move that file away: the tree is then "
                "hashed once, and nothing is fetched that it has",
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StateError(
                f"the state in {str(self._file)!r} could not be used: {error}",
                hint="check the disk and the permissions; if the file is damaged, move it away: "
                "the tree is then hashed once, and nothing is fetched that it has",
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # --- small facts ----------------------------------------------------------------------

    def get(self, key: str) -> str:
        """Read one fact; the empty text if there is none."""
        with self._guarded():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def put(self, **facts: str) -> None:
        """Write facts; an empty text removes one."""
        with self._transaction() as database:
            _put(database, facts)

    def note_stage(self, stage: str) -> None:
        """Leave word of what is going on, for ``status``; not durable."""
        with suppress(OSError):
            (self.folder / "stage").write_text(stage, encoding="utf-8")

    def noted_stage(self) -> str:
        """What ``note_stage`` left."""
        try:
            return (self.folder / "stage").read_text(encoding="utf-8")
        except OSError:
            return ""

    # --- releases -------------------------------------------------------------------------

    def store_body(self, body: bytes) -> str:
        """Keep the bytes of a ``.torrent`` durably; give the name (SHA-256) they are found by."""
        digest = sha256(body).hexdigest()
        target = self._body_file(digest)
        with self._guarded():
            if self.load_body(digest) is None:
                _write_durably(target, body)
        return digest

    def load_body(self, digest: str) -> bytes | None:
        """Read the bytes of a ``.torrent``; None if they are gone or not what they were."""
        try:
            body = self._body_file(digest).read_bytes()
        except OSError:
            return None
        return body if sha256(body).hexdigest() == digest else None

    def forget_bodies(self, keep: Iterable[str]) -> None:
        """Remove all ``.torrent`` files but those named in ``keep``."""
        kept = {f"{digest}.torrent" for digest in keep}
        with self._guarded():
            files = list((self.folder / "releases").iterdir())
        for file in files:
            if file.name not in kept:
                with suppress(OSError):
                    file.unlink()

    def _body_file(self, digest: str) -> Path:
        return self.folder / "releases" / f"{digest}.torrent"

    @property
    def synced(self) -> str:
        """The body's digest of the synced manifest; empty before the first sync."""
        return self.get("synced")

    # --- poll -----------------------------------------------------------------------------

    def load_poll(self) -> PollState | None:
        """Read what the last good poll got."""
        text = self.get("poll")
        return PollState(**json.loads(text)) if text else None

    def store_poll(self, poll: PollState) -> None:
        """Remember what a good poll got, after its body has been stored and parsed."""
        self.put(poll=json.dumps({name: getattr(poll, name) for name in poll.__slots__}))

    # --- ledger ---------------------------------------------------------------------------

    def load_ledger(self) -> dict[str, LedgerRow]:
        """Read what torsync put on disk or verified, by path."""
        with self._guarded():
            rows = self._db.execute(
                "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM ledger"
            )
            return {row[0]: LedgerRow(*row[1:]) for row in rows}

    def record_rows(self, rows: Mapping[str, LedgerRow]) -> None:
        """Add or replace some rows: files that were verified and are as the release has them."""
        with self._transaction() as database:
            _insert(database, rows)

    def record_sync(
        self,
        rows: Mapping[str, LedgerRow],
        *,
        synced: str,
        history: tuple[float, str, str, dict[str, Any]] | None,
    ) -> None:
        """Replace the ledger and move the synced manifest, all or nothing.

        Args:
            rows: the whole ledger.
            synced: the body's digest.
            history: time (Unix seconds), info-hash, release and report; None if nothing changed.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM ledger")
            _insert(database, rows)
            _put(database, {"synced": synced, "staged": ""})
            if history is not None:
                at_s, info_hash, release, report = history
                database.execute(
                    "INSERT INTO history VALUES (?, ?, ?, ?)",
                    (at_s, info_hash, release, json.dumps(report)),
                )

    def last_update_s(self) -> float | None:
        """When the tree last changed, in Unix seconds."""
        with self._guarded():
            row = self._db.execute("SELECT max(at_s) FROM history").fetchone()
        return None if row[0] is None else float(row[0])


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _make_tables(database: sqlite3.Connection) -> None:
    """Make the tables, unless another process was faster."""
    database.execute("BEGIN IMMEDIATE")
    if _version(database) == 0:
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
    database.execute("COMMIT")


def _put(database: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    for key, value in facts.items():
        if value:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        else:
            database.execute("DELETE FROM meta WHERE key = ?", (key,))


def _insert(database: sqlite3.Connection, rows: Mapping[str, LedgerRow]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
        ((path, *row) for path, row in rows.items()),
    )


def _write_durably(target: Path, data: bytes) -> None:
    """Write beside, fsync, rename, fsync the folder: the file is there whole or not at all."""
    temporary = target.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
