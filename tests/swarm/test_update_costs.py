"""What an update fetches and hashes: what changed, whatever the format and the layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trees import random_bytes, tree_bytes
from tests.support.updates import KIB, MIB, PIECE, WITH_DIGESTS, built, overwritten, pieces_with

if TYPE_CHECKING:
    from tests.support.updates import Updates

FORMATS = ("v1", *WITH_DIGESTS)
BIG_PIECE = 64 * KIB
HUGE = random_bytes(4 * MIB + 12_345, "huge")
LONG = random_bytes(20 * PIECE, "long")
BESIDE = {
    "a/before.bin": random_bytes(300 * KIB + 17, "before"),
    "a/small.txt": random_bytes(1500, "small"),
    "zz/after.bin": random_bytes(200 * KIB + 3, "after"),
}
# Several to a piece; sorted by name.
MANY = {
    f"many/{number:03}.txt": random_bytes(600 + 7 * (number % 100), f"many {number}")
    for number in range(300)
}


def piece_of(content: bytes, number: int) -> bytes:
    return content[number * PIECE : (number + 1) * PIECE]


# --- one file changes -----------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_100_kb_overwritten_in_a_large_file_cost_the_pieces_that_they_touch(
    updates: Updates, format_: str
) -> None:
    updates.sync_first({**BESIDE, "huge.bin": HUGE}, format_, piece_size=BIG_PIECE)
    at, data = 2 * MIB + 5, random_bytes(100_000, "patch")
    changed = overwritten(HUGE, at, data)
    report = updates.update({**BESIDE, "huge.bin": changed}, format_, piece_size=BIG_PIECE)
    assert report["patched_paths"] == report["trashed_paths"] == ["huge.bin"]
    assert report["kept"] == len(BESIDE)
    # Files side by side: the first piece may begin anywhere in the file.
    touched = (3 if format_ == "v1" else 2) * BIG_PIECE
    assert len(data) <= report["bytes_fetched"] <= touched
    assert report["bytes_hashed"] <= touched
    updates.assert_trashed(report, {"huge.bin": HUGE})
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_that_grew_costs_what_was_added(updates: Updates, format_: str) -> None:
    old = LONG[: 12 * PIECE + 500]
    updates.sync_first({**BESIDE, "zz/z": old}, format_)
    report = updates.update({**BESIDE, "zz/z": LONG[: 15 * PIECE + 20]}, format_)
    assert report["patched_paths"] == report["trashed_paths"] == ["zz/z"]
    assert report["kept"] == len(BESIDE)
    grown = 5 if format_ == "v1" else 4  # from the piece that was incomplete
    assert 0 < report["bytes_fetched"] <= grown * PIECE
    assert report["bytes_hashed"] <= grown * PIECE
    updates.assert_trashed(report, {"zz/z": old})


@pytest.mark.parametrize("size", [12 * PIECE, 3 * PIECE - 1, 77])
@pytest.mark.parametrize("format_", ["v1", "packed", "v2"])
def test_a_file_that_shrank_costs_nothing(updates: Updates, format_: str, size: int) -> None:
    old = LONG[: 15 * PIECE + 500]
    updates.sync_first({**BESIDE, "zz/z": old}, format_)
    report = updates.update({**BESIDE, "zz/z": LONG[:size]}, format_)
    assert report["trashed_paths"] == ["zz/z"]
    assert report["kept"] == len(BESIDE)
    assert report["bytes_fetched"] == 0
    # The piece that ends earlier now: where it was found, and where it was put together.
    assert report["bytes_hashed"] <= 2 * PIECE
    updates.assert_trashed(report, {"zz/z": old})


@pytest.mark.parametrize("format_", FORMATS)
def test_pieces_that_change_places_within_a_file_are_not_fetched(
    updates: Updates, format_: str
) -> None:
    """The file comes first, so that its pieces are its own in every format."""
    updates.sync_first({"a": LONG, "z": BESIDE["zz/after.bin"]}, format_)
    order = [0, 7, 2, 3, 19, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 4]
    moved = sum(number != at for at, number in enumerate(order))
    rearranged = b"".join(piece_of(LONG, number) for number in order)
    report = updates.update({"a": rearranged, "z": BESIDE["zz/after.bin"]}, format_)
    assert report["trashed_paths"] == ["a"]
    assert report["kept"] == 1
    assert report["bytes_fetched"] == 0
    assert report["bytes_hashed"] <= 2 * moved * PIECE
    updates.assert_trashed(report, {"a": LONG})
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", FORMATS)
def test_pieces_that_another_file_takes_over_are_not_fetched(
    updates: Updates, format_: str
) -> None:
    updates.sync_first({"a": LONG, "gone": LONG[::-1], "z": BESIDE["zz/after.bin"]}, format_)
    fresh = random_bytes(PIECE, "fresh")
    mixed = piece_of(LONG, 3) + fresh + piece_of(LONG[::-1], 5) + piece_of(LONG, 19)
    report = updates.update({"a": LONG, "b": mixed, "z": BESIDE["zz/after.bin"]}, format_)
    assert built(report) == ["b"]
    assert report["trashed_paths"] == ["gone"]
    assert report["bytes_fetched"] == PIECE
    assert report["bytes_hashed"] <= len(BESIDE["zz/after.bin"]) + 8 * PIECE
    updates.assert_at_rest()


# --- one among many -------------------------------------------------------------------------


@pytest.mark.parametrize("grown", [0, 333])
def test_one_changed_file_among_many_in_packed_pieces_costs_its_piece(
    updates: Updates, grown: int
) -> None:
    updates.sync_first({**BESIDE, **MANY}, "packed")
    for name in list(MANY)[150:]:  # one that lies in a single piece now and then
        content = random_bytes(len(MANY[name]) + grown, "changed")
        torrent = updates.publish({**BESIDE, **MANY, name: content}, "packed")
        if len(pieces_with(torrent, [name])) == 1:
            break
    report = updates.check().subscription
    assert built(report) == report["trashed_paths"] == [name]
    assert report["kept"] == len(BESIDE) + len(MANY) - 1
    assert 0 < report["bytes_fetched"] <= PIECE
    assert report["bytes_hashed"] <= PIECE
    updates.assert_trashed(report, MANY)
    updates.assert_at_rest()


@pytest.mark.parametrize("name", ["many/", "many/000.txt0", "zzz"], ids=["first", "second", "last"])
def test_a_small_file_added_beside_hundreds_in_packed_pieces_costs_its_pieces(
    updates: Updates, name: str
) -> None:
    name = f"{name}new"
    updates.sync_first({**BESIDE, **MANY}, "packed")
    report = updates.update({**BESIDE, **MANY, name: random_bytes(1000, "new")}, "packed")
    allowed = updates.pieces_of(name) * PIECE
    assert report["fetched_paths"] == [name]
    assert report["kept"] == len(BESIDE) + len(MANY)
    assert (report["patched"], report["trashed"]) == (0, 0)
    assert 0 < report["bytes_fetched"] <= allowed
    assert report["bytes_hashed"] <= allowed
    updates.assert_at_rest()


def test_a_small_file_dropped_from_hundreds_in_packed_pieces_costs_nothing(
    updates: Updates,
) -> None:
    updates.sync_first({**BESIDE, **MANY}, "packed")
    rest = {path: content for path, content in MANY.items() if path != "many/000.txt"}
    report = updates.update({**BESIDE, **rest}, "packed")
    assert report["trashed_paths"] == ["many/000.txt"]
    assert report["kept"] == len(BESIDE) + len(rest)
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    updates.assert_at_rest()


SHIFTED = [
    pytest.param("v1", PIECE, id="libtorrent"),
    pytest.param("mktorrent", 2 * PIECE, id="mktorrent", marks=pytest.mark.programs),
]


@pytest.mark.parametrize(("format_", "piece_size"), SHIFTED)
def test_a_shifted_layout_without_digests_is_hashed_once_and_fetched_where_it_changed(
    updates: Updates, format_: str, piece_size: int
) -> None:
    old = {**BESIDE, **MANY, "n.bin": LONG}
    updates.sync_first(old, format_, piece_size=piece_size)
    on_disk = sum(map(len, old.values()))
    changes = {
        "0/new first": random_bytes(1001, "new"),
        "many/150.txt": random_bytes(1234, "longer"),
        "n.bin": overwritten(LONG, 11 * PIECE, b"patch"),
    }
    report = updates.update({**old, **changes}, format_, piece_size=piece_size)
    whole = pieces_with(updates.torrent, ["0/new first", "many/150.txt"])
    allowed = (len(whole) + 2) * piece_size
    assert updates.pieces_of("n.bin") > 2, "else nothing is shown"
    assert built(report) == sorted(changes)
    assert report["trashed_paths"] == ["many/150.txt", "n.bin"]
    assert report["kept"] == len(old) - 2
    assert 0 < report["bytes_fetched"] <= allowed
    assert report["bytes_hashed"] <= on_disk + allowed
    updates.assert_at_rest()


@pytest.mark.parametrize(("format_", "piece_size"), SHIFTED)
def test_a_layout_without_digests_that_shifts_by_a_dropped_file_costs_no_fetching(
    updates: Updates, format_: str, piece_size: int
) -> None:
    old = {**BESIDE, **MANY, "0/dropped": random_bytes(1001, "dropped")}
    updates.sync_first(old, format_, piece_size=piece_size)
    report = updates.update({**BESIDE, **MANY}, format_, piece_size=piece_size)
    assert report["trashed_paths"] == ["0/dropped"]
    assert report["kept"] == len(BESIDE) + len(MANY)
    assert report["bytes_fetched"] == 0
    assert report["bytes_hashed"] <= sum(map(len, old.values()))
    updates.assert_at_rest()


# --- another format, another piece size -----------------------------------------------------

FROM_TO = [
    pytest.param("packed", PIECE, "v2", PIECE, id="packed to v2"),
    pytest.param("v2", PIECE, "packed", PIECE, id="v2 to packed"),
    pytest.param("hybrid", PIECE, "packed", PIECE, id="hybrid to packed"),
    pytest.param("v2", PIECE, "hybrid", 2 * PIECE, id="v2 to hybrid of larger pieces"),
    pytest.param("v2", 256 * KIB, "v2", 512 * KIB, id="v2 of larger pieces"),
    pytest.param("v2", 64 * KIB, "v2", PIECE, id="v2 of smaller pieces"),
    pytest.param("packed", PIECE, "packed", 4 * PIECE, id="packed of larger pieces"),
    pytest.param("packed", 64 * KIB, "packed", PIECE, id="packed of smaller pieces"),
]
SOME = dict(list(MANY.items())[:40])


@pytest.mark.parametrize(("old", "old_piece", "new", "new_piece"), FROM_TO)
def test_unchanged_and_renamed_files_cost_nothing_in_another_format(
    updates: Updates, old: str, old_piece: int, new: str, new_piece: int
) -> None:
    updates.sync_first({**BESIDE, **SOME, "old/name": LONG}, old, piece_size=old_piece)
    report = updates.update({**BESIDE, **SOME, "new name": LONG}, new, piece_size=new_piece)
    assert report["moved_paths"] == ["new name"]
    assert report["kept"] == len(BESIDE) + len(SOME)
    assert report["trashed"] == 0
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    updates.assert_at_rest()


@pytest.mark.parametrize(("old", "old_piece", "new", "new_piece"), FROM_TO)
def test_changed_files_cost_their_changed_pieces_in_another_format(
    updates: Updates, old: str, old_piece: int, new: str, new_piece: int
) -> None:
    updates.sync_first({**BESIDE, **SOME, "huge.bin": HUGE}, old, piece_size=old_piece)
    changes = {
        "huge.bin": overwritten(HUGE, 2 * MIB + 10, b"patch"),
        "many/new": random_bytes(1000, "new"),
    }
    report = updates.update({**BESIDE, **SOME, **changes}, new, piece_size=new_piece)
    allowed = (1 + updates.pieces_of("many/new")) * new_piece
    assert report["patched_paths"] == report["trashed_paths"] == ["huge.bin"]
    assert report["fetched_paths"] == ["many/new"]
    assert report["kept"] == len(BESIDE) + len(SOME)
    assert 0 < report["bytes_fetched"] <= allowed
    # What was here at most once, the padding of its last piece perhaps included.
    assert report["bytes_hashed"] <= len(HUGE) + new_piece + allowed
    updates.assert_trashed(report, {"huge.bin": HUGE})
    updates.assert_at_rest()


@pytest.mark.parametrize(("old", "new"), [("v1", "v2"), ("v1", "packed"), ("v2", "v1")])
def test_where_one_side_has_no_digests_files_are_hashed_once_and_not_fetched(
    updates: Updates, old: str, new: str
) -> None:
    before = {**BESIDE, **SOME, "old name": LONG, "dropped": b"dropped"}
    updates.sync_first(before, old)
    report = updates.update({**BESIDE, **SOME, "new name": LONG}, new)
    # A file without digest, at the boundary of pieces of several files.
    boundaries = 2 * PIECE if new == "v1" else 0
    assert report["bytes_fetched"] <= boundaries
    put_together = len(LONG) if built(report) else 0
    assert report["bytes_hashed"] <= sum(map(len, before.values())) + put_together + boundaries
    assert report["kept"] == len(BESIDE) + len(SOME)
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_files_in_another_torrent_change_nothing(updates: Updates, format_: str) -> None:
    """A new root name is a new info-hash, and nothing else."""
    entries = {**BESIDE, **SOME, "long": LONG}
    updates.sync_first(entries, format_)
    seen = {path: (updates.tree / path).stat() for path in entries}
    report = updates.update(entries, format_)
    assert not report["changed"]
    assert report["kept"] == len(tree_bytes(updates.tree)) == len(entries)
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    assert seen == {path: (updates.tree / path).stat() for path in entries}
