"""What of a folder is published, and what is named as a problem."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import write_tree
from torsync.disk.tree import Tree
from torsync.model.manifest import folders_above
from torsync.model.patterns import matcher
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind
from torsync.publish.content import Content, look, sort_out

if TYPE_CHECKING:
    from pathlib import Path


def _look(folder: Path, *ignore: str) -> Content:
    with closing(Tree(folder)) as tree:
        return look(tree, ignore)


def _problems(content: Content) -> dict[str, str]:
    assert len({problem.path for problem in content.problems}) == len(content.problems)
    return {problem.path: problem.reason for problem in content.problems}


def test_everything_is_published_but_torsyncs_own_folder_and_what_is_ignored(
    tmp_path: Path,
) -> None:
    write_tree(
        tmp_path,
        {
            ".torsync/lock": b"x",
            ".hidden": b"1",
            "a/b": ("exec", b"2"),
            "empty": b"",
            "a.tmp": b"3",
            "build/keep.txt": b"4",
            "build/deep/x": b"5",
            "logs": b"6",
            "a/logs/today": b"7",
            "folder": ("dir", None),
            "link": ("link", "a/b"),
        },
    )

    content = _look(tmp_path, "*.tmp", "build/", "!build/keep.txt", "logs/")

    assert set(content.files) == {".hidden", "a/b", "empty", "logs"}
    assert content.links == {"link": "a/b"}
    assert content.problems == []
    assert content.files["a/b"].executable


def test_a_folder_that_is_ignored_is_not_looked_into(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": b"1", "private/x": b"2"})
    seen: list[str] = []

    class Watched(Tree):
        def folder_fd(self, folder: str, *, create: bool = False) -> int:
            seen.append(folder)
            return super().folder_fd(folder, create=create)

    with closing(Watched(tmp_path)) as tree:
        assert set(look(tree, ["private/"]).files) == {"a"}
    assert "private" not in seen


def test_links_are_told_by_where_they_lead(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "a/b/file": b"1",
            "secret/x": b"2",
            ".torsync/x": b"3",
            "a/b/up": ("link", "../../a/./b//file"),
            "a/dangling": ("link", "../nowhere"),
            "to-folder": ("link", "a/b"),
            "itself": ("link", "itself"),
            "behind": ("link", "to-folder/file"),
            "a/out": ("link", "../../etc"),
            "absolute": ("link", str(tmp_path / "a")),
            "root": ("link", "a/.."),
            "own": ("link", ".torsync/x"),
            "a/own": ("link", "../.Torsync"),
            "ignored": ("link", "secret/x"),
            "ignored-folder": ("link", "secret"),
            "back": ("link", "to-folder/../file"),
        },
    )

    content = _look(tmp_path, "secret/")

    assert content.links == {
        "a/b/up": "a/b/file",
        "a/dangling": "nowhere",
        "to-folder": "a/b",
        "itself": "itself",
        "behind": "to-folder/file",
    }
    words = {
        "a/out": "outside",
        "absolute": "absolute",
        "root": "the folder that is published",
        "own": "torsync's own",
        "a/own": "torsync's own",
        "ignored": "is ignored",
        "ignored-folder": "is ignored",
        "back": "behind another link",
    }
    problems = _problems(content)
    assert problems.keys() == words.keys()
    for path, word in words.items():
        assert word in problems[path], path


def test_special_files_and_names_that_are_not_utf8_are_problems_all_at_once(
    tmp_path: Path,
) -> None:
    write_tree(tmp_path, {"fine": b"1"})
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        os.makedirs(os.fsencode(tmp_path) + b"/f\xff/deep")
        (tmp_path / os.fsdecode(b"f\xff/deep/file")).write_bytes(b"2")
        (tmp_path / os.fsdecode(b"\xfe")).write_bytes(b"3")
        (tmp_path / "to").symlink_to(os.fsdecode(b"\xfe"))

        problems = _problems(_look(tmp_path))

    assert problems.keys() == {"fifo", "socket", "f\udcff", "\udcfe", "to"}
    assert "special file" in problems["fifo"]
    assert "not UTF-8" in problems["f\udcff"]


def test_mount_points_and_what_cannot_be_read_are_problems() -> None:
    file = DiskEntry(Kind.FILE, 1, 0, 0, 1, 0o644)
    entries = {"a": file, "disk": file._replace(kind=Kind.MOUNT)}

    content = sort_out(DiskIndex(entries, {"locked": "Permission denied"}), matcher([]))

    assert set(content.files) == {"a"}
    problems = _problems(content)
    assert "mount point" in problems["disk"]
    assert "Permission denied" in problems["locked"]


@pytest.mark.parametrize(
    ("paths", "wrong"),
    [
        (("Readme", "readme"), {"readme"}),
        (("e\u0301", "\u00e9"), {"\u00e9"}),
        (("Data/x", "data"), {"data"}),
        (("a/" * 120 + "b", "c"), {"a/" * 120 + "b"}),
        (("n" * 250 + "/" + "m" * 250, "\u00e9" * 120), set()),
    ],
)
def test_names_that_subscribers_refuse_or_change_are_problems(
    paths: tuple[str, ...], wrong: set[str]
) -> None:
    file = DiskEntry(Kind.FILE, 1, 0, 0, 1, 0o644)

    folders = dict.fromkeys(folders_above(paths), file._replace(kind=Kind.FOLDER))

    content = sort_out(DiskIndex({**folders, **dict.fromkeys(paths, file)}), matcher([]))

    assert _problems(content).keys() == wrong
    assert set(content.files) == set(paths) - wrong
