"""What others leave in a tree: links and mounts that lead out of it, two writers, no permission."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, staged, trash_contents, visible
from tests.support.torrents import info_hash, make_raw
from tests.support.trees import assert_same_tree, tree_bytes, write_tree
from tests.support.updates import make, publish
from torsync.model.errors import ManifestError
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.trees import Content

KIB = 1024
PIECE = 16 * KIB
FIRST: dict[str, Content] = {"a/one.bin": 20 * PIECE, "a/two.bin": 3 * PIECE + 7, "b": 5}
SECOND: dict[str, Content] = {"a/one.bin": 21 * PIECE, "a/two.bin": 3 * PIECE + 7, "c": 500}


# --- the stage ------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the tree, with files as long as those of a release."""
    return write_tree(tmp_path / "outside", {"file": 21 * PIECE, "0": 21 * PIECE, "folder/x": 9})


def _symbolic_link(at: Path, outside: Path) -> None:
    at.symlink_to(outside / "file")


def _dangling_link(at: Path, outside: Path) -> None:
    at.symlink_to(outside / "not yet there")


def _hard_link(at: Path, outside: Path) -> None:
    at.hardlink_to(outside / "file")


def _fifo(at: Path, _outside: Path) -> None:
    os.mkfifo(at)


def _folder(at: Path, _outside: Path) -> None:
    write_tree(at, {"deep/er": b"left there"})


def _link_to_a_folder(at: Path, outside: Path) -> None:
    at.symlink_to(outside, target_is_directory=True)


def _file(at: Path, _outside: Path) -> None:
    at.write_bytes(b"stray")


IN_THE_STAGE = [_symbolic_link, _dangling_link, _hard_link, _fifo, _folder, _link_to_a_folder]


@pytest.mark.parametrize("synced_before", [False, True])
@pytest.mark.parametrize("plant", IN_THE_STAGE)
def test_what_others_put_into_the_stage_is_not_written_through(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    outside: Path,
    plant: Callable[[Path, Path], None],
    synced_before: bool,
) -> None:
    if synced_before:  # the first file is patched then, else it is fetched
        publish(publisher, tmp_path / "one", FIRST)
        torsync.run("check-now").assert_ok()
    torrent = publish(publisher, tmp_path / "two", SECOND)
    stage = torsync.tree / ".torsync/stage" / info_hash(torrent)
    stage.mkdir(parents=True)
    for name in ("0", "0.part", "1.scratch"):
        plant(stage / name, outside)
    before = tree_bytes(outside)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")
    assert tree_bytes(outside) == before
    assert staged(torsync.tree) == []


@pytest.mark.parametrize("plant", [_file, *IN_THE_STAGE])
def test_what_others_put_beside_the_stage_is_removed_and_not_followed(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    outside: Path,
    plant: Callable[[Path, Path], None],
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    stages = torsync.tree / ".torsync/stage"
    stages.mkdir(parents=True)
    plant(stages / "stray", outside)
    plant(stages / ("f" * 40), outside)
    before = tree_bytes(outside)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "one")
    assert tree_bytes(outside) == before
    assert staged(torsync.tree) == []


@pytest.mark.parametrize("plant", [_file, _symbolic_link, _hard_link, _fifo, _link_to_a_folder])
def test_what_is_in_the_place_of_a_stage_is_replaced(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    outside: Path,
    plant: Callable[[Path, Path], None],
) -> None:
    torrent = publish(publisher, tmp_path / "one", FIRST)
    stages = torsync.tree / ".torsync/stage"
    stages.mkdir(parents=True)
    plant(stages / info_hash(torrent), outside)
    before = tree_bytes(outside)
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "one")
    assert tree_bytes(outside) == before
    assert staged(torsync.tree) == []


# --- mounts ---------------------------------------------------------------------------------


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Mount a folder or a file at another place of the same file system."""
    command = ["mount", "--bind", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


@pytest.mark.parametrize("at", ["a", "a/one.bin"])
def test_an_update_that_would_go_into_a_bind_mount_is_refused_before_anything_is_fetched(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, at: str
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    source = tmp_path / "elsewhere" / at
    write_tree(tmp_path / "elsewhere", {"a/one.bin": 20 * PIECE, "a/mine": b"mine"})
    torrent = publish(publisher, tmp_path / "two", SECOND)
    before = snapshot(tmp_path / "elsewhere")
    with bound(source, torsync.tree / at):
        seen = visible(torsync.tree)
        for _ in range(2):
            outcome = torsync.run("check-now")
            assert outcome.exit_code == 1
            assert outcome.error["code"] == "tree"
            assert f"'{at}'" in outcome.error["message"]
            assert visible(torsync.tree) == seen
            assert snapshot(tmp_path / "elsewhere") == before
            assert staged(torsync.tree) == []
            assert trash_contents(torsync.tree) == {}
        assert publisher.seeder.uploaded(torrent) == 0
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, tmp_path / "two")
    assert snapshot(tmp_path / "elsewhere") == before


def test_a_bind_mount_beside_what_the_release_lists_is_left_alone(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    publish(publisher, tmp_path / "one", FIRST)
    torsync.run("check-now").assert_ok()
    elsewhere = write_tree(tmp_path / "elsewhere", {"mine": b"mine"})
    (torsync.tree / "mounted").mkdir()
    before = snapshot(elsewhere)
    publish(publisher, tmp_path / "two", SECOND)
    torsync.subscribe(clean="mirror")
    with bound(elsewhere, torsync.tree / "mounted"):
        torsync.run("check-now").assert_ok()
        assert snapshot(elsewhere) == before
        expected = {**tree_bytes(tmp_path / "two"), "mounted/mine": b"mine"}
        assert tree_bytes(torsync.tree) == expected


# --- two writers ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check-now", "verify", "run"])
def test_a_second_process_with_another_state_directory_is_kept_out_of_the_tree(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, command: str
) -> None:
    publisher.announce(make(tmp_path / "one", FIRST))  # nobody seeds it: the first one waits
    first = torsync.start("check-now")
    first.wait_for_stage("pack", "downloading")
    torsync.state_dir = tmp_path / "another state"
    if command == "run":  # it has other trees to care for, and tries again
        heard = torsync.start(command).wait_for(
            lambda one: one["type"] == "notice" and one["level"] == "error", "it is kept out"
        )
    else:
        outcome = torsync.run(command)
        assert outcome.exit_code == 6
        heard = outcome.error
    assert heard["code"] == "busy"
    assert str(torsync.tree) in heard["message"]
    assert first.is_running
    first.kill()
    if command == "check-now":
        publisher.seeder.add_folder(publisher.file.read_bytes(), tmp_path / "one")
        torsync.run("check-now").assert_ok()
        assert_same_tree(torsync.tree, tmp_path / "one")


# --- permissions ----------------------------------------------------------------------------


def test_a_folder_that_cannot_be_read_holds_back_removals_and_fails_the_check(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, unprivileged: dict[str, str]
) -> None:
    publish(publisher, tmp_path / "one", {"kept": 2 * PIECE, "dropped": 100})
    torsync.run("check-now", environment=unprivileged).assert_ok()
    closed = write_tree(torsync.tree / "closed", {"mine": b"mine"})
    closed.chmod(0)
    try:
        # As long as nothing would be removed, it is nobody's business.
        report = torsync.run("check-now", environment=unprivileged).assert_ok().subscription
        assert report["unreadable_paths"] == []
        publish(publisher, tmp_path / "two", {"kept": 3 * PIECE})
        for replaced in (["kept"], []):
            outcome = torsync.run("check-now", environment=unprivileged)
            assert outcome.exit_code == 1
            assert outcome.subscription["unreadable_paths"] == ["closed"]
            assert outcome.subscription["trashed_paths"] == replaced
            assert (torsync.tree / "dropped").stat().st_size == 100
            assert_same_file(torsync.tree / "kept", tmp_path / "two/kept")
    finally:
        closed.chmod(0o755)
    report = torsync.run("check-now", environment=unprivileged).assert_ok().subscription
    assert report["unreadable_paths"] == []
    assert report["trashed_paths"] == ["dropped"]
    expected = {**tree_bytes(tmp_path / "two"), "closed/mine": b"mine"}
    assert tree_bytes(torsync.tree) == expected
    assert sorted(trash_contents(torsync.tree)) == ["dropped", "kept"]


def assert_same_file(actual: Path, expected: Path) -> None:
    assert actual.read_bytes() == expected.read_bytes()


# --- piece lengths --------------------------------------------------------------------------


def with_piece_length(length: int) -> bytes:
    return make_raw({"x": b"content"}, piece_size=length)


@pytest.mark.parametrize("is_there", [False, True])
def test_pieces_that_libtorrent_does_not_take_are_refused_before_anything_is_done(
    torsync: Torsync, publisher: Publisher, is_there: bool
) -> None:
    publisher.announce(with_piece_length(1 << 29))
    if is_there:
        write_tree(torsync.tree, {"x": b"CONTENT"})
        before = visible(torsync.tree)
    outcome = torsync.run("check-now", "--timeout", "2s")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "manifest_invalid"
    assert "piece length" in outcome.error["message"]
    if is_there:
        assert visible(torsync.tree) == before


def test_the_longest_pieces_that_are_accepted() -> None:
    assert parse_metainfo(with_piece_length(1 << 28)).piece_length == 1 << 28
    with pytest.raises(ManifestError, match="piece length"):
        parse_metainfo(with_piece_length((1 << 28) + 1))
