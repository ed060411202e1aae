"""A SQLite file: opened, used, and begun anew where it is no use any more.

What torsync remembers can be had again by hashing, so nobody is asked when the file is damaged or
from a newer torsync: it is moved aside, and a new one begun. Failures that are not the file's own,
such as a full disk or missing permissions, leave it where it is.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote

from torsync.model.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CORRUPT, _NOT_A_DATABASE = 11, 26  # primary result codes of SQLite
_WORDS_OF_DAMAGE = (
    *("malformed", "not a database", "no such table", "no such column", "has no column"),
    *("values were supplied", "could not decode"),
)
_KEPT_DAMAGED = 3

T = TypeVar("T")


class _UselessError(Exception):
    """The file can be read, and is not what this torsync can use; ``kind`` is for its name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class DamagedError(_UselessError):
    """What was read cannot have been written by torsync; the file is begun anew."""

    def __init__(self, message: str) -> None:
        super().__init__("damaged", message)


class Schema(NamedTuple):
    """What is in a file.

    Attributes:
        what: the file in words, such as "the state".
        steps: the statements that each version adds to the one before it.
        anew: what becomes of it if the file is begun anew, for the hint.
    """

    what: str
    steps: tuple[str, ...]
    anew: str

    @property
    def version(self) -> int:
        """The newest."""
        return len(self.steps)


class Database:
    """One SQLite file."""

    def __init__(
        self,
        file: Path,
        schema: Schema,
        *,
        on_new: Callable[[str, str], None],
        read_only: bool = False,
    ) -> None:
        """Open the file, or make it.

        Args:
            file: its name; what is put aside goes beside it.
            schema: what is in it.
            on_new: told what happened, and a hint, when a new one was begun in place of one
                that is no use.
            read_only: change nothing, whatever is wrong with it; for those who only look.

        Raises:
            StateError: it cannot be used.
        """
        self._file = file
        self._schema = schema
        self._on_new = on_new
        self._read_only = read_only
        self._db: sqlite3.Connection | None = None
        self.run(lambda _database: None)

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the database; once more with a new one if it proves useless.

        It does so, too, where ``operation`` raises a ``DamagedError``.

        Raises:
            StateError: that failed.
        """
        with self._in_words():
            try:
                return operation(self._opened())
            except (sqlite3.DatabaseError, UnicodeDecodeError, _UselessError) as error:
                if self._read_only or not _is_useless(error):
                    raise
                self._begin_anew(error)
            return operation(self._opened())

    def transact(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction: all of it or nothing.

        Raises:
            StateError: that failed.
        """

        def whole(database: sqlite3.Connection) -> T:
            database.execute("BEGIN IMMEDIATE")
            try:
                result = operation(database)
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has done it itself after some failures
                    database.execute("ROLLBACK")
                raise
            return result

        return self.run(whole)

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            name = str(self._file)
            if self._read_only:
                name = f"file://{quote(os.fsencode(os.path.abspath(name)))}?mode=ro"
            database = sqlite3.connect(
                name,
                timeout=10,
                isolation_level=None,
                check_same_thread=False,
                uri=self._read_only,
            )
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            self._db = database
        return self._db

    def _prepare(self, database: sqlite3.Connection) -> None:
        if not self._read_only and 0 <= _version(database) < self._schema.version:
            _make_tables(database, self._schema)
        version = _version(database)
        if version > self._schema.version:
            raise _UselessError(
                "newer",
                f"it is of a newer torsync: it has version {version}, this one knows version "
                f"{self._schema.version}",
            )
        if not version or version < 0:
            what = f"it has version {version}, which never was" if version else "it is empty"
            raise _UselessError("damaged", what)
        if not self._read_only:
            with suppress(sqlite3.OperationalError):  # another process is just doing the same
                database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")

    def _begin_anew(self, error: Exception) -> None:
        self.close()
        kind = error.kind if isinstance(error, _UselessError) else "damaged"
        aside = self._put_aside(kind)
        self._opened()
        self._on_new(
            f"{self._schema.what} in {str(self._file)!r} could not be used: {error}; it was moved "
            f"to {aside!r}, and a new one begun",
            self._schema.anew,
        )

    def _put_aside(self, kind: str) -> str:
        """Move the file to a name that nothing has; its log goes first, lest a new one read it."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = stem = f"{self._file}.{kind}-{stamp}"
        number = 1
        while os.path.lexists(aside):
            number += 1
            aside = f"{stem}-{number}"
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.rename(f"{self._file}{suffix}", f"{aside}{suffix}")
        self._forget_damaged()
        return aside

    def _forget_damaged(self) -> None:
        """Keep the newest damaged files only: a disk that fails makes one after the other."""
        found = sorted(
            self._file.parent.glob(f"{self._file.name}.damaged-*Z*"),
            key=lambda file: (file.stat().st_ctime_ns, file.name),
        )
        mains = [file for file in found if not file.name.endswith(("-wal", "-shm"))]
        for main in mains[:-_KEPT_DAMAGED]:
            for suffix in ("-wal", "-shm", ""):
                main.with_name(main.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OSError, _UselessError) as error:
            hint = "check the disk and the permissions of the state directory"
            if _is_useless(error):
                hint = f"the next check moves it aside and begins a new one: {self._schema.anew}"
            raise StateError(
                f"{self._schema.what} in {str(self._file)!r} could not be used: {error}", hint=hint
            ) from error


def _is_useless(error: Exception) -> bool:
    """Whether the file itself is to blame: damaged, or not one that this torsync knows.

    Python has a class of its own for damage only: the base of the others. SQLite tells a table
    that is missing or another one as it tells a mistake in a statement; here, all are right. That
    text is not UTF-8, Python tells in one way or another.
    """
    if isinstance(error, (_UselessError, UnicodeDecodeError)):
        return True
    if type(error) is sqlite3.DatabaseError:
        return True
    if not isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # from Python 3.11 on
    words = str(error).lower()
    return code in {_CORRUPT, _NOT_A_DATABASE} or any(word in words for word in _WORDS_OF_DAMAGE)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _make_tables(database: sqlite3.Connection, schema: Schema) -> None:
    """Make the tables that are not there yet, unless another process was faster."""
    database.execute("BEGIN IMMEDIATE")
    version = _version(database)
    if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _UselessError("damaged", "it has tables of someone else")
    for step in schema.steps[version:]:
        for statement in step.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA user_version={schema.version}")
    database.execute("COMMIT")
