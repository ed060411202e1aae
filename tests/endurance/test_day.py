"""Twenty-four hours of a service in a minute or two: nothing that it takes grows.

Each hour brings the same: releases, polls, and failures of all kinds, see ``day.Day.hour``. Six of
them are always lived; memory needs the day (``-m long``), as caches are filled for hours. With
``TORSYNC_ENDURANCE_HOURS`` it lives for longer; with ``TORSYNC_ENDURANCE_TRACE`` it tells at the
end where memory was taken, and takes twice as long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.endurance.gauges import Sample, slope
from tests.endurance.leaks import LEAKS
from tests.endurance.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
HOURS = int(os.environ.get("TORSYNC_ENDURANCE_HOURS", "24"))
TRACE = "TORSYNC_ENDURANCE_TRACE" in os.environ
SHORT_HOURS = 6
# Caches, allocators and what is kept of the past are full by then.
WARM_UP_HOURS = 8
SHORT_WARM_UP_HOURS = 2
HOUR_TIMEOUT_S = 60
# Less than a leak of one thing, of a line of a log, or of some memory that Python does not count:
# the allocator makes noise of up to 1 kB.
MOST_PER_POLL = {"rss_bytes": 2000, "blocks": 0.5, "objects": 0.5, "file_bytes": 16}
MOST_PER_RELEASE = {"threads": 0.5, "descriptors": 0.5, "files": 0.5}
# Stages and codes, at least every fourth hour: what is found first of two things is by chance.
HAPPENED = (
    *("seeding", "downloading", "committing", "verifying", "paused", "error"),
    *("remote_unreachable", "manifest_invalid", "postponed", "refused", "crashed"),
    *("rolled_back", "reload refused", "withdrawn"),
)


class Life(NamedTuple):
    """What was measured after each hour, and what the process said at its end."""

    samples: list[Sample]
    end: dict[str, Any]

    def growth(self, warm_up_hours: int = WARM_UP_HOURS) -> dict[str, float]:
        """Per poll, or per release, after the warm-up."""
        steady = self.samples[warm_up_hours:]
        return {
            name: slope([one[1] for one in pairs], [one[0] for one in pairs])
            for names, by in ((MOST_PER_POLL, "polls"), (MOST_PER_RELEASE, "releases"))
            for name in names
            for pairs in [[(getattr(one, name), getattr(one, by)) for one in steady]]
        }

    def grown(self) -> dict[str, float]:
        """What grows more than it may."""
        most = {**MOST_PER_POLL, **MOST_PER_RELEASE}
        return {name: rate for name, rate in self.growth().items() if rate >= most[name]}

    def happened(self) -> bool:
        """Whether all went on, and each kind of failure came often enough."""
        hours = len(self.samples)
        last, heard = self.samples[-1], self.end["heard"]
        assert not [what for what in HAPPENED if heard.get(what, 0) < max(1, hours // 4)], heard
        return last.polls >= 100 * hours and last.releases >= 5 * hours

    def told(self) -> str:
        """All of it, for whoever looks for a leak."""
        lines = [*map(str, self.samples), *self.end["where"], f"threads: {self.end['threads']}"]
        return "\n".join(lines)


def live(folder: Path, hours: int, leaks: Sequence[str] = ()) -> Life:
    """Have a service live so many hours."""
    scratch = folder / "scratch"
    scratch.mkdir()
    with Remote(folder / "www") as remote:
        options = ["--hours", str(hours), "--warm-up", str(WARM_UP_HOURS)]
        options += ["--trace"] if TRACE else []
        options += [f"--leak={leak}" for leak in leaks]
        command = [sys.executable, "-m", "tests.endurance.day", str(scratch), remote.url]
        done = subprocess.run(
            [*command, str(remote.folder), *options],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=hours * HOUR_TIMEOUT_S,
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # threads share what was given back
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    *samples, end = map(json.loads, done.stdout.splitlines())
    return Life([Sample(*(one[name] for name in Sample._fields)) for one in samples], end)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.timeout(SHORT_HOURS * HOUR_TIMEOUT_S)
def test_six_hours_with_failures_of_all_kinds_leave_no_thread_file_or_descriptor(
    tmp_path: Path,
) -> None:
    life = live(tmp_path, SHORT_HOURS)
    assert life.happened()
    growth = life.growth(SHORT_WARM_UP_HOURS)
    assert all(growth[name] < most for name, most in MOST_PER_RELEASE.items()), (
        f"{growth}\n{life.told()}"
    )


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.timeout(HOURS * HOUR_TIMEOUT_S)
def test_a_day_with_failures_of_all_kinds_leaves_nothing_behind(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    life = live(tmp_path, HOURS)
    record_property("growth", life.growth())
    assert life.happened()
    assert not life.grown(), f"{life.grown()} of {life.growth()}\n{life.told()}"


@pytest.mark.long
@pytest.mark.timeout(HOURS * HOUR_TIMEOUT_S)
def test_leaks_of_one_thing_per_poll_or_release_are_found(tmp_path: Path) -> None:
    """Each kind of leak is planted, and each gauge shows one."""
    life = live(tmp_path, HOURS, [*LEAKS])
    assert life.grown().keys() == {*MOST_PER_POLL, *MOST_PER_RELEASE}, life.growth()
