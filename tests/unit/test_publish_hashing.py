"""The hashing of parts of files, here and in worker processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.torrents import block_hashes, root_of
from tests.support.trees import random_bytes, write_tree
from torsync.disk.tree import Tree
from torsync.model.merkle import merkle_root
from torsync.publish.errors import HashingError
from torsync.publish.hashing import kernel, pool
from torsync.publish.hashing.jobs import Work
from torsync.publish.hashing.kernel import CHANGED, LAYER, ROOT, STREAM, FolderOpener, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 32 * 1024


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[FolderOpener]:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        yield FolderOpener(fd)
    finally:
        os.close(fd)


def _found(result: Any) -> bytes:
    assert isinstance(result, tuple), result
    digest: bytes = result[2]
    return digest


def _pieces(data: bytes) -> list[bytes]:
    return [sha1(data[at : at + _PIECE]).digest() for at in range(0, len(data), _PIECE)]


_SIZES = [1, 16384, 16385, _PIECE, 256 * 1024, 256 * 1024 + 1, 700_001]


@pytest.mark.parametrize("size", _SIZES)
def test_a_files_root_and_its_stream_of_pieces_come_of_one_reading(
    tmp_path: Path, opener: FolderOpener, size: int
) -> None:
    data = random_bytes(size)
    write_tree(tmp_path, {"a": data, "b/c": b"12345"})

    reads = [("b/c", 5, 0, 5, ROOT), ("a", size, 0, size, ROOT), ("", 0, 0, 70_000, STREAM)]
    files, pieces = Kernel(opener).run((_PIECE, True, reads))

    assert [_found(file) for file in files] == [
        sha256(b"12345").digest(),
        root_of(block_hashes(data)),
    ]
    assert pieces == _pieces(b"12345" + data + bytes(70_000))
    status = os.stat(tmp_path / "a")
    assert files[1][0] == (size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)  # type: ignore[index]


@pytest.mark.parametrize("size", [100_000, 700_001])
def test_a_part_of_a_file_gives_its_layer_and_its_pieces(
    tmp_path: Path, opener: FolderOpener, size: int
) -> None:
    data = random_bytes(size)
    write_tree(tmp_path, {"a": data})

    reads = [("a", size, _PIECE, size - _PIECE, LAYER), ("", 0, 0, -size % _PIECE, STREAM)]
    (file,), pieces = Kernel(opener).run((_PIECE, True, reads))

    part = data[_PIECE:]
    blocks = block_hashes(part)
    layer = [
        merkle_root(b"".join(blocks[at : at + 2]), leaves=2) for at in range(0, len(blocks), 2)
    ]
    assert _found(file) == b"".join(layer)
    assert pieces == _pieces(part + bytes(-size % _PIECE))


def test_part_of_a_small_file_is_streamed_while_its_root_is_of_the_whole(
    tmp_path: Path, opener: FolderOpener
) -> None:
    data = random_bytes(300_000)
    write_tree(tmp_path, {"a": data, "s": data[:3000]})

    reads = [("s", 3000, 1000, 500, ROOT), ("a", 300_000, 5, 270_000, ROOT)]
    files, pieces = Kernel(opener).run((_PIECE, True, reads))

    roots = [root_of(block_hashes(data[:3000])), root_of(block_hashes(data))]
    assert [_found(file) for file in files] == roots
    assert pieces == _pieces(data[1000:1500] + data[5:270_005])


def test_files_that_cannot_be_read_or_are_not_as_expected_spoil_their_own_pieces_alone(
    tmp_path: Path, opener: FolderOpener
) -> None:
    good = random_bytes(20_000)
    write_tree(tmp_path, {"good": good, "longer": 20_001, "shorter": 9, "link": ("link", "good")})
    write_tree(tmp_path, {"folder/x": b"1", "way": ("link", "folder")})
    os.mkfifo(tmp_path / "fifo")
    wrong = {"longer": CHANGED, "shorter": CHANGED, "fifo": CHANGED, "folder": CHANGED}
    wrong |= {"link": errno.ELOOP, "way/x": errno.ENOTDIR, "gone": errno.ENOENT}

    for path, expected in wrong.items():
        reads = [("good", 20_000, 0, 20_000, ROOT), (path, 20_000, 0, 20_000, ROOT)]
        reads += [("good", 20_000, 0, 20_000, STREAM)] * 3
        files, pieces = Kernel(opener).run((_PIECE, True, reads))
        assert files[1] == expected, path
        assert [isinstance(file, tuple) for file in files] == [True, False, True, True, True]
        whole = good + bytes(20_000) + good * 3
        assert pieces == [b"", b"", *_pieces(whole)[2:]]


def test_a_file_that_is_written_to_while_it_is_read_is_told_as_changed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 700_000})
    with closing(Tree(tmp_path)) as tree:
        heeded = 0

        def heed() -> None:
            nonlocal heeded
            heeded += 1
            before = os.stat(tmp_path / "a").st_ctime_ns
            while heeded == 3 and os.stat(tmp_path / "a").st_ctime_ns == before:
                with (tmp_path / "a").open("r+b") as file:
                    file.write(b"x")

        job = (_PIECE, False, [("a", 700_000, 0, 700_000, LAYER)])
        assert Kernel(tree.open, heed).run(job) == ([CHANGED], [])
    assert heeded >= 3


def test_a_generation_tells_whether_an_inode_is_still_the_same(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": b"1"})
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        before = kernel.generation_of(fd)
        os.rename(tmp_path / "a", tmp_path / "b")
        assert kernel.generation_of(fd) == before
    finally:
        os.close(fd)


def test_no_generation_is_known_where_the_file_system_has_none() -> None:
    ends = os.pipe()
    try:
        assert kernel.generation_of(ends[0]) == -1
    finally:
        for fd in ends:
            os.close(fd)


def _works(paths: list[str], size: int) -> Iterator[Work]:
    for path in paths:
        yield Work((_PIECE, False, [(path, size, 0, size, ROOT)]))


def test_workers_give_what_the_kernel_gives_here(tmp_path: Path, opener: FolderOpener) -> None:
    content = {f"{n % 3}/file{n}": random_bytes(n * 1000, n) for n in range(1, 40)}
    write_tree(tmp_path, content)
    reads = [(path, len(data), 0, len(data), ROOT) for path, data in content.items()]
    works = [Work((_PIECE, True, reads[at : at + 5])) for at in range(0, len(reads), 5)]
    # A job larger than a pipe holds, and so is its result.
    works.append(Work((_PIECE, True, reads * 60)))

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pool.WorkerPool(fd, 2) as workers:
            found = list(workers.run(iter(works), lambda: None))
    finally:
        os.close(fd)

    here = Kernel(opener)
    assert len(found) == len(works)
    for work, result in found:
        assert result == here.run(work.job)


def test_a_worker_that_is_killed_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    write_tree(tmp_path, {"first": 1000})
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pool.WorkerPool(fd, 1) as workers:
            (worker,) = workers._workers
            os.kill(worker._pid, signal.SIGKILL)
            with pytest.raises(HashingError, match="'first' was ended by signal 9"):
                list(workers.run(_works(["first"], 1000), lambda: None))
    finally:
        os.close(fd)


def test_closing_the_pool_ends_workers_in_the_middle_of_a_job(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 3_000_000})
    many = Work((_PIECE, True, [("a", 3_000_000, 0, 3_000_000, ROOT)] * 5_000))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        workers = pool.WorkerPool(fd, 1)
        (worker,) = workers._workers
        pid = worker._pid

        class StopError(Exception):
            pass

        def heed() -> None:
            raise StopError

        with workers, pytest.raises(StopError):
            list(workers.run(iter([many]), heed))
    finally:
        os.close(fd)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_descriptor_and_no_process_is_left_behind(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1000})
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        before = len(os.listdir("/proc/self/fd"))
        with pool.WorkerPool(fd, 2) as workers:
            assert len(list(workers.run(_works(["a"] * 9, 1000), lambda: None))) == 9
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(fd)


def test_workers_start_where_the_standard_streams_are_closed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1000})
    program = (
        "import os, sys\n"
        "from torsync.publish.hashing.jobs import Work\n"
        "from torsync.publish.hashing.pool import WorkerPool\n"
        "out = os.dup(1)\n"
        "os.closerange(0, 3)\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "work = Work((32768, False, [('a', 1000, 0, 1000, 1)]))\n"
        "with WorkerPool(fd, 2) as pool:\n"
        "    ((_, (files, _)),) = pool.run(iter([work]), lambda: None)\n"
        "os.write(out, files[0][2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == root_of(block_hashes((tmp_path / "a").read_bytes()))


def test_a_worker_imports_nothing_that_is_slow() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torsync.publish.hashing.worker; "
        "print(*sorted(name for name in sys.modules if not name.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, pool._PLACE],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.split())
    assert {name for name in modules if name.startswith("torsync")} == {
        *("torsync", "torsync.model", "torsync.model.merkle", "torsync.publish"),
        *("torsync.publish.hashing", "torsync.publish.hashing.kernel"),
        "torsync.publish.hashing.worker",
    }
    assert modules.isdisjoint({"subprocess", "threading", "asyncio", "logging", "sqlite3"})


def test_the_pool_is_used_beside_other_threads(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1000})
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pool.WorkerPool(fd, 2) as workers:
            assert len(list(workers.run(_works(["a"] * 3, 1000), lambda: None))) == 3
    finally:
        os.close(fd)
        done.set()
        other.join()
