"""What is remembered of updates and releases: what each changed, bounded."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from torsync.disk.history import add_update, read_history, read_last_s
from torsync.model.events import Event, Notice
from torsync.model.history import (
    DURATION_BUCKETS_S,
    KEPT_PATHS_OF,
    KEPT_UPDATES,
    MOST_PATHS,
    Totals,
    UpdateRecord,
    read_stored,
    record_of_release,
    record_of_update,
    without_paths,
)
from torsync.model.publish_reports import PublishReport
from torsync.model.reports import CheckReport, Reused
from torsync.publish.recording import note_success, past_releases
from torsync.publish.state import PublicationState
from torsync.subscribe.state import TreeState
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def report(**changes: object) -> CheckReport:
    found = CheckReport(
        "pack",
        release="pack-2",
        info_hash="ab" * 20,
        changed=True,
        fetched=["new", "whole"],
        patched=["large"],
        copied=["again", "over"],
        moved=["here"],
        trashed=["gone", "whole", "large", "over", "here"],
        bytes_fetched=100,
        bytes_reused=Reused(1, 2, 3, 4),
        bytes_hashed=50,
        bytes_total=110,
        seconds=2.5,
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        opened.execute(
            "CREATE TABLE history (at_s REAL NOT NULL, info_hash TEXT NOT NULL,"
            " release TEXT NOT NULL, report TEXT NOT NULL)"
        )
        yield opened


def add(database: sqlite3.Connection, record: UpdateRecord) -> None:
    add_update(database, record.at_s, record.info_hash, record.release, record.as_json())


def test_a_record_has_counts_paths_and_costs() -> None:
    record = record_of_update(report(from_release="pack-1"), 7.0, from_info_hash="cd")
    assert (record.added, record.changed, record.moved, record.removed) == (2, 3, 1, 1)
    assert (record.bytes_fetched, record.bytes_reused, record.bytes_hashed) == (100, 10, 50)
    assert (record.from_release, record.release, record.seconds) == ("pack-1", "pack-2", 2.5)
    assert UpdateRecord.from_json(json.loads(json.dumps(record.as_json()))) == record


def test_times_are_told_to_the_millisecond() -> None:
    assert record_of_update(report(seconds=1.23456), 7.0).as_json()["seconds"] == 1.235


def test_what_others_wrote_beside_the_counts_is_read_as_a_record() -> None:
    """Only a report of an older torsync has ``fetched`` and no ``added``."""
    both = {**record_of_update(report(), 1.0).as_json(), "fetched": 9}
    assert read_stored(1.0, "ab", "pack", json.dumps(both)).added == 2
    assert read_stored(1.0, "ab", "pack", "{}") == UpdateRecord(1.0, "pack", "ab")


def test_what_is_not_remembered_is_nothing() -> None:
    found = read_stored(1.0, "ab", "pack", "{}").as_json()
    told = {name: value for name, value in found.items() if value}
    assert told == {"at_s": 1.0, "info_hash": "ab", "release": "pack"}
    assert UpdateRecord.from_json({}) == UpdateRecord(0.0)


def test_a_release_is_recorded_like_an_update() -> None:
    published = PublishReport("maps", number=3, added=["a"], modified=["b", "c"], seconds=0.5)
    record = record_of_release(published, 7.0)
    assert (record.number, record.added, record.changed, record.removed) == (3, 1, 2, 0)
    assert record.paths.changed == ("b", "c")


def test_of_many_paths_the_first_are_kept_and_all_are_counted() -> None:
    many = [f"{number:05}" for number in range(MOST_PATHS + 10)]
    record = record_of_update(report(fetched=many), 7.0)
    assert record.added == MOST_PATHS + 10 + 1
    assert record.paths.added == tuple(many[:MOST_PATHS])


def test_the_newest_come_first(database: sqlite3.Connection) -> None:
    assert read_history(database, 5) == ([], Totals())
    assert read_last_s(database) is None
    for at_s in (5.0, 3.0, 9.0):  # the clock was set back in between
        add(database, UpdateRecord(at_s, f"at {at_s}"))
    found, totals = read_history(database, 2)
    assert [one.at_s for one in found] == [9.0, 3.0]
    assert totals.updates == 3
    assert read_last_s(database) == 9.0


def test_it_is_bounded_and_the_totals_go_on(database: sqlite3.Connection) -> None:
    record = record_of_update(report(), 0.0)
    for at_s in range(KEPT_UPDATES + 25):
        add_update(database, at_s, "ab", "pack", record.as_json())
    found, totals = read_history(database, 10 * KEPT_UPDATES)
    assert len(found) == KEPT_UPDATES
    assert [one.at_s for one in found[:2]] == [KEPT_UPDATES + 24, KEPT_UPDATES + 23]
    with_paths = [one for one in found if any(one.paths)]
    assert with_paths == found[:KEPT_PATHS_OF]
    assert {(one.added, one.changed, one.bytes_fetched) for one in found} == {(2, 3, 100)}
    assert totals.updates == KEPT_UPDATES + 25
    assert totals.sums["bytes_fetched"] == 100 * (KEPT_UPDATES + 25)
    stored = database.execute("SELECT report FROM history ORDER BY rowid LIMIT 1").fetchone()[0]
    assert "paths" not in stored


def test_histories_of_older_versions_are_read_and_lose_their_paths(
    database: sqlite3.Connection,
) -> None:
    stored = json.dumps(report().as_json())
    row = (1.0, "ab" * 20, "pack-2", stored)
    database.execute("INSERT INTO history VALUES (?, ?, ?, ?)", row)
    (old,), _ = read_history(database, 5)
    assert old == record_of_update(report(), 1.0)
    exact = record_of_update(report(), 1.23456)
    assert read_stored(1.23456, "ab" * 20, "pack-2", stored) == exact
    for at_s in range(KEPT_PATHS_OF):
        add(database, UpdateRecord(2.0 + at_s))
    assert read_history(database, 100)[0][-1] == without_paths(old)


# Totals that are stored have been counted by these.
BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        *((most, number) for number, most in enumerate(BUCKETS_S)),
        *((most + 0.5, number + 1) for number, most in enumerate(BUCKETS_S[:-1])),
        (86400.5, None),
    ],
)
def test_totals_count_durations_in_buckets(seconds: float, bucket: int | None) -> None:
    totals = Totals().plus(UpdateRecord(1.0, seconds=seconds))
    expected = [int(number == bucket) for number in range(len(DURATION_BUCKETS_S))]
    assert list(totals.buckets) == expected
    assert (totals.updates, totals.seconds) == (1, seconds)
    assert Totals.load(totals.dump()) == totals


@pytest.mark.parametrize("damaged", ["", "[]", "{}", "[1, 2, {}, [1]]", '["x", 2, {}, 3]', "nul"])
def test_damaged_totals_begin_anew(damaged: str) -> None:
    assert Totals.load(damaged) == Totals()


def test_a_state_tells_its_history_to_who_only_reads(tmp_path: Path) -> None:
    state = TreeState(tmp_path)
    record = record_of_update(report(from_release="pack-1"), 7.0)
    state.record_sync({}, synced="x", history=(7.0, "ab" * 20, "pack-2", record.as_json()))
    state.close()
    reader = TreeState(tmp_path, read_only=True)
    assert reader.history(5)[0] == [record]
    reader.close()


# --- publications ---------------------------------------------------------------------------


def test_releases_are_remembered_and_checks_without_news_are_not(tmp_path: Path) -> None:
    state, said = PublicationState(tmp_path), list[Event]()
    voice = Voice("maps", said.append)
    assert past_releases(tmp_path, 5) == ([], Totals())
    note_success(state, PublishReport("maps", number=1, changed=False), 1.0, voice)
    note_success(state, PublishReport("maps", number=1, changed=True, added=["a"]), 2.0, voice)
    note_success(state, PublishReport("maps", number=2, changed=True, removed=["a"]), 3.0, voice)
    found, totals = past_releases(tmp_path, 5)
    assert [(one.number, one.at_s, one.added, one.removed) for one in found] == [
        (2, 3.0, 0, 1),
        (1, 2.0, 1, 0),
    ]
    assert (totals.updates, said) == (2, [])


def test_a_history_that_cannot_be_written_is_told_and_harms_nothing(tmp_path: Path) -> None:
    state, said = PublicationState(tmp_path), list[Event]()
    (tmp_path / "history.sqlite").mkdir()
    note_success(
        state, PublishReport("maps", number=1, changed=True), 2.0, Voice("maps", said.append)
    )
    (notice,) = said
    assert isinstance(notice, Notice)
    assert notice.code == "history_lost"


def test_rows_that_are_damaged_go_with_the_paths_of_old_ones(
    database: sqlite3.Connection,
) -> None:
    record = record_of_update(report(), 1.0)
    add(database, record)
    database.execute("UPDATE history SET report = '[' || report || '_paths\": [\"x\"'")
    for _ in range(KEPT_PATHS_OF):
        add(database, record)
    assert database.execute("SELECT count(*) FROM history").fetchone() == (KEPT_PATHS_OF,)
    assert len(read_history(database, KEPT_UPDATES)[0]) == KEPT_PATHS_OF
