"""What a publisher or a web server can send instead of a release, given to the whole program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bencode2
import pytest

from tests.support.cli import Torsync, snapshot
from tests.support.scripted_http import ScriptedServer, reply
from tests.support.torrents import make_libtorrent
from tests.support.trees import assert_same_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Outcome
    from tests.support.seeders import LibtorrentSeeder

PIECE = 16 * 1024
DEEP = b"l" * 1010 + b"e" * 1010
REST = b"4:name1:a12:piece lengthi16384e6:pieces0:"
LONG = b"\xff" * 1024**2
NEGATIVE_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
MOST_CHARACTERS = 2000


def _v1(**changes: Any) -> bytes:
    named = {key.replace("_", " ").encode(): value for key, value in changes.items()}
    info = {b"name": b"a", b"piece length": PIECE, b"pieces": b"", b"files": [], **named}
    return bytes(bencode2.bencode({b"info": info}))


def _file(*path: bytes, length: int = 0) -> dict[bytes, Any]:
    return {b"length": length, b"path": [*path]}


TORRENTS = {
    "nothing but beginnings": (b"d4:info" * 100_000, "bencode"),
    "nested lists for a version": (b"d4:infod12:meta version" + DEEP + REST + b"ee", "a list"),
    "nested lists for a name": (
        b"d4:infod5:filesld6:lengthi0e4:pathl" + DEEP + b"eee" + REST + b"ee",
        "a list",
    ),
    "a name of a megabyte": (_v1(files=[_file(b"d", LONG)]), "UTF-8"),
    "a way out of the tree": (_v1(files=[_file(b"..", b"evil")]), "leave the tree"),
    "a link out of the tree": (
        _v1(files=[{**_file(b"l"), b"attr": b"l", b"symlink path": [b"..", b"evil"]}]),
        "leave the tree",
    ),
    "torsync's own folder": (_v1(files=[_file(b".torsync", b"marker")]), ".torsync"),
    "a size of 64 bits": (_v1(files=[_file(b"a", length=1 << 64)]), "length"),
    "a size below nothing": (_v1(files=[_file(b"a", length=-1)]), "length"),
    "halves that disagree": (
        _v1(
            files=[_file(b"a")],
            meta_version=2,
            file_tree={b"b": {b"": {b"length": 0}}},
        ),
        "disagree",
    ),
}


class World:
    """A subscriber in sync with a first release, and a server that says what a test wants."""

    def __init__(self, folder: Path, torsync: Torsync, seeder: LibtorrentSeeder) -> None:
        self.torsync = torsync
        self.releases = []
        for name, size in (("one", 3), ("two", 4)):
            content = write_tree(folder / name, {"a/b": size * PIECE, "c": 100})
            self.releases.append((make_libtorrent(content, piece_size=PIECE), content))
            seeder.add_folder(*self.releases[-1])
        self.server = ScriptedServer([reply(body=self.releases[0][0])])
        self.peer = "{}:{}".format(*seeder.peer)

    def sync_first(self, **options: Any) -> None:
        url = f"{self.server.url}/newest.torrent"
        self.torsync.subscribe(url=url, peers=[self.peer], **options)
        self.torsync.run("check-now").assert_ok()

    def assert_refused(self) -> Outcome:
        """Check; the tree is as it was, and the error is for people."""
        before = snapshot(self.torsync.tree)
        outcome = self.torsync.run("check-now")
        assert outcome.exit_code == 3
        assert outcome.error["hint"]
        assert len(outcome.error["message"]) < MOST_CHARACTERS
        assert outcome.of_type("subscription") == []
        assert snapshot(self.torsync.tree) == before
        return outcome

    def assert_goes_on(self) -> None:
        """The next good release is taken as if nothing had been."""
        torrent, content = self.releases[1]
        self.server.scripts = [[reply(body=torrent)]]
        self.torsync.run("check-now").assert_ok()
        assert_same_tree(self.torsync.tree, content)


@pytest.fixture
def world(tmp_path: Path, seeder: LibtorrentSeeder) -> Iterator[World]:
    with Torsync(tmp_path) as torsync:
        made = World(tmp_path, torsync, seeder)
        with made.server:
            yield made


def test_no_torrent_that_is_refused_touches_the_tree(world: World) -> None:
    world.sync_first()
    for name, (torrent, words) in TORRENTS.items():
        print(name)
        world.server.scripts = [[reply(body=torrent)]]
        outcome = world.assert_refused()
        assert outcome.error["code"] == "manifest_invalid"
        assert words in outcome.error["message"]
    world.assert_goes_on()


def test_an_answer_in_chunks_of_negative_size_is_refused(world: World) -> None:
    world.sync_first()
    world.server.scripts = [[NEGATIVE_CHUNK + b"x" * 10_000]]
    outcome = world.assert_refused()
    assert outcome.error["code"] == "remote_unreachable"
    assert "not HTTP" in outcome.error["message"]
    world.assert_goes_on()


def test_addresses_that_are_not_utf8_do_not_keep_a_release_from_being_fetched(
    world: World,
) -> None:
    world.sync_first()
    torrent, content = world.releases[1]
    decoded = bencode2.bdecode(torrent)
    decoded[b"url-list"] = [b"\x80", b"http://127.0.0.1:1/\xff"]
    decoded[b"announce"] = b"http://127.0.0.1:1/\xff"
    decoded[b"nodes"] = [[b"\xff", 6881], [b"a\0b", 1], [b"a..b", 1], [b"a" * 64, 1]]
    decoded[b"comment"] = b"\xff"
    world.server.scripts = [[reply(body=bencode2.bencode(decoded))]]
    world.torsync.run("check-now").assert_ok()
    assert_same_tree(world.torsync.tree, content)


def test_a_release_of_thousands_of_empty_files_is_put_in_place(world: World) -> None:
    world.sync_first(max_delete="100%")
    count = 3000
    files = [_file(b"%d" % (number % 7), b"%d" % number) for number in range(count)]
    world.server.scripts = [[reply(body=_v1(files=files))]]
    report = world.torsync.run("check-now", "--allow", "empty").assert_ok().subscription
    assert report["bytes_fetched"] == 0
    found = [path for path in world.torsync.tree.glob("?/*") if path.is_file()]
    assert len(found) == count
    assert not any(path.stat().st_size for path in found)
