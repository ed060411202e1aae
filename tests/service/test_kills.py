"""``kill -9`` at any moment of a service that subscribes and publishes, again and again."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

from tests.support.processes import HOST, wait_until
from tests.support.publishers import PIECE, wait_for_release
from tests.support.running import codes, end
from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Running
    from tests.support.publishers import Publishing
    from tests.support.seeders import LibtorrentSeeder
    from tests.support.trees import Content

NAMES = ("one", "two", "three")
STEADY = 4 * 1024 * 1024
MOST_HEARD = 80  # of what a service says, some of it again and again, before it is killed
KILLS = int(os.environ.get("TORSYNC_TEST_KILLS", "3"))  # 20 and more by hand


def content(round_: int) -> dict[str, Content]:
    """Most of a release stays: what is hashed again for no reason would be seen."""
    return {
        "steady": random_bytes(STEADY, "steady"),
        "changing": random_bytes((10 + round_) * PIECE, f"changing {round_}"),
        f"new in {round_}": 300,
    }


def bytes_hashed(service: Running, name: str) -> int:
    """The most that it has said it would hash at once of what was there."""
    told = (
        one["bytes_total"]
        for one in service.objects()
        if one["type"] == "progress"
        and one["name"] == name
        and one["stage"] in {"verifying", "hashing"}
    )
    return max(told, default=0)


def hear(service: Running, count: int) -> None:
    """Listen for a while, which depends on what the service says and not on the clock."""
    heard = itertools.count()
    service.wait_for(lambda _one: next(heard) >= count, "something is under way")


def test_a_service_that_is_killed_again_and_again_goes_on_each_time(
    tmp_path: Path, torsync: Publishing, seeder: LibtorrentSeeder
) -> None:
    chance = random.Random(KILLS)

    def publish(name: str, round_: int) -> None:
        folder = tmp_path / f"{name} {round_}"
        torrent = make(folder, content(round_))
        seeder.add_folder(torrent, folder)
        fresh = tmp_path / f"{name}.new"
        fresh.write_bytes(torrent)
        fresh.replace(tmp_path / f"{name}.torrent")

    def is_in_sync(round_: int) -> bool:
        return all(
            tree_bytes(tmp_path / f"tree {name}") == tree_bytes(tmp_path / f"{name} {round_}")
            for name in NAMES
        )

    for name in NAMES:
        publish(name, 0)
        torsync.subscribe(
            name,
            url=(tmp_path / f"{name}.torrent").as_uri(),
            path=str(tmp_path / f"tree {name}"),
            peers=[f"{HOST}:{seeder.port}"],
            interval="1s",
        )
    torsync.publish("own", content(0), hints=False)
    service = torsync.start("run")
    for name in (*NAMES, "own"):
        service.wait_for_stage(name, "seeding")
    end(service)
    for round_ in range(1, KILLS + 1):
        service = torsync.start("run")
        for name in NAMES:
            publish(name, round_)
        torsync.publish("own", {"changing": random_bytes(50 * PIECE, str(round_))})
        hear(service, chance.randrange(MOST_HEARD))
        service.kill()
        for name in (*NAMES, "own"):
            assert "crashed" not in codes(service, name)
            assert bytes_hashed(service, name) < STEADY, "what did not change is not hashed"
    service = torsync.start("run")
    wait_until(lambda: is_in_sync(KILLS), "all are in sync", deadline_s=60)
    for name in (*NAMES, "own"):
        service.wait_for_stage(name, "seeding")
    end(service)

    service = torsync.start("run")
    for name in (*NAMES, "own"):
        service.wait_for_stage(name, "seeding")
    assert not [one for one in service.objects() if one.get("stage") in {"verifying", "hashing"}]
    torsync.publish("own", {"last": 100})
    wait_for_release(service, "own")
    end(service)
