"""The machine sleeps for a while, or its clock is set, while the service runs."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from tests.support.cli import is_report, trash_contents
from tests.support.processes import wait_until
from tests.support.publishers import PIECE
from tests.support.running import codes, end
from tests.support.trees import assert_same_tree
from tests.support.updates import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Publisher, Running
    from tests.support.publishers import Publishing
    from tests.support.trees import Content

YEAR_S = 365 * 24 * 3600
FIRST: dict[str, Content] = {"a/one.bin": 40 * PIECE, "b": 300}
# What Python takes for the time on the wall: the right one, and what a file says besides.
SET_CLOCK = """\
import time
def now(real=time.time):
    with open({file!r}) as file:
        return real() + int(file.read() or 0)
time.time = now
"""


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def release(publisher: Publisher, service: Running, folder: Path, number: int) -> None:
    """Publish a release, and wait for its report."""
    heard = len(service.objects())
    publisher.publish(make(folder, {**FIRST, f"new {number}": 100 + number}), folder)
    service.wait_for(is_report, "the next release is there", since=heard)


def test_what_a_sleeping_machine_missed_is_there_after_it_wakes(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    """Also in the middle of a download."""
    size = 100 * PIECE
    publisher.publish(make(tmp_path / "one", {"x": size}), tmp_path / "one", upload_limit=size // 2)
    service = torsync.start("run")
    service.wait_for_download(at_least=size // 4)
    service.send(signal.SIGSTOP)
    wait_until(lambda: is_stopped(service.pid), "it sleeps")
    publisher.publish(make(tmp_path / "two", FIRST), tmp_path / "two")
    service.send(signal.SIGCONT)
    wait_until((torsync.tree / "b").exists, "the newest release is there", deadline_s=60)
    service.wait_for_stage("pack", "seeding")
    assert_same_tree(torsync.tree, tmp_path / "two")
    assert codes(service) == []
    end(service)


def test_a_clock_that_is_set_by_a_year_loses_no_poll_and_empties_no_trash(
    tmp_path: Path, torsync: Publishing, publisher: Publisher
) -> None:
    site, offset = tmp_path / "site", tmp_path / "offset"
    site.mkdir()
    offset.write_text("0")
    (site / "sitecustomize.py").write_text(SET_CLOCK.format(file=str(offset)))
    paths = [str(site), *(path for path in sys.path if path)]
    publisher.publish(make(tmp_path / "one", {**FIRST, "old": 5}), tmp_path / "one")
    service = torsync.start("run", environment={"PYTHONPATH": os.pathsep.join(paths)})
    service.wait_for_stage("pack", "waiting")
    release(publisher, service, tmp_path / "two", 2)
    for number, set_by_s in enumerate((YEAR_S, -2 * YEAR_S), 3):
        fresh = offset.with_name("fresh")
        fresh.write_text(str(set_by_s))
        fresh.replace(offset)
        release(publisher, service, tmp_path / str(number), number)
        assert set(trash_contents(torsync.tree)) >= {"old", "new 2"}
    assert codes(service) == []
    end(service)
