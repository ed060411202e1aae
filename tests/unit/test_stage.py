"""The stage: clones that share blocks or are copies, and what an interrupted update leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.torrents import make_raw
from tests.support.trees import random_bytes, write_tree
from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.tree import Tree
from torsync.model.config import CleanMode
from torsync.model.errors import DiskFullError, InterruptedByUserError, TreeError
from torsync.model.metainfo import parse_metainfo
from torsync.model.placement import Place, place_for_fetch
from torsync.model.plan import Action, Plan
from torsync.model.tree_index import LedgerRow, ledger_row
from torsync.subscribe.cloning import Copying, finish_clone
from torsync.subscribe.look import take_look
from torsync.subscribe.stage import Stage, StagedRecord
from torsync.subscribe.surroundings import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.torrents import RawFile
    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
OLD = random_bytes(10 * PIECE, "old")
NEW = OLD[: 3 * PIECE] + b"new" + OLD[3 * PIECE + 3 :]


def release(files: Mapping[str, bytes | RawFile]) -> Manifest:
    return parse_metainfo(make_raw(files, align=True, roots=True), windows=False)


def ledger_of(tree: Tree, manifest: Manifest) -> dict[str, LedgerRow]:
    """What torsync remembers after it has brought ``manifest`` into the tree."""
    rows = {}
    for index, file in enumerate(manifest.files):
        entry = tree.stat(file.path)
        assert entry is not None
        rows[file.path] = ledger_row(entry, manifest.digest(index))
    return rows


def plan_for(
    tree: Tree,
    wanted: Manifest,
    *,
    ledger: Mapping[str, LedgerRow] | None = None,
    keep: Callable[[str], bool] = lambda _path: False,
    clean: CleanMode = CleanMode.MANAGED,
) -> Plan:
    """Look at a tree and decide, as a subscription does it."""
    look = take_look(
        tree,
        wanted,
        dict(ledger or {}),
        Voice("pack", lambda _event: None),
        keep=keep,
        trust_ledger=True,
        stopping=lambda: False,
    )
    return look.plan(keep=keep, clean=clean)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    opened = Tree(write_tree(tmp_path / "tree", {"folder/patched": OLD, "other": 100}))
    yield opened
    opened.close()


@pytest.fixture
def plan(tree: Tree) -> Plan:
    """One file is patched, one is fetched, one stays."""
    return _plan(tree)


def _plan(tree: Tree) -> Plan:
    other = (tree.root / "other").read_bytes()
    wanted = release({"folder/patched": NEW, "new": b"1", "other": other})
    planned = plan_for(tree, wanted)
    assert [file.action for file in planned.files] == [Action.PATCH, Action.FETCH, Action.KEEP]
    return planned


def _stage(tree: Tree, plan: Plan) -> Stage:
    stage = Stage(tree, plan.wanted.info_hash)
    stage.prepare()
    return stage


def _clone(
    stage: Stage, plan: Plan, stopping: Callable[[], bool] = lambda: False
) -> tuple[list[int], list[str]]:
    counted: list[int] = []
    for clone in stage.clone_sources(plan, present=stage.leftovers()):
        finish_clone(stage._tree, clone, stopping, counted.append)
    return counted, sorted(os.listdir(stage_folder(stage)))


def _kept(content: bytes) -> bytes:
    """What a clone of ``OLD`` has to have: all but the piece that is fetched."""
    return content[: 3 * PIECE] + content[4 * PIECE :]


def stage_folder(stage: Stage) -> Path:
    return stage._tree.root / stage.folder


# --- cloning --------------------------------------------------------------------------------


def test_a_clone_is_a_writable_copy_and_the_original_stays(tree: Tree, plan: Plan) -> None:
    original = tree.root / "folder/patched"
    original.chmod(0o555)
    plan = _plan(tree)
    before = tree.stat("folder/patched")
    stage = _stage(tree, plan)
    _counted, names = _clone(stage, plan)
    assert names == ["0"]
    clone = stage_folder(stage) / "0"
    assert _kept(clone.read_bytes()) == _kept(OLD)
    assert stat.S_IMODE(clone.stat().st_mode) == 0o755
    assert clone.stat().st_ino != original.stat().st_ino
    clone.write_bytes(b"changed")
    assert original.read_bytes() == OLD
    assert tree.stat("folder/patched") == before


def test_where_blocks_cannot_be_shared_every_byte_is_counted(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    stage = _stage(tree, plan)
    counted, _names = _clone(stage, plan)
    assert sum(counted) == len(_kept(OLD))
    clone = stage_folder(stage) / "0"
    assert _kept(clone.read_bytes()) == _kept(OLD)
    assert clone.stat().st_size == len(OLD)


def _refuse_to_share(monkeypatch: pytest.MonkeyPatch, number: int = errno.EOPNOTSUPP) -> None:
    def ioctl(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_the_kernel_cannot_copy_it_is_read_and_written(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _refuse_to_share(monkeypatch, number)

    def copy_file_range(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    stage = _stage(tree, plan)
    _clone(stage, plan)
    assert _kept((stage_folder(stage) / "0").read_bytes()) == _kept(OLD)


@pytest.mark.parametrize("shares", [True, False])
def test_a_clone_of_a_file_that_gets_shorter_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    if not shares:
        _refuse_to_share(monkeypatch)
    tree = Tree(write_tree(tmp_path / "tree", {"file": OLD}))
    plan = plan_for(tree, release({"file": OLD[: 2 * PIECE + 5]}))
    assert plan.files[0].action is Action.PATCH
    stage = _stage(tree, plan)
    _clone(stage, plan)
    assert (stage_folder(stage) / "0").read_bytes() == OLD[: 2 * PIECE + 5]
    tree.close()


def test_a_disk_without_room_is_told_and_no_half_clone_is_taken_for_one(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=256k")) as root:
        write_tree(root, {"folder/patched": OLD, "other": 100})
        tree = Tree(root)
        plan = _plan(tree)
        stage = _stage(tree, plan)
        with pytest.raises(DiskFullError) as caught:
            _clone(stage, plan)
        assert caught.value.path == "folder/patched"
        assert stage.leftovers() == {}
        assert os.listdir(stage_folder(stage)) == []
        assert (root / "folder/patched").read_bytes() == OLD
        tree.close()


def _make_file_system(kind: str, image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(320 * 1024**2)
    program = f"mkfs.{kind}"
    try:
        subprocess.run([program, "-q", image], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"{program} is not installed")


def _shares_blocks(one: Path, other: Path) -> bool:
    """Whether the first extents of two files are at the same place on the disk (FIEMAP)."""
    import struct

    found = []
    for path in (one, other):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            request = bytearray(struct.pack("=QQLLLL", 0, 2**63 - 1, 1, 0, 1, 0) + bytes(56))
            fcntl.ioctl(file.fileno(), 0xC020660B, request)
            found.append(struct.unpack_from("=QQQ", request, 32)[1])
    return found[0] == found[1]


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_where_the_file_system_can_share_blocks_nothing_is_copied(
    tmp_path: Path, kind: str
) -> None:
    image = tmp_path / "image"
    _make_file_system(kind, image)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        root = write_tree(disk / "tree", {"folder/patched": OLD, "other": 100})
        tree = Tree(root)
        plan = _plan(tree)
        stage = _stage(tree, plan)
        counted, names = _clone(stage, plan)
        assert (counted, names) == ([], ["0"])
        clone = stage_folder(stage) / "0"
        assert _shares_blocks(root / "folder/patched", clone)
        with clone.open("r+b") as file:
            file.write(b"changed")
        assert (root / "folder/patched").read_bytes() == OLD
        tree.close()


def test_the_copy_of_a_file_that_changes_meanwhile_is_not_used(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    real = os.copy_file_range

    def copy_file_range(*arguments: int) -> int:
        with (tree.root / "folder/patched").open("r+b") as file:
            file.write(b"edited meanwhile")
        return real(*arguments)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    stage = _stage(tree, plan)
    with pytest.raises(TreeError, match="changed while it was being copied") as caught:
        _clone(stage, plan)
    assert caught.value.path == "folder/patched"
    assert stage.leftovers() == {}


def test_a_file_that_vanished_or_became_a_link_is_named(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    file = tree.root / "folder/patched"
    file.unlink()
    with pytest.raises(TreeError, match="No such file") as caught:
        _clone(stage, plan)
    assert caught.value.path == "folder/patched"
    file.symlink_to("/etc/passwd")
    with pytest.raises(TreeError, match="link"):
        _clone(stage, plan)
    assert stage.leftovers() == {}


def test_a_clone_that_is_stopped_is_made_anew(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    stage = _stage(tree, plan)
    with pytest.raises(InterruptedByUserError):
        _clone(stage, plan, stopping=lambda: True)
    assert sorted(os.listdir(stage_folder(stage))) == ["0", "0.part"]
    assert stage.leftovers() == {}
    assert os.listdir(stage_folder(stage)) == []
    _clone(stage, plan)
    assert _kept((stage_folder(stage) / "0").read_bytes()) == _kept(OLD)


def test_what_is_written_to_a_clone_meanwhile_is_not_copied_over(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    stage = _stage(tree, plan)
    (clone,) = stage.clone_sources(plan, present=())
    with (stage_folder(stage) / "0").open("r+b") as file:
        file.seek(3 * PIECE)
        file.write(NEW[3 * PIECE : 4 * PIECE])
    finish_clone(tree, clone, lambda: False, lambda _count: None)
    assert (stage_folder(stage) / "0").read_bytes() == NEW


def test_copying_that_failed_or_that_nobody_waits_for_ends(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    stage = _stage(tree, plan)
    clones = stage.clone_sources(plan, present=())
    started, known = threading.Event(), threading.Event()
    running: list[Copying] = []

    def copy_file_range(*_arguments: int) -> int:
        started.set()
        known.wait(60)
        running[0]._ended.wait(60)
        return 1

    def copying() -> Copying:
        return Copying(tree, clones, stopping=lambda: False, on_bytes=lambda _count: None)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    with copying() as unneeded:
        running.append(unneeded)
        known.set()
        assert started.wait(60)
        assert not unneeded.is_done
        unneeded.check()
    with pytest.raises(InterruptedByUserError):
        unneeded.check()
    (tree.root / "folder/patched").unlink()
    with pytest.raises(TreeError, match="No such file"), copying() as failed:
        failed.finish()


def test_copying_tells_how_much_it_has_copied_to_who_waits_for_it(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_to_share(monkeypatch)
    stage = _stage(tree, plan)
    counted: list[int] = []
    with Copying(
        tree,
        stage.clone_sources(plan, present=()),
        stopping=lambda: False,
        on_bytes=counted.append,
    ) as copying:
        copying.finish()
        copying.check()
        copying.check_stored()
        assert copying.is_done
    assert sum(counted) == len(_kept(OLD))
    assert set(stage.leftovers()) == {"0"}


def test_a_clone_that_is_there_is_not_made_again(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    (stage_folder(stage) / "0").write_bytes(b"left")
    counted, names = _clone(stage, plan)
    assert (counted, names) == ([], ["0"])
    assert (stage_folder(stage) / "0").read_bytes() == b"left"


def test_cloning_gives_all_descriptors_back(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    tree.forget_folders()
    before = os.listdir("/proc/self/fd")
    _clone(stage, plan)
    with pytest.raises(TreeError):
        stage.discard("absent")
    tree.forget_folders()
    assert os.listdir("/proc/self/fd") == before


# --- what is left ---------------------------------------------------------------------------


def test_what_other_releases_left_is_removed_and_this_ones_stays(tree: Tree, plan: Plan) -> None:
    stages = tree.root / ".torsync/stage"
    info_hash = plan.wanted.info_hash
    write_tree(stages, {"aa/0": b"1", "aa/1.scratch": b"1", f"{info_hash}/0": b"this one's"})
    (stages / "bb").mkdir()
    stage = _stage(tree, plan)
    assert os.listdir(stages) == [info_hash]
    assert set(stage.leftovers()) == {"0"}


def test_what_is_no_file_of_its_own_is_removed_from_a_stage(tree: Tree, plan: Plan) -> None:
    outside = write_tree(tree.root.parent / "outside", {"file": b"1", "with one name": b"2"})
    stage = _stage(tree, plan)
    folder = stage_folder(stage)
    (folder / "0").symlink_to(outside / "with one name")
    (folder / "1").hardlink_to(outside / "file")
    os.mkfifo(folder / "2")
    write_tree(folder, {"3/inside": b"1"})
    assert stage.leftovers() == {}
    assert os.listdir(folder) == []
    assert (outside / "file").read_bytes() == b"1"
    assert (outside / "with one name").read_bytes() == b"2"


def test_a_file_that_is_where_a_stage_goes_makes_room(tree: Tree, plan: Plan) -> None:
    write_tree(tree.root, {f".torsync/stage/{plan.wanted.info_hash}": b"no folder"})
    stage = _stage(tree, plan)
    assert os.listdir(stage_folder(stage)) == []


def test_what_fails_in_a_stage_that_is_opened_by_name_is_told_by_the_name_that_people_know(
    tree: Tree, plan: Plan
) -> None:
    stage = _stage(tree, plan)
    before = len(os.listdir("/proc/self/fd"))

    def fail(folder: str) -> NoReturn:
        assert os.path.samefile(folder, stage_folder(stage))
        raise TreeError(f"{folder}/0 cannot be written", path=f"{folder}/0", hint="")

    with pytest.raises(TreeError) as caught, stage.for_writing_by_name() as folder:
        fail(folder)
    assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.path == f"{stage_folder(stage)}/0"
    assert caught.value.message == f"{stage_folder(stage)}/0 cannot be written"


def test_a_stage_has_its_own_name_where_the_system_has_none_for_open_folders(
    tree: Tree, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _stage(tree, plan)
    monkeypatch.setattr(os.path, "samestat", lambda *_statuses: False)
    with stage.for_writing_by_name() as folder:
        assert folder == str(stage_folder(stage))


def test_a_copy_for_the_trash_has_content_and_time_of_the_file(tree: Tree) -> None:
    write_tree(tree.root, {"file": OLD})
    os.utime(tree.root / "file", ns=(0, 1_000_000_001))
    plan = plan_for(tree, release({"file": NEW}))
    stage = _stage(tree, plan)
    (stage_folder(stage) / "0").write_bytes(b"left by another")
    copy = tree.root / stage.save_copy("file", 0, plan, lambda: False)
    assert copy.parent == stage_folder(stage)
    assert copy.read_bytes() == OLD
    assert copy.stat().st_mtime_ns == 1_000_000_001
    assert copy.stat().st_ino != (tree.root / "file").stat().st_ino


def test_a_clone_is_like_its_source_only_if_all_that_is_asked_for_is(
    tree: Tree, plan: Plan
) -> None:
    stage = _stage(tree, plan)
    (source,) = {planned.source for planned in plan.files if planned.is_cloned}
    content = (tree.root / source).read_bytes()
    (stage_folder(stage) / "0").write_bytes(content[:PIECE] + bytes(PIECE) + content[2 * PIECE :])
    before = len(os.listdir("/proc/self/fd"))
    first, second, third = ((at * PIECE, PIECE) for at in range(3))
    assert stage.is_clone_at(0, source, [first, third])
    assert not stage.is_clone_at(0, source, [first, second])
    assert not stage.is_clone_at(0, source, [second, third])
    assert len(os.listdir("/proc/self/fd")) <= before + 1, "the folder is kept open"


def test_a_link_in_a_stage_is_not_followed(tree: Tree, plan: Plan) -> None:
    outside = write_tree(tree.root.parent / "outside", {"file": b"1"})
    stage = _stage(tree, plan)
    (stage_folder(stage) / "1").symlink_to(outside / "file")
    with pytest.raises(OSError, match="symbolic"):
        stage.open_for(place_for_fetch(plan))(1)
    stage.remove()
    assert (outside / "file").read_bytes() == b"1"


def test_a_stage_that_is_a_link_is_refused(tree: Tree, plan: Plan) -> None:
    outside = write_tree(tree.root.parent / "outside", {"aa/0": b"1"})
    (tree.root / ".torsync").mkdir()
    (tree.root / ".torsync/stage").symlink_to(outside)
    with pytest.raises(TreeError, match="link"):
        _stage(tree, plan)
    assert (outside / "aa/0").exists()


def test_a_stage_is_removed_with_all_in_it(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    _clone(stage, plan)
    stage.discard("0")
    assert stage.leftovers() == {}
    write_tree(stage_folder(stage), {"1": b"1", "2.scratch": b"1"})
    stage.remove()
    assert os.listdir(tree.root / ".torsync/stage") == []
    _stage(tree, plan)
    assert stage.leftovers() == {}


def test_each_file_is_opened_where_it_is(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    placement = place_for_fetch(plan)
    assert placement.places == (Place.STAGE, Place.STAGE, Place.TREE)
    write_tree(stage_folder(stage), {"0": b"staged 0", "1": b"staged 1"})
    seen = []
    for index in range(3):
        fd = stage.open_for(placement)(index)
        seen.append(os.read(fd, 100))
        os.close(fd)
    assert seen == [b"staged 0", b"staged 1", (tree.root / "other").read_bytes()]
    assert stage.path(2, Place.SCRATCH) == f"{stage.folder}/2.scratch"


# --- the record -----------------------------------------------------------------------------


def test_a_record_is_the_same_after_it_was_written_down() -> None:
    record = StagedRecord(
        "ab" * 20, bytes([0, 1] * 5000), {"0": (1, 2**62, 3), "7.scratch": (0,) * 3}
    )
    assert StagedRecord.load(record.dump()) == record
    assert len(record.dump()) < 1000
    assert StagedRecord.load("") is None
    empty = StagedRecord("cd" * 20, b"", {})
    assert StagedRecord.load(empty.dump()) == empty


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "no JSON",
        '{"info_hash": "ab", "have": "eJwDAAAAAAE="}',
        '{"info_hash": 1, "have": "eJwDAAAAAAE=", "files": {}}',
        '{"info_hash": "ab", "have": "eJwDAAAAAAE=", "files": {"0": [1, 2]}}',
        '{"info_hash": "ab", "have": "eJwDAAAAAAE=", "files": {"0": [1, 2, "3"]}}',
        '{"info_hash": "ab", "have": "not base 64", "files": {}}',
        '{"info_hash": "ab", "have": "AAAA", "files": {}}',
    ],
)
def test_a_record_that_makes_no_sense_is_as_good_as_none(text: str) -> None:
    assert StagedRecord.load(text) is None


def test_a_record_tells_whether_the_stage_is_as_it_was(tree: Tree, plan: Plan) -> None:
    stage = _stage(tree, plan)
    _clone(stage, plan)
    have = bytes(plan.wanted.num_pieces)
    record = StagedRecord.load(stage.record(have).dump())
    assert record == stage.record(have)
    assert record is not None
    assert set(record.files) == {"0"}
    with (stage_folder(stage) / "0").open("r+b") as file:
        file.write(b"x")
    assert record != stage.record(have)
    record = stage.record(have)
    (stage_folder(stage) / "1").touch()
    assert record != stage.record(have)
    assert record != stage.record(b"\1" + have[1:])
