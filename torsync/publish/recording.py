"""What is remembered of a publication's releases and failures.

The releases that it has had are in a SQLite file beside its state.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from torsync.disk.database import Database, Schema
from torsync.disk.history import add_update, read_history
from torsync.model.errors import StateError
from torsync.model.events import Level
from torsync.model.history import Totals, record_of_release

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.history import UpdateRecord
    from torsync.model.publish_reports import PublishReport
    from torsync.publish.state import PublicationState
    from torsync.subscribe.surroundings import Voice

_FILE = "history.sqlite"
_STEPS = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    at_s REAL NOT NULL, info_hash TEXT NOT NULL, release TEXT NOT NULL, report TEXT NOT NULL
);
""",
)
_SCHEMA = Schema("the history", _STEPS, "what was released is public all the same")


def note_success(state: PublicationState, report: PublishReport, at_s: float, voice: Voice) -> None:
    """Forget the last failure, and remember a release, if there is a new one.

    Args:
        state: of the publication.
        report: on what was done.
        at_s: when that was, in Unix seconds.
        voice: is told if it could not be remembered; the release is public all the same.
    """
    state.note_error("")
    if not report.changed:
        return
    record = record_of_release(report, at_s)
    add = partial(
        add_update,
        at_s=at_s,
        info_hash=report.info_hash,
        release=report.release,
        record=record.as_json(),
    )
    try:
        with closing(_opened(state.folder)) as database:
            database.transact(add)
    except StateError as error:
        voice.notice(Level.WARNING, "history_lost", error.message, error.hint)


def past_releases(folder: Path, limit: int) -> tuple[list[UpdateRecord], Totals]:
    """The newest releases, the newest first; and what all come to.

    Args:
        folder: of the publication's state.
        limit: how many.

    Raises:
        StateError: they cannot be read.
    """
    if not (folder / _FILE).exists():
        return [], Totals()
    with closing(_opened(folder, read_only=True)) as database:
        return database.run(lambda opened: read_history(opened, limit))


def _opened(folder: Path, *, read_only: bool = False) -> Database:
    return Database(folder / _FILE, _SCHEMA, on_new=lambda _said, _hint: None, read_only=read_only)
