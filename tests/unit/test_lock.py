"""One writer per tree, and a second one is told who it is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.unit.test_tree import mounted, tmpfs
from torsync.disk.lock import hold_tree, holder_pid
from torsync.model.errors import BusyError, ExitCode, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from torsync.disk.lock import hold_tree

with hold_tree(Path(sys.argv[1]), name="pack", command="torsync check-now"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _another_process_holds(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.stdin.close()
        process.wait(10)


def _hold(folder: Path) -> None:
    with hold_tree(folder, name="pack", command="torsync run"):
        assert holder_pid(folder) == os.getpid()


def test_a_second_process_is_told_who_holds_the_tree(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with _another_process_holds(folder) as process:
        with pytest.raises(BusyError) as caught:
            _hold(folder)
        assert caught.value.message == (
            f"'pack' is in use by `torsync check-now`, process {process.pid}"
        )
        assert caught.value.exit_code is ExitCode.BUSY
        assert caught.value.hint
        assert holder_pid(folder) == process.pid
    _hold(folder)


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    with (
        hold_tree(tmp_path, name="pack", command="torsync run"),
        pytest.raises(BusyError, match=f"`torsync run`, process {os.getpid()}"),
    ):
        _hold(tmp_path)
    _hold(tmp_path)


def test_what_a_killed_holder_left_is_harmless(tmp_path: Path) -> None:
    with _another_process_holds(tmp_path) as process:
        process.kill()
        process.wait(10)
        assert (tmp_path / "holder").exists()
        assert holder_pid(tmp_path) is None
        _hold(tmp_path)
    assert not (tmp_path / "holder").exists()
    assert holder_pid(tmp_path) is None


def test_the_lock_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        hold_tree(tmp_path, name="pack", command="torsync run"),
    ):
        raise ZeroDivisionError
    assert holder_pid(tmp_path) is None
    _hold(tmp_path)


def test_a_holder_file_that_cannot_be_read_is_no_obstacle(tmp_path: Path) -> None:
    with _another_process_holds(tmp_path):
        for content in (b"", b"no number torsync", b"\xff\xfe"):
            (tmp_path / "holder").write_bytes(content)
            assert holder_pid(tmp_path) is None
            with pytest.raises(BusyError, match="in use by"):
                _hold(tmp_path)
        (tmp_path / "holder").unlink()
        with pytest.raises(BusyError, match="in use by another process"):
            _hold(tmp_path)


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holder_pid(tmp_path / "absent") is None
    assert not (tmp_path / "absent").exists()


def test_asking_who_holds_it_never_makes_it_busy(tmp_path: Path) -> None:
    asking = threading.Event()
    asking.set()
    _hold(tmp_path)

    def ask() -> None:
        while asking.is_set():
            holder_pid(tmp_path)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _attempt in range(50):
            with hold_tree(tmp_path, name="pack", command="torsync run"):
                pass
    finally:
        asking.clear()
        thread.join()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError) as caught:
        _hold(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in caught.value.message
    assert "permissions" in caught.value.hint


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "ro", *tmpfs("ro,size=1m")) as folder:
        with pytest.raises(StateError, match="Read-only") as caught:
            _hold(folder)
        assert str(folder) in caught.value.message


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *tmpfs("size=64k")) as folder:
        (folder / "lock").touch()
        with pytest.raises(OSError, match="No space"):
            (folder / "fill").write_bytes(bytes(1024**2))
        with pytest.raises(StateError, match="No space") as caught:
            _hold(folder)
        assert str(folder) in caught.value.message
        (folder / "fill").unlink()
        _hold(folder)
