"""What comes back from the trash is as it was, and what was in its place is in the trash."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.torrents import make_raw
from tests.support.trees import Content, tree_bytes, write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.cli.trash import meant_paths
from torsync.disk import syscalls
from torsync.disk.tree import Tree
from torsync.model.config import CleanMode, SubscriptionConfig
from torsync.model.errors import NotInTrashError, TreeError
from torsync.model.patterns import matcher, pattern_of
from torsync.model.trash_reports import TrashRestored
from torsync.subscribe.restoring import replaced_again, restore
from torsync.subscribe.state import TreeState
from torsync.subscribe.trash import Trash, trash_stamp
from torsync.subscribe.trash_content import read_trash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOW_S = 1_700_000_000.0
NOW = trash_stamp(NOW_S)


class Site:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.trash = root / ".torsync/trash"
        self.tree = Tree(root)

    def put(
        self, entries: Mapping[str, Content], *, seconds_ago: float = 100, released: bool = False
    ) -> None:
        """Have files go to the trash."""
        write_tree(self.root, entries)
        trash = Trash(self.tree, trash_stamp(NOW_S - seconds_ago))
        for path in entries:
            assert trash.take(path, released=released)

    def restore(self, path: str, *, stamp: str = "", released: bool = False) -> TrashRestored:
        report = TrashRestored("pack")
        restore(
            self.tree,
            report,
            path,
            [path],
            Trash(self.tree, NOW),
            stamp=stamp,
            is_released=lambda _path, _entry: released,
        )
        return report

    def trashed(self, folder: str) -> dict[str, object]:
        return dict(tree_bytes(self.trash / folder))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "tree"
    root.mkdir()
    found = Site(root)
    yield found
    found.tree.close()


def test_a_file_comes_back_as_it_was(site: Site) -> None:
    file = write_tree(site.root, {"a/file": b"mine"}) / "a/file"
    file.chmod(0o640)
    os.utime(file, ns=(1, 123_456_789))
    before = file.stat()
    assert Trash(site.tree, trash_stamp(0)).take("a/file")
    (site.root / "a").rmdir()
    report = site.restore("a/file")
    after = file.stat()
    assert file.read_bytes() == b"mine"
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, 123_456_789)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert report.as_json() == {
        "name": "pack",
        "from": trash_stamp(0),
        "restored": 1,
        "restored_paths": ["a/file"],
        "trashed": 0,
        "trashed_paths": [],
        "replaced_again": 0,
        "replaced_again_paths": [],
    }
    assert os.listdir(site.trash) == []


def test_what_is_there_goes_to_the_trash(site: Site) -> None:
    site.put({"file": b"old"})
    write_tree(site.root, {"file": b"new"})
    assert site.restore("file").trashed == ["file"]
    assert tree_bytes(site.root) == {"file": b"old"}
    assert os.listdir(site.trash) == [NOW]
    assert site.trashed(NOW) == {"file": b"new"}


def test_what_is_there_of_a_release_goes_where_old_releases_are(site: Site) -> None:
    site.put({"file": b"old"})
    write_tree(site.root, {"file": b"new"})
    site.restore("file", released=True)
    assert site.trashed(f"{NOW}-release") == {"file": b"new"}


def test_restoring_twice_brings_the_other_one_back(site: Site) -> None:
    site.put({"file": b"old"}, seconds_ago=0)
    write_tree(site.root, {"file": b"new"})
    for content in (b"old", b"new", b"old"):
        site.restore("file")
        assert (site.root / "file").read_bytes() == content
    assert [file.path for file in read_trash(site.tree).files] == ["file"]


def test_a_path_is_never_absent_while_it_is_restored(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put({"file": b"old"})
    write_tree(site.root, {"file": b"new"})
    seen = []
    really = syscalls.renameat2

    def watched(*arguments: Any) -> bool:
        seen.append((site.root / "file").read_bytes())
        return really(*arguments)

    monkeypatch.setattr(syscalls, "renameat2", watched)
    site.restore("file")
    assert seen == [b"new"]


def test_the_newest_version_comes_back_unless_another_is_named(site: Site) -> None:
    for seconds_ago in (300, 200, 100):
        site.put({"file": b"%d" % seconds_ago}, seconds_ago=seconds_ago)
    assert site.restore("file", stamp=trash_stamp(NOW_S - 200)).stamp == trash_stamp(NOW_S - 200)
    assert (site.root / "file").read_bytes() == b"200"
    (site.root / "file").unlink()
    site.restore("file")
    assert (site.root / "file").read_bytes() == b"100"


def test_a_folder_comes_back_as_its_newest_update_left_it(site: Site) -> None:
    site.put({"d/a": b"old", "d/gone": b"1"}, seconds_ago=200)
    site.put({"d/a": b"edited", "other": b"1"})
    site.put({"d/e/b": b"release", "d/link": ("link", "a")}, released=True)
    write_tree(site.root, {"d/a": b"now", "d/stays": b"1"})
    report = site.restore("d")
    assert tree_bytes(site.root) == {
        "d/a": b"edited",
        "d/e/b": b"release",
        "d/link": ("link", "a"),
        "d/stays": b"1",
    }
    assert (report.restored, report.trashed) == (["d/a", "d/e/b", "d/link"], ["d/a"])
    assert site.trashed(trash_stamp(NOW_S - 100)) == {"other": b"1"}


def test_a_folder_in_the_place_of_a_file_goes_to_the_trash_whole(site: Site) -> None:
    site.put({"x": b"file"})
    write_tree(site.root, {"x/deep/inside": b"1"})
    site.tree.scan()  # it has folders open
    assert site.restore("x").trashed == ["x"]
    assert tree_bytes(site.root) == {"x": b"file"}
    assert site.trashed(NOW) == {"x/deep/inside": b"1"}


def test_a_link_and_a_fifo_come_back_and_links_are_replaced_and_not_followed(
    site: Site, tmp_path: Path
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    os.mkfifo(site.root / "fifo")
    Trash(site.tree, trash_stamp(0)).take("fifo")
    site.put({"link": ("link", "/nowhere"), "file": b"old"})
    (site.root / "file").symlink_to(outside / "file")
    for path in ("fifo", "link", "file"):
        site.restore(path)
    assert stat.S_ISFIFO((site.root / "fifo").lstat().st_mode)
    assert os.readlink(site.root / "link") == "/nowhere"
    assert (site.root / "file").read_bytes() == b"old"
    assert not (site.root / "file").is_symlink()
    assert (outside / "file").read_bytes() == b"outside"
    assert site.trashed(NOW) == {"file": ("link", str(outside / "file"))}


def test_a_file_that_is_there_still_is_left_alone(site: Site) -> None:
    write_tree(site.root, {"file": b"1"})
    Trash(site.tree, trash_stamp(0)).save("file")
    report = site.restore("file")
    assert (report.restored, report.trashed) == (["file"], [])
    assert (site.root / "file").read_bytes() == b"1"


@pytest.mark.parametrize(
    "path", ["absent", "fil", "file/inside", "", "..", ".torsync/x", "d/../file"]
)
def test_what_is_not_in_the_trash_is_named(site: Site, path: str) -> None:
    site.put({"file": b"1"})
    write_tree(site.trash / trash_stamp(NOW_S - 100), {".torsync/x": b"1"})
    with pytest.raises(NotInTrashError, match="not in the trash of 'pack'") as caught:
        site.restore(path)
    assert "torsync trash list pack" in caught.value.hint
    assert int(caught.value.exit_code) == 1


def test_a_version_that_is_not_there_is_named_with_its_time(site: Site) -> None:
    site.put({"file": b"1"})
    with pytest.raises(NotInTrashError, match="'file' from '2020' is not in the trash"):
        site.restore("file", stamp="2020")


def test_a_folder_on_the_way_that_is_a_link_is_refused(site: Site, tmp_path: Path) -> None:
    site.put({"way/file": b"1"})
    (tmp_path / "outside").mkdir()
    (site.root / "way").rmdir()
    (site.root / "way").symlink_to(tmp_path / "outside")
    with pytest.raises(TreeError, match="link"):
        site.restore("way/file")
    assert os.listdir(tmp_path / "outside") == []
    assert [file.path for file in read_trash(site.tree).files] == ["way/file"]


def test_nothing_is_restored_over_another_file_system(site: Site) -> None:
    site.put({"m": b"1"})
    is_refused = pytest.raises(TreeError, match="another file system is mounted")
    with mounted(site.root / "m", *tmpfs()), is_refused:
        site.restore("m")
    assert [file.path for file in read_trash(site.tree).files] == ["m"]


def test_what_came_back_before_a_failure_is_told(site: Site, tmp_path: Path) -> None:
    site.put({"d/a": b"1", "d/b/file": b"1"})
    (site.root / "d/b").rmdir()
    (site.root / "d/b").symlink_to(tmp_path)
    report = TrashRestored("pack")
    with pytest.raises(TreeError):
        restore(site.tree, report, "d", ["d"], Trash(site.tree, NOW))
    assert report.restored == ["d/a"]
    assert [file.path for file in read_trash(site.tree).files] == ["d/b/file"]


# --- what a path means ------------------------------------------------------------------------


def test_a_path_is_relative_to_the_tree_or_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "real/tree"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    monkeypatch.chdir(root / "sub")
    assert meant_paths("file", root) == ["file", "sub/file"]
    assert meant_paths("a//b/", root) == ["a/b", "sub/a/b"]
    assert meant_paths("../file", root) == ["file"]
    assert meant_paths(str(root / "a/gone/file"), root) == ["a/gone/file"]
    assert meant_paths(str(tmp_path / "linked/tree/file"), root) == ["file"]
    assert meant_paths(str(root / "file"), tmp_path / "linked/tree") == ["file"]
    for elsewhere in (str(tmp_path / "file"), "../../file", "/", str(root), "..", "../../tree2/x"):
        assert meant_paths(elsewhere, root) == [], elsewhere
    monkeypatch.chdir(tmp_path)
    assert meant_paths("a/b", root) == ["a/b"]


# --- the pattern of a path --------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=5).filter(
    lambda name: name not in {".", ".."}
)
PATHS = st.lists(
    NAMES | st.text("*?[]\\!# a.", min_size=1, max_size=4).filter(lambda n: n not in {".", ".."}),
    min_size=1,
    max_size=3,
).map("/".join)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("file", "/file"),
        ("a/file", "a/file"),
        ("#a/file", "/#a/file"),
        ("a/[1] *?", "a/\\[1\\] \\*\\?"),
        ("a/end ", "a/end\\ "),
        ("a/new\nline", "a/new?line"),
    ],
)
def test_the_pattern_of_a_path_is_written_as_a_person_would(path: str, pattern: str) -> None:
    assert pattern_of(path) == pattern


@settings(deadline=None)
@given(PATHS)
def test_the_pattern_of_a_path_matches_it_and_what_is_in_it(path: str) -> None:
    matches = matcher([pattern_of(path)])
    assert matches(path)
    assert matches(f"{path}/inside")
    folder = "longer than any question marks" * 20
    assert not matches(f"{folder}/{path}")
    assert not matches(f"{path}x")


@pytest.mark.parametrize("body", [None, b"d4:infod4:name2:..ee"], ids=["gone", "refused by now"])
def test_without_the_synced_release_nothing_is_foretold(tmp_path: Path, body: bytes | None) -> None:
    config = SubscriptionConfig("pack", "https://h.example/p.torrent", tmp_path / "tree")
    state = TreeState(tmp_path / "state")
    assert replaced_again(config, state, ["a"]) == []
    state.put(synced="ab" * 32 if body is None else state.store_body(body))
    assert replaced_again(config, state, ["a"]) == []


@pytest.mark.parametrize(
    ("clean", "expected"),
    [
        (CleanMode.OFF, ["listed"]),
        (CleanMode.MANAGED, ["listed"]),
        (CleanMode.MIRROR, ["listed", "unlisted"]),
    ],
)
def test_the_next_check_replaces_what_is_listed_and_a_mirror_removes_the_rest(
    tmp_path: Path, clean: CleanMode, expected: list[str]
) -> None:
    config = SubscriptionConfig(
        "pack", "https://h.example/p.torrent", tmp_path / "tree", clean=clean, keep=("*.ini",)
    )
    state = TreeState(tmp_path / "state")
    state.put(synced=state.store_body(make_raw({"listed": b"1", "listed.ini": b"1"})))
    paths = ["listed", "listed.ini", "unlisted", "unlisted.ini"]
    assert replaced_again(config, state, paths) == expected
