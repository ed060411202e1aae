"""The processes that hash and cut for a publication, seen through their pipes."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.torrents import block_hashes, root_of
from tests.support.trees import random_bytes, write_tree
from torsync.publish.hashing.jobs import Work
from torsync.publish.hashing.kernel import CHANGED, ROOT
from torsync.publish.hashing.pool import WorkerPool
from torsync.publish.hashing.worker import LENGTH_BYTES, ROOT_FD

if TYPE_CHECKING:
    from pathlib import Path

HASHING, CUTTING = "torsync.publish.hashing.worker", "torsync.publish.hints.worker"
# The folder has the number that it has in a worker, which inherits it.
_BEGIN = (
    "import os, sys; from importlib import import_module; "
    f"os.dup2(os.open(sys.argv[2], os.O_RDONLY), {ROOT_FD}); import_module(sys.argv[1]).main()"
)


def _message(job: object) -> bytes:
    body = marshal.dumps(job)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def _messages(data: bytes) -> list[Any]:
    found = []
    while data:
        end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
        found.append(marshal.loads(data[LENGTH_BYTES:end]))
        data = data[end:]
    return found


def _answers(worker: str, folder: Path, told: bytes) -> list[Any]:
    """What a worker answers that is told this; it has to end by itself, and well."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN, worker, str(folder)],
        input=told,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return _messages(done.stdout)


def _stamp(file: Path) -> tuple[int, int, int, int]:
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tree(tmp_path, {"a": random_bytes(100_000), "b/c": random_bytes(5000)})
    return tmp_path


def test_jobs_are_answered_in_their_order(folder: Path) -> None:
    jobs = [
        (32768, False, [("b/c", 5000, 0, 5000, ROOT)]),
        (32768, False, [("missing", 1, 0, 1, ROOT), ("a", 100_000, 0, 100_000, ROOT)]),
    ]
    ((first, _), (second, _)) = _answers(HASHING, folder, b"".join(map(_message, jobs)))
    contents = [(folder / path).read_bytes() for path in ("b/c", "a")]
    roots = [root_of(block_hashes(content)) for content in contents]
    assert [first[0][2], second[1][2]] == roots
    assert isinstance(second[0], int)


def test_files_are_cut_by_another_process_as_they_are_here(folder: Path) -> None:
    stamp = _stamp(folder / "a")
    cuts = [("a", stamp, 0, stamp[0]), ("a", (*stamp[:3], 0), 0, stamp[0])]
    ((cut, changed),) = _answers(CUTTING, folder, _message(cuts))
    assert cut[0] == root_of(block_hashes((folder / "a").read_bytes()))
    assert changed == CHANGED


@pytest.mark.parametrize("worker", [HASHING, CUTTING])
@pytest.mark.parametrize("kept", [0, 1, LENGTH_BYTES, LENGTH_BYTES + 3])
def test_a_worker_whose_job_is_cut_off_ends_quietly(folder: Path, worker: str, kept: int) -> None:
    told = _message((32768, False, [("b/c", 5000, 0, 5000, ROOT)]))
    assert _answers(worker, folder, told[:kept]) == []


def test_jobs_that_do_not_fit_into_a_pipe_are_told_piece_by_piece(folder: Path) -> None:
    many = [("b/c", 5000, 0, 5000, ROOT)] * 20_000  # some hundred KB as it is written
    works = [Work((32768, False, reads)) for reads in (many, many[:10], many, many)]
    root = root_of(block_hashes((folder / "b/c").read_bytes()))
    fd = os.open(folder, os.O_RDONLY)
    try:
        with WorkerPool(fd, 1) as workers:
            done = list(workers.run(iter(works), lambda: None))
    finally:
        os.close(fd)
    assert [work for work, _ in done] == works
    assert [len(files) for _, (files, _) in done] == [len(work.job[2]) for work in works]
    assert {found[2] for _, (files, _) in done for found in files} == {root}
