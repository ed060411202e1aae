"""Updates with hints that are killed, stopped, or met by edits of the user."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import is_report, snapshot, trash_contents, visible
from tests.support.hints import (
    BLOCK,
    KIB,
    MIB,
    Hinted,
    hint_notices,
    hints_that_claim,
    in_blocks,
)
from tests.support.hints_server import HintsServer, silent
from tests.support.processes import wait_until
from tests.support.torrents import info_hash
from tests.support.trees import edit_in_place, random_bytes, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cli import Outcome, Running
    from tests.support.hints_server import Handler

APPLY = ("staged", "in-place")
FRESH = random_bytes(600 * KIB, "fresh")
LARGE = random_bytes(2 * MIB, "large")
OTHER = random_bytes(500 * KIB, "other")
OLD = {"gone": OTHER, "kept": random_bytes(50 * KIB, "kept"), "large": LARGE}
NEW = {
    "box": b"in a box: " + OTHER,
    "kept": OLD["kept"],
    # Insertions in many pieces, each of which has blocks of its own to fetch.
    "large": b"".join(
        LARGE[at : at + 256 * KIB] + random_bytes(20 * KIB, at)
        for at in range(0, len(LARGE), 256 * KIB)
    ),
    "new": FRESH,
}
FETCHED = len(FRESH) + 8 * (20 * KIB + 2 * BLOCK) + 4 * BLOCK


@pytest.fixture
def server(hinted: Hinted) -> Iterator[HintsServer]:
    with HintsServer(hinted.www) as running:
        hinted.torsync.subscribe(url=running.url())
        yield running


# --- killed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", APPLY)
def test_killed_while_it_searches_it_begins_again(
    hinted: Hinted, server: HintsServer, apply: str
) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first(OLD)
    hinted.publish(NEW)
    before = visible(hinted.tree)
    for requests in (1, 2):
        asked = len(server.hints_asked())

        def is_enough(asked: int = asked, requests: int = requests) -> bool:
            return len(server.hints_asked()) >= asked + requests

        # The answer that is waited for when it is killed never comes.
        server.fault = lambda handler, is_enough=is_enough: (
            silent(handler) if is_enough() else served(handler)
        )
        running = hinted.torsync.start("check-now")
        wait_until(is_enough, f"{requests} requests for hints have come")
        running.kill()
        assert visible(hinted.tree) == before
    server.fault = None
    report = hinted.check(verify=True).subscription
    assert report["bytes_fetched"] <= FETCHED


def served(handler: Handler) -> None:
    """Serve the range that is asked for."""
    handler.send_range(handler.given[handler.first : handler.last + 1])


@pytest.mark.parametrize(
    ("format_", "apply"), [("v1", "staged"), ("v1", "in-place"), ("v2", "staged")]
)
def test_killed_while_it_stages_and_while_it_fetches_it_goes_on(
    hinted: Hinted, format_: str, apply: str
) -> None:
    chance = random.Random(f"{format_} {apply}")
    hinted.format = format_
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first(OLD)
    hinted.publish(NEW, upload_limit=600 * KIB)
    for stage in ("staging", "downloading", "downloading"):
        running = hinted.torsync.start("check-now")
        running.wait_for_stage("pack", stage)
        if stage == "downloading":
            wanted = hinted.sent() + chance.randrange(150 * KIB)
            wait_until(lambda wanted=wanted: hinted.sent() > wanted, f"{wanted} bytes were sent")
        running.kill()
        found = tree_bytes(hinted.tree)
        assert found["large"] in (LARGE, NEW["large"])
        assert found["kept"] == OLD["kept"]
    hinted.check(verify=True)
    # What was under way at each kill may come again.
    assert hinted.sent() <= FETCHED + 3 * 300 * KIB


def test_stopped_while_it_fetches_it_goes_on(hinted: Hinted) -> None:
    hinted.sync_first(OLD)
    hinted.publish(NEW, upload_limit=600 * KIB)
    running = hinted.torsync.start("check-now")
    running.wait_for_download(100 * KIB)
    assert running.stop(signal.SIGINT, within_s=10).exit_code == 130
    assert tree_bytes(hinted.tree) == OLD
    hinted.check()
    assert hinted.sent() <= FETCHED + 200 * KIB


# --- asked first ------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", APPLY)
def test_ask_tells_what_shifted_and_apply_does_that(hinted: Hinted, apply: str) -> None:
    hinted.sync_first(OLD)
    hinted.torsync.subscribe(update="ask", apply=apply)
    hinted.publish(NEW)
    before = snapshot(hinted.tree)
    asked = hinted.torsync.run("check-now")
    assert asked.exit_code == 4
    planned = hinted.torsync.run("plan")
    assert planned.exit_code == 4
    assert snapshot(hinted.tree) == before
    for report in (asked.subscription, planned.subscription):
        assert report["bytes_to_fetch"] <= FETCHED
        assert report["bytes_reused"]["shifted"] > 2 * MIB
        assert report["bytes_reused"]["kept"] == len(OLD["kept"])
        assert report["space_needed"] > 0
    outcome = hinted.check("apply", "pack")
    assert outcome.subscription["bytes_fetched"] == planned.subscription["bytes_to_fetch"]
    assert outcome.subscription["bytes_reused"] == planned.subscription["bytes_reused"]
    assert hint_notices(outcome) == []


# --- edits of the user ------------------------------------------------------------------------


def test_a_kept_file_that_was_edited_gives_only_what_is_right_in_it(hinted: Hinted) -> None:
    hinted.torsync.subscribe(keep=["*.ini"])
    hinted.sync_first({"mine.ini": OTHER, "kept": 3000})
    edited = OTHER[:100_000] + b"mine" + OTHER[100_000:]
    (hinted.tree / "mine.ini").write_bytes(edited)
    box = b"in a box: " + OTHER
    hinted.publish({"mine.ini": b"theirs" + OTHER, "box": box, "kept": 3000})
    report = hinted.check(besides={"mine.ini": edited}).subscription
    assert report["kept_local_paths"] == ["mine.ini"]
    assert report["bytes_fetched"] <= in_blocks(box)


@pytest.mark.parametrize("apply", APPLY)
@pytest.mark.parametrize("set_mtime_back", [False, True])
def test_an_edit_of_the_file_that_shifts_is_saved_and_never_in_the_result(
    hinted: Hinted, apply: str, set_mtime_back: bool
) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"large": LARGE, "gone": OTHER})
    for path in ("large", "gone"):
        edit_in_place(hinted.tree / path, set_mtime_back=set_mtime_back)
    edited = tree_bytes(hinted.tree)
    report = hinted.update({"large": b"!" + LARGE, "box": b"in a box: " + OTHER}).copy()
    assert report["bytes_fetched"] <= 8 * BLOCK
    trash = trash_contents(hinted.tree)
    assert trash == {path: [content] for path, content in edited.items()}


@pytest.mark.parametrize("request_number", [1, 2])
def test_an_edit_in_the_middle_of_the_search_is_saved_and_never_in_the_result(
    hinted: Hinted, server: HintsServer, request_number: int
) -> None:
    hinted.sync_first({"large": LARGE, "gone": OTHER})
    hinted.publish({"large": b"!" + LARGE, "box": b"in a box: " + OTHER})
    seen: list[bytes] = []

    def edit(_handler: Handler) -> None:
        if len(server.hints_asked()) == request_number and not seen:
            for path, at in (("large", MIB), ("gone", 200_000)):
                with (hinted.tree / path).open("r+b") as file:
                    file.seek(at)
                    file.write(b"edited while torsync looks at it")
                seen.append((hinted.tree / path).read_bytes())

    server.on_hints = edit
    outcome = hinted.torsync.run("check-now")
    assert seen, "it was edited while hints were asked for"
    if outcome.exit_code:
        outcome = hinted.torsync.run("check-now")
    hinted.assert_synced(outcome, verify=True)
    saved = [content for found in trash_contents(hinted.tree).values() for content in found]
    assert all(content in saved for content in seen)


@pytest.mark.parametrize("apply", APPLY)
def test_edits_while_it_fetches_are_saved_and_never_in_the_result(
    hinted: Hinted, apply: str
) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first(OLD)
    hinted.publish(NEW, upload_limit=600 * KIB)
    running = hinted.torsync.start("check-now")
    running.wait_for_download(50 * KIB)
    edited = {}
    for path in ("gone", "large"):
        edit_in_place(hinted.tree / path)
        edited[path] = (hinted.tree / path).read_bytes()
    outcome = ended(hinted, running)
    hinted.assert_synced(outcome, verify=True)
    trash = trash_contents(hinted.tree)
    assert {path: trash[path] for path in edited} == {p: [data] for p, data in edited.items()}


def ended(hinted: Hinted, running: Running) -> Outcome:
    """The outcome; of another check, if the edit made it fail."""
    outcome = running.wait()
    return outcome if outcome.exit_code == 0 else hinted.torsync.run("check-now")


# --- what an earlier attempt left ----------------------------------------------------------------


def test_a_half_patched_file_is_a_source_of_the_next_release(hinted: Hinted) -> None:
    hinted.torsync.subscribe(apply="in-place")
    hinted.sync_first({"large": LARGE})
    patched = LARGE[:MIB] + random_bytes(MIB, "patch")
    hinted.publish({"large": patched}, upload_limit=600 * KIB)
    running = hinted.torsync.start("check-now")
    running.wait_for_download(100 * KIB)
    running.kill()
    assert (hinted.tree / "large").stat().st_nlink == 2, "the stage has a name of it"
    hinted.publish({"large": b"!" + LARGE[: MIB + 512 * KIB]})
    report = hinted.check(verify=True).subscription
    assert report["bytes_reused"]["shifted"] > 900 * KIB


def test_hints_that_were_wrong_are_not_asked_for_again_after_a_stop(hinted: Hinted) -> None:
    hinted.sync_first({"large": LARGE})
    lie = b"".join(
        FRESH[at : at + BLOCK] + LARGE[at + 7 : at + 3 * BLOCK + 7]
        for at in range(0, 512 * KIB, 4 * BLOCK)
    )
    new = random_bytes(len(lie), "new")
    torrent = hinted.publish({"large": new}, upload_limit=200 * KIB)
    hinted.show(hinted.release, hints=hints_that_claim(torrent, {"large": lie}))
    running = hinted.torsync.start("check-now")
    running.wait_for(lambda one: one.get("code") == "hints_wrong", "a lie was found")
    running.stop(signal.SIGINT, within_s=10)
    outcome = hinted.check(lied_to=True)
    assert hint_notices(outcome) == []
    assert outcome.subscription["bytes_hints"] == 0


def test_hints_of_a_release_that_was_superseded_count_as_well(hinted: Hinted) -> None:
    hinted.torsync.subscribe(interval="1s")
    hinted.sync_first({"large": LARGE})
    service = hinted.torsync.start("run")
    service.wait_for_stage("pack", "waiting")
    hinted.publish({"large": b"!" + LARGE, "new": FRESH}, upload_limit=50 * KIB)
    service.wait_for_download(10 * KIB)
    torrent = hinted.publish({"large": LARGE, "note": b"of a few bytes"})
    report = service.wait_for(
        lambda one: is_report(one) and one["info_hash"] == info_hash(torrent), "the newest is there"
    )
    assert report["bytes_hints"] > 0
