"""Real torrents of all formats and makes: an empty folder, release 1, release 2."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, staged, trash_contents
from tests.support.torrents import (
    info_hash,
    is_single_file,
    make_libtorrent,
    make_mktorrent,
    make_transmission,
)
from tests.support.trees import assert_same_tree, random_bytes, tree_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.trees import Content

    Maker = Callable[[Path], bytes]

PIECE = 16 * 1024
LONG = random_bytes(20 * PIECE, "long")

RELEASE_1: dict[str, Content] = {
    "same.bin": 3 * PIECE + 100,
    "edge/one piece.bin": PIECE,
    "edge/minus.bin": 2 * PIECE - 1,
    "edge/even.bin": 2 * PIECE,
    "edge/plus.bin": 2 * PIECE + 1,
    "edge/changes.bin": 2 * PIECE + 1,
    "tiny/one": b"1",
    "tiny/other": b"x",
    "empty": b"",
    "becomes empty": 300,
    "was empty": b"",
    "grows.bin": LONG[: 4 * PIECE],
    "shrinks.bin": LONG[: 6 * PIECE + 7],
    "patched.bin": LONG,
    "Straße mit Leerzeichen/日本語 файл é.txt": 5000,
    "dropped.bin": 2 * PIECE,
    "dropped folder/deep/file.bin": 10,
    "half dropped/file.bin": 10,
}
CHANGES: dict[str, Content | None] = {
    "edge/changes.bin": b"!" * (2 * PIECE + 1),
    "tiny/other": b"y",
    "becomes empty": b"",
    "was empty": 300,
    "grows.bin": LONG[: 4 * PIECE + 500],
    "shrinks.bin": LONG[: 2 * PIECE + 1],
    "patched.bin": LONG[: 9 * PIECE] + b"?" + LONG[9 * PIECE + 1 :],
    "new/from now on.bin": 1000,
    "dropped.bin": None,
    "dropped folder/deep/file.bin": None,
    "half dropped/file.bin": None,
}


def _libtorrent(format_: str) -> Maker:
    return lambda folder: make_libtorrent(folder, format=format_, piece_size=PIECE)


def _mktorrent(folder: Path) -> bytes:
    # It takes no smaller pieces than 32 KiB.
    return make_mktorrent(folder, piece_size=2 * PIECE)


def _transmission(folder: Path) -> bytes:
    return make_transmission(folder, piece_size=PIECE)


FORMATS = ["v1", "v2", "hybrid"]
MAKERS = [
    pytest.param(_mktorrent, id="mktorrent", marks=pytest.mark.programs),
    pytest.param(_transmission, id="transmission-create", marks=pytest.mark.programs),
    *[pytest.param(_libtorrent(name), id=f"libtorrent-{name}") for name in FORMATS],
]


def changed(
    entries: Mapping[str, Content], changes: Mapping[str, Content | None]
) -> dict[str, Content]:
    merged = {**entries, **changes}
    return {path: content for path, content in merged.items() if content is not None}


@pytest.mark.parametrize("make", MAKERS)
def test_an_empty_folder_becomes_release_1_then_release_2(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, make: Maker
) -> None:
    entries = dict(RELEASE_1)
    changes = dict(CHANGES)
    if make is _transmission:  # it leaves empty files out
        del entries["empty"], entries["was empty"]
        changes["becomes empty"] = None
    first = write_tree(tmp_path / "release-1", entries)
    second = write_tree(tmp_path / "release-2", changed(entries, changes))
    old, new = tree_bytes(first), tree_bytes(second)

    one = make(first)
    publisher.publish(one, first)
    report = torsync.run("check-now").assert_ok().subscription
    assert_same_tree(torsync.tree, first, modes=False)
    assert report["changed"]
    assert report["release"] == "release-1"
    assert report["info_hash"] == info_hash(one)
    assert sorted(report["fetched_paths"]) == sorted(old)
    assert (report["kept"], report["patched"], report["trashed"]) == (0, 0, 0)
    assert report["bytes_total"] == sum(map(len, old.values()))
    fetched = report["bytes_fetched"]
    assert fetched == publisher.seeder.uploaded(one, at_least=fetched)
    assert fetched >= report["bytes_to_fetch"] > 0
    assert staged(torsync.tree) == []

    write_tree(torsync.tree, {"half dropped/mine.txt": b"mine", "notes/mine.txt": b"mine too"})
    two = make(second)
    publisher.publish(two, second)
    report = torsync.run("check-now").assert_ok().subscription
    with_notes = write_tree(tmp_path / "expected", changed(entries, changes))
    write_tree(with_notes, {"half dropped/mine.txt": b"mine", "notes/mine.txt": b"mine too"})
    assert_same_tree(torsync.tree, with_notes, modes=False)

    differing = {path for path in new if path in old and new[path] != old[path]}
    dropped = old.keys() - new.keys()
    touched = report["patched_paths"] + report["fetched_paths"]
    assert sorted(touched) == sorted(differing | (new.keys() - old.keys()))
    assert {"patched.bin", "grows.bin"} <= set(report["patched_paths"])
    assert report["kept"] == len(new) - len(touched)
    assert sorted(report["trashed_paths"]) == sorted(differing | dropped)
    assert trash_contents(torsync.tree) == {path: [old[path]] for path in differing | dropped}
    assert not (torsync.tree / "dropped folder").exists()
    fetched = report["bytes_fetched"]
    assert fetched == publisher.seeder.uploaded(two, at_least=fetched)
    assert 0 < report["bytes_fetched"] < report["bytes_total"]
    assert staged(torsync.tree) == []

    report = torsync.run("check-now").assert_ok().subscription
    assert not report["changed"]
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    assert (report["kept"], report["fetched"], report["trashed"]) == (len(new), 0, 0)
    assert_same_tree(torsync.tree, with_notes, modes=False)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_update_fetches_only_the_pieces_that_changed(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    first = write_tree(tmp_path / "one", {"a.bin": LONG, "b.bin": 40 * PIECE})
    second = write_tree(tmp_path / "two", {"a.bin": LONG, "b.bin": 40 * PIECE})
    with (second / "b.bin").open("r+b") as file:
        file.seek(17 * PIECE + 5)
        file.write(b"other")
    publisher.publish(make_libtorrent(first, format=format_, piece_size=PIECE), first)
    torsync.run("check-now").assert_ok()
    publisher.publish(make_libtorrent(second, format=format_, piece_size=PIECE), second)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["patched_paths"] == ["b.bin"]
    assert report["kept"] == 1
    assert report["bytes_to_fetch"] == PIECE
    assert report["bytes_fetched"] == PIECE
    assert_same_tree(torsync.tree, second)


@pytest.mark.parametrize("make", MAKERS)
def test_a_single_file_torrent_is_updated_under_its_own_name(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, make: Maker
) -> None:
    first = write_tree(tmp_path / "one", {"ein Bild.img": LONG}) / "ein Bild.img"
    second = write_tree(tmp_path / "two", {"ein Bild.img": LONG + b"more"}) / "ein Bild.img"
    one, two = make(first), make(second)
    assert is_single_file(one)
    publisher.publish(one, first.parent)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["fetched_paths"] == ["ein Bild.img"]
    assert tree_bytes(torsync.tree) == {"ein Bild.img": LONG}
    publisher.publish(two, second.parent)
    report = torsync.run("check-now").assert_ok().subscription
    assert report["patched_paths"] == ["ein Bild.img"]
    fetched = report["bytes_fetched"]
    assert fetched == publisher.seeder.uploaded(two, at_least=fetched) <= 2 * PIECE
    assert tree_bytes(torsync.tree) == {"ein Bild.img": LONG + b"more"}
    assert trash_contents(torsync.tree) == {"ein Bild.img": [LONG]}


@pytest.mark.parametrize("format_", FORMATS)
def test_files_of_awkward_sizes_arrive_side_by_side(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE - 1, 3 * PIECE, 3 * PIECE + 1, 0]
    pairs = [(one, other) for one in sizes for other in sizes]
    entries: dict[str, Content] = {}
    for number, (one, other) in enumerate(pairs):
        entries |= {f"{number:02}/first": one, f"{number:02}/then": other}
    folder = write_tree(tmp_path / "pack", entries)
    publisher.publish(make_libtorrent(folder, format=format_, piece_size=PIECE), folder)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, folder)
    report = torsync.run("verify").assert_ok().subscription
    assert report["ok"] == len(entries)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_release_of_one_byte_arrives(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    folder = write_tree(tmp_path / "pack", {"only": b"1"})
    publisher.publish(make_libtorrent(folder / "only", format=format_, piece_size=PIECE), folder)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, folder)


@pytest.mark.parametrize("format_", FORMATS)
def test_links_executable_bits_and_times_follow_the_releases(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    entries: dict[str, Content] = {
        "bin/tool": ("exec", 3000),
        "bin/becomes plain": ("exec", 100),
        "bin/becomes executable": 100,
        "bin/current": ("link", "tool"),
        "link to folder file": ("link", "lib/deep/data"),
        "lib/deep/data": PIECE,
        "lib/deep/up": ("link", "../../bin/tool"),
        "turns into a file": ("link", "bin/tool"),
        "turns into a link": 500,
        "dropped link": ("link", "bin/tool"),
    }
    first = write_tree(tmp_path / "one", entries)
    changes: dict[str, Content | None] = {
        "bin/becomes plain": 100,
        "bin/becomes executable": ("exec", 100),
        "bin/current": ("link", "becomes executable"),
        "turns into a file": 500,
        "turns into a link": ("link", "lib/deep/data"),
        "dropped link": None,
    }
    second = write_tree(tmp_path / "two", changed(entries, changes))
    for number, folder in enumerate([first, second]):
        torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
        publisher.publish(torrent, folder)
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, folder)
        report = torsync.run("check-now").assert_ok().subscription
        assert not report["changed"], number


@pytest.mark.parametrize("format_", FORMATS)
def test_modification_times_are_those_that_the_release_records(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, format_: str
) -> None:
    first = write_tree(tmp_path / "one", {"a": 3 * PIECE, "b/c": 100, "same content": 200})
    second = shutil.copytree(first, tmp_path / "two")
    (second / "a").write_bytes(b"new")
    for number, folder in enumerate([first, second]):
        for at, path in enumerate(sorted(tree_bytes(folder))):
            os.utime(folder / path, (0, 1_000_000_000 + 86_400 * number + at))
        torrent = make_libtorrent(folder, format=format_, piece_size=PIECE, mtimes=True)
        assert b"mtime" in torrent
        publisher.publish(torrent, folder)
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, folder)
        for path in tree_bytes(folder):
            assert (torsync.tree / path).stat().st_mtime == (folder / path).stat().st_mtime, path
        report = torsync.run("check-now").assert_ok().subscription
        assert (report["changed"], report["bytes_hashed"]) == (False, 0)


def test_a_folder_that_has_the_content_already_is_adopted_without_fetching(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    folder = write_tree(tmp_path / "pack", RELEASE_1)
    shutil.copytree(folder, torsync.tree)
    torrent = make_libtorrent(folder, piece_size=PIECE)
    publisher.publish(torrent, folder)
    before = {path: (torsync.tree / path).stat().st_mtime_ns for path in RELEASE_1}
    report = torsync.run("check-now").assert_ok().subscription
    assert (report["fetched"], report["patched"], report["bytes_fetched"]) == (0, 0, 0)
    assert report["kept"] == len(RELEASE_1)
    assert report["bytes_hashed"] == report["bytes_total"]
    assert before == {path: (torsync.tree / path).stat().st_mtime_ns for path in RELEASE_1}
    assert publisher.seeder.uploaded(torrent) == 0
