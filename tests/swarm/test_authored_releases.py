"""What subscribers make of releases that torsync has authored."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.authored import make_authored
from tests.support.cli import is_report
from tests.support.leecher import assert_seeds
from tests.support.processes import wait_until
from tests.support.torrents import info_hash
from tests.support.trees import tree_bytes, write_tree
from torsync.model.authoring.difference import find_difference
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Publisher, Torsync
    from tests.support.updates import Updates

PIECE = 32 * 1024
FORMATS = ["v1", "v2", "hybrid"]


def content(seed: object, size: int) -> bytes:
    return random.Random(repr(seed)).randbytes(size)


SOME = {
    **{f"small/{number:03}": content(number, 3000) for number in range(60)},
    "large/a": content("a", 200_000),
    "large/b": content("b", 100_000),
    "empty": b"",
}


def mtimes(updates: Updates) -> dict[str, float]:
    return {path: (updates.tree / path).stat().st_mtime for path in tree_bytes(updates.tree)}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_release_costs_what_its_publisher_foretells(updates: Updates, format_: str) -> None:
    updates.sync_first(SOME, f"authored {format_}", piece_size=PIECE)
    before = parse_metainfo(updates.torrent)
    after = dict(SOME)
    after["large/a"] = content("a", 200_000)[:150_000] + content("c", 60_000)
    after["small/070"] = content("more", 5000)
    after["renamed"] = after.pop("large/b")
    updates.publish(after, f"authored {format_}", piece_size=PIECE)
    found = find_difference(before, parse_metainfo(updates.torrent))
    planned = updates.torsync.run("check-now", "--dry-run").subscription
    assert found.bytes_to_fetch == planned["bytes_to_fetch"]
    report = updates.check().subscription
    assert 0 < report["bytes_fetched"] <= found.bytes_to_fetch
    assert report["moved_paths"] == list(found.moved) == ["renamed"]


@pytest.mark.parametrize("format_", FORMATS)
def test_other_times_of_the_same_content_are_set_and_nothing_else_happens(
    updates: Updates, format_: str
) -> None:
    updates.sync_first(SOME, f"authored {format_}", piece_size=PIECE)
    expected = {
        path: float(int((updates.folder / path).stat().st_mtime))
        for path in tree_bytes(updates.tree)
    }
    assert mtimes(updates) == expected
    first = updates.torrent
    for path in ("small/007", "large/a", "empty"):
        os.utime(updates.folder / path, (1_000_000_000, 1_000_000_000))
        expected[path] = 1_000_000_000
    second = make_authored(updates.folder, format=format_, piece_size=PIECE)
    assert second != first
    assert info_hash(second) == info_hash(first)
    updates.publisher.announce(second)
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    assert (report["kept"], report["trashed"]) == (len(SOME), 0)
    assert mtimes(updates) == expected
    assert tree_bytes(updates.tree) == SOME
    report = updates.torsync.run("check-now").assert_ok().subscription
    assert (report["changed"], report["bytes_fetched"]) == (False, 0)
    updates.publisher.announce(first)
    updates.torsync.run("check-now").assert_ok()
    assert mtimes(updates)["small/007"] != 1_000_000_000


def test_a_running_service_goes_on_seeding_when_only_the_times_change(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, port: int
) -> None:
    torsync.subscribe(interval="1s")
    folder = write_tree(tmp_path / "release", SOME)
    first = make_authored(folder, piece_size=PIECE)
    publisher.publish(first, folder)
    service = torsync.start("run")
    service.wait_for(is_report, "the first sync is reported")
    service.wait_for_stage("pack", "seeding")
    os.utime(folder / "small/007", (1_000_000_000, 1_000_000_000))
    publisher.announce(make_authored(folder, piece_size=PIECE))
    tree = torsync.tree
    wait_until(lambda: (tree / "small/007").stat().st_mtime == 1_000_000_000, "the time is set")
    publisher.seeder.remove(first)
    assert_seeds(port, first, folder, tmp_path / "leecher")
    assert service.stop(signal.SIGTERM, within_s=2).exit_code == 0
