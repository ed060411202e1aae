"""``snapshot = true``: a clone is seeded, and edits of the folder do no harm to it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.disks import disk
from tests.support.leecher import libtorrent_download
from tests.support.publications import PIECE, Publisher
from tests.support.trees import assert_same_tree, edit_in_place, random_bytes, write_tree
from torsync.model.errors import TreeError
from torsync.model.events import Level
from torsync.publish import snapshot
from torsync.publish.hints.maker import Maker, ReleasedFile
from torsync.publish.snapshot import FOLDER, ChangedMeanwhileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.trees import Content

FILES: dict[str, Content] = {"a/one.bin": 5 * PIECE + 7, "a/two.bin": 3 * PIECE, "c": 100, "e": 0}


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("disk")
    with disk("xfs", base / "image", base / "mounted") as mounted:
        yield mounted


@pytest.fixture
def publisher(xfs: Path, tmp_path: Path) -> Iterator[Publisher]:
    base = xfs / tmp_path.name
    base.mkdir()
    publisher = Publisher(base, snapshot=True, feed=True)
    yield publisher
    publisher.close()


def snapshots(publisher: Publisher) -> list[str]:
    return sorted(os.listdir(publisher.folder / FOLDER))


def assert_leecher_gets(publisher: Publisher, expected: Path, target: Path) -> None:
    metainfo = publisher.torrent.read_bytes()
    libtorrent_download(metainfo, target, peers=publisher.peers)
    assert_same_tree(target / "pack", expected)


def test_hints_are_made_of_the_clone(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Maker.make

    def edit_and_cut(self: Maker, files: list[ReleasedFile]) -> None:
        edit_in_place(publisher.folder / "a/one.bin")
        cut(self, files)

    monkeypatch.setattr(Maker, "make", edit_and_cut)
    others = {path: random_bytes(5 * PIECE, path) for path in ("a/one.bin", "a/two.bin")}
    for content in (FILES, others):
        assert publisher.open().release(content).hints_made == 2
    assert not publisher.notices(Level.WARNING)


def test_an_edit_does_not_touch_what_is_seeded_until_it_is_released(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    expected = shutil.copytree(
        publisher.folder, tmp_path / "expected", ignore=shutil.ignore_patterns(".torsync")
    )
    edit_in_place(publisher.folder / "a/two.bin")
    os.unlink(publisher.folder / "c")
    assert publisher.publication.edited(["a/two.bin", "c"])
    assert publisher.publication._showing._withdrawn == frozenset()
    assert_leecher_gets(publisher, expected, tmp_path / "leecher")
    first = snapshots(publisher)
    report = publisher.release()
    assert (report.modified, report.removed) == (["a/two.bin"], ["c"])
    assert len(first) == len(snapshots(publisher)) == 1
    assert first != snapshots(publisher), "the old one is removed"
    publisher.assert_leecher_gets(tmp_path / "another leecher")


def test_it_is_seeded_again_after_a_restart_while_the_folder_has_changed(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open().release(FILES)
    expected = shutil.copytree(
        publisher.folder, tmp_path / "expected", ignore=shutil.ignore_patterns(".torsync")
    )
    publisher.close()
    edit_in_place(publisher.folder / "a/two.bin")
    (publisher.folder / FOLDER / "left over" / "x").mkdir(parents=True)
    publisher.open().publication.resume()
    assert len(snapshots(publisher)) == 1
    assert_leecher_gets(publisher, expected, tmp_path / "leecher")


def test_a_snapshot_that_was_damaged_is_taken_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.open().release(FILES)
    publisher.close()
    shutil.rmtree(publisher.folder / FOLDER)
    publisher.open().publication.resume()
    publisher.release()
    assert len(snapshots(publisher)) == 1
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_nothing_changed_and_the_snapshot_stays(publisher: Publisher, tmp_path: Path) -> None:
    publisher.open().release(FILES)
    before = snapshots(publisher)
    os.utime(publisher.folder / "c", (5, 5))
    publisher.release()
    assert snapshots(publisher) == before
    publisher.assert_leecher_gets(tmp_path / "leecher")


def test_a_file_that_changes_before_it_is_cloned_stops_the_release(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.open().release(FILES)
    before, public = snapshots(publisher), publisher.torrent.read_bytes()
    share = snapshot.share_blocks

    def edit_and_share(source: int, target: int) -> bool:
        with open(publisher.folder / "a/two.bin", "ab") as file:
            file.write(b"more")
        return share(source, target)

    publisher.write({"new": 5})
    monkeypatch.setattr(snapshot, "share_blocks", edit_and_share)
    with pytest.raises(ChangedMeanwhileError, match=r"'a/two\.bin' changed"):
        publisher.release()
    monkeypatch.undo()
    assert (snapshots(publisher), publisher.torrent.read_bytes()) == (before, public)
    assert publisher.release().number == 2


def test_where_blocks_cannot_be_shared_that_is_said_and_nothing_is_copied(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, snapshot=True)
    folder = write_tree(tmp_path / "probe", {"a": 5})
    with open(folder / "a", "rb") as one, open(folder / "b", "wb") as other:
        if snapshot.share_blocks(one.fileno(), other.fileno()):
            pytest.skip("blocks can be shared here")
    try:
        with pytest.raises(TreeError, match="share blocks") as caught:
            publisher.open().release(FILES)
        assert "snapshot = false" in caught.value.hint
        assert snapshots(publisher) == []
        assert not publisher.torrent.exists()
    finally:
        publisher.close()
