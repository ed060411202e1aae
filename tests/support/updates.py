"""Updates as subscribers see them: a release is synced, another is published and synced.

What an update may cost is told in pieces of the new torrent, as libtorrent lays them out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from tests.support.authored import make_authored
from tests.support.cli import Publisher, Torsync, staged, trash_contents
from tests.support.packed import make_packed
from tests.support.processes import wait_until
from tests.support.torrents import make_libtorrent, make_mktorrent
from tests.support.trees import tree_bytes, write_tree
from torsync.model.merkle import BLOCK_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.support.cli import Json, Outcome
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
# One per wanted file: what the plan does to it.
ACTIONS = ("moved", "copied", "patched", "fetched", "kept_local", "unreadable")

MAKERS: dict[str, Callable[..., bytes]] = {
    "packed": make_packed,
    "mktorrent": make_mktorrent,  # v1 without digests, files side by side; 32 KiB at least
    **{
        name: lambda folder, *, piece_size, name=name: make_libtorrent(
            folder, format=name, piece_size=piece_size
        )
        for name in ("v1", "v2", "hybrid")
    },
    **{
        f"authored {name}": lambda folder, *, piece_size, name=name: make_authored(
            folder, format=name, piece_size=piece_size
        )
        for name in ("v1", "v2", "hybrid")
    },
}
# Formats whose manifests identify each file by a SHA-256 of its content.
WITH_DIGESTS = ("packed", "v2", "hybrid")


class Updates:
    """One subscription and its publisher, who publishes one release after another.

    Attributes:
        torsync: the program, its configuration and its tree.
        publisher: publishes and seeds.
        torrent: the newest ``.torrent``.
        folder: with the newest release.
    """

    def __init__(self, scratch: Path, torsync: Torsync, seeder: LibtorrentSeeder) -> None:
        self.torsync = torsync
        self.publisher = Publisher(scratch / "published", seeder)
        self.torrent = b""
        self.folder = scratch
        self._scratch = scratch
        self._published: list[bytes] = []
        torsync.subscribe(url=self.publisher.url, peers=self.publisher.peers, interval="1h")

    @property
    def tree(self) -> Path:
        """The subscriber's folder."""
        return self.torsync.tree

    def publish(
        self,
        entries: Mapping[str, Content],
        format_: str,
        *,
        piece_size: int = PIECE,
        upload_limit: int = 0,
    ) -> bytes:
        """Make a release the newest; nobody syncs it yet."""
        number = len(self._published) + 1
        self.folder = write_tree(self._scratch / f"release-{number}", entries)
        self.torrent = MAKERS[format_](self.folder, piece_size=piece_size)
        self.publisher.publish(self.torrent, self.folder, upload_limit=upload_limit)
        self._published.append(self.torrent)
        return self.torrent

    def withdraw(self) -> None:
        """Stop seeding: another subscription may use the seeder."""
        while self._published:
            self.publisher.seeder.remove(self._published.pop())

    def sync_first(
        self, entries: Mapping[str, Content], format_: str, *, piece_size: int = PIECE
    ) -> None:
        """Publish a release and sync it, until the ledger vouches for all of it."""
        self.publish(entries, format_, piece_size=piece_size)
        self.torsync.run("check-now").assert_ok()
        assert tree_bytes(self.tree) == tree_bytes(self.folder)
        self.settle()

    def settle(self) -> None:
        """Check until nothing is hashed any more.

        What was written in the second of its record is not vouched for: one more check, in a
        later second, has to be enough.
        """
        for last in (False, True):
            report = self.torsync.run("check-now").assert_ok().subscription
            assert report["bytes_fetched"] == 0
            assert not report["changed"]
            if not report["bytes_hashed"]:
                return
            assert not last, "what was hashed in one check is not vouched for in the next"
            second = int(time.time())
            wait_until(lambda second=second: int(time.time()) > second, "the next second begins")
            self.torsync.run("check-now").assert_ok()

    def update(
        self,
        entries: Mapping[str, Content],
        format_: str,
        *,
        piece_size: int = PIECE,
        besides: Mapping[str, bytes] | None = None,
    ) -> Json:
        """Publish a release, sync it with one check, and return the report.

        Args:
            entries: the release.
            format_: of its torrent: one of ``MAKERS``.
            piece_size: bytes.
            besides: what the tree holds then that the release doesn't list, or holds otherwise.
        """
        self.publish(entries, format_, piece_size=piece_size)
        return self.check(besides=besides).subscription

    def check(self, *, besides: Mapping[str, bytes] | None = None) -> Outcome:
        """Run ``check-now``: the tree is the newest release, and the report is true."""
        sent = self.publisher.seeder.uploaded(self.torrent)
        outcome = self.torsync.run("check-now", "--timeout", "20s").assert_ok()
        report = outcome.subscription
        wanted = tree_bytes(self.folder)
        assert_equal(tree_bytes(self.tree), {**wanted, **(besides or {})})
        fetched, seeder = report["bytes_fetched"], self.publisher.seeder
        counted = seeder.uploaded(self.torrent, at_least=sent + fetched) - sent
        # libtorrent counts a block as sent when the system has taken the whole of it, and not if
        # the other side hangs up at that moment.
        assert 0 <= fetched - counted <= BLOCK_SIZE, (fetched, counted)
        assert_adds_up(report, wanted)
        assert staged(self.tree) == []
        return outcome

    def assert_at_rest(self) -> None:
        """One more check finds nothing to do."""
        report = self.torsync.run("check-now").assert_ok().subscription
        assert not report["changed"]
        assert report["bytes_fetched"] == 0
        assert report["kept"] == len(tree_bytes(self.folder))

    def assert_trashed(self, report: Json, old: Mapping[str, bytes]) -> None:
        """What the report calls trashed is in the trash as it was."""
        trash = trash_contents(self.tree)
        assert {path: trash.get(path) for path in report["trashed_paths"]} == {
            path: [old[path]] for path in report["trashed_paths"]
        }

    def pieces_of(self, *paths: str) -> int:
        """How many pieces of the newest torrent hold bytes of these files."""
        return len(pieces_with(self.torrent, paths))


def make(folder: Path, entries: Mapping[str, Content], *, format_: str = "v1") -> bytes:
    """Write a release, and make its torrent."""
    write_tree(folder, entries)
    return make_libtorrent(folder, format=format_, piece_size=PIECE)


def publish(
    publisher: Publisher, folder: Path, entries: Mapping[str, Content], **options: Any
) -> bytes:
    """Write a release, and publish its v1 torrent."""
    torrent = make(folder, entries)
    publisher.publish(torrent, folder, **options)
    return torrent


def assert_equal(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare two trees; names what differs, and not how."""
    names = found.keys() | wanted.keys()
    differing = sorted(name for name in names if found.get(name) != wanted.get(name))
    missing, extra = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    assert not differing, f"differ: {differing}; missing: {missing}; extra: {extra}"


def assert_adds_up(report: Json, wanted: Mapping[str, Any]) -> None:
    """Each wanted file has one action, and each count has its paths."""
    listed = [path for action in ACTIONS for path in report[f"{action}_paths"]]
    assert len(listed) == len(set(listed)), f"two actions for one file: {listed}"
    assert set(listed) <= wanted.keys(), f"not in the release: {set(listed) - wanted.keys()}"
    assert report["kept"] + len(listed) == len(wanted), report
    for action in (*ACTIONS, "trashed"):
        assert report[action] == len(report[f"{action}_paths"])


def relocated(report: Json) -> list[str]:
    """The files that came from elsewhere in the tree, whole."""
    return sorted(report["moved_paths"] + report["copied_paths"])


def built(report: Json) -> list[str]:
    """The files that something was fetched for, or that were put together from parts."""
    return sorted(report["patched_paths"] + report["fetched_paths"])


def pieces_with(torrent: bytes, paths: Iterable[str]) -> set[int]:
    """The pieces of a torrent that hold bytes of some files, by their paths in the tree."""
    import libtorrent as lt

    layout = lt.load_torrent_buffer(torrent).ti.layout()
    wanted, pieces = set(paths), set()
    for index in range(layout.num_files()):
        path = layout.file_path(index).replace("\\", "/").partition("/")[2]
        size = layout.file_size(index)
        if path in wanted:
            wanted.discard(path)
            start = layout.file_offset(index)
            length = layout.piece_length()
            pieces |= set(range(start // length, (start + size + length - 1) // length))
    assert not wanted, f"not in the torrent: {wanted}"
    return pieces


def overwritten(content: bytes, at: int, data: bytes) -> bytes:
    """The content with some of its bytes replaced."""
    assert at + len(data) <= len(content)
    return content[:at] + data + content[at + len(data) :]


def edit(file: Path, at: int, data: bytes, *, keep_time: bool = False) -> bytes:
    """Change some bytes of a file in place; its new content."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)
    if keep_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    return file.read_bytes()
