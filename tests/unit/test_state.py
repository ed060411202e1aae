"""What torsync remembers of a tree: all of a change or nothing, and never a silent loss."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.unit.test_tree import mounted, tmpfs
from torsync.model.errors import StateError
from torsync.model.seal import Seal
from torsync.model.tree_index import LedgerRow
from torsync.subscribe.state import PollState, TreeState, state_folder
from torsync.subscribe.state_rows import read_journal, read_past_releases, read_trash_rows
from torsync.subscribe.state_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPORT = {"type": "subscription", "changed": True}
SEAL = Seal("first", "policy", "pack-1", "ab" * 20, 7, 1234, ("a/left", "b"))


def row(number: int = 1, digest: str = "empty") -> LedgerRow:
    return LedgerRow(number, 2**62 + number, 2**61, 2**63 - 1, digest)


def rows(count: int, digest: str = "empty") -> dict[str, LedgerRow]:
    return {f"folder {number % 7}/{number}": row(number, digest) for number in range(count)}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TreeState]:
    opened = TreeState(tmp_path / "state")
    yield opened
    opened.close()


def reopened(state: TreeState) -> TreeState:
    state.close()
    return TreeState(state.folder)


# --- what is remembered ---------------------------------------------------------------------


def test_a_new_state_remembers_nothing(state: TreeState) -> None:
    assert state.synced == ""
    assert state.load_ledger() == {}
    assert state.load_poll() is None
    assert state.last_update_s() is None
    assert state.get("anything") == ""
    assert state.noted_stage() == ""
    assert state.load_body("00" * 32) is None


def test_facts_last_and_an_empty_text_removes_one(state: TreeState) -> None:
    state.put(one="1", two="zwei \N{SNOWMAN}")
    again = reopened(state)
    assert (again.get("one"), again.get("two")) == ("1", "zwei \N{SNOWMAN}")
    again.put(one="", two="2")
    assert (again.get("one"), again.get("two")) == ("", "2")
    again.close()


def test_a_sync_replaces_the_ledger_and_moves_the_synced_release(state: TreeState) -> None:
    state.put(staged="something")
    state.record_sync(rows(30), synced="first", history=(10.5, "aa", "one", REPORT))
    state.record_sync(rows(10, "new"), synced="second", history=None)
    again = reopened(state)
    assert again.load_ledger() == rows(10, "new")
    assert again.synced == "second"
    assert again.get("staged") == ""
    assert again.last_update_s() == 10.5
    again.close()


def test_rows_that_are_recorded_are_added_or_replaced(state: TreeState) -> None:
    state.record_sync(rows(3), synced="x", history=None)
    state.record_rows({"new": row(5), "folder 1/1": row(9)})
    assert state.load_ledger() == rows(3) | {"new": row(5), "folder 1/1": row(9)}
    assert state.synced == "x"


def test_stamps_that_are_too_large_for_the_database_come_back(state: TreeState) -> None:
    large = {
        "inode": LedgerRow(1, 2, 3, 2**64 - 1, "root:1"),
        "folder/year 2600": LedgerRow(1, 20_000_000_000 * 10**9, 3, 2**63, "root:1"),
        "folder/year 1000": LedgerRow(1, -30_000_000_000 * 10**9, 3, 2**63 - 1, "root:1"),
        "racy": LedgerRow(1, 2, ~(2**63), 4, "root:1"),
    }
    state.record_sync({**rows(3), **large}, synced="first", history=None)
    again = reopened(state)
    assert again.load_ledger() == {**rows(3), **large}
    assert again.load_seen()["folder"] == {
        "year 2600": large["folder/year 2600"][:4],
        "year 1000": large["folder/year 1000"][:4],
    }
    again.record_sync(rows(3), synced="second", history=None)
    assert again.load_ledger() == rows(3)
    again.close()


@pytest.mark.parametrize("with_before", [True, False])
def test_a_sync_writes_only_the_rows_that_differ(state: TreeState, with_before: bool) -> None:
    first = rows(1000)
    state.record_sync(first, synced="one", history=None)
    second = {**first, "new": row(1), "folder 3/3": row(3, "changed")}
    del second["folder 5/5"]
    before = state.load_ledger()

    def writes() -> int:
        return state._db.run(lambda database: database.total_changes)

    done = writes()
    state.record_sync(second, synced="two", history=None, before=before if with_before else None)
    assert writes() - done < 10
    assert state.load_ledger() == second
    assert state.synced == "two"


def test_a_sync_is_right_whatever_the_ledger_was_before(state: TreeState) -> None:
    state.record_sync(rows(9), synced="one", history=None)
    read = state.load_ledger()
    state.record_rows({"folder 1/1": row(5)})  # by itself
    state.record_sync(rows(9), synced="two", history=None, before=read)
    assert state.load_ledger() == rows(9)

    read = state.load_ledger()
    other = TreeState(state.folder)
    other.record_rows({"folder 1/1": row(5), "more": row(6)})
    other.close()
    state.record_sync(rows(9), synced="three", history=None, before=read)
    assert state.load_ledger() == rows(9)

    state.load_ledger()
    state.record_sync(rows(20), synced="four", history=None, before=rows(11))
    assert state.load_ledger() == rows(20), "what was given as the ledger was not all of it"
    state.load_ledger()
    state.record_sync(rows(5), synced="five", history=None, before={})
    assert state.load_ledger() == rows(5)


def test_what_stat_said_is_given_by_folder(state: TreeState) -> None:
    listed = {path: row(number) for number, path in enumerate(["a", "b", "x/c", "x/d", "x/y/e"])}
    state.record_sync(listed, synced="one", history=None)
    assert state.load_seen() == {
        "": {"a": row(0)[:4], "b": row(1)[:4]},
        "x": {"c": row(2)[:4], "d": row(3)[:4]},
        "x/y": {"e": row(4)[:4]},
    }


def test_a_seal_is_broken_by_whatever_is_written_to_the_ledger(state: TreeState) -> None:
    assert state.load_seal() is None
    state.record_sync(rows(3), synced="first", history=None, seal=SEAL)
    state.put(peers="x")
    again = reopened(state)
    assert again.load_seal() == SEAL
    again.record_rows({"new": row(5)})
    assert again.load_seal() is None
    again.put(seal=SEAL.dump())
    assert again.load_seal() == SEAL
    again.record_sync(rows(3), synced="first", history=None)
    assert again.load_seal() is None
    again.close()


def test_the_newest_update_counts(state: TreeState) -> None:
    for at_s in (5.0, 7.25, 6.0):
        state.record_sync({}, synced="x", history=(at_s, "aa", "r", REPORT))
    assert state.last_update_s() == 7.25


def test_the_last_poll_is_remembered(state: TreeState) -> None:
    poll = PollState("http://host/x?key=1", "ab" * 32, '"etag"', "Sat, 01 Jan 2000 00:00:00 GMT")
    state.store_poll(poll)
    again = reopened(state)
    assert again.load_poll() == poll
    again.close()


def test_the_stage_is_noted_beside(state: TreeState) -> None:
    state.note_stage("downloading")
    assert state.noted_stage() == "downloading"


# --- all or nothing -------------------------------------------------------------------------


class BadRowError(Exception):
    pass


class _BreakingRows(dict[str, LedgerRow]):
    """Rows of which the last cannot be had."""

    def items(self):
        yield from list(super().items())[:-1]
        raise BadRowError


def test_a_sync_that_fails_half_way_changes_nothing(state: TreeState) -> None:
    state.record_sync(rows(5), synced="first", history=(1.0, "aa", "one", REPORT))
    state.put(staged="kept")
    with pytest.raises(BadRowError):
        state.record_sync(
            _BreakingRows(rows(3000, "new")), synced="second", history=(2.0, "bb", "two", REPORT)
        )
    with pytest.raises(TypeError):
        state.record_sync(rows(2), synced="third", history=(3.0, "cc", "three", {"x": object()}))
    for _time in range(2):
        assert state.load_ledger() == rows(5)
        assert (state.synced, state.get("staged")) == ("first", "kept")
        assert state.last_update_s() == 1.0
        state = reopened(state)
    state.record_sync(rows(6), synced="second", history=None)
    assert state.load_ledger() == rows(6)
    state.close()


_KILLED_IN_A_SYNC = """
import os, signal, sys
from pathlib import Path
from torsync.model.tree_index import LedgerRow
from torsync.subscribe.state import TreeState

class Rows(dict):
    def items(self):
        for number in range(20000):
            yield f"new {number}", LedgerRow(1, 2, 3, 4, "new")
        os.kill(os.getpid(), signal.SIGKILL)

TreeState(Path(sys.argv[1])).record_sync(Rows(), synced="second", history=None)
"""


def test_a_process_killed_in_a_sync_leaves_what_was(state: TreeState) -> None:
    state.record_sync(rows(5), synced="first", history=None)
    state.close()
    done = subprocess.run([sys.executable, "-c", _KILLED_IN_A_SYNC, state.folder], timeout=60)
    assert done.returncode == -9
    again = TreeState(state.folder)
    assert again.load_ledger() == rows(5)
    assert again.synced == "first"
    again.close()


def test_a_full_disk_is_told_and_leaves_what_was(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=1m")) as folder:
        state = TreeState(folder / "state")
        state.record_sync(rows(5), synced="first", history=None)
        for _attempt in range(2):
            with pytest.raises(StateError, match="full") as caught:
                state.record_sync(rows(50_000), synced="second", history=None)
            assert "state.sqlite" in caught.value.message
            assert state.load_ledger() == rows(5)
            assert state.synced == "first"
        with pytest.raises(StateError, match="No space") as caught:
            state.store_body(os.urandom(4 * 1024**2))
        assert os.listdir(folder / "state" / "releases") == []
        state.record_sync(rows(6), synced="third", history=None)
        assert state.synced == "third"
        state.close()


def test_a_tree_is_between_releases_until_what_is_patched_in_place_is_right(
    state: TreeState,
) -> None:
    state.record_sync(rows(3), synced="first", history=None)
    one, other, _rest = sorted(rows(3))
    state.begin_in_place("second", {one: 11, other: 12})
    assert state.between() == ("second", {one: 11, other: 12})
    assert [state.load_ledger()[path].digest for path in sorted(rows(3))] == ["", "", "empty"]
    for right in ({}, {one: row()}):
        state.record_sync({**state.load_ledger(), **right}, synced="first", history=None)
        assert state.between()[0] == "second"
    state.record_sync({one: row(), other: row()}, synced="second", history=None)
    assert state.between() == ("", {})
    state.begin_in_place("third", {other: 12})
    state.record_sync({one: row()}, synced="fourth", history=None)
    assert state.between() == ("", {}), "a file that is not torsync's any more is not waited for"


# --- not usable -----------------------------------------------------------------------------


class Told(list[tuple[str, str]]):
    """What is said of databases that were begun anew: messages and hints."""

    def __call__(self, message: str, hint: str) -> None:
        self.append((message, hint))


def ruin(file: Path, damage: str) -> None:
    """Damage the database of a state that is closed."""
    data = file.read_bytes()
    if damage in {"other tables", "newer", "odd version", "no ledger", "other columns"}:
        if damage == "other tables":
            file.unlink()
        statement = {
            "other tables": "CREATE TABLE meta (x)",
            "newer": f"PRAGMA user_version={SCHEMA.version + 1}",
            "odd version": "PRAGMA user_version=-3",
            "no ledger": "DROP TABLE ledger",
            "other columns": "ALTER TABLE ledger RENAME COLUMN inode TO ino",
        }[damage]
        with sqlite3.connect(file) as database:
            database.execute(statement)
        database.close()
        return
    ruined = {
        "garbage": os.urandom(len(data)),
        "cut": data[: len(data) // 2 + 100],
        "zeroed pages": data[:4096] + bytes(len(data) - 4096),
        "a torn page": data[:40960] + os.urandom(4096) + data[45056:],
        "no header": bytes(100) + data[100:],
    }
    file.write_bytes(ruined[damage])


DAMAGE = [
    *("garbage", "cut", "zeroed pages", "a torn page", "no header"),
    *("other tables", "newer", "odd version", "no ledger", "other columns"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("first_use", ["load_ledger", "load_seen", "record_sync"])
def test_a_useless_database_is_moved_aside_and_begun_anew(
    state: TreeState, damage: str, first_use: str
) -> None:
    body = state.store_body(b"the body")
    state.record_sync(rows(3000), synced=body, history=None, seal=SEAL)
    state.close()
    file = state.folder / "state.sqlite"
    ruin(file, damage)
    ruined = file.read_bytes()
    told = Told()
    again = TreeState(state.folder, on_new=told)
    if first_use == "record_sync":
        again.record_sync(rows(10), synced="second", history=None)
    else:
        assert getattr(again, first_use)() == {}
        assert (again.synced, again.load_seal()) == ("", None)
        again.record_sync(rows(10), synced="second", history=None)
    again = reopened(again)
    assert again.load_ledger() == rows(10)
    assert again.synced == "second"
    assert again.load_body(body) == b"the body", "releases are not in the database"
    again.close()
    kind = "newer" if damage == "newer" else "damaged"
    aside = [
        path for path in state.folder.glob(f"state.sqlite.{kind}-*Z") if path.name.count("-") == 1
    ]
    assert len(aside) == 1
    if damage not in {"a torn page", "no ledger", "other columns"}:  # seen late: written to before
        assert aside[0].read_bytes() == ruined
    [(message, hint)] = told
    assert str(file) in message
    assert str(aside[0]) in message
    if damage == "newer":
        assert f"it has version {SCHEMA.version + 1}, this one knows" in message
    assert "hashed once" in hint


def test_the_log_of_a_useless_database_is_not_read_into_the_new_one(state: TreeState) -> None:
    state.record_sync(rows(300), synced="first", history=None)
    file = state.folder / "state.sqlite"
    log = file.with_name("state.sqlite-wal")
    newer = sqlite3.connect(file)
    newer.execute(f"PRAGMA user_version={SCHEMA.version + 1}")
    cut_off = file.read_bytes(), log.read_bytes()  # as if killed now
    newer.close()
    state.close()
    file.write_bytes(cut_off[0])
    log.write_bytes(cut_off[1])
    again = TreeState(state.folder)
    assert again.load_ledger() == {}
    again.close()
    aside = next(state.folder.glob("state.sqlite.newer-*Z"))
    with sqlite3.connect(aside) as database:
        assert database.execute("SELECT count(*) FROM ledger").fetchone() == (300,)
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA.version + 1,)
    database.close()


def test_a_disk_that_damages_the_file_again_and_again_is_not_filled_with_damaged_ones(
    state: TreeState,
) -> None:
    state.close()
    for number in range(6):
        (state.folder / "state.sqlite").write_bytes(b"damaged %d" % number * 1000)
        TreeState(state.folder).close()
    found = {path.read_bytes()[:9] for path in state.folder.glob("state.sqlite.damaged-*")}
    assert found == {b"damaged 3", b"damaged 4", b"damaged 5"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_who_only_looks_leaves_a_useless_database_where_it_is(
    state: TreeState, damage: str
) -> None:
    state.record_sync(rows(3000), synced="first", history=None)
    state.close()
    file = state.folder / "state.sqlite"
    ruin(file, damage)
    before = file.read_bytes()

    def use() -> None:
        looking = TreeState(state.folder, read_only=True)
        try:
            looking.load_ledger()
            looking.load_seal()
        finally:
            looking.close()

    with pytest.raises(StateError) as caught:
        use()
    assert str(file) in caught.value.message
    assert "the next check moves it aside" in caught.value.hint
    assert file.read_bytes() == before
    assert [path.name for path in state.folder.glob("state.sqlite.*")] == []


def test_who_only_looks_sees_what_is_there_and_changes_nothing(state: TreeState) -> None:
    state.record_sync(rows(5), synced="first", history=(7.0, "aa", "one", REPORT))
    for _time in range(2):  # beside one who writes, and alone
        looking = TreeState(state.folder, read_only=True)
        assert (looking.load_ledger(), looking.synced) == (rows(5), "first")
        assert looking.last_update_s() == 7.0
        with pytest.raises(StateError, match="readonly"):
            looking.put(x="1")
        looking.close()
        state.close()


def test_a_database_that_is_locked_is_left_where_it_is(state: TreeState) -> None:
    state.record_sync(rows(5), synced="first", history=None)
    file = state.folder / "state.sqlite"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    state._db.run(lambda database: database.execute("PRAGMA busy_timeout=1"))
    with pytest.raises(StateError, match="locked"):
        state.put(x="1")
    other.execute("ROLLBACK")
    other.close()
    state.put(x="1")
    assert state.load_ledger() == rows(5)


def test_facts_that_make_no_sense_are_as_good_as_none(state: TreeState) -> None:
    for text in ("{", "[]", "3", '{"url": 1}'):
        state.put(poll=text, seal=text)
        assert state.load_poll() is None
        assert state.load_seal() is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="Not a directory") as caught:
        TreeState(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in caught.value.message


# --- bodies ---------------------------------------------------------------------------------


def test_a_body_is_found_by_its_digest(state: TreeState) -> None:
    bodies = [os.urandom(size) for size in (1, 100, 70_000)]
    digests = [state.store_body(body) for body in bodies]
    assert digests == [sha256(body).hexdigest() for body in bodies]
    again = reopened(state)
    assert [again.load_body(digest) for digest in digests] == bodies
    assert again.store_body(bodies[1]) == digests[1]
    again.close()


def test_a_damaged_body_is_not_given_out_and_is_replaced(state: TreeState) -> None:
    digest = state.store_body(b"the body")
    file = state.folder / "releases" / f"{digest}.torrent"
    for damaged in (b"", b"the bodx", b"the body and more"):
        file.write_bytes(damaged)
        assert state.load_body(digest) is None
        state.store_body(b"the body")
        assert state.load_body(digest) == b"the body"


def test_a_body_is_on_disk_before_it_has_its_name(
    state: TreeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = state.folder / "releases"
    seen: list[tuple[str, list[str]]] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        what = os.readlink(f"/proc/self/fd/{fd}")
        seen.append((what.removeprefix(f"{releases}"), sorted(os.listdir(releases))))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    digest = state.store_body(b"the body")
    assert seen == [
        (f"/{digest}.part", [f"{digest}.part"]),
        ("", [f"{digest}.torrent"]),
    ]


def test_a_half_written_body_does_not_hinder(state: TreeState) -> None:
    digest = sha256(b"the body").hexdigest()
    (state.folder / "releases" / f"{digest}.part").write_bytes(b"the")
    assert state.load_body(digest) is None
    assert state.store_body(b"the body") == digest
    assert state.load_body(digest) == b"the body"


def test_bodies_that_are_not_kept_are_removed(state: TreeState) -> None:
    one, two, three = (state.store_body(body) for body in (b"1", b"2", b"3"))
    (state.folder / "releases" / "left.part").write_bytes(b"")
    state.forget_bodies(keep={one, three})
    assert sorted(os.listdir(state.folder / "releases")) == sorted(
        [f"{one}.torrent", f"{three}.torrent"]
    )
    assert state.load_body(two) is None
    assert state.load_body(three) == b"3"
    state.forget_bodies(keep=())
    assert os.listdir(state.folder / "releases") == []


# --- several processes ----------------------------------------------------------------------

_READ_ALONG = """
import sys
from pathlib import Path
from torsync.subscribe.state import TreeState

state = TreeState(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    synced, ledger = state.synced, state.load_ledger()
    digests = {row.digest for row in ledger.values()}
    if len(digests) > 1 or len(ledger) != 2000:
        sys.exit(f"mixed: {len(ledger)} rows of {digests}")
    if synced == "last":
        sys.exit(0)
"""


def test_another_process_reads_along_and_never_sees_a_half_of_a_sync(state: TreeState) -> None:
    state.record_sync(rows(2000, "first"), synced="first", history=None)
    with subprocess.Popen(
        [sys.executable, "-c", _READ_ALONG, state.folder], stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        for number in range(20):
            state.record_sync(rows(2000, f"{number}"), synced=f"{number}", history=None)
        state.record_sync(rows(2000, "last"), synced="last", history=None)
        assert reader.wait(30) == 0


_OPEN_AT_ONCE = """
import sys
from pathlib import Path
from torsync.subscribe.state import TreeState

print("ready", flush=True)
for line in sys.stdin:
    TreeState(Path(line.strip())).close()
    print("done", flush=True)
"""


def test_two_processes_may_make_the_state_at_once(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _OPEN_AT_ONCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start() as one, start() as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for number in range(40):
            for process in (one, other):
                assert process.stdin is not None
                process.stdin.write(f"{tmp_path / str(number)}\n")
                process.stdin.flush()
            for process in (one, other):
                assert process.stdout is not None
                assert process.stderr is not None
                assert process.stdout.readline() == "done\n", process.stderr.read()
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0


# --- where it is ----------------------------------------------------------------------------


def test_each_tree_has_a_folder_of_its_own_whatever_way_leads_there(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "way").symlink_to(tree)
    folders = {
        state_folder(tmp_path, path)
        for path in (tree, tmp_path / "way", tmp_path / "x" / ".." / "tree")
    }
    assert len(folders) == 1
    other = tmp_path / "other" / "tree"
    assert state_folder(tmp_path, other) not in folders
    assert state_folder(tmp_path, tmp_path / ("long " * 50)).name.startswith("long long")


def test_a_tree_whose_name_is_no_utf8_has_a_state(tmp_path: Path) -> None:
    tree = tmp_path / os.fsdecode(b"\xff name")
    state = TreeState(state_folder(tmp_path / "state", tree))
    state.put(x="1")
    state = reopened(state)
    assert state.get("x") == "1"
    state.close()


def test_a_database_of_an_older_torsync_that_is_only_read_has_no_releases_and_no_trash() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        assert read_journal(database) is None
        assert read_past_releases(database) == []
        assert read_trash_rows(database) == {}
