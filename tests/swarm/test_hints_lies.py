"""Hints that are wrong, hostile or of something else: one round is lost, and nothing more."""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync, is_report
from tests.support.hints import (
    BLOCK,
    KIB,
    MIB,
    PIECE,
    Hinted,
    Release,
    hint_notices,
    hints_that_claim,
    in_blocks,
    inserted,
)
from tests.support.hints_server import HintsServer
from tests.support.torrents import info_hash
from tests.support.trees import random_bytes, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

FORMATS = ("v1", "v2", "hybrid")
WAYS = [("v1", "staged"), ("v1", "in-place"), ("v2", "in-place"), ("hybrid", "staged")]
OLD = random_bytes(MIB, "old")
SHIFTED = inserted(OLD, 0, b"!")
OTHER = random_bytes(MIB, "other")
UNKNOWN = random_bytes(MIB, "unknown")
# Smaller than a piece: in v1 it lies among others in a piece.
SMALL = random_bytes(3 * BLOCK, "small")
SMALL_NEW = random_bytes(3 * BLOCK, "small and new")
BESIDE = {f"d/{number:02}": random_bytes(3000, number) for number in range(12)}


@pytest.fixture(scope="module")
def series(
    tmp_path_factory: pytest.TempPathFactory, lasting_seeder: LibtorrentSeeder
) -> Callable[[str], Hinted]:
    """Make the releases of a format once: old, shifted, another one."""
    made: dict[str, Hinted] = {}

    def of(format_: str) -> Hinted:
        if format_ not in made:
            scratch = tmp_path_factory.mktemp(format_)
            nobody = scratch / "nobody"
            nobody.mkdir()
            made[format_] = hinted = Hinted(scratch, Torsync(nobody), lasting_seeder)
            hinted.format = format_
            hinted.publish({"large": OLD, "d/06b": SMALL, **BESIDE})
            hinted.publish({"large": SHIFTED, "d/06b": SMALL, **BESIDE})
            hinted.publish({"large": OTHER, "d/06b": SMALL_NEW, **BESIDE})
        return made[format_]

    return of


@pytest.fixture
def hinted(
    series: Callable[[str], Hinted],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    torsync: Torsync,
) -> Hinted:
    """A subscriber who has the old release; v1, if the test does not say otherwise."""
    callspec = getattr(request.node, "callspec", None)
    format_ = callspec.params.get("format_", "v1") if callspec else "v1"
    apply = callspec.params.get("apply", "staged") if callspec else "staged"
    hinted = series(format_).for_another(tmp_path, torsync, apply=apply)
    hinted.sync_first(hinted.releases[0])
    return hinted


def shifted(hinted: Hinted) -> Release:
    """The release in which the large file has shifted by a byte."""
    return hinted.releases[1]


def other(hinted: Hinted) -> Release:
    """The release in which it is another one, and so is a small file among small files."""
    return hinted.releases[2]


def lie_in(piece: int, content: bytes) -> bytes:
    """Say that all blocks of a piece but the first are what the subscriber has."""
    at = piece * PIECE
    end = min(at + PIECE, len(content))
    told = UNKNOWN[at : at + BLOCK] + OLD[5 * PIECE + 7 :][: max(0, end - at - BLOCK)]
    return content[:at] + told[: end - at] + content[end:]


def without_hints(hinted: Hinted) -> int:
    """What an update to the public release would fetch without hints."""
    hints = hinted.hints_file.read_bytes()
    hinted.hints_file.unlink()
    to_fetch = int(hinted.planned()["bytes_to_fetch"])
    hinted.hints_file.write_bytes(hints)
    return to_fetch


def update_works_again(hinted: Hinted) -> None:
    """The next update, with honest hints, costs as little as ever."""
    hinted.show(shifted(hinted))
    hinted.check()
    hinted.show(hinted.releases[0], hints=hints_that_claim(hinted.releases[0].torrent, {}))


# --- well-formed lies -------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "apply"), WAYS)
def test_a_lie_in_one_piece_costs_that_piece_again(
    hinted: Hinted, format_: str, apply: str
) -> None:
    release = shifted(hinted)
    lie = {"large": lie_in(8, SHIFTED)}
    hinted.show(release, hints=hints_that_claim(release.torrent, lie))
    outcome = hinted.check(lied_to=True)
    # The piece with the inserted byte, which has claimed blocks as well, is fetched whole too.
    assert outcome.subscription["bytes_fetched"] <= 4 * PIECE
    assert len(hint_notices(outcome)) <= 1


@pytest.mark.parametrize(("format_", "apply"), WAYS)
def test_lies_in_all_pieces_cost_what_was_claimed_once_more(
    hinted: Hinted, format_: str, apply: str
) -> None:
    release = other(hinted)
    lie = OTHER
    for piece in range(MIB // PIECE):
        lie = lie_in(piece, lie)
    small = SMALL_NEW[:BLOCK] + OLD[:BLOCK] + SMALL_NEW[2 * BLOCK :]
    lies = {"large": lie, "d/06b": small}
    hinted.show(release, hints=hints_that_claim(release.torrent, lies))
    honest = without_hints(hinted)
    outcome = hinted.check(lied_to=True, verify=True)
    assert outcome.subscription["bytes_fetched"] <= 2 * honest
    assert outcome.subscription["bytes_reused"]["shifted"] == 0
    assert len(hint_notices(outcome)) <= 1
    # And back, by hints that are right.
    hinted.show(shifted(hinted), hints=shifted(hinted).hints)
    hinted.check()


@pytest.mark.parametrize("format_", FORMATS)
def test_pieces_that_are_assembled_and_wrong_are_fetched(hinted: Hinted, format_: str) -> None:
    release = other(hinted)
    lies = {"large": OLD[77_777:] + OLD[:77_777], "d/06b": SMALL[100:] + SMALL[:100]}
    hinted.show(release, hints=hints_that_claim(release.torrent, lies))
    honest = without_hints(hinted)
    outcome = hinted.check(lied_to=True, verify=True)
    # Where two parts of the old file meet, blocks are claimed; their piece is fetched again, and
    # so are pieces that were not complete by then.
    assert outcome.subscription["bytes_fetched"] <= 2 * honest
    assert outcome.subscription["bytes_reused"]["shifted"] == 0
    assert len(hint_notices(outcome)) <= 1


@pytest.mark.parametrize("part", ["chunks", "cells"])
def test_chunks_and_cells_that_contradict_each_other_end_in_the_release(
    hinted: Hinted, part: str
) -> None:
    release = shifted(hinted)
    # The same lengths: hashes of the one beside those of the other.
    lie = SHIFTED
    for piece in range(0, MIB // PIECE, 2):
        lie = lie_in(piece, lie)
    honest_first = part == "cells"
    contents = {"large": SHIFTED if honest_first else lie}
    cells_of = {"large": lie if honest_first else SHIFTED}
    hints = hints_that_claim(release.torrent, contents, cells_of=cells_of)
    hinted.show(release, hints=hints)
    outcome = hinted.check(lied_to=True)
    assert outcome.subscription["bytes_fetched"] <= 2 * len(SHIFTED)
    assert len(hint_notices(outcome)) <= 1


def test_a_liar_of_small_files_never_harms_their_neighbours(hinted: Hinted) -> None:
    release = other(hinted)
    before = {path: (hinted.tree / path).stat() for path in BESIDE}
    lies = {"d/06b": SMALL_NEW[:BLOCK] + OLD[:BLOCK] + SMALL_NEW[2 * BLOCK :]}
    hinted.show(release, hints=hints_that_claim(release.torrent, lies))
    hinted.check(lied_to=True)
    for path, seen in before.items():
        now = (hinted.tree / path).stat()
        assert (now.st_ino, now.st_mtime_ns) == (seen.st_ino, seen.st_mtime_ns)


def test_the_session_of_the_service_gets_over_lies_and_bans_nobody(hinted: Hinted) -> None:
    hinted.torsync.subscribe(interval="1s")
    service = hinted.torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    lie = OTHER
    for piece in range(MIB // PIECE):
        lie = lie_in(piece, lie)
    for release, hints in (
        (other(hinted), hints_that_claim(other(hinted).torrent, {"large": lie})),
        (shifted(hinted), shifted(hinted).hints),
    ):
        heard = len(service.objects())
        hinted.show(release, hints=hints)
        service.wait_for(
            lambda one, release=release: (
                is_report(one) and one["info_hash"] == info_hash(release.torrent)
            ),
            "the release is in place",
            since=heard,
            deadline_s=40,
        )
        hinted.assert_content()


# --- what is no hints file of this release ----------------------------------------------------


def _random(_hints: bytes) -> bytes:
    return random_bytes(20_000, "noise")


def _empty(_hints: bytes) -> bytes:
    return b""


def _page(_hints: bytes) -> bytes:
    return b"<html>" * 5000


def _shorter_than_its_header(hints: bytes) -> bytes:
    return hints[:20]


def _header_alone(hints: bytes) -> bytes:
    return hints[:32]


def _cut_in_the_middle(hints: bytes) -> bytes:
    return hints[: len(hints) // 2]


def _a_byte_short(hints: bytes) -> bytes:
    return hints[:-1]


def _from_the_future(hints: bytes) -> bytes:
    return hints[:16] + struct.pack("<H", 2) + hints[18:]


def _many_records(hints: bytes) -> bytes:
    return hints[:20] + struct.pack("<IQ", 2**32 - 1, 2**60) + hints[32:]


def _wide_fanout(hints: bytes) -> bytes:
    return hints[:18] + bytes([24, 0]) + struct.pack("<IQ", 1, 2**40) + hints[32:]


def _fanout_of_nonsense(hints: bytes) -> bytes:
    return hints[:32] + b"\xff" * 8 + hints[40:]


def _backwards_fanout(hints: bytes) -> bytes:
    return hints[:32] + struct.pack("<II", 5, 1) + hints[40:]


def _records(hints: bytes) -> tuple[int, int]:
    bits, count = hints[18], struct.unpack_from("<I", hints, 20)[0]
    return 32 + 4 * (2**bits + 1), count


def _each_record(hints: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    changed = bytearray(hints)
    begin, count = _records(hints)
    for number in range(count):
        change(changed, begin + 36 * number)
    return bytes(changed)


def _entries_beyond_the_end(hints: bytes) -> bytes:
    return _each_record(hints, lambda all_, at: struct.pack_into("<Q", all_, at + 16, 2**63))


def _entries_in_the_header(hints: bytes) -> bytes:
    return _each_record(hints, lambda all_, at: struct.pack_into("<Q", all_, at + 16, 0))


def _very_many_chunks(hints: bytes) -> bytes:
    return _each_record(
        hints, lambda all_, at: struct.pack_into("<II", all_, at + 24, 2**32 - 1, 2**32 - 1)
    )


def _no_chunks(hints: bytes) -> bytes:
    return _each_record(hints, lambda all_, at: struct.pack_into("<II", all_, at + 24, 0, 0))


def _entries_of_noise(hints: bytes) -> bytes:
    begin, count = _records(hints)
    end = begin + 36 * count
    return hints[:end] + random_bytes(len(hints) - end, "noise")


def _entries_of_zeros(hints: bytes) -> bytes:
    begin, count = _records(hints)
    end = begin + 36 * count
    return hints[:end] + bytes(len(hints) - end)


SPOILED = (
    _random,
    _empty,
    _page,
    _shorter_than_its_header,
    _header_alone,
    _cut_in_the_middle,
    _from_the_future,
    _many_records,
    _wide_fanout,
    _fanout_of_nonsense,
    _backwards_fanout,
    _entries_beyond_the_end,
    _entries_in_the_header,
    _very_many_chunks,
    _no_chunks,
    _entries_of_noise,
    _entries_of_zeros,
)


def test_what_is_no_hints_file_is_passed_over(hinted: Hinted) -> None:
    release = shifted(hinted)
    hinted.show(release)
    for spoil in SPOILED:
        hinted.hints_file.write_bytes(spoil(release.hints))
        outcome = hinted.torsync.run("check-now", "--dry-run")
        assert outcome.exit_code == 4, (spoil, outcome.stderr)
        assert outcome.subscription["bytes_to_fetch"] == in_blocks(SHIFTED), spoil
        assert outcome.subscription["bytes_reused"]["shifted"] == 0, spoil
        assert len(hint_notices(outcome)) <= 1, spoil
    hinted.check()


@pytest.mark.parametrize(
    "spoil",
    [_empty, _cut_in_the_middle, _wide_fanout, _entries_of_noise],
    ids=lambda given: given.__name__[1:],
)
def test_an_update_goes_on_without_what_a_web_server_has_wrong(
    hinted: Hinted, spoil: Callable[[bytes], bytes]
) -> None:
    with HintsServer(hinted.www) as server:
        hinted.torsync.subscribe(url=server.url())
        hinted.show(shifted(hinted))
        hinted.hints_file.write_bytes(spoil(shifted(hinted).hints))
        outcome = hinted.check()
        assert server.hints_asked()
        assert outcome.subscription["bytes_fetched"] == in_blocks(SHIFTED)
        assert len(hint_notices(outcome)) <= 1


def test_hints_with_some_of_their_bytes_flipped_end_in_the_release(hinted: Hinted) -> None:
    chance = random.Random("flips")
    first, second = hinted.releases[0], shifted(hinted)
    honest = {
        first: hints_that_claim(first.torrent, {"large": OLD}),
        second: second.hints,
    }
    for number in range(6):
        for release in (second, first):
            spoiled = bytearray(honest[release])
            for _ in range(chance.choice((1, 3, 30))):
                spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
            hinted.show(release, hints=bytes(spoiled))
            outcome = hinted.check(lied_to=True)
            assert outcome.subscription["bytes_fetched"] <= 2 * len(SHIFTED), number
            assert len(hint_notices(outcome)) <= 1


@pytest.mark.parametrize("stale", ["old", "other"])
def test_hints_of_another_release_help_nobody_and_harm_nobody(hinted: Hinted, stale: str) -> None:
    another = hinted.releases[0] if stale == "old" else other(hinted)
    hints = hints_that_claim(another.torrent, {"large": OLD if stale == "old" else OTHER})
    hinted.show(shifted(hinted), hints=hints)
    outcome = hinted.check(lied_to=True)
    assert outcome.subscription["bytes_fetched"] == in_blocks(SHIFTED)
    assert len(hint_notices(outcome)) <= 1


def test_hints_that_are_ahead_of_the_torrent_do_no_harm(hinted: Hinted) -> None:
    hinted.show(hinted.releases[0], hints=shifted(hinted).hints)
    outcome = hinted.check("check-now", "--force")
    assert outcome.subscription["bytes_fetched"] == 0
    assert hint_notices(outcome) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_pipe_or_a_folder_in_their_place_holds_nothing_up(
    hinted: Hinted, make: Callable[[Path], None]
) -> None:
    hinted.show(shifted(hinted), hints=b"")
    make(hinted.hints_file)
    outcome = hinted.check(lied_to=True)
    assert outcome.subscription["bytes_fetched"] == in_blocks(SHIFTED)
    assert len(hint_notices(outcome)) <= 1


# --- signed -----------------------------------------------------------------------------------


def test_forged_hints_of_a_signed_release_cost_one_round(
    tmp_path: Path, torsync: Torsync, lasting_seeder: LibtorrentSeeder
) -> None:
    hinted = Hinted(tmp_path, torsync, lasting_seeder)
    key = tmp_path / "key"
    public = hinted.program.run("keygen", "-o", key).assert_ok().of_type("key")[0]["public_key"]
    hinted.publish_options = ["--secret-key", str(key)]
    torsync.subscribe(public_keys=[public])
    hinted.sync_first({"large": OLD})
    honest = hinted.update({"large": SHIFTED})
    assert honest["bytes_fetched"] <= 2 * BLOCK, "hints need no signature"
    hinted.publish({"large": OTHER})
    lie = OTHER
    for piece in range(MIB // PIECE):
        lie = lie_in(piece, lie)
    forged = hints_that_claim(hinted.release.torrent, {"large": lie})
    hinted.hints_file.write_bytes(forged)
    outcome = hinted.check(lied_to=True)
    assert outcome.subscription["bytes_fetched"] <= 2 * len(OTHER)
    assert tree_bytes(hinted.tree) == {"large": OTHER}
    assert len(OTHER) > 600 * KIB
