"""Releases with hints as ``torsync publish`` makes them, their subscriber, and hints that lie.

hinted = Hinted(tmp_path, torsync, seeder)
hinted.sync_first({"a": content})
report = hinted.update({"a": edited})
"""

from __future__ import annotations

import copy
import os
import shutil
import sqlite3
import struct
import tempfile
import zipfile
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import bencode2

from tests.support.cli import Torsync, staged
from tests.support.processes import HOST
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes, write_tree
from torsync.disk.chunking import Cutter
from torsync.model.hints.chunks import SMALLEST_FILE, average_for, cells_of
from torsync.model.hints.format import Filed, key_of, write_entry, write_front
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.support.cli import Json, Outcome
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content
    from torsync.model.hints.chunks import Chunks

KIB = 1024
MIB = 1024 * KIB
BLOCK = 16 * KIB
PIECE = 4 * BLOCK
FORMATS = ("v1", "v2", "hybrid")
NAME = "pack"
HINTS = f"{NAME}.torrent.hints"
_LONG_AGO_S = 1_600_000_000
KINDS = ("kept", "moved", "same_place", "shifted")


class Release(NamedTuple):
    """What was published.

    Attributes:
        torrent: the ``.torrent``.
        hints: the hints file; empty if there is none.
        folder: a copy of what was published; it is seeded.
    """

    torrent: bytes
    hints: bytes
    folder: Path


class Hinted:
    """A folder, of which ``torsync publish`` makes one release after another, and a subscriber.

    Attributes:
        program: that publishes.
        torsync: that subscribes.
        www: holds what is public: the ``.torrent`` and its hints.
        folder: is published.
        releases: that were made.
        release: that is public.
        format: of the releases to come; and so are ``piece_size`` and ``publish_options``.
    """

    def __init__(
        self, scratch: Path, torsync: Torsync, seeder: LibtorrentSeeder, **options: Any
    ) -> None:
        """Prepare.

        Args:
            scratch: for all its folders.
            torsync: the subscriber.
            seeder: of all releases.
            options: of the subscription; ``url`` is the public file unless it is given.
        """
        home = scratch / "publisher"
        home.mkdir(parents=True)
        self.program = Torsync(home)
        self.seeder = seeder
        self.folder = home / NAME
        self.folder.mkdir()
        self.releases: list[Release] = []
        self.format = "v1"
        self.piece_size = PIECE
        self.publish_options: list[str] = []
        self._scratch = scratch
        self._subscribe(scratch, torsync, options)

    def _subscribe(self, scratch: Path, torsync: Torsync, options: Mapping[str, Any]) -> None:
        self.torsync = torsync
        self.www = scratch / "www"
        self.www.mkdir()
        peers = [f"{HOST}:{self.seeder.port}"]
        given = {"url": self.torrent_file.as_uri(), "peers": peers, "interval": "1h"}
        torsync.subscribe(**{**given, **options})

    def for_another(self, scratch: Path, torsync: Torsync, **options: Any) -> Hinted:
        """The same releases, none of them public yet, for a subscriber who has nothing."""
        other = copy.copy(self)
        other._subscribe(scratch, torsync, options)
        return other

    @property
    def torrent_file(self) -> Path:
        """The public ``.torrent``."""
        return self.www / f"{NAME}.torrent"

    @property
    def hints_file(self) -> Path:
        """Its hints."""
        return self.www / HINTS

    @property
    def tree(self) -> Path:
        """The subscriber's folder."""
        return self.torsync.tree

    # --- publishing --------------------------------------------------------------------------

    def publish(self, entries: Mapping[str, Content], *, upload_limit: int = 0) -> bytes:
        """Make a release of exactly these files, and seed it; nobody syncs it yet.

        Files that are as they were are not touched.
        """
        found = tree_bytes(self.folder)
        for path in found.keys() - entries.keys():
            (self.folder / path).unlink()
        changed = {path: data for path, data in entries.items() if found.get(path) != data}
        write_tree(self.folder, changed)
        number = len(self.releases) + 1
        for path in changed:
            # Not the time at which a subscriber would write it.
            os.utime(self.folder / path, (_LONG_AGO_S, _LONG_AGO_S + 1000 * number))
        options = ["--format", self.format, "--piece-size", f"{self.piece_size // KIB} KiB"]
        self.program.run(
            "publish", self.folder, "-o", self.torrent_file, *options, *self.publish_options
        ).assert_ok()
        torrent = self.torrent_file.read_bytes()
        hints = self.hints_file.read_bytes() if self.hints_file.exists() else b""
        content = shutil.copytree(self.folder, self._scratch / f"release-{number}")
        self.release = Release(torrent, hints, content)
        self.releases.append(self.release)
        self.seeder.add_folder(torrent, content, check=False, upload_limit=upload_limit)
        return torrent

    def show(self, release: Release, *, hints: bytes | None = None) -> None:
        """Make a release public, with its hints or others: none if those are empty."""
        self.hints_file.unlink(missing_ok=True)
        if found := release.hints if hints is None else hints:
            self.hints_file.write_bytes(found)
        fresh = self.torrent_file.with_suffix(".new")
        fresh.write_bytes(release.torrent)
        fresh.replace(self.torrent_file)
        self.release = release

    def withdraw(self) -> None:
        """Seed nothing any more: others use the seeder."""
        while self.releases:
            self.seeder.remove(self.releases.pop().torrent)

    # --- subscribing -------------------------------------------------------------------------

    def sync_first(self, entries: Mapping[str, Content] | Release) -> None:
        """Sync a release, which is published now or was before."""
        if isinstance(entries, Release):
            self.show(entries)
        else:
            self.publish(entries)
        self.torsync.run("check-now").assert_ok()
        assert_same_tree(self.tree, self.release.folder)

    def update(self, entries: Mapping[str, Content], **options: Any) -> Json:
        """Publish a release, sync it with one check, and return the report."""
        self.publish(entries)
        return self.check(**options).subscription

    def check(
        self,
        *command: str,
        besides: Mapping[str, bytes] | None = None,
        verify: bool = False,
        lied_to: bool = False,
    ) -> Outcome:
        """Run ``check-now``: exit code 0, the tree is the newest release, the report is true.

        Args:
            command: another one that updates.
            besides: what the tree holds then that the release doesn't list, or holds otherwise.
            verify: run ``verify`` as well.
            lied_to: by the hints, so that the torrent is added again.
        """
        sent = self.sent()
        outcome = self.torsync.run(*(command or ("check-now", "--timeout", "20s")))
        self.assert_synced(outcome, besides=besides, verify=verify)
        received, sent = outcome.subscription["bytes_fetched"], self.sent() - sent
        # What was under way when the torrent left the session was sent and not received.
        if received != sent:
            assert lied_to, (received, sent)
            assert received < sent
        return outcome

    def assert_synced(
        self,
        outcome: Outcome,
        *,
        besides: Mapping[str, bytes] | None = None,
        verify: bool = False,
    ) -> None:
        """The command that ended has made the tree equal to the release, and says so rightly."""
        report = outcome.assert_ok().subscription
        self.assert_content(besides=besides)
        assert_adds_up(report)
        if verify:
            self.torsync.run("verify").assert_ok()

    def assert_content(self, *, besides: Mapping[str, bytes] | None = None) -> None:
        """Every byte, mode and time of the tree is as the release has it; no stage is left."""
        wanted = tree_bytes(self.release.folder)
        found = tree_bytes(self.tree)
        expected = {**wanted, **(besides or {})}
        assert found.keys() == expected.keys()
        differing = sorted(path for path in expected if found[path] != expected[path])
        assert not differing
        for path in wanted.keys() - (besides or {}).keys():
            ours, theirs = (self.tree / path).stat(), (self.release.folder / path).stat()
            assert ours.st_mode & 0o100 == theirs.st_mode & 0o100, path
            assert int(ours.st_mtime) == int(theirs.st_mtime), path
        assert staged(self.tree) == []

    def sent(self) -> int:
        """Payload of the newest release that the seeder has sent."""
        return self.seeder.uploaded(self.release.torrent)

    def planned(self) -> Json:
        """What a poll says that an update would do."""
        outcome = self.torsync.run("check-now", "--dry-run")
        assert outcome.exit_code == 4, outcome.stderr
        return outcome.subscription


def assert_adds_up(report: Json) -> None:
    """What is reused and what is to be fetched, or was, make up the release."""
    reused = report["bytes_reused"]
    assert set(reused) == set(KINDS)
    assert sum(reused.values()) <= report["bytes_total"]
    fetched = max(report["bytes_to_fetch"], report["bytes_fetched"])
    # What `keep` leaves alone is neither.
    if not report["kept_local"]:
        assert sum(reused.values()) + fetched >= report["bytes_total"], (reused, fetched)


def hint_notices(outcome: Outcome) -> list[Json]:
    """What people are told of hints, debugging aside."""
    return [one for one in outcome.notices if one["level"] != "debug" and "hints" in one["code"]]


def in_blocks(content: bytes) -> int:
    """What a file costs that is fetched whole, from a place where a block begins."""
    return -(-len(content) // BLOCK) * BLOCK


# --- what an update has to fetch at least ------------------------------------------------------


def blocks_that_are_nowhere(new: bytes, old: Iterable[bytes]) -> int:
    """How many 16 KiB blocks of a file are in no old file at any offset."""
    had = tuple(old)
    blocks = (new[at : at + BLOCK] for at in range(0, len(new), BLOCK))
    return sum(not any(block in content for content in had) for block in blocks)


# --- edits ------------------------------------------------------------------------------------


def text(lines: int, seed: object = 0) -> bytes:
    """Lines that all differ, of about 66 bytes each."""
    return b"".join(
        b"%07d %s\n" % (number, random_bytes(29, f"{seed}:{number}").hex().encode())
        for number in range(lines)
    )


def inserted(content: bytes, at: int, data: bytes) -> bytes:
    """The content with bytes inserted."""
    return content[:at] + data + content[at:]


def deleted(content: bytes, at: int, count: int) -> bytes:
    """The content without some of its bytes."""
    assert at + count <= len(content)
    return content[:at] + content[at + count :]


def without_line(content: bytes, number: int) -> bytes:
    """The text without one of its lines."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:number] + lines[number + 1 :])


def archive(members: Mapping[str, bytes]) -> bytes:
    """A zip, built in one go: members are compressed each for itself."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as built:
            for name, data in members.items():
                built.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
        file.seek(0)
        return file.read()


def database(scratch: Path, *, rows: int, updated: Iterable[int] = (), more: int = 0) -> bytes:
    """An SQLite database, after updates of some of its rows and inserts of more."""
    file = scratch / "rows.sqlite"
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute("PRAGMA journal_mode = OFF")
        opened.execute("PRAGMA synchronous = OFF")
        opened.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text BLOB)")
        opened.execute("BEGIN")
        opened.executemany(
            "INSERT INTO rows VALUES (?, ?)",
            ((number, random_bytes(300, f"row {number}")) for number in range(rows + more)),
        )
        opened.executemany(
            "UPDATE rows SET text = ? WHERE number = ?",
            ((random_bytes(700, f"updated {number}"), number) for number in updated),
        )
        opened.execute("COMMIT")
    return file.read_bytes()


# --- hints files -------------------------------------------------------------------------------


def hints_that_claim(
    torrent: bytes,
    contents: Mapping[str, bytes],
    *,
    cells_of: Mapping[str, bytes] | None = None,
) -> bytes:
    """A well-formed hints file of a release: each file is said to be what is given, true or not.

    Args:
        torrent: of the release.
        contents: by path; what is not given has no entry.
        cells_of: what their cells say instead.
    """
    entries = {}
    for file in parse_metainfo(torrent).files:
        content = contents.get(file.path)
        if content is None or file.pieces_root is None or file.size < SMALLEST_FILE:
            continue
        assert len(content) == file.size, "no reader would look at it"
        average = average_for(file.size)
        chunks, _cells = _cut(content, average)
        _chunks, cells = _cut((cells_of or contents)[file.path], average)
        key = key_of(file.pieces_root)
        entries[key] = write_entry(key, average, chunks, cells)
    ordered = [entries[key] for key in sorted(entries)]
    filed = [Filed(e.key, len(e.data), e.groups, e.chunks, e.average) for e in ordered]
    return write_front(filed) + b"".join(entry.data for entry in ordered)


def _cut(content: bytes, average: int) -> tuple[Chunks, bytes]:
    with tempfile.TemporaryFile() as opened:
        opened.write(content)
        opened.flush()
        chunks, blocks = Cutter(average).cut_with_blocks(opened.fileno(), 0, len(content))
        return chunks, cells_of(blocks)


@dataclass(frozen=True)
class FoundEntry:
    """What another program reads of one file.

    Attributes:
        groups: number of chunks, length and digest of each.
        chunks: length and hash of each.
        cells: a hash of each 16 KiB; as many as there are bytes left of the entry.
    """

    groups: list[tuple[int, int, bytes]]
    chunks: list[tuple[int, bytes]]
    cells: list[bytes]


def read_hints(data: bytes, sizes: Mapping[bytes, int]) -> dict[bytes, FoundEntry]:
    """Read a whole hints file as its description has it, with nothing of torsync's.

    Args:
        data: the hints file.
        sizes: of each file, by its pieces root.
    """
    magic, version, bits, zero, records, size = struct.unpack_from("<16sHBBIQ", data)
    assert (magic, version, zero, size) == (b"torsync hints\r\n\x1a", 1, 0, len(data))
    fanout = struct.unpack_from(f"<{2**bits + 1}I", data, 32)
    assert (fanout[0], fanout[-1]) == (0, records)
    found: dict[bytes, FoundEntry] = {}
    for root, file_size in sizes.items():
        slot = int.from_bytes(root[:4], "big") >> (32 - bits)
        for number in range(fanout[slot], fanout[slot + 1]):
            record = 32 + 4 * len(fanout) + 36 * number
            key, at, groups, chunks = struct.unpack_from("<16sQII", data, record)
            if key != root[:16]:
                continue
            listed = list(struct.iter_unpack("<BI16s", data[at : at + 21 * groups]))
            at += 21 * groups
            cut = struct.iter_unpack("<H16s", data[at : at + 18 * chunks])
            lengths = [(length + 1, hashed) for length, hashed in cut]
            at += 18 * chunks
            cells = [data[at + 8 * n : at + 8 * n + 8] for n in range(-(-file_size // BLOCK))]
            found[root] = FoundEntry(listed, lengths, cells)
    return found


def assert_describes(entry: FoundEntry, content: bytes) -> None:
    """Every number and hash of an entry is that of the content."""
    at = 0
    for length, hashed in entry.chunks:
        assert sha256(content[at : at + length]).digest()[:16] == hashed, at
        at += length
    assert at == len(content)
    first = 0
    for count, length, digest in entry.groups:
        group = entry.chunks[first : first + count]
        assert sum(size for size, _hashed in group) == length
        assert sha256(b"".join(hashed for _size, hashed in group)).digest()[:16] == digest
        first += count
    assert first == len(entry.chunks)
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    assert entry.cells == [sha256(block).digest()[:8] for block in blocks]


def hints_reference(torrent: bytes) -> str | None:
    """What a ``.torrent`` says where its hints are."""
    own = bencode2.bdecode(torrent).get(b"torsync", {})
    return own[b"hints"].decode() if b"hints" in own else None


def with_hints_at(torrent: bytes, reference: str | None) -> bytes:
    """The same torrent with its hints elsewhere, or without any; the info-hash stays."""
    outer = bencode2.bdecode(torrent)
    own = {name: value for name, value in outer.pop(b"torsync", {}).items() if name != b"hints"}
    if reference is not None:
        own[b"hints"] = os.fsencode(reference)
    return bencode2.bencode({**outer, b"torsync": own} if own else outer)
