"""A published folder in use: what is edited is withdrawn, and nobody ever writes into it."""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import libtorrent as lt
import pytest
import requests

from tests.support.hostile_peer import ClosedError, HostilePeer
from tests.support.leecher import SETTINGS
from tests.support.processes import wait_until
from tests.support.publications import PIECE, Publisher
from tests.support.trees import edit_in_place
from torsync.disk.stamps import stamp_of
from torsync.model.errors import RefusedError, SwarmError, TreeError
from torsync.model.events import Level
from torsync.model.metainfo import parse_metainfo
from torsync.publish.errors import PublishError
from torsync.swarm.events import FileFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content
    from torsync.swarm.events import SwarmEvent

FILES: dict[str, Content] = {
    "a/one.bin": 40 * PIECE,
    "a/two.bin": 30 * PIECE,
    "c": 100,
    "d": 300,
    "e.bin": 20 * PIECE,
}


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path)
    yield publisher
    publisher.close()


class Leecher:
    """A libtorrent session that downloads, and tells of every piece that was wrong."""

    def __init__(self, metainfo: bytes, target: Path, peers: list[tuple[str, int]]) -> None:
        mask = lt.alert_category.error | lt.alert_category.status
        self._session = lt.session({**SETTINGS, "alert_mask": mask})
        params = lt.load_torrent_buffer(metainfo)
        params.save_path = str(target)
        params.peers = peers
        params.url_seeds = []
        self._handle = self._session.add_torrent(params)
        self.failed: list[str] = []

    def has(self, files: set[str]) -> bool:
        """Whether it has all pieces that are these files' alone."""
        self._listen()
        layout = self._handle.torrent_file().layout()
        have = self._handle.status(lt.torrent_handle.query_pieces).pieces
        for index in range(layout.num_files()):
            path = layout.file_path(index).partition("/")[2]
            if path in files:
                first = layout.file_offset(index) // layout.piece_length()
                last = (layout.file_offset(index) + layout.file_size(index) - 1) // PIECE
                if not all(have[first : last + 1]):
                    return False
        return True

    def _listen(self) -> None:
        for alert in self._session.pop_alerts():
            bad: tuple[Any, ...] = (lt.hash_failed_alert, lt.peer_ban_alert)
            if isinstance(alert, bad):
                self.failed.append(alert.message())


def limit_upload(publisher: Publisher, rate: int) -> None:
    seeded = publisher.publication._showing._seeded
    assert seeded is not None
    assert seeded.torrent is not None
    seeded.torrent._handle.set_upload_limit(rate)


def test_an_edited_file_is_withdrawn_at_once_and_leechers_get_the_rest_and_no_wrong_byte(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    limit_upload(publisher, 20 * PIECE)  # so that the edit comes in the middle of the download
    leecher = Leecher(publisher.torrent.read_bytes(), tmp_path / "leecher", publisher.peers)
    wait_until(lambda: leecher._handle.status().num_pieces > 0, "the download has begun")
    edit_in_place(publisher.folder / "a/two.bin")
    assert publisher.publication.edited(["a/two.bin"])
    wait_until(lambda: leecher.has({"a/one.bin", "c", "d", "e.bin"}), "all else has arrived")
    assert not leecher.has({"a/two.bin"})
    assert leecher.failed == []
    assert "withdrawn" in publisher.notices(Level.INFO)
    report = publisher.release()
    assert report.modified == ["a/two.bin"]
    publisher.assert_leecher_gets(tmp_path / "another leecher")


def test_a_look_finds_edits_that_nobody_told_of(publisher: Publisher) -> None:
    publisher.open().release(FILES)
    publication = publisher.publication
    assert publication.heed() is False
    edit_in_place(publisher.folder / "e.bin", set_mtime_back=True)
    publication._looks_s = 0.0
    assert publication.heed() is True
    assert publication._showing._withdrawn == {"e.bin"}
    publication._looks_s = 0.0
    assert publication.heed() is False, "it is told once"
    assert publisher.release().modified == ["e.bin"]
    publication._looks_s = 0.0
    assert publication.heed() is False
    assert publication._showing._withdrawn == frozenset()


def test_new_files_are_found_by_a_look_and_ignored_ones_are_not(publisher: Publisher) -> None:
    publisher.configure(ignore=("*.tmp",))
    publisher.open().release(FILES)
    publication = publisher.publication
    publisher.write({"x.tmp": 5, ".torsync/x": 5})
    publication._looks_s = 0.0
    assert publication.heed() is False
    assert publication.edited(["x.tmp", ".torsync/x", "a/one.bin", "a", "gone again"]) is False
    publisher.write({"new": 5})
    publication._looks_s = 0.0
    assert publication.heed() is True


@pytest.mark.parametrize("path", ["a/one.bin", "a"])
def test_what_is_removed_is_withdrawn(publisher: Publisher, tmp_path: Path, path: str) -> None:
    publisher.open().release(FILES)
    os.rename(publisher.folder / path, tmp_path / "aside")
    assert publisher.publication.edited([path])
    assert "a/one.bin" in publisher.publication._showing._withdrawn
    assert "e.bin" not in publisher.publication._showing._withdrawn


def test_a_file_that_was_only_touched_is_seeded_again_after_the_next_look(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    os.chmod(publisher.folder / "e.bin", 0o640)
    assert publisher.publication.edited(["e.bin"])
    assert publisher.release().changed is False
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_file_that_cannot_be_read_is_told_of_and_the_rest_is_seeded(
    publisher: Publisher, tmp_path: Path
) -> None:
    """libtorrent fails to open it, as its folder is not a folder any more."""
    publisher.open().release(FILES)
    leecher = Leecher(publisher.torrent.read_bytes(), tmp_path / "leecher", publisher.peers)
    os.rename(publisher.folder / "e.bin", tmp_path / "e.bin")
    wait_until(publisher.publication.heed, "the failure is heeded")
    wait_until(lambda: leecher.has({"a/one.bin", "a/two.bin", "c", "d"}), "all else has arrived")
    assert leecher.failed == []
    os.rename(tmp_path / "e.bin", publisher.folder / "e.bin")
    publisher.release()
    publisher.assert_leecher_gets(tmp_path / "another leecher")


def test_an_unreadable_file_keeps_failing_until_it_can_be_read(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torsync.publish import showing

    publisher.open().release(FILES)
    failing = TreeError("could not read 'c': Input/output error", path=str(publisher.folder / "c"))
    seeded = publisher.publication._showing._seeded
    assert seeded is not None
    assert seeded.torrent is not None
    seeded.torrent._failure = failing
    assert publisher.publication.heed()
    assert "file_unreadable" in publisher.notices(Level.ERROR)
    with monkeypatch.context() as patched:
        patched.setattr(showing, "can_be_read", lambda _tree, _path: False)
        with pytest.raises(TreeError, match="1 published files cannot be read, the first: 'c'"):
            publisher.release()
        assert publisher.publication._showing._withdrawn == {"c"}
    publisher.release()
    assert publisher.publication._showing._withdrawn == frozenset()


def test_the_feed_does_not_serve_what_was_edited(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, feed=True)

    def status(path: str) -> int:
        assert publisher.feed is not None
        manifest = parse_metainfo(publisher.torrent.read_bytes())
        url = f"{publisher.feed.url}/content/{manifest.info_hash}/pack/{path}"
        return requests.get(url, timeout=10).status_code

    try:
        publisher.open().release(FILES)
        assert (status("c"), status("d")) == (200, 200)
        edit_in_place(publisher.folder / "c", set_mtime_back=True)
        assert (status("c"), status("d")) == (410, 200), "it looks for itself"
        wait_until(publisher.publication.heed, "the feed tells of it")
        assert publisher.publication._showing._withdrawn == {"c"}
        publisher.release()
        assert (status("c"), status("d")) == (200, 200)
    finally:
        publisher.close()


def test_a_large_tree_that_is_edited_all_over_leaves_the_session_and_comes_back(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    showing = publisher.publication._showing
    edit_in_place(publisher.folder / "c")
    publisher.publication.edited(["c"])
    assert showing.is_seeding
    showing._entering_s = 1000.0  # as if there were millions of files
    edit_in_place(publisher.folder / "d")
    publisher.publication.edited(["d"])
    assert not showing.is_seeding
    publisher.torrent.parent.rename(tmp_path / "aside")
    with pytest.raises(TreeError):
        publisher.release()
    assert showing.is_seeding, "the rest is seeded, as there is no release"
    assert showing._withdrawn == {"c", "d"}
    (tmp_path / "aside").rename(publisher.torrent.parent)
    publisher.release()
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_folder_that_is_gone_is_withdrawn_and_told_of(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    publisher.folder.rename(tmp_path / "elsewhere")
    publisher.publication._looks_s = 0.0
    with pytest.raises(RefusedError, match="is not there"):
        publisher.publication.heed()
    assert publisher.publication._showing._withdrawn == FILES.keys()
    (tmp_path / "elsewhere").rename(publisher.folder)
    assert publisher.release().changed is False
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_torrent_that_libtorrent_gave_up_enters_anew(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    seeded = publisher.publication._showing._seeded
    assert seeded is not None
    assert seeded.torrent is not None
    seeded.torrent._failure = SwarmError("libtorrent gave up on the torrent")
    with pytest.raises(SwarmError):
        publisher.publication.heed()
    publisher.release()
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_folder_that_is_emptied_is_withdrawn_and_not_published(publisher: Publisher) -> None:
    publisher.open().release(FILES)
    public = publisher.torrent.read_bytes()
    for path in FILES:
        (publisher.folder / path).unlink()
    publisher.publication._looks_s = 0.0
    assert publisher.publication.heed()
    with pytest.raises(RefusedError):
        publisher.release()
    assert publisher.torrent.read_bytes() == public
    assert publisher.publication._showing._withdrawn == FILES.keys()


def test_nobody_can_make_it_write_into_the_folder(publisher: Publisher) -> None:
    publisher.open().release(FILES)
    manifest = parse_metainfo(publisher.torrent.read_bytes())
    edit_in_place(publisher.folder / "a/two.bin")
    os.unlink(publisher.folder / "e.bin")
    files = [path for path in publisher.folder.rglob("*") if path.is_file()]
    before = {path: stamp_of(path.stat()) for path in files}
    contents = {path: path.read_bytes() for path in before}
    assert publisher.publication.edited(["a/two.bin", "e.bin"])

    with closing(HostilePeer(manifest, publisher.peers[0][1])) as peer:
        have_none, have, unchoke, interested, request, piece = 15, 4, 1, 2, 6, 7
        peer.send(have_none)
        for path in ("a/two.bin", "e.bin"):
            for number in manifest.pieces_of(manifest.by_path[path]):
                peer.send(have, struct.pack(">I", number))
        peer.send(unchoke)
        peer.send(interested)
        peer.hear(unchoke)
        with suppress(ConnectionError, ClosedError, TimeoutError):  # most often it is thrown out
            peer.force(piece, manifest)
        assert request not in peer.heard, "it asks for nothing"

    seeded = publisher.publication._showing._seeded
    assert seeded is not None
    assert seeded.torrent is not None
    seeded.leave()  # its files are closed, whatever was to be written is
    assert {path: path.read_bytes() for path in contents} == contents
    for path, status in before.items():
        assert stamp_of(path.stat()) == status
    assert not (publisher.folder / "e.bin").exists()


def test_a_seed_that_has_what_was_withdrawn_is_asked_for_nothing(
    publisher: Publisher, tmp_path: Path, seeder: LibtorrentSeeder
) -> None:
    publisher.open().release(FILES)
    metainfo = publisher.torrent.read_bytes()
    shutil.copytree(publisher.folder, tmp_path / "seed" / "pack")
    seeder.add(metainfo, tmp_path / "seed", announce=False)
    os.unlink(publisher.folder / "e.bin")
    publisher.publication.edited(["e.bin"])
    seeder.connect(metainfo, publisher.peers[0])
    leecher = Leecher(metainfo, tmp_path / "leecher", [*publisher.peers, seeder.peer])
    wait_until(lambda: leecher.has(set(FILES)), "a leecher of both has all")
    assert leecher.failed == []
    assert not (publisher.folder / "e.bin").exists()


def test_a_leecher_that_wants_what_is_withheld_does_not_hammer(
    publisher: Publisher, tmp_path: Path
) -> None:
    """``c`` and ``d`` lie side by side: their piece is claimed, and cannot be read."""
    publisher.open().release(FILES)
    os.unlink(publisher.folder / "c")
    publisher.publication.edited(["c"])
    seeded = publisher.publication._showing._seeded
    assert seeded is not None
    assert seeded.torrent is not None
    asked = 0

    def count(event: SwarmEvent) -> None:
        nonlocal asked
        asked += isinstance(event, FileFailed)
        tell(event)

    tell, seeded.torrent.tell = seeded.torrent.tell, count  # type: ignore[method-assign]
    leecher = Leecher(publisher.torrent.read_bytes(), tmp_path / "leecher", publisher.peers)
    wait_until(lambda: leecher.has({"a/one.bin", "a/two.bin", "e.bin"}), "all else has arrived")
    wait_until(lambda: asked > 0, "it has asked for what is withheld")
    limit_upload(publisher, 0)
    for _ in range(10):
        leecher._session.wait_for_alert(100)
        leecher._listen()
    assert asked < 50
    assert leecher.failed == []
    assert publisher.publication.heed() is False, "that is no failure"


def test_a_link_that_leads_elsewhere_is_an_edit(publisher: Publisher) -> None:
    link = publisher.folder / "a" / "link"
    link.parent.mkdir()
    link.symlink_to(".//../e.bin")
    publisher.open(seed=False).release(FILES)
    publication = publisher.publication
    publication._looks_s = 0.0
    assert not publication.heed()
    assert not publication.edited(["a/link"])
    link.unlink()
    link.symlink_to("one.bin")
    assert publication.edited(["a/link"])
    publisher.open(seed=False).publication.resume()
    publisher.publication._looks_s = 0.0
    assert publisher.publication.heed()
    assert publisher.release().modified == ["a/link"]


def test_what_kept_it_from_being_published_and_is_gone_is_an_edit(publisher: Publisher) -> None:
    publisher.open(seed=False).release(FILES)
    os.mkfifo(publisher.folder / "pipe")
    assert publisher.publication.edited(["pipe"])
    with pytest.raises(PublishError):
        publisher.release()
    os.unlink(publisher.folder / "pipe")
    assert publisher.publication.edited(["pipe"])
    assert not publisher.publication.edited(["pipe"])
