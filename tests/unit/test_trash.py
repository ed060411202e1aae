"""The trash: what goes there is all there, under the path that it had."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import tree_bytes, write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.errors import DiskFullError, TreeError
from torsync.model.names import MAX_DEPTH
from torsync.subscribe.trash import Trash, remove_emptied_folders, trash_stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAMP = "2023-11-14T221320Z"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"file": b"1", "a/b/file": b"2", "a/link": ("link", "x")})


@pytest.fixture
def tree(root: Path) -> Iterator[Tree]:
    opened = Tree(root)
    yield opened
    opened.close()


@pytest.fixture
def trash(tree: Tree) -> Trash:
    return Trash(tree, STAMP)


def trashed(root: Path, stamp: str = STAMP) -> dict[str, bytes | tuple[str, str]]:
    return tree_bytes(root / ".torsync/trash" / stamp)


def test_nothing_is_made_before_something_goes_there(root: Path, trash: Trash) -> None:
    assert trash is not None
    assert not (root / ".torsync").exists()


def test_a_saved_file_stays_and_has_a_second_name(root: Path, trash: Trash) -> None:
    for path in ("file", "a/b/file"):
        trash.save(path)
    assert trashed(root) == {"file": b"1", "a/b/file": b"2"}
    assert tree_bytes(root)["a/b/file"] == b"2"
    assert (root / "file").stat().st_nlink == 2
    (root / "new").write_bytes(b"new")
    (root / "new").rename(root / "file")
    assert trashed(root)["file"] == b"1"


def test_a_saved_link_is_never_absent(root: Path, trash: Trash) -> None:
    trash.save("a/link")
    assert trashed(root) == {"a/link": ("link", "x")}
    assert os.readlink(root / "a/link") == "x"


def test_a_link_is_saved_and_not_what_it_points_at(root: Path, tmp_path: Path, tree: Tree) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    (root / "out").symlink_to(outside / "file")
    Trash(tree, STAMP).save("out")
    assert trashed(root) == {"out": ("link", str(outside / "file"))}
    assert (outside / "file").stat().st_nlink == 1


def test_a_special_file_is_saved(root: Path, trash: Trash) -> None:
    os.mkfifo(root / "fifo")
    trash.save("fifo")
    assert stat.S_ISFIFO((root / ".torsync/trash" / STAMP / "fifo").lstat().st_mode)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_there_are_no_hard_links_a_file_is_moved(
    root: Path, trash: Trash, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    trash.save("a/b/file")
    assert trashed(root) == {"a/b/file": b"2"}
    assert not (root / "a/b/file").exists()


def test_a_taken_file_is_moved(root: Path, trash: Trash) -> None:
    inode = (root / "a/b/file").stat().st_ino
    for path in ("file", "a/b/file", "a/link"):
        trash.take(path)
    assert trashed(root) == {"file": b"1", "a/b/file": b"2", "a/link": ("link", "x")}
    assert tree_bytes(root) == {}
    assert (root / ".torsync/trash" / STAMP / "a/b/file").stat().st_ino == inode


def test_a_stamp_is_the_second_of_the_update(tree: Tree) -> None:
    assert trash_stamp(1_700_000_000.9) == STAMP


def test_what_is_not_there_need_not_be_put_there(root: Path, trash: Trash) -> None:
    for path in ("absent", "absent folder/absent"):
        assert not trash.save(path)
        assert not trash.take(path)
    assert not (root / ".torsync").exists()


@pytest.mark.parametrize(("call", "action"), [("link", "save"), ("rename", "take")])
def test_what_goes_away_just_then_is_no_error(
    root: Path, trash: Trash, monkeypatch: pytest.MonkeyPatch, call: str, action: str
) -> None:
    really = getattr(os, call)

    def too_late(name: str, *arguments: object, **options: object) -> None:
        (root / "a/b/file").unlink()
        really(name, *arguments, **options)

    monkeypatch.setattr(os, call, too_late)
    assert not getattr(trash, action)("a/b/file")
    assert trashed(root) == {}


@pytest.mark.parametrize(("call", "action"), [("link", "save"), ("rename", "take")])
def test_a_failure_is_told_and_the_file_is_where_it_was(
    root: Path, trash: Trash, monkeypatch: pytest.MonkeyPatch, call: str, action: str
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(TreeError, match="move to the trash 'a/b/file'"):
        getattr(trash, action)("a/b/file")
    assert (root / "a/b/file").read_bytes() == b"2"


def test_a_save_that_is_done_again_does_nothing(root: Path, tree: Tree) -> None:
    assert Trash(tree, STAMP).save("a/b/file")
    assert not Trash(tree, STAMP).save("a/b/file")
    assert os.listdir(root / ".torsync/trash") == [STAMP]
    assert (root / "a/b/file").stat().st_nlink == 2


def test_a_file_that_was_saved_loses_its_name_when_it_is_taken(root: Path, tree: Tree) -> None:
    Trash(tree, STAMP).save("a/b/file")
    assert Trash(tree, STAMP).take("a/b/file")
    assert not Trash(tree, STAMP).take("a/b/file")
    assert trashed(root) == {"a/b/file": b"2"}
    assert not (root / "a/b/file").exists()
    assert (root / ".torsync/trash" / STAMP / "a/b/file").stat().st_nlink == 1


def test_files_of_an_old_release_have_a_folder_of_their_own(root: Path, trash: Trash) -> None:
    trash.save("file")
    trash.save("a/b/file", released=True)
    trash.take("a/link", released=True)
    assert trashed(root) == {"file": b"1"}
    assert trashed(root, f"{STAMP}-release") == {"a/b/file": b"2", "a/link": ("link", "x")}


def test_what_is_the_users_is_put_there_even_if_it_is_there_as_a_releases(
    root: Path, trash: Trash
) -> None:
    assert trash.save("file", released=True)
    assert trash.save("file")
    assert trashed(root) == trashed(root, f"{STAMP}-release") == {"file": b"1"}


@pytest.mark.parametrize("released", [False, True])
def test_files_of_one_path_and_stamp_have_a_folder_each(
    root: Path, tree: Tree, released: bool
) -> None:
    for content in (b"one", b"two", b"three"):
        (root / "file").write_bytes(content)
        assert Trash(tree, STAMP).take("file", released=released)
    folder = f"{STAMP}-release" if released else STAMP
    assert trashed(root, folder) == {"file": b"one"}
    assert trashed(root, f"{folder}-2") == {"file": b"two"}
    assert trashed(root, f"{folder}-3") == {"file": b"three"}


def test_what_went_there_is_counted_with_what_its_blocks_may_take(root: Path, trash: Trash) -> None:
    trash.save("file")
    assert 1 <= trash.added_bytes <= 4097
    trash.save("file")
    trash.take("file")
    trash.take("absent")
    assert trash.added_bytes <= 4097
    trash.take("a/b/file")
    assert 2 <= trash.added_bytes <= 2 * 4097
    trash.take("a")
    assert trash.added_bytes > 2**60


def test_a_stamp_that_is_a_link_is_passed_over(root: Path, tmp_path: Path, trash: Trash) -> None:
    (tmp_path / "outside").mkdir()
    (root / ".torsync/trash").mkdir(parents=True)
    (root / ".torsync/trash" / STAMP).symlink_to(tmp_path / "outside")
    assert trash.take("file")
    assert trashed(root, f"{STAMP}-2") == {"file": b"1"}
    assert os.listdir(tmp_path / "outside") == []


def test_nothing_in_the_trash_is_ever_overwritten(root: Path, trash: Trash) -> None:
    trash.save("file")
    (root / "file").unlink()
    (root / "file").write_bytes(b"again")
    trash.save("file")
    trash.take("file")
    assert trashed(root) == {"file": b"1"}
    assert trashed(root, f"{STAMP}-2") == {"file": b"again"}


def test_a_file_and_what_was_a_folder_of_its_name_are_both_kept(root: Path, trash: Trash) -> None:
    write_tree(root, {"x": b"file"})
    trash.take("x")
    write_tree(root, {"x/inside": b"inside"})
    trash.take("x/inside")
    (root / "x").rmdir()
    write_tree(root, {"x": b"file again"})
    trash.take("x")
    assert trashed(root) == {"x": b"file"}
    assert trashed(root, f"{STAMP}-2") == {"x/inside": b"inside"}
    assert trashed(root, f"{STAMP}-3") == {"x": b"file again"}


def test_a_trash_that_is_a_link_is_refused(root: Path, tmp_path: Path, trash: Trash) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / ".torsync").mkdir()
    (root / ".torsync/trash").symlink_to(outside)
    for action in (trash.save, trash.take):
        with pytest.raises(TreeError, match="link"):
            action("file")
    assert os.listdir(outside) == []
    assert (root / "file").read_bytes() == b"1"


def test_a_file_in_a_folder_that_became_a_link_is_left(
    root: Path, tmp_path: Path, trash: Trash
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": b"outside"})
    (root / "way").symlink_to(outside)
    for action in (trash.save, trash.take):
        with pytest.raises(TreeError, match="link"):
            action("way/file")
    assert (outside / "file").stat().st_nlink == 1


def test_the_deepest_paths_keep_their_place(root: Path, tree: Tree, trash: Trash) -> None:
    deep = "/".join(["d"] * MAX_DEPTH)
    write_tree(root, {f"one/{deep}/file": b"one", f"two/{deep}/file": b"two"})
    trash.save(f"one/{deep}/file")
    trash.take(f"two/{deep}/file")
    assert trashed(root) == {f"one/{deep}/file": b"one", f"two/{deep}/file": b"two"}
    assert tree_bytes(root)[f"one/{deep}/file"] == b"one"
    tree.forget_folders()


def test_no_room_for_the_folders_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=1m,nr_inodes=6")) as root:
        write_tree(root, {"a/b/file": b"1"})
        tree = Tree(root)
        with pytest.raises(DiskFullError) as caught:
            Trash(tree, STAMP).save("a/b/file")
        assert caught.value.path == "a/b/file"
        assert (root / "a/b/file").read_bytes() == b"1"
        tree.close()


def test_emptied_folders_go_as_far_up_as_they_are_empty(root: Path, tree: Tree) -> None:
    write_tree(root, {"x/y/z/file": b"1", "x/stays": b"1", "q/r/file": b"1", "q/s/file": b"1"})
    write_tree(root, {"user's": ("dir", None), "x/user's": ("dir", None)})
    paths = ["x/y/z/file", "q/r/file", "q/s/file", "file"]
    for path in paths:
        (root / path).unlink()
    remove_emptied_folders(tree, paths)
    found = {path for path, entry in tree.scan().entries.items() if entry.kind.value == "folder"}
    assert found == {"a", "a/b", "x", "x/user's", "user's"}


def test_a_folder_that_is_a_link_is_not_removed_through(
    root: Path, tmp_path: Path, tree: Tree
) -> None:
    (tmp_path / "outside/empty").mkdir(parents=True)
    (root / "way").symlink_to(tmp_path / "outside")
    remove_emptied_folders(tree, ["way/empty/file", "way/file"])
    assert (tmp_path / "outside/empty").is_dir()
    assert (root / "way").is_symlink()


class TestFullTrash:
    """Every folder of one second has something under the path."""

    @pytest.fixture(autouse=True)
    def few_folders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torsync.subscribe.trash._MOST_FOLDERS", 3)

    def test_what_finds_no_place_stays_where_it_is(self, root: Path, trash: Trash) -> None:
        for _ in range(2):
            trash.take("file")
            (root / "file").write_bytes(b"another")
        with pytest.raises(TreeError, match="could not move to the trash"):
            trash.take("file")
        assert (root / "file").read_bytes() == b"another"

    def test_what_is_not_among_them_is_not_recalled(self, root: Path, tree: Tree) -> None:
        first = Trash(tree, STAMP)
        for content in (b"another", b"a third"):
            first.take("file", released=True)
            (root / "file").write_bytes(content)
        again = Trash(tree, STAMP)
        again.recall("file", (7, 7, 7))
        assert again.released == {}
