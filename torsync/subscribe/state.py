"""What torsync remembers of one tree, in its state directory.

A SQLite database holds the ledger, what the last poll got, what is staged, and the history;
beside it lie the ``.torrent`` files of the releases it names. The synced manifest moves only
when an update is complete, in the same transaction as the ledger.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from torsync.disk.database import Database
from torsync.disk.durable import write_durably
from torsync.disk.history import add_update, read_history, read_last_s
from torsync.model.errors import StateError
from torsync.model.seal import Seal
from torsync.model.stored import are_texts, fits, load_json
from torsync.subscribe.ledger_table import (
    SeenByFolder,
    read_ledger,
    read_seen,
    replace_ledger,
    write_rows,
)
from torsync.subscribe.state_rows import read_journal, read_past_releases, read_trash_rows
from torsync.subscribe.state_schema import SCHEMA

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from torsync.model.history import Totals, UpdateRecord
    from torsync.model.journal import Journal
    from torsync.model.past import PastRelease
    from torsync.model.tree_index import LedgerRow

_NOTHING_TRASHED: Mapping[str, LedgerRow] = {}
_BETWEEN = ("release", "inodes")
_KEPT_RELEASES = 10
_FORGET_RELEASES = (
    "DELETE FROM releases WHERE digest NOT IN"
    " (SELECT digest FROM releases ORDER BY at_s DESC LIMIT ?)"
)


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

    def __init__(
        self,
        folder: Path,
        *,
        on_new: Callable[[str, str], None] = lambda _message, _hint: None,
        read_only: bool = False,
    ) -> None:
        """Open or make the state in ``folder``.

        Args:
            folder: the state's own.
            on_new: told what happened, and a hint, when a database that is damaged or of a
                newer torsync was moved aside and a new one begun, now or later.
            read_only: for those who don't hold the tree: nothing is made or moved.

        Raises:
            StateError: it could not be made or used.
        """
        self.folder = folder
        self._file = folder / "state.sqlite"
        self._ledger_read = 0  # SQLite's number of changes by others when the ledger was read
        if not read_only:
            with self._in_words():
                (folder / "releases").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = Database(self._file, SCHEMA, on_new=on_new, read_only=read_only)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(
                f"the state in {str(self.folder)!r} could not be used: {error}",
                hint="check the disk and the permissions of the state directory",
            ) from error

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # --- small facts ----------------------------------------------------------------------

    def get(self, key: str) -> str:
        """Read one fact; the empty text if there is none."""
        query = "SELECT value FROM meta WHERE key = ?"
        row = self._db.run(lambda database: database.execute(query, (key,)).fetchone())
        return str(row[0]) if row else ""

    def put(self, **facts: str) -> None:
        """Write facts; an empty text removes one."""
        self._db.transact(lambda database: _put(database, facts))

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
        with self._in_words():
            if self.load_body(digest) is None:
                write_durably(target, body)
        return digest

    def load_body(self, digest: str) -> bytes | None:
        """Read the bytes of a ``.torrent``; None if they are gone or not what they were."""
        try:
            body = self._body_file(digest).read_bytes()
        except (OSError, ValueError):  # the name itself may be damaged
            return None
        return body if sha256(body).hexdigest() == digest else None

    def read_body(self, digest: str) -> bytes:
        """Read the bytes of a ``.torrent`` that has been there.

        Raises:
            StateError: they are gone, or not what they were.
        """
        body = self.load_body(digest)
        if body is None:
            raise StateError(
                f"the release in {str(self._body_file(digest))!r} is gone or damaged",
                hint="try again: it is then fetched anew",
            )
        return body

    def past_releases(self) -> list[PastRelease]:
        """The last releases that the tree was brought to, the newest first."""
        return self._db.run(read_past_releases)

    def forget_bodies(self, keep: Iterable[str]) -> None:
        """Remove all ``.torrent`` files but those in ``keep``, and of the last releases."""
        last = (release.digest for release in self.past_releases())
        kept = {f"{digest}.torrent" for digest in (*keep, *last)}
        with self._in_words():
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
        """Read what the last good poll got; None if that is not known."""
        found = load_json(self.get("poll"))
        names = PollState.__slots__
        values = [found.get(name) for name in names] if isinstance(found, dict) else [None]
        return PollState(*values) if are_texts(values) else None

    def store_poll(self, poll: PollState) -> None:
        """Remember what a good poll got, after its body has been stored and parsed."""
        self.put(poll=json.dumps({name: getattr(poll, name) for name in poll.__slots__}))

    def begin_in_place(self, release: str, inodes: Mapping[str, int]) -> None:
        """Note that files are about to be patched where they are: nobody vouches for them.

        Until ``record_sync`` says that they are right, the tree is ``between`` releases.

        Args:
            release: its name.
            inodes: of those files, by path.
        """

        def write(database: sqlite3.Connection) -> None:
            self._ledger_read = 0
            rows = ((path,) for path in inodes)
            database.executemany("UPDATE ledger SET digest = '' WHERE path = ?", rows)
            between = json.dumps({"release": release, "inodes": dict(inodes)})
            _put(database, {"between": between, "seal": ""})

        self._db.transact(write)

    def between(self) -> tuple[str, dict[str, int]]:
        """The release whose files are being patched in place, if any; and their inodes by path."""
        found = load_json(self.get("between"))
        values: list[Any] = (
            [found.get(name) for name in _BETWEEN] if isinstance(found, dict) else []
        )
        if not fits(values, str, dict):
            return "", {}
        release, inodes = values
        return release, {path: inode for path, inode in inodes.items() if isinstance(inode, int)}

    @property
    def pinned(self) -> str:
        """The body's digest of the release that the tree was rolled back to, and stays at."""
        return self.get("pinned")

    # --- trash ----------------------------------------------------------------------------

    def load_trash(self) -> dict[str, LedgerRow]:
        """Read what is known of old releases' files in the trash, by path."""
        return self._db.run(read_trash_rows)

    def forget_trash(self, before: str) -> None:
        """Forget what is known of paths that sort before one: trash is named by its time."""
        self._db.transact(
            lambda database: database.execute("DELETE FROM trash WHERE path < ?", (before,))
        )

    # --- journal --------------------------------------------------------------------------

    def store_journal(self, journal: Journal) -> None:
        """Write down, durably, what a commit is about to do."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM journal")
            steps = enumerate(journal.dump())
            database.executemany("INSERT INTO journal VALUES (?, ?)", steps)

        self._db.transact(write)

    @property
    def has_journal(self) -> bool:
        """Whether a commit was cut off."""
        query = "SELECT EXISTS (SELECT * FROM journal)"
        return bool(self._db.run(lambda database: database.execute(query).fetchone()[0]))

    def load_journal(self) -> Journal | None:
        """Read what a commit was about to do that was not recorded; None if there is none."""
        return self._db.run(read_journal)

    # --- ledger ---------------------------------------------------------------------------

    def load_ledger(self, names: Iterable[str] = ()) -> dict[str, LedgerRow]:
        """Read what torsync put on disk or verified, by path.

        Args:
            names: paths that are in memory anyway, not to keep them twice.
        """
        known = {name: name for name in names}

        def read(database: sqlite3.Connection) -> dict[str, LedgerRow]:
            self._ledger_read = _changes(database)
            return read_ledger(database, known)

        return self._db.run(read)

    def load_seen(self) -> SeenByFolder:
        """Read what stat said of every file in the ledger."""
        return self._db.run(read_seen)

    def load_seal(self) -> Seal | None:
        """Read whether the ledger covers a release; writing to the ledger breaks the seal."""
        return Seal.load(self.get("seal"))

    def record_rows(self, rows: Mapping[str, LedgerRow]) -> None:
        """Add or replace some rows: files that were verified and are as the release has them."""

        def write(database: sqlite3.Connection) -> None:
            self._ledger_read = 0
            write_rows(database, rows.items())
            _put(database, {"seal": ""})

        self._db.transact(write)

    def record_sync(
        self,
        rows: Mapping[str, LedgerRow],
        *,
        synced: str,
        history: tuple[float, str, str, dict[str, Any]] | None,
        release: PastRelease | None = None,
        trashed: Mapping[str, LedgerRow] = _NOTHING_TRASHED,
        seal: Seal | None = None,
        before: Mapping[str, LedgerRow] | None = None,
    ) -> None:
        """Replace the ledger and move the synced manifest, all or nothing.

        Only rows that differ are written. The tree stays ``between`` releases while a file that
        was being patched in place is still wrong.

        Args:
            rows: the whole ledger.
            synced: the body's digest.
            history: see ``add_update``; None if nothing changed.
            release: the synced one, to be kept among the last ones.
            trashed: path in the trash → what is known of the content there.
            seal: if the ledger covers the release.
            before: what ``load_ledger`` gave last, to spare reading it again; without effect if
                the database has been written to by others, or begun anew, since.
        """
        is_between = any(path in rows and not rows[path].digest for path in self.between()[1])
        between = self.get("between") if is_between else ""

        def write(database: sqlite3.Connection) -> None:
            stored = before
            if stored is None or not self._ledger_read == _changes(database) > 0:
                stored = read_ledger(database)
            self._ledger_read = 0
            replace_ledger(database, stored, rows)
            facts = {
                "synced": synced,
                "staged": "",
                "between": between,
                "seal": seal.dump() if seal else "",
            }
            _put(database, facts)
            database.execute("DELETE FROM journal")
            database.executemany(
                "INSERT OR REPLACE INTO trash VALUES (?, ?)",
                ((path, json.dumps(row)) for path, row in trashed.items()),
            )
            if release is not None:
                database.execute("INSERT OR REPLACE INTO releases VALUES (?, ?, ?, ?)", release)
                database.execute(_FORGET_RELEASES, (_KEPT_RELEASES,))
            if history is not None:
                add_update(database, *history)

        self._db.transact(write)

    def last_update_s(self) -> float | None:
        """When the tree last changed, in Unix seconds."""
        return self._db.run(read_last_s)

    def history(self, limit: int) -> tuple[list[UpdateRecord], Totals]:
        """The newest updates, the newest first; and what all come to."""
        return self._db.run(lambda database: read_history(database, limit))


def _changes(database: sqlite3.Connection) -> int:
    """A number that changes whenever another connection has changed the database."""
    return int(database.execute("PRAGMA data_version").fetchone()[0])


def _put(database: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    for key, value in facts.items():
        if value:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        else:
            database.execute("DELETE FROM meta WHERE key = ?", (key,))
