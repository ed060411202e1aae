"""The chunks of files, cut here and by worker processes, and kept in the hash cache."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hints import assert_describes, read_hints
from tests.support.publishing import fail
from tests.support.torrents import pieces_root
from tests.support.trees import edit_in_place, random_bytes, write_tree
from torsync.disk import chunking
from torsync.disk.stamps import stamp_of
from torsync.disk.tree import Tree
from torsync.model.errors import InterruptedByUserError
from torsync.model.hints.chunks import usual_entry_bytes
from torsync.model.hints.format import Filed, key_of, write_front
from torsync.publish.errors import HashingError
from torsync.publish.hash_cache import HashCache
from torsync.publish.hints import kernel, maker
from torsync.publish.hints.kernel import CHANGED, CutKernel
from torsync.publish.hints.maker import CutWork, Maker, ReleasedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from torsync.publish.hashing.progress import HashProgress

MIB = 1024**2
SEGMENT = 256 * 1024


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[HashCache]:
    with closing(HashCache(tmp_path / "hashes.sqlite", on_new=fail)) as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "folder").mkdir()
    with closing(Tree(tmp_path / "folder")) as opened:
        yield opened


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a sixty-fourth of the size, so that files of few bytes have several."""
    monkeypatch.setattr(chunking, "SEGMENT_BYTES", SEGMENT)
    monkeypatch.setattr(maker, "SEGMENT_BYTES", SEGMENT)
    for module in (kernel, maker):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", SEGMENT // 16384)


def _files(tree: Tree, contents: dict[str, bytes]) -> list[ReleasedFile]:
    write_tree(tree.root, contents)
    return [
        ReleasedFile(path, stamp_of((tree.root / path).stat()), pieces_root(data))
        for path, data in contents.items()
    ]


def _make(
    tree: Tree,
    cache: HashCache,
    files: Iterable[ReleasedFile],
    *,
    workers: int = 1,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[HashProgress], None] = lambda _progress: None,
) -> Maker:
    made = Maker(tree, cache.hints, progress=progress, stopping=stopping, workers=workers)
    made.make(files)
    return made


def _hints_file(cache: HashCache, contents: Iterable[bytes]) -> bytes:
    keys = {key_of(pieces_root(data)) for data in contents}
    filed = cache.hints.filed(keys)
    return write_front(filed) + b"".join(cache.hints.entries(keys))


def _assert_entries_of(cache: HashCache, contents: list[bytes]) -> None:
    sizes = {pieces_root(data): len(data) for data in contents}
    found = read_hints(_hints_file(cache, contents), sizes)
    assert found.keys() == sizes.keys()
    for data in contents:
        assert_describes(found[pieces_root(data)], data)


# --- cutting ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_segments")
def test_files_of_one_and_of_several_segments_get_entries_that_describe_them(
    tree: Tree, cache: HashCache
) -> None:
    sizes = [16385, 65536, 65537, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 4 * SEGMENT + 20_001]
    contents = {f"{n % 2}/{n}": random_bytes(size, n) for n, size in enumerate(sizes)}
    told: list[HashProgress] = []

    made = _make(tree, cache, _files(tree, contents), progress=told.append)

    _assert_entries_of(cache, list(contents.values()))
    for data in contents.values():
        (filed,) = cache.hints.filed({key_of(pieces_root(data))})
        assert filed.length <= usual_entry_bytes(len(data)) < 2 * filed.length
    assert (made.files_cut, made.bytes_cut) == (len(sizes), sum(sizes))
    assert (told[-1].files_done, told[-1].files_total) == (len(sizes), len(sizes))
    assert told[-1].bytes_done == told[-1].bytes_total == sum(sizes)
    assert cache.hints.parts() == {}


def test_worker_processes_give_the_same(
    tree: Tree, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "_ALONE_BYTES", 0)
    monkeypatch.setattr(maker, "_JOB_FILES", 3)
    contents = {f"{n}": random_bytes(16_385 + 9_000 * n, n) for n in range(9)}
    contents["large"] = random_bytes(20 * MIB)

    _make(tree, cache, _files(tree, contents), workers=2)

    _assert_entries_of(cache, list(contents.values()))


def test_what_is_not_as_it_was_published_is_left_without_an_entry(
    tree: Tree, cache: HashCache
) -> None:
    data = random_bytes(50_000)
    names = ("good", "edited", "gone", "other inode", "grown", "link", "folder", "wrong root")
    files = {file.path: file for file in _files(tree, dict.fromkeys(names, data))}
    root = tree.root
    edit_in_place(root / "edited")
    (root / "gone").unlink()
    (root / "other inode").rename(root / "kept aside")
    (root / "other inode").write_bytes(data)
    with (root / "grown").open("ab") as file:
        file.write(b"1")
    for name in ("link", "folder"):
        (root / name).unlink()
    (root / "link").symlink_to("good")
    (root / "folder").mkdir()
    others = [
        file._replace(root=pieces_root(name.encode()))
        for name, file in files.items()
        if name != "good"
    ]

    made = _make(tree, cache, [*others, files["good"]])

    assert made.files_cut == 1
    assert cache.hints.keys() == {key_of(pieces_root(data))}


@pytest.mark.usefixtures("short_segments")
def test_a_large_file_whose_segments_do_not_lead_to_its_root_is_left_without_an_entry(
    tree: Tree, cache: HashCache
) -> None:
    (file,) = _files(tree, {"a": random_bytes(3 * SEGMENT)})
    made = _make(tree, cache, [file._replace(root=b"w" * 32)])
    assert made.files_cut == 0
    assert (cache.hints.keys(), cache.hints.parts()) == (set(), {})
    assert _make(tree, cache, [file]).files_cut == 1


def test_the_kernel_says_what_was_wrong_with_each_file(tree: Tree) -> None:
    data = random_bytes(20_000)
    (file,) = _files(tree, {"a": data})
    os.mkfifo(tree.root / "fifo")
    stamp = tuple(file.stamp)
    short = (*stamp[:1], stamp[1] + 1, *stamp[2:])

    job: Any = [("a", stamp, 0, 20_000), ("none", stamp, 0, 20_000), ("a", short, 0, 20_000)]
    job.append(("fifo", stamp, 0, 20_000))
    found = CutKernel(tree.open).run(job)

    assert found[1:] == [errno.ENOENT, CHANGED, errno.EINVAL]
    assert isinstance(found[0], tuple)
    assert found[0][0] == pieces_root(data)


def test_a_file_that_is_written_to_while_it_is_cut_is_told_as_changed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = _files(tree, {"a": random_bytes(20_000)})
    cut = chunking.Cutter.cut_with_blocks

    def cut_and_edit(self: chunking.Cutter, fd: int, start: int, length: int) -> Any:
        found = cut(self, fd, start, length)
        edit_in_place(tree.root / "a")
        return found

    monkeypatch.setattr(chunking.Cutter, "cut_with_blocks", cut_and_edit)
    assert CutKernel(tree.open).run([("a", tuple(file.stamp), 0, 20_000)]) == [CHANGED]


# --- being cut off ---------------------------------------------------------------------------


@pytest.mark.usefixtures("short_segments")
def test_what_was_cut_before_it_was_stopped_is_not_cut_again(tree: Tree, cache: HashCache) -> None:
    contents = {"small": random_bytes(20_000), "large": random_bytes(6 * SEGMENT, 1)}
    files = _files(tree, contents)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7  # twice for each job

    with pytest.raises(InterruptedByUserError):
        _make(tree, cache, files[::-1], stopping=stopping)
    assert len(cache.hints.parts()) == 3

    known = cache.hints.keys()
    missing = [file for file in files if key_of(file.root) not in known]
    made = _make(tree, cache, missing)
    assert made.bytes_cut == 3 * SEGMENT + 20_000
    _assert_entries_of(cache, list(contents.values()))


def test_a_worker_that_is_killed_is_an_error_and_what_was_cut_is_kept(
    tree: Tree, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "_ALONE_BYTES", 0)
    monkeypatch.setattr(maker, "_JOB_FILES", 1)
    contents = {str(n): random_bytes(300_000, n) for n in range(40)}
    files = _files(tree, contents)

    spawned: list[int] = []  # this process may have other children
    spawn = os.posix_spawn

    def note(*arguments: Any, **options: Any) -> int:
        spawned.append(spawn(*arguments, **options))
        return spawned[-1]

    monkeypatch.setattr(os, "posix_spawn", note)

    def kill_all(progress: HashProgress) -> None:
        if progress.files_done:
            for pid in spawned:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(HashingError, match="signal 9"):
        _make(tree, cache, files, workers=2, progress=kill_all)
    known = cache.hints.keys()
    assert known
    _make(tree, cache, [file for file in files if key_of(file.root) not in known])
    _assert_entries_of(cache, list(contents.values()))


def test_works_are_no_larger_than_a_segment_and_count_what_they_end() -> None:
    work = CutWork()
    file = ReleasedFile("a", stamp_of(os.stat(__file__))._replace(size=100), b"")
    work.add(file, 0, 60)
    assert (work.files_ended, work.content_bytes, work.paths) == (0, 60, ["a"])
    work.add(file, 60, 40)
    assert (work.files_ended, work.content_bytes) == (1, 100)
    assert work.cost_bytes > 100


# --- the cache -------------------------------------------------------------------------------


def test_entries_stay_for_the_release_after_the_one_that_had_them(
    tree: Tree, cache: HashCache
) -> None:
    contents = [random_bytes(20_000, n) for n in range(3)]
    one, two, three = (key_of(pieces_root(data)) for data in contents)
    _make(tree, cache, _files(tree, {str(n): data for n, data in enumerate(contents)}))

    cache.hints.finish_release({one, two})
    cache.hints.finish_release({one, two})
    assert cache.hints.keys() == {one, two, three}
    cache.hints.finish_release({one, three})
    assert cache.hints.keys() == {one, two, three}
    cache.hints.finish_release({one})
    assert cache.hints.keys() == {one, three}
    cache.hints.clear()
    assert cache.hints.keys() == set()


@pytest.mark.usefixtures("short_segments")
def test_parts_of_files_that_the_release_does_not_have_are_forgotten(
    tree: Tree, cache: HashCache
) -> None:
    (file,) = _files(tree, {"large": random_bytes(3 * SEGMENT)})
    asked = iter([False] * 5 + [True] * 9)
    with pytest.raises(InterruptedByUserError):
        _make(tree, cache, [file], stopping=lambda: next(asked))
    cache.hints.finish_release({key_of(file.root)})
    assert cache.hints.parts()
    cache.hints.finish_release(set())
    assert cache.hints.parts() == {}


def test_a_cache_of_before_there_were_hints_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "hashes.sqlite"
    with closing(HashCache(file, on_new=fail)) as cache:
        cache.remember({}, {}, {b"key": b"sha1"}, clock_ns=0)
    with closing(sqlite3.connect(file)) as database:
        database.executescript(
            "DROP TABLE hints; DROP TABLE hint_entries; DROP TABLE hint_parts; "
            "PRAGMA user_version=1"
        )
    with closing(HashCache(file, on_new=fail)) as cache:
        assert cache.packed() == {b"key": b"sha1"}
        assert cache.hints.keys() == set()


def test_many_entries_are_read_a_few_at_a_time(
    tree: Tree, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torsync.publish.hints.cache._READ_BYTES", 3000)
    contents = {str(n): random_bytes(20_000, n) for n in range(30)}
    _make(tree, cache, _files(tree, contents))
    _assert_entries_of(cache, list(contents.values()))
    some = list(contents.values())[::3]
    _assert_entries_of(cache, some)
    assert [type(one) for one in cache.hints.filed({b"x" * 16})] == []
    assert isinstance(cache.hints.filed(cache.hints.keys())[0], Filed)
