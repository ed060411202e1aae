"""Fetches that are killed at random moments, one after another, without a chance to save."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.support.cli import staged
from tests.support.processes import wait_until
from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import overwritten

if TYPE_CHECKING:
    from tests.support.updates import Updates

KIB = 1024
MIB = 1024 * KIB
PIECE = 16 * KIB
KILLS = 20
RATE = 2 * MIB
PATCHED = random_bytes(2 * MIB, "patched")
OLD = {
    "gone": b"gone",
    "kept": random_bytes(50 * KIB, "kept"),
    "moved/from": random_bytes(200 * KIB, "moved"),
    "patched": PATCHED,
    "replaced": random_bytes(300 * KIB, "replaced"),
}
NEW = {
    "kept": OLD["kept"],
    "moved/to": OLD["moved/from"],
    "patched": overwritten(PATCHED, MIB, random_bytes(MIB, "patch")),
    "replaced": random_bytes(400 * KIB, "replaced by this"),
    **{f"new/{number}": random_bytes(900 * KIB, f"new {number}") for number in range(12)},
}
TO_FETCH = MIB + 400 * KIB + 12 * 900 * KIB


def test_a_fetch_that_is_killed_at_twenty_random_moments_goes_on_with_what_it_has(
    updates: Updates,
) -> None:
    chance = random.Random(20)
    updates.publish(OLD, "packed")
    updates.check()
    torrent = updates.publish(NEW, "packed", upload_limit=RATE)
    seeder = updates.publisher.seeder
    for kill in range(KILLS):
        more = chance.randrange(TO_FETCH // KILLS)
        wanted = seeder.uploaded(torrent) + more
        running = updates.torsync.start("check-now")
        wait_until(
            lambda wanted=wanted: seeder.uploaded(torrent) > wanted,
            f"{more} bytes were sent after {kill} kills",
        )
        running.kill()
        assert tree_bytes(updates.tree) == OLD
    updates.torsync.run("check-now").assert_ok()
    assert tree_bytes(updates.tree) == NEW
    assert staged(updates.tree) == []
    assert TO_FETCH <= seeder.uploaded(torrent) < TO_FETCH * 5 // 4
