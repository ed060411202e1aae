"""Threads that wait for a FIFO which took the place of a file are freed, and nothing is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.control import in_thread
from tests.support.processes import wait_until
from torsync.swarm.openers import free_openers

if TYPE_CHECKING:
    from pathlib import Path


def test_whoever_waits_to_open_a_fifo_goes_on_and_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    os.mkfifo(tmp_path / "fifo")
    elsewhere = tmp_path / "elsewhere"
    os.mkfifo(elsewhere)
    (tmp_path / "link").symlink_to(elsewhere)
    paths = ["absent", "file", "link", "fifo", str(tmp_path / "file" / "below")]
    done: list[bytes] = []

    def read() -> None:
        with open(tmp_path / "fifo", "rb", buffering=0) as stream:
            done.append(stream.read())

    def freed() -> bool:
        free_openers(str(tmp_path), paths)
        return bool(done)

    wait = in_thread(read)
    wait_until(freed, "it goes on", deadline_s=60)
    wait()
    assert done == [b""]
    assert (tmp_path / "file").read_bytes() == b"content"
