"""torsync stopped and killed in the middle of an update: it ends fast, and goes on later."""

from __future__ import annotations

import signal
import time
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Publisher, Torsync, snapshot, staged
from tests.support.torrents import make_libtorrent, make_raw
from tests.support.trees import assert_same_tree, tree_bytes, write_tree

if TYPE_CHECKING:
    from pathlib import Path


KIB = 1024
MIB = 1024 * KIB
PIECE = 64 * KIB
SIZE = 3 * MIB
RATE = 3 * MIB // 2
A_FEW_PIECES = 8 * PIECE


def release(folder: Path, number: int) -> Path:
    """Files of which most differ between releases."""
    entries = {f"folder {at % 3}/{at:02}.bin": SIZE // 24 for at in range(24)}
    write_tree(folder, entries, seed=number)
    return write_tree(folder, {"the same": 100, f"only in {number}": 1000})


@pytest.mark.parametrize(
    ("format_", "signal_number"),
    [
        ("v1", signal.SIGINT),
        ("v1", signal.SIGTERM),
        ("v2", signal.SIGINT),
        ("hybrid", signal.SIGTERM),
    ],
)
def test_a_stopped_download_ends_within_2_s_and_is_resumed(
    tmp_path: Path,
    torsync: Torsync,
    publisher: Publisher,
    format_: str,
    signal_number: signal.Signals,
) -> None:
    first, second = release(tmp_path / "one", 1), release(tmp_path / "two", 2)
    publisher.publish(make_libtorrent(first, format=format_, piece_size=PIECE), first)
    torsync.run("check-now").assert_ok()
    torrent = make_libtorrent(second, format=format_, piece_size=PIECE)
    publisher.publish(torrent, second, upload_limit=RATE)
    running = torsync.start("check-now")
    running.wait_for_download(at_least=SIZE // 3)
    outcome = running.stop(signal_number, within_s=2)
    assert outcome.exit_code == 130
    assert outcome.error["code"] == "interrupted"
    assert_same_tree(torsync.tree, first)
    sent = publisher.seeder.uploaded(torrent)
    assert SIZE // 3 <= sent < SIZE

    publisher.seeder.remove(torrent)
    publisher.publish(torrent, second)
    report = torsync.run("check-now").assert_ok().subscription
    assert_same_tree(torsync.tree, second)
    assert staged(torsync.tree) == []
    # A hybrid's padding is sent as well.
    padding = 25 * PIECE if format_ == "hybrid" else 0
    fetched = report["bytes_fetched"]
    assert fetched == publisher.seeder.uploaded(torrent, at_least=fetched)
    assert sent + report["bytes_fetched"] <= SIZE + padding + A_FEW_PIECES


def test_the_download_limit_of_the_session_holds_for_peers_on_this_machine(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    folder = release(tmp_path / "one", 1)
    publisher.publish(make_libtorrent(folder, piece_size=PIECE), folder)
    torsync.session["download_limit"] = f"{RATE} B/s"
    started = time.monotonic()
    torsync.run("check-now").assert_ok()
    assert time.monotonic() - started > SIZE / RATE * 0.7
    assert_same_tree(torsync.tree, folder)


@pytest.mark.parametrize("stage", ["staging", "downloading", "re-reading", "committing"])
def test_a_killed_update_is_finished_by_the_next_one(
    tmp_path: Path, torsync: Torsync, publisher: Publisher, stage: str
) -> None:
    first, second = release(tmp_path / "one", 1), release(tmp_path / "two", 2)
    publisher.publish(make_libtorrent(first, piece_size=PIECE), first)
    torsync.run("check-now").assert_ok()
    limit = RATE if stage == "downloading" else 0
    publisher.publish(make_libtorrent(second, piece_size=PIECE), second, upload_limit=limit)
    running = torsync.start("check-now")
    if stage == "downloading":
        running.wait_for_download(at_least=SIZE // 3)
    else:
        running.wait_for_stage("pack", stage)
    running.kill()

    old, new, found = (tree_bytes(folder) for folder in (first, second, torsync.tree))
    for path in old.keys() & new.keys():
        assert found[path] in (old[path], new[path]), f"{path} is neither old nor new"
    if stage in {"staging", "downloading"}:
        assert found == old
    report = torsync.run("check-now").assert_ok().subscription
    assert_same_tree(torsync.tree, second)
    assert staged(torsync.tree) == []
    if stage in {"re-reading", "committing"}:
        assert report["bytes_fetched"] < SIZE // 2, "what had arrived is used"
    report = torsync.run("verify").assert_ok().subscription
    assert report["ok"] == len(new)


def test_a_first_sync_that_is_killed_again_and_again_is_finished_at_last(
    tmp_path: Path, torsync: Torsync, publisher: Publisher
) -> None:
    folder = release(tmp_path / "one", 1)
    publisher.publish(make_libtorrent(folder, piece_size=PIECE), folder, upload_limit=MIB)
    for _ in range(2):
        running = torsync.start("check-now")
        # Each goes on from what has arrived before: enough is left, also if a kill comes late.
        running.wait_for_download(at_least=SIZE // 10)
        running.kill()
        assert tree_bytes(torsync.tree) == {}
    torsync.run("check-now").assert_ok()
    assert_same_tree(torsync.tree, folder)


def test_a_poll_that_hangs_is_stopped_within_2_s(torsync: Torsync) -> None:
    from tests.support.scripted_http import Hang, ScriptedServer

    with ScriptedServer([Hang()]) as server:
        torsync.subscribe(url=f"{server.url}/newest.torrent")
        running = torsync.start("check-now")
        running.wait_for_stage("pack", "checking remote")
        outcome = running.stop(signal.SIGINT, within_s=2)
        assert outcome.exit_code == 130


def test_hashing_is_stopped_within_2_s(tmp_path: Path, torsync: Torsync) -> None:
    size = 8 * 1024 * MIB
    zeros = sha1(bytes(MIB)).digest()
    torrent = make_raw(
        {"zeros": b""},
        single=True,
        piece_size=MIB,
        info={b"name": b"zeros", b"length": size, b"pieces": zeros * (size // MIB)},
    )
    (tmp_path / "newest.torrent").write_bytes(torrent)
    torsync.subscribe(url=(tmp_path / "newest.torrent").as_uri())
    torsync.tree.mkdir()
    with (torsync.tree / "zeros").open("wb") as file:
        file.truncate(size)  # it takes no room on the disk, but seconds to hash
    before = snapshot(torsync.tree / "zeros")
    running = torsync.start("check-now")
    running.wait_for_stage("pack", "verifying")
    outcome = running.stop(signal.SIGTERM, within_s=2)
    assert outcome.exit_code == 130
    assert outcome.error["code"] == "interrupted"
    assert snapshot(torsync.tree / "zeros") == before


def test_a_verify_is_stopped_in_the_middle_of_the_largest_pieces(
    tmp_path: Path, torsync: Torsync
) -> None:
    piece, pieces = 256 * MIB, 8
    zeros = sha1()
    for _ in range(256):
        zeros.update(bytes(MIB))
    torrent = make_raw(
        {"zeros": b""},
        single=True,
        piece_size=piece,
        info={b"name": b"zeros", b"length": pieces * piece, b"pieces": zeros.digest() * pieces},
    )
    (tmp_path / "newest.torrent").write_bytes(torrent)
    torsync.subscribe(url=(tmp_path / "newest.torrent").as_uri())
    torsync.tree.mkdir()
    with (torsync.tree / "zeros").open("wb") as file:
        file.truncate(pieces * piece)  # it takes no room on the disk, but seconds to hash
    torsync.run("check-now").assert_ok()
    before = snapshot(torsync.tree)
    running = torsync.start("verify")
    running.wait_for_stage("pack", "verifying")
    outcome = running.stop(signal.SIGINT, within_s=2)
    assert outcome.exit_code == 130
    assert outcome.error["message"] == "stopped while hashing"
    assert outcome.of_type("subscription") == []
    assert snapshot(torsync.tree) == before
    again = torsync.run("check-now").assert_ok().subscription
    assert (again["changed"], again["bytes_hashed"]) == (False, 0), "the ledger is as it was"
