"""What the state folder of a tree holds, damaged: read as nothing, or begun anew, or an error.

A disk that fails, or a person with an editor, can put anything there.
"""

from __future__ import annotations

import atexit
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.hostile.fuzz.oracle import judged
from torsync.disk.stamps import FileStamp
from torsync.model.changes import Changes
from torsync.model.history import UpdateRecord
from torsync.model.journal import Gone, Journal, Kept, Placed
from torsync.model.metainfo import parse_metainfo
from torsync.model.past import PastRelease
from torsync.model.postponed import Postponed
from torsync.model.reports import CheckReport
from torsync.model.retention import Tally
from torsync.model.seal import Seal
from torsync.model.tree_index import LedgerRow
from torsync.model.trust import Order, Vouched
from torsync.publish.state import PublicationState
from torsync.publish.stored_manifest import dump_manifest, load_manifest
from torsync.subscribe.seeding import _load_peers
from torsync.subscribe.stage import StagedRecord
from torsync.subscribe.state import PollState, TreeState

MAX_BYTES = 4096
_TORRENT = b"d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee"
FACTS = (
    *("poll", "seal", "between", "vouched", "staged", "postponed", "trash", "peers"),
    *("synced", "totals", "pinned", "untrusted"),
)
_COLUMNS = {
    "journal": 2,
    "trash": 2,
    "ledger": 6,
    "history": 4,
    "releases": 4,
}
_WHOLE = "state.sqlite"


@cache
def _template() -> tuple[Path, bytes]:
    """A folder for states, and a database that has something of everything."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="torsync-state-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    with closing(TreeState(root / "template")) as state:
        state.store_poll(PollState("http://h/a.torrent", "0" * 64, '"e"', ""))
        row = LedgerRow(1, 2, 3, 4, "v1:aa")
        release = PastRelease("0" * 64, "1" * 40, "pack", 1.0)
        record = UpdateRecord(1.0, "pack", added=1, paths=Changes(("a",), (), (), ()))
        state.record_sync(
            {"a": row, "b/c": row},
            synced="0" * 64,
            history=(1.0, "1" * 40, "pack", record.as_json()),
            release=release,
            trashed={"t/a": row},
            seal=Seal("0" * 64, "policy", "pack", "1" * 40, 1, 1),
        )
        state.store_journal(journal())
        state.begin_in_place("pack", {"a": 4})
        state.put(
            vouched=Vouched("0" * 64, "RWkey", Order(1, 2), "http://h/").dump(),
            staged=StagedRecord("1" * 40, b"\1", {"0": (1, 2, 3)}).dump(),
            postponed=Postponed("0" * 64, True, "later").dump(),
            trash=Tally(1.0, 2.0, 3).dump(),
            peers='[["host", 6881]]',
        )
    with closing(sqlite3.connect(root / "template" / _WHOLE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode=DELETE")
    return root, (root / "template" / _WHOLE).read_bytes()


def journal() -> Journal:
    """One with steps of every kind."""
    return Journal(
        "0" * 64,
        "stage",
        "20200101T000000Z",
        report=CheckReport("pack", release="pack").as_json(),
        cleared=(Gone("g", 1, 2, 3, True),),
        blocking=frozenset({"b"}),
        folders=("f",),
        placed=(Placed("fetched", "a", 0, 1, 2, 3, over=(1, 2, 3)),),
        removed=(Gone("r", 1, 2, 3, False),),
        kept=(Kept("k", 1, 2, 3, 4),),
    )


def try_one(data: bytes) -> None:
    """Damage a state in one of several ways, and read all of it."""
    if not data:
        return
    ways = (_facts, _rows, _raw, _published, _journal)
    root, template = _template()
    folder = root / "tree"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "releases").mkdir(parents=True)
    (folder / _WHOLE).write_bytes(template)
    ways[data[0] % len(ways)](folder, data[1:])
    with judged(), closing(TreeState(folder, read_only=True)) as state:
        read_all(state)
    with judged(), closing(TreeState(folder)) as state:
        read_all(state)
        state.forget_bodies([])
        record = UpdateRecord(2.0, "next")
        state.record_sync(
            {"n": LedgerRow(1, 2, 3, 4, "")}, synced="", history=(2.0, "", "", record.as_json())
        )
        assert state.load_ledger() == {"n": LedgerRow(1, 2, 3, 4, "")}
        assert state.load_journal() is None


def read_all(state: TreeState) -> None:
    """Read everything, and assert that it is of the kinds that the rest relies on."""
    poll = state.load_poll()
    assert poll is None or all(isinstance(getattr(poll, name), str) for name in PollState.__slots__)
    if poll is not None:
        state.load_body(poll.sha256)
    state.load_body(state.synced)
    seal = state.load_seal()
    if seal is not None:
        assert isinstance(seal.files, int)
        assert isinstance(seal.bytes_total, int)
        assert isinstance(seal.unselected, int)
        assert all(isinstance(path, str) for path in seal.beside)
        for text in (seal.body, seal.policy, seal.release, seal.info_hash):
            assert isinstance(text, str)
    release, inodes = state.between()
    assert isinstance(release, str)
    assert all(isinstance(path, str) and isinstance(n, int) for path, n in inodes.items())
    for row in (*state.load_ledger().values(), *state.load_trash().values()):
        assert isinstance(row.digest, str)
        assert all(isinstance(number, int) for number in row[:4])
        assert isinstance(row.is_smudged, bool)
    for names in state.load_seen().values():
        for name, stat in names.items():
            assert isinstance(name, str)
            assert all(isinstance(number, int) for number in stat)
    found = state.load_journal()
    if found is not None:
        check_journal(found)
    records, totals = state.history(10)
    for record in records:
        json.dumps(record.as_json(), allow_nan=False)
    json.dumps(totals.dump(), allow_nan=False)
    state.last_update_s()
    for past in state.past_releases():
        assert all(isinstance(text, str) for text in past[:3])
        assert isinstance(past.at_s, float)
    newest = Vouched.load(state.get("vouched"))
    if newest is not None:
        assert isinstance(newest.covers("0" * 64, ("RWkey",)), bool)
        assert newest.order < Order(10**20, 0)
        assert isinstance(newest.url, str)
    staged = StagedRecord.load(state.get("staged"))
    if staged is not None:
        assert isinstance(staged.info_hash, str)
        assert isinstance(staged.have, bytes)
        for name, seen in staged.files.items():
            assert isinstance(name, str)
            assert all(isinstance(number, int) for number in seen)
    postponed = Postponed.load(state.get("postponed"))
    if postponed is not None:
        assert isinstance(postponed.reason, str)
        assert isinstance(postponed.is_timed, bool)
    tally = Tally.load(state.get("trash"))
    if tally is not None:
        assert isinstance(tally.allows(now_s=1.0, age_s=1.0, limit_bytes=1), bool)
        tally.with_more(1)
    for host, port in _load_peers(state.get("peers")):
        assert isinstance(host, str)
        assert 0 <= port <= 65535


def check_journal(found: Journal) -> None:
    """Assert that all of a journal is of the kind that a commit is carried out from."""
    assert isinstance(found.report, dict)
    assert isinstance(found.at_s, (int, float))
    texts: list[Any] = [found.release, found.stage, found.stamp, *found.blocking, *found.folders]
    numbers: list[Any] = []
    for step in (*found.cleared, *found.placed, *found.removed, *found.kept):
        texts.append(step.path)
        numbers += step.identity
    for placed in found.placed:
        texts += [placed.how, placed.source, placed.link]
        numbers += [placed.number, placed.mode, *(placed.over or ())]
    assert all(isinstance(text, str) for text in texts)
    assert all(isinstance(number, int) for number in numbers)
    list(found.vacated())
    assert Journal.load(found.dump()) == found


# --- ways to damage it -------------------------------------------------------------------------


def _facts(folder: Path, data: bytes) -> None:
    """One fact has another text."""
    if data:
        key = FACTS[data[0] % len(FACTS)]
        value = data[1:].decode("utf-8", "replace")
        with _opened(folder) as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _rows(folder: Path, data: bytes) -> None:
    """A table has another row: JSON values, or text where it is none."""
    if not data:
        return
    table = tuple(_COLUMNS)[data[0] % len(_COLUMNS)]
    values: list[Any] = []
    for part in data[1:].split(b"\n"):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            value = part.decode("utf-8", "replace")
        if isinstance(value, (list, dict)) or (isinstance(value, int) and abs(value) >= 2**63):
            value = part
        values.append(value)
    wanted = _COLUMNS[table]
    values = [*values, *[0] * wanted][:wanted]
    with _opened(folder) as database:
        places = ", ".join("?" * wanted)
        database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", values)


def _journal(folder: Path, data: bytes) -> None:
    """The journal has other lines; an empty one is as it was."""
    lines = data.decode("utf-8", "replace").split("\n")
    with _opened(folder) as database:
        for number, line in enumerate(lines):
            if line:
                database.execute("INSERT OR REPLACE INTO journal VALUES (?, ?)", (number, line))


def _raw(folder: Path, data: bytes) -> None:
    """The database has other bytes at some places: each is two bytes for where, and one."""
    file = folder / _WHOLE
    content = bytearray(file.read_bytes())
    for at in range(0, len(data) - 2, 3):
        place = int.from_bytes(data[at : at + 2], "big") % len(content)
        content[place] = data[at + 2]
    file.write_bytes(content)


def _published(folder: Path, data: bytes) -> None:
    """A publication's state has another file of facts, stamps, or another stored manifest."""
    from hashlib import sha256

    digest = sha256(_TORRENT).hexdigest()
    manifest = parse_metainfo(_TORRENT)
    stored = dump_manifest(manifest)
    assert load_manifest(stored) == manifest
    facts = json.dumps({"number": 1, "digest": digest, "name": "a"}).encode()
    releases = folder / "releases"
    (releases / f"{digest}.torrent").write_bytes(_TORRENT)
    kind = data[0] % 4 if data else 0
    if kind == 0:
        facts = data[1:]
    elif kind == 1:
        content = bytearray(stored)
        for at in range(1, len(data) - 1, 2):
            content[16 + data[at] % (len(content) - 16)] = data[at + 1]
        (releases / f"{digest}.manifest").write_bytes(content)
    else:
        suffix = "stamps" if kind == 2 else "manifest"
        (releases / f"{digest}.{suffix}").write_bytes(data[1:])
    (folder / "published.json").write_bytes(facts)
    (folder / "pending.json").write_bytes(facts)
    with judged():
        state = PublicationState(folder, read_only=True)
        release = state.published()
        if release is not None:
            assert release.metainfo == _TORRENT
            assert all(isinstance(stamp, FileStamp) for stamp in release.stamps.values())
            assert isinstance(release.facts.number, int)
            assert isinstance(release.facts.time_s, int)
            assert isinstance(release.facts.torrent, str)


def _opened(folder: Path) -> Any:
    return _Opened(folder / _WHOLE)


class _Opened:
    """A database to damage; what SQLite itself refuses to hold is left out."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("PRAGMA synchronous=OFF")
        return self._database

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
        with suppress(sqlite3.Error):
            self._database.close()
        return kind is not None and issubclass(kind, sqlite3.IntegrityError)
