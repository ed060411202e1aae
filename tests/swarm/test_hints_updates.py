"""Updates with hints: content that has shifted is not fetched, and the result is right."""

from __future__ import annotations

import os
import random
import shutil
import time

import pytest

from tests.support.cli import trash_contents
from tests.support.hints import (
    BLOCK,
    FORMATS,
    KIB,
    MIB,
    PIECE,
    Hinted,
    archive,
    assert_describes,
    blocks_that_are_nowhere,
    database,
    deleted,
    hint_notices,
    hints_reference,
    in_blocks,
    inserted,
    read_hints,
    text,
    without_line,
)
from tests.support.trees import executables, random_bytes, tree_bytes
from tests.support.updates import overwritten
from torsync.model.metainfo import parse_metainfo

LARGE = random_bytes(4 * MIB, "large")
SOME = random_bytes(768 * KIB, "some")
APPLY = ("staged", "in-place")
WAYS = [("v1", "staged"), ("v1", "in-place"), ("v2", "staged"), ("hybrid", "in-place")]


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two releases, and between them all that shifts content."""
    scratch = tmp_path_factory.mktemp("edits")
    source, target = random_bytes(512 * KIB, "from"), random_bytes(512 * KIB, "to")
    renamed, gone = random_bytes(400 * KIB, "renamed"), random_bytes(300 * KIB, "gone")
    grows, shrinks = random_bytes(200 * KIB, "grows"), random_bytes(400 * KIB, "shrinks")
    lines, log = text(6000, "lines"), text(5000, "log")
    members = {f"member {n}": random_bytes(60 * KIB, f"member {n}") for n in range(8)}
    small = {f"small/{n:02}": random_bytes(3000, f"small {n}") for n in range(40)}
    old = {
        "archive.zip": archive(members),
        "from": source,
        "gone": gone,
        "grows": grows,
        "lines": lines,
        "log": log,
        "old name": renamed,
        "rows.sqlite": database(scratch, rows=1200),
        "same": random_bytes(100 * KIB, "same"),
        "shrinks": shrinks,
        "to": target,
        **small,
    }
    new = {
        "archive.zip": archive({**members, "member 3": random_bytes(50 * KIB, "rebuilt")}),
        "container": b"header" + gone + b"trailer",
        "from": deleted(source, 100_000, 60_000),
        "grows": b"first" + grows + random_bytes(40 * KIB, "grown"),
        "lines": without_line(lines, 3000),
        "log": text(300, "fresh"),
        "log.1": log + text(20, "last lines"),
        "new/name": inserted(renamed, 1000, b"shifted"),
        "rows.sqlite": database(scratch, rows=1200, updated=range(500, 503), more=5),
        "same": old["same"],
        "shrinks": shrinks[70_001:],
        "to": inserted(target, 200_000, source[100_000:160_000]),
        **small,
        "small/17": random_bytes(3100, "changed"),
    }
    return old, new


def allowed(old: dict[str, bytes], new: dict[str, bytes], *, spare: int) -> int:
    """Bytes to fetch if all that is anywhere is found, and some blocks more."""
    missing = sum(
        blocks_that_are_nowhere(content, old.values())
        for path, content in new.items()
        if content != old.get(path) and len(content) > BLOCK
    )
    return (missing + spare) * BLOCK


# --- one file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "apply"), WAYS)
def test_a_byte_inserted_at_the_front_costs_a_block_or_two(
    hinted: Hinted, format_: str, apply: str
) -> None:
    hinted.format = format_
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"kept": 3 * PIECE, "large": ("exec", LARGE)})
    new = inserted(LARGE, 0, b"!")
    hinted.publish({"kept": 3 * PIECE, "large": ("exec", new)})
    planned = hinted.planned()
    report = hinted.check(verify=True).subscription
    assert 0 < report["bytes_fetched"] <= 2 * BLOCK
    assert planned["bytes_to_fetch"] == report["bytes_to_fetch"] == report["bytes_fetched"]
    assert planned["bytes_reused"] == report["bytes_reused"]
    assert report["bytes_reused"]["shifted"] >= len(new) - 2 * BLOCK
    assert report["bytes_reused"]["kept"] == 3 * PIECE
    assert report["patched_paths"] == planned["patched_paths"] == ["large"]
    assert executables(hinted.tree) == {"large"}
    assert trash_contents(hinted.tree) == {"large": [LARGE]}


@pytest.mark.parametrize("apply", APPLY)
def test_without_its_hints_a_file_that_has_shifted_is_fetched_whole(
    hinted: Hinted, apply: str
) -> None:
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first({"large": SOME})
    new = inserted(SOME, 0, b"!")
    hinted.publish({"large": new})
    hinted.hints_file.unlink()
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] == in_blocks(new)
    assert outcome.subscription["bytes_reused"]["shifted"] == 0
    assert len(hint_notices(outcome)) <= 1


def test_a_torrent_that_names_no_hints_is_synced_without_a_word(hinted: Hinted) -> None:
    hinted.sync_first({"large": SOME})
    hinted.publish_options = ["--no-hints"]
    new = inserted(SOME, 0, b"!")
    hinted.publish({"large": new})
    assert hints_reference(hinted.release.torrent) is None
    outcome = hinted.check()
    assert outcome.subscription["bytes_fetched"] == in_blocks(new)
    assert hint_notices(outcome) == []


def test_what_has_not_shifted_needs_no_hints(hinted: Hinted) -> None:
    hinted.sync_first({"large": SOME})
    hinted.publish({"large": overwritten(SOME, 5 * PIECE, random_bytes(PIECE, "other"))})
    report = hinted.check().subscription
    assert report["bytes_fetched"] == PIECE
    assert report["bytes_reused"] == {
        "kept": 0,
        "moved": 0,
        "same_place": len(SOME) - PIECE,
        "shifted": 0,
    }


# --- all kinds of edits -----------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "apply"), WAYS)
def test_all_that_is_anywhere_in_the_tree_is_found_wherever_it_has_gone(
    hinted: Hinted,
    edits: tuple[dict[str, bytes], dict[str, bytes]],
    format_: str,
    apply: str,
) -> None:
    old, new = edits
    hinted.format = format_
    hinted.torsync.subscribe(apply=apply)
    hinted.sync_first(old)
    report = hinted.update(new, verify=True)
    # One file each, and what is left over: its edit may lie across the end of a block.
    assert report["bytes_fetched"] <= allowed(old, new, spare=12)
    assert report["bytes_reused"]["shifted"] > 2 * MIB
    rolled = hinted.torsync.run("rollback", "pack").assert_ok().subscription
    assert rolled["bytes_fetched"] == 0
    assert tree_bytes(hinted.tree) == old
    hinted.torsync.run("verify").assert_ok()


@pytest.mark.parametrize("format_", FORMATS)
def test_the_neighbours_of_a_small_file_are_not_fetched_with_it(
    hinted: Hinted, format_: str
) -> None:
    hinted.format = format_
    old = {f"{n:02}": random_bytes(3000, n) for n in range(60)}
    hinted.sync_first(old)
    # Longer, so that all behind it in a pack shifts.
    report = hinted.update({**old, "31": random_bytes(3500, "changed")})
    assert report["bytes_fetched"] <= 2 * BLOCK
    assert report["kept"] == 59


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_cost_what_they_are(hinted: Hinted, seed: int) -> None:
    chance = random.Random(f"edits {seed}")
    hinted.format = chance.choice(FORMATS)
    hinted.piece_size = chance.choice((BLOCK, PIECE, 4 * PIECE))
    hinted.torsync.subscribe(apply=chance.choice(APPLY))
    old = {f"{n}": random_bytes(chance.randrange(1, 400_000), f"{seed} {n}") for n in range(4)}
    hinted.sync_first(old)
    for number in range(2):
        new, count = _edited(old, chance), 12
        report = hinted.update(new, verify=True)
        assert report["bytes_fetched"] <= allowed(old, new, spare=2 * count), number
        old = new


def _edited(old: dict[str, bytes], chance: random.Random) -> dict[str, bytes]:
    new = dict(old)
    for _ in range(12):
        path = chance.choice(sorted(new))
        content = new[path]
        at = chance.randrange(len(content) + 1)
        count = min(len(content) - at, chance.choice((1, 100, 5000, 50_000)))
        kind = chance.choice(("insert", "delete", "overwrite", "move", "rename"))
        if kind == "insert":
            new[path] = inserted(content, at, chance.randbytes(count))
        elif kind == "delete" and count < len(content):
            new[path] = deleted(content, at, count)
        elif kind == "overwrite":
            new[path] = overwritten(content, at, chance.randbytes(count))
        elif kind == "move" and count < len(content):
            new[path] = deleted(content, at, count)
            other = chance.choice(sorted(new))
            into = chance.randrange(len(new[other]) + 1)
            new[other] = inserted(new[other], into, content[at : at + count])
        elif kind == "rename":
            new[f"{path}'"] = new.pop(path)
    return new


# --- from one release to another --------------------------------------------------------------


def test_a_change_of_format_and_piece_size_is_no_hindrance(hinted: Hinted) -> None:
    content = SOME
    hinted.sync_first({"large": content, "same": 3 * PIECE})
    for number, (format_, piece_size) in enumerate(
        [("v2", 2 * BLOCK), ("hybrid", 8 * BLOCK), ("v1", BLOCK), ("v1", 16 * BLOCK)]
    ):
        hinted.format, hinted.piece_size = format_, piece_size
        content = inserted(content, 100_000 * number, b"!")
        report = hinted.update({"large": content, "same": 3 * PIECE})
        assert report["bytes_fetched"] <= 3 * BLOCK, (format_, piece_size)
        assert report["kept"] == 1


def test_who_skips_a_release_profits_all_the_same(hinted: Hinted) -> None:
    hinted.sync_first({"large": SOME})
    second = inserted(SOME, 300_000, b"second")
    hinted.publish({"large": second})
    report = hinted.update({"large": inserted(second, 0, b"third")})
    assert report["bytes_fetched"] <= 5 * BLOCK


def test_a_rollback_of_which_the_trash_has_nothing_ends_in_the_old_release(
    hinted: Hinted,
) -> None:
    hinted.sync_first({"large": SOME})
    hinted.update({"large": inserted(SOME, 0, b"!")})
    shutil.rmtree(hinted.tree / ".torsync/trash")
    report = hinted.torsync.run("rollback", "pack", "--timeout", "20s").assert_ok().subscription
    assert tree_bytes(hinted.tree) == {"large": SOME}
    assert report["bytes_fetched"] <= len(SOME)
    hinted.torsync.run("verify").assert_ok()


def test_a_repair_takes_from_the_release_itself(hinted: Hinted) -> None:
    hinted.sync_first({"large": SOME, "small": b"small"})
    (hinted.tree / "large").write_bytes(inserted(SOME, 200_000, b"by mistake"))
    outcome = hinted.torsync.run("verify", "--repair").assert_ok()
    assert outcome.subscription["repaired_paths"] == ["large"]
    hinted.assert_content()
    assert hinted.sent() <= len(SOME) + 5 + len(SOME)


# --- what is published ------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_published_is_as_its_description_has_it(
    hinted: Hinted, edits: tuple[dict[str, bytes], dict[str, bytes]], format_: str
) -> None:
    old, new = edits
    hinted.format = format_
    for entries in (old, new):
        hinted.publish(entries)
        assert hints_reference(hinted.release.torrent) == hinted.hints_file.name
        by_root = {
            file.pieces_root: entries[file.path]
            for file in parse_metainfo(hinted.release.torrent).files
            if file.pieces_root and file.size > BLOCK
        }
        sizes = {root: len(content) for root, content in by_root.items()}
        found = read_hints(hinted.hints_file.read_bytes(), sizes)
        assert found.keys() == by_root.keys()
        for root, content in by_root.items():
            assert_describes(found[root], content)


def test_hints_leave_the_info_hash_alone_and_are_small(hinted: Hinted) -> None:
    hinted.publish({"large": SOME, "b": 100 * KIB})
    with_hints = parse_metainfo(hinted.release.torrent)
    size = hinted.hints_file.stat().st_size
    assert size < (len(SOME) + 100 * KIB) // 100
    hinted.publish_options = ["--no-hints"]
    hinted.program.run(
        "publish", hinted.folder, "-o", hinted.torrent_file, "--piece-size", "64 KiB", "--no-hints"
    ).assert_ok()
    assert parse_metainfo(hinted.torrent_file.read_bytes()).info_hash == with_hints.info_hash


# --- staged, and in place ---------------------------------------------------------------------


def test_in_place_a_shifted_file_is_built_beside_and_others_are_patched_where_they_are(
    hinted: Hinted,
) -> None:
    hinted.torsync.subscribe(apply="in-place")
    old = {"patched": LARGE[: 2 * MIB], "shifted": SOME}
    hinted.sync_first(old)
    before = {path: (hinted.tree / path).stat().st_ino for path in old}
    new = {
        "patched": overwritten(old["patched"], 5 * PIECE, random_bytes(8 * PIECE, "patch")),
        "shifted": inserted(SOME, 0, b"!"),
    }
    hinted.publish(new, upload_limit=MIB)
    held = os.open(hinted.tree / "shifted", os.O_RDONLY)
    try:
        running = hinted.torsync.start("check-now")
        looks = 0
        while running.is_running:
            assert (hinted.tree / "shifted").read_bytes() in {SOME, new["shifted"]}
            looks += hinted.sent() > 0
            time.sleep(0.01)  # there is no end of looking; the update is what is waited for
        hinted.assert_synced(running.wait(), verify=True)
        assert os.pread(held, len(SOME) + 1, 0) == SOME
    finally:
        os.close(held)
    assert looks > 5, "it was looked at while it was fetched"
    after = {path: (hinted.tree / path).stat().st_ino for path in new}
    assert after["patched"] == before["patched"]
    assert after["shifted"] != before["shifted"]
    assert hinted.sent() <= 8 * PIECE + 2 * BLOCK
