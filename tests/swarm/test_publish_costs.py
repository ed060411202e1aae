"""What a release costs: only what changed is read, and an interruption loses nothing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.publishers import (
    KIB,
    MIB,
    PIECE,
    publication,
    released,
    subscriber,
)
from tests.support.trees import edit_in_place, random_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.publishers import Publishing
    from tests.support.trees import Content

ONE, TWO = 10 * PIECE + 7, 6 * PIECE
FILES: dict[str, Content] = {"one": ONE, "two": TWO, "d/three": 2 * PIECE}
# Large enough that an interruption comes in the middle; mostly holes, which cost no disk.
HUGE_FILES, HUGE_SIZE = 24, 32 * MIB


@pytest.fixture
def pack(publishing: Publishing) -> Publishing:
    publishing.publish(entries=FILES, piece_size="16 KiB")
    return publishing


def _edited(folder: Path) -> int:
    edit_in_place(folder / "one")
    return ONE


def _edited_without_a_trace_in_the_times(folder: Path) -> int:
    edit_in_place(folder / "one", set_mtime_back=True)
    return ONE


def _grown(folder: Path) -> int:
    with (folder / "two").open("ab") as file:
        file.write(bytes(range(100)))
    return TWO + 100


def _cut(folder: Path) -> int:
    os.truncate(folder / "two", TWO - 5)
    return TWO - 5


def _added(folder: Path) -> int:
    write_tree(folder, {"new/file": 3 * PIECE})
    return 3 * PIECE


def _removed(folder: Path) -> int:
    (folder / "two").unlink()
    return 0


def _renamed(folder: Path) -> int:
    (folder / "one").rename(folder / "d" / "uno")
    return 0


def _folder_renamed(folder: Path) -> int:
    (folder / "d").rename(folder / "e")
    return 0


def _replaced_by_the_usual_save(folder: Path) -> int:
    fresh = folder / "two.new"
    fresh.write_bytes(random_bytes(TWO, "other"))
    fresh.replace(folder / "two")
    return TWO


CHANGES = [
    _edited,
    _edited_without_a_trace_in_the_times,
    _grown,
    _cut,
    _added,
    _removed,
    _renamed,
    _folder_renamed,
    _replaced_by_the_usual_save,
]


@pytest.mark.parametrize(
    ("change", "format_"),
    [*((change, "v1") for change in CHANGES), (_grown, "v2"), (_renamed, "v2"), (_cut, "hybrid")],
    ids=lambda given: given.__name__[1:] if callable(given) else given,
)
def test_a_release_hashes_what_changed_alone(
    pack: Publishing, change: Callable[[Path], int], format_: str
) -> None:
    folder = pack.publish(format=format_)
    first = released(pack.run("check-now"))
    assert first["bytes_hashed"] == first["bytes_total"] == ONE + TWO + 2 * PIECE
    before = pack.torrent().read_bytes()
    expected = change(folder)
    report = released(pack.run("check-now"))
    assert report["number"] == first["number"] + 1
    assert pack.torrent().read_bytes() != before
    assert report["bytes_hashed"] == expected, report


@pytest.mark.parametrize(
    ("change", "added", "modified", "moved", "removed"),
    [
        (_edited, [], ["one"], [], []),
        (_added, ["new/file"], [], [], []),
        (_removed, [], [], [], ["two"]),
        (_renamed, [], [], ["d/uno"], []),
        (_folder_renamed, [], [], ["e/three"], []),
    ],
    ids=lambda given: given.__name__[1:] if callable(given) else "",
)
def test_the_report_says_what_changed(
    pack: Publishing,
    change: Callable[[Path], int],
    added: list[str],
    modified: list[str],
    moved: list[str],
    removed: list[str],
) -> None:
    released(pack.run("check-now"))
    change(pack.content())
    report = released(pack.run("check-now"))
    kinds = ("added", "modified", "moved", "removed")
    told = {kind: report[f"{kind}_paths"] for kind in kinds}
    assert told["added"] == added
    assert told["modified"] == modified
    assert told["moved"] == moved
    assert set(told["removed"]) - {"one", "d/three"} == set(removed)
    assert report["unchanged"] == report["files"] - len(added + modified + moved)


def test_nothing_is_hashed_when_nothing_changed_or_files_were_only_touched(
    pack: Publishing,
) -> None:
    first = released(pack.run("check-now"))
    report = publication(pack.run("check-now").assert_ok())
    assert (report["changed"], report["bytes_hashed"]) == (False, 0)
    os.utime(pack.content() / "two", (1_600_000_000, 1_600_000_000))
    report = publication(pack.run("check-now").assert_ok())
    assert report["bytes_hashed"] <= TWO
    assert report["info_hash"] == first["info_hash"]


def test_a_small_file_among_many_costs_its_neighbours_at_most(publishing: Publishing) -> None:
    folder = publishing.publish(entries={f"{n:04}": 1000 for n in range(2000)})
    first = released(publishing.run("check-now"))
    edit_in_place(folder / "1000")
    report = released(publishing.run("check-now"))
    assert report["bytes_hashed"] <= first["bytes_total"] // 10
    assert 0 < report["bytes_to_fetch"] <= 2 * first["piece_size"]


def test_the_piece_size_is_kept_while_the_folder_grows_a_little(publishing: Publishing) -> None:
    folder = publishing.publish(entries={"a": 2 * MIB})
    first = released(publishing.run("check-now"))
    write_tree(folder, {"b": 4 * MIB})
    report = released(publishing.run("check-now"))
    assert report["piece_size"] == first["piece_size"]
    assert report["bytes_to_fetch"] <= 4 * MIB + first["piece_size"]
    assert report["bytes_hashed"] == 4 * MIB


def test_a_lost_cache_costs_hashing_and_no_release(pack: Publishing) -> None:
    first = released(pack.run("check-now"))
    caches = list(pack.state_dir.rglob("hashes.sqlite*"))
    assert caches
    for file in caches:
        file.unlink()
    report = publication(pack.run("check-now").assert_ok())
    assert report["info_hash"] == first["info_hash"]
    assert not report["changed"]


def test_a_damaged_cache_is_no_obstacle(pack: Publishing) -> None:
    first = released(pack.run("check-now"))
    for file in pack.state_dir.rglob("hashes.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    edit_in_place(pack.content() / "one")
    report = publication(pack.run("check-now"))
    assert report["changed"]
    assert report["info_hash"] != first["info_hash"]


@pytest.fixture
def huge(publishing: Publishing) -> Publishing:
    folder = publishing.publish()
    for number in range(HUGE_FILES):
        with (folder / f"{number}.bin").open("wb") as file:
            file.write(random_bytes(16 * KIB, number))
            file.truncate(HUGE_SIZE)
    return publishing


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_what_was_hashed_before_an_interruption_is_not_hashed_again(
    huge: Publishing, signal_number: signal.Signals, code: int
) -> None:
    running = huge.start("check-now")
    told = running.wait_for(
        lambda one: (
            one["type"] == "progress"
            and one["stage"] == "hashing"
            and one["bytes_done"] >= 4 * HUGE_SIZE
        ),
        "some of it is hashed",
    )
    running.send(signal_number)
    assert running.wait(20).exit_code == code
    assert not huge.torrent().exists()
    total = HUGE_FILES * HUGE_SIZE
    assert told["bytes_total"] == total
    assert told["rate"] > 0
    assert told["eta_s"] is not None
    report = released(huge.run("check-now"))
    # What was being hashed by a core each is begun again.
    again = 0 if signal_number == signal.SIGINT else 4
    cores = os.cpu_count() or 1
    assert report["bytes_hashed"] <= total - told["bytes_done"] + (again + cores) * HUGE_SIZE
    assert report["bytes_hashed"] < total


@pytest.mark.parametrize(
    ("change", "format_"),
    [
        (_edited, "v1"),
        (_grown, "v1"),
        (_cut, "v1"),
        (_added, "v1"),
        (_renamed, "v1"),
        (_grown, "v2"),
        (_grown, "hybrid"),
    ],
    ids=lambda given: given.__name__[1:] if callable(given) else given,
)
def test_a_plan_foretells_what_subscribers_fetch(
    pack: Publishing, tmp_path: Path, change: Callable[[Path], int], format_: str
) -> None:
    entries: dict[str, Content] = {f"small/{n:03}": 500 for n in range(100)}
    folder = pack.publish(entries=entries, format=format_)
    service = pack.start("run")
    service.wait_for_stage("pack", "seeding")
    with subscriber(tmp_path / "s", pack) as torsync:
        torsync.run("check-now").assert_ok()
        service.stop(signal.SIGTERM, within_s=5)
        before = pack.torrent().read_bytes()
        change(folder)
        edit_in_place(folder / "small" / "050")
        outcome = pack.run("plan", "pack")
        assert outcome.exit_code == 4
        plan = publication(outcome)
        assert plan["changed"]
        assert plan["dry_run"]
        assert pack.torrent().read_bytes() == before
        service = pack.start("run")
        release = service.wait_for(lambda one: one["type"] == "publication", "it is released")
        assert release["info_hash"] == plan["info_hash"]
        service.wait_for_stage("pack", "seeding")
        report = torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
        assert report["info_hash"] == plan["info_hash"]
        # Blocks that are vouched for are claimed: one that is all padding but for these is saved.
        assert plan["bytes_to_fetch"] - PIECE <= report["bytes_fetched"] <= plan["bytes_to_fetch"]
    outcome = pack.run("plan", "pack").assert_ok()
    assert publication(outcome)["bytes_to_fetch"] == 0
