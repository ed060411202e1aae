"""An update that is killed before its n-th file-system call, until it ends.

Every third n is always tried, every n with ``-m long``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_fail_everywhere import PIECE, Scene, Strike, fast_folder, nth_call
from torsync.model.config import ApplyMode

_ROOT = Path(__file__).parents[2]
_SERVE = "from tests.faults.test_kill_everywhere import serve; serve()"


def serve() -> None:
    """For each line "number apply folder": fork a child that updates, tell how it ended."""
    for line in sys.stdin:
        number, apply, folder = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if child == 0:
            try:
                with nth_call(int(number), _kill_me):
                    Scene(Path(folder), "new", ApplyMode(apply)).check_now()
                os._exit(0)
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _kill_me(_strike: Strike) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("apply", ApplyMode)
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_wherever_it_is_killed_nothing_is_lost_and_the_next_run_ends_in_the_new_release(
    apply: ApplyMode, step: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        number = commits = 0
        status = -signal.SIGKILL
        while status == -signal.SIGKILL:
            with fast_folder() as folder:
                scene = Scene(folder, apply=apply)
                scene.prepare()
                server.stdin.write(f"{number} {apply.value} {folder}\n")
                server.stdin.flush()
                status = int(server.stdout.readline())
                scene.check_cut_off()
                was_committing = scene.has_journal()
                commits += was_committing
                report = scene.check_now()
                scene.check_finished()
                assert report.unreadable == []
                if was_committing:  # it is finished from the journal: nothing is fetched
                    assert (report.changed, report.bytes_fetched) == (True, 0)
                    # What stays, and was just given another mode or time, nobody vouches for.
                    assert report.bytes_hashed <= PIECE
            number += step
        server.stdin.close()
    assert status == 0
    assert number > 100
    assert commits > 50 // step
