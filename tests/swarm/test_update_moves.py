"""Files that the next release has under other names: moved or copied, not fetched again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import trash_contents
from tests.support.trees import random_bytes, tree_bytes, write_tree
from tests.support.updates import PIECE, WITH_DIGESTS, built, overwritten, relocated

if TYPE_CHECKING:
    from tests.support.updates import Updates

X = random_bytes(5 * PIECE + 123, "x")
Y = random_bytes(3 * PIECE + 4567, "y")
Z = random_bytes(2 * PIECE, "z")
SMALL = random_bytes(1234, "small")
OTHER = random_bytes(5 * PIECE + 123, "as long as x")
LONG = random_bytes(20 * PIECE + 99, "long")
BYSTANDERS = {
    "aa/first.txt": random_bytes(700, "first"),
    "m/middle.bin": random_bytes(4 * PIECE + 1, "middle"),
    "m/small.txt": random_bytes(900, "beside"),
    "zz/last.bin": random_bytes(2 * PIECE + 11, "last"),
}


@dataclass(frozen=True)
class Case:
    """Contents before and after, by path.

    Attributes:
        moved: targets that can only be moves.
        relocated: targets that are moved or copied.
        trashed: what goes to the trash where nothing is copied. A content that lives on under
            another name is not lost.
    """

    before: dict[str, bytes]
    after: dict[str, bytes]
    moved: tuple[str, ...] = ()
    relocated: tuple[str, ...] = ()
    trashed: tuple[str, ...] = ()


CASES = {
    "a large file": Case({"a/old name": X}, {"a/new name": X}, moved=("a/new name",)),
    "a small file": Case({"a/old name": SMALL}, {"a/new name": SMALL}, moved=("a/new name",)),
    "to the other end": Case({"aa/x": X}, {"zz/y/x": X}, moved=("zz/y/x",)),
    "a folder": Case(
        {"old/x": X, "old/deep/y": Y, "old/deep/er/z": Z, "old/s": SMALL},
        {"new/x": X, "new/deep/y": Y, "new/deep/er/z": Z, "new/s": SMALL},
        moved=("new/deep/er/z", "new/deep/y", "new/s", "new/x"),
    ),
    "a chain": Case({"a": X, "b": Y}, {"b": X, "c": Y}, moved=("b",), relocated=("c",)),
    "onto another file": Case({"a": X, "b": Y}, {"b": X}, moved=("b",), trashed=("b",)),
    "a swap": Case({"a": X, "b": Y}, {"a": Y, "b": X}, relocated=("a", "b")),
    "a swap of the same size": Case(
        {"a": X, "b": OTHER}, {"a": OTHER, "b": X}, relocated=("a", "b")
    ),
    "a cycle": Case({"a": X, "b": Y, "c": Z}, {"a": Y, "b": Z, "c": X}, relocated=("a", "b", "c")),
    "one to many": Case({"a": X}, {"b": X, "c/d": X}, relocated=("b", "c/d")),
    "a second copy": Case({"a": X}, {"a": X, "b": X}, relocated=("b",)),
    "letter case only": Case(
        {"README.TXT": SMALL, "Data/x": X},
        {"readme.txt": SMALL, "data/x": X},
        moved=("data/x", "readme.txt"),
    ),
    "a file becomes a folder": Case({"a": X}, {"a/b": X}, moved=("a/b",)),
    "a file becomes a deep folder": Case({"a": X}, {"a/a/a": X}, moved=("a/a/a",)),
    "a folder becomes a file": Case({"a/b": X}, {"a": X}, moved=("a",)),
    "file and folder change places": Case(
        {"a": X, "b/c": Y}, {"b": X, "a/c": Y}, moved=("a/c", "b")
    ),
}


def all_at_once() -> Case:
    """Every case in a folder of its own, with content of its own."""

    def own(number: int, contents: dict[str, bytes]) -> dict[str, bytes]:
        mark = b"case %03d" % number
        return {f"{number}/{path}": mark + content for path, content in contents.items()}

    before: dict[str, bytes] = {}
    after: dict[str, bytes] = {}
    moved, others, trashed = [], [], []
    for number, case in enumerate(CASES.values()):
        before |= own(number, case.before)
        after |= own(number, case.after)
        moved += [f"{number}/{path}" for path in case.moved]
        others += [f"{number}/{path}" for path in case.relocated]
        trashed += [f"{number}/{path}" for path in case.trashed]
    return Case(before, after, tuple(moved), tuple(others), tuple(trashed))


@pytest.mark.parametrize(
    ("case", "format_"),
    [
        *(pytest.param(case, "packed", id=name) for name, case in CASES.items()),
        *(pytest.param(all_at_once(), name, id=f"all at once, {name}") for name in WITH_DIGESTS),
    ],
)
def test_known_content_under_another_name_is_neither_fetched_nor_hashed(
    updates: Updates, case: Case, format_: str
) -> None:
    updates.sync_first({**BYSTANDERS, **case.before}, format_)
    report = updates.update({**BYSTANDERS, **case.after}, format_)
    assert relocated(report) == sorted({*case.moved, *case.relocated})
    assert set(case.moved) <= set(report["moved_paths"])
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    # Where a file is copied over another, that other's own content may have been copied too.
    excused = set(case.before) if report["copied"] else set()
    assert set(case.trashed) <= set(report["trashed_paths"]) <= {*case.trashed, *excused}
    updates.assert_trashed(report, case.before)
    updates.assert_at_rest()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_without_digests_known_content_is_found_by_hashing_what_is_there(
    updates: Updates, case: Case
) -> None:
    """The boundary pieces, which mix two files, may cost; what is inside of a file may not."""
    updates.sync_first({**BYSTANDERS, **case.before}, "v1")
    on_disk = sum(map(len, tree_bytes(updates.tree).values()))
    report = updates.update({**BYSTANDERS, **case.after}, "v1")
    boundaries = sum(min(2, updates.pieces_of(path)) for path in (*case.moved, *case.relocated))
    assert report["bytes_fetched"] <= boundaries * PIECE
    # Each file once, and once more what was put together from it.
    put_together = sum(len(case.after[path]) for path in relocated(report) + built(report))
    assert report["bytes_hashed"] <= on_disk + put_together + boundaries * PIECE
    updates.assert_trashed(report, {**BYSTANDERS, **case.before})
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", WITH_DIGESTS)
def test_two_equal_files_become_one(updates: Updates, format_: str) -> None:
    updates.sync_first({**BYSTANDERS, "a": X, "b": X}, format_)
    report = updates.update({**BYSTANDERS, "c": X}, format_)
    assert relocated(report) == ["c"]
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    assert set(report["trashed_paths"]) < {"a", "b"} or report["copied_paths"] == ["c"]
    updates.assert_trashed(report, {"a": X, "b": X})
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", WITH_DIGESTS)
def test_folders_that_moves_leave_empty_are_gone(updates: Updates, format_: str) -> None:
    updates.sync_first({"old/deep/x": X, "old/y": Y, "half/z": Z, "half/s": SMALL}, format_)
    write_tree(updates.tree, {"half/mine": b"mine"})
    report = updates.update(
        {"new/x": X, "new/y": Y, "z": Z, "s": SMALL}, format_, besides={"half/mine": b"mine"}
    )
    assert report["moved_paths"] == ["new/x", "new/y", "s", "z"]
    assert not (updates.tree / "old").exists()


@pytest.mark.parametrize("format_", WITH_DIGESTS)
@pytest.mark.parametrize("target", ["a/new name", "zz/new name"])
def test_a_file_that_is_renamed_and_modified_costs_what_was_modified(
    updates: Updates, target: str, format_: str
) -> None:
    updates.sync_first({**BYSTANDERS, "a": LONG}, format_)
    modified = overwritten(LONG, 9 * PIECE + 100, b"modified")
    report = updates.update({**BYSTANDERS, target: modified}, format_)
    assert built(report) == [target]
    assert report["patched_paths"] == [target], "most of it was here"
    assert 0 < report["bytes_fetched"] <= PIECE
    assert report["bytes_hashed"] <= len(LONG) + PIECE
    assert report["trashed_paths"] == ["a"]
    updates.assert_trashed(report, {"a": LONG})
    updates.assert_at_rest()


@pytest.mark.parametrize("format_", WITH_DIGESTS)
def test_moves_beside_other_changes_cost_nothing_more(updates: Updates, format_: str) -> None:
    updates.sync_first(
        {**BYSTANDERS, "gone": Z, "old/x": X, "old/s": SMALL, "patched": LONG}, format_
    )
    patched = overwritten(LONG, 3 * PIECE, b"patch")
    fresh = random_bytes(2 * PIECE, "fresh")
    report = updates.update(
        {**BYSTANDERS, "new/x": X, "new/s": SMALL, "patched": patched, "old/s": fresh}, format_
    )
    assert report["moved_paths"] == ["new/s", "new/x"]
    assert built(report) == ["old/s", "patched"]
    assert report["trashed_paths"] == ["gone", "patched"]
    assert report["bytes_fetched"] == 3 * PIECE
    assert report["bytes_hashed"] <= 3 * PIECE
    updates.assert_trashed(report, {"gone": Z, "patched": LONG})
    updates.assert_at_rest()


# --- what the configuration says ------------------------------------------------------------


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_clean_off_leaves_the_old_name_and_copies(updates: Updates, format_: str) -> None:
    updates.torsync.subscribe(clean="off")
    updates.sync_first({**BYSTANDERS, "a": X, "b": SMALL}, format_)
    old = {"a": X, "b": SMALL}
    report = updates.update({**BYSTANDERS, "new/a": X, "new/b": SMALL}, format_, besides=old)
    assert report["copied_paths"] == ["new/a", "new/b"]
    assert (report["moved"], report["trashed"]) == (0, 0)
    assert (report["bytes_fetched"], report["bytes_hashed"]) == (0, 0)
    # Two names of one file would change together.
    write_tree(updates.tree, {"a": b"mine"})
    assert (updates.tree / "new/a").read_bytes() == X


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_copies_are_files_of_their_own(updates: Updates, format_: str) -> None:
    updates.sync_first({**BYSTANDERS, "a": X}, format_)
    updates.update({**BYSTANDERS, "a": X, "b": X, "c": X}, format_)
    inodes = {(updates.tree / name).stat().st_ino for name in "abc"}
    assert len(inodes) == 3
    with (updates.tree / "a").open("r+b") as file:
        file.write(b"edited")
    assert (updates.tree / "b").read_bytes() == (updates.tree / "c").read_bytes() == X


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_an_unedited_keep_file_stays_where_it_is_and_is_copied(
    updates: Updates, format_: str
) -> None:
    updates.torsync.subscribe(keep=["*.ini"])
    updates.sync_first({**BYSTANDERS, "game.ini": X}, format_)
    report = updates.update({**BYSTANDERS, "game.cfg": X}, format_, besides={"game.ini": X})
    assert report["copied_paths"] == ["game.cfg"]
    assert (report["moved"], report["trashed"], report["bytes_fetched"]) == (0, 0, 0)


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_an_edited_keep_file_is_not_moved(updates: Updates, format_: str) -> None:
    updates.torsync.subscribe(keep=["*.ini"])
    updates.sync_first({**BYSTANDERS, "game.ini": X}, format_)
    mine = overwritten(X, 2 * PIECE + 10, b"mine")
    write_tree(updates.tree, {"game.ini": mine})
    report = updates.update({**BYSTANDERS, "game.cfg": X}, format_, besides={"game.ini": mine})
    assert built(report) == ["game.cfg"]
    assert (report["moved"], report["copied"], report["trashed"]) == (0, 0, 0)
    assert report["bytes_fetched"] >= PIECE
    assert trash_contents(updates.tree) == {}


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_nothing_is_moved_over_an_edited_keep_file(updates: Updates, format_: str) -> None:
    updates.torsync.subscribe(keep=["*.ini"])
    updates.sync_first({**BYSTANDERS, "new.txt": X, "game.ini": Y}, format_)
    write_tree(updates.tree, {"game.ini": b"mine"})
    report = updates.update({**BYSTANDERS, "game.ini": X}, format_, besides={"game.ini": b"mine"})
    assert report["kept_local_paths"] == ["game.ini"]
    assert (report["moved"], report["copied"], report["bytes_fetched"]) == (0, 0, 0)
    assert report["trashed_paths"] == ["new.txt"]


@pytest.mark.parametrize("format_", ["packed", "v2"])
def test_a_file_edited_since_is_no_source_of_a_move(updates: Updates, format_: str) -> None:
    updates.sync_first({**BYSTANDERS, "a": LONG}, format_)
    edited = overwritten(LONG, 7 * PIECE, b"edited")
    write_tree(updates.tree, {"a": edited})
    report = updates.update({**BYSTANDERS, "b": LONG}, format_)
    assert built(report) == ["b"]
    assert (report["moved"], report["copied"]) == (0, 0)
    assert report["bytes_fetched"] >= PIECE
    assert report["trashed_paths"] == ["a"]
    updates.assert_trashed(report, {"a": edited})


@pytest.mark.parametrize("format_", WITH_DIGESTS)
def test_a_short_last_piece_that_another_file_has_is_copied(updates: Updates, format_: str) -> None:
    tail = random_bytes(1234, "tail")
    updates.sync_first({**BYSTANDERS, "a": X[: 2 * PIECE] + tail}, format_)
    longer = Y[: 3 * PIECE] + tail
    report = updates.update({**BYSTANDERS, "a": X[: 2 * PIECE] + tail, "b": longer}, format_)
    assert built(report) == ["b"]
    assert report["bytes_fetched"] == 3 * PIECE
    updates.assert_at_rest()


def test_duplicates_after_a_change_to_a_format_with_digests_are_not_fetched(
    updates: Updates,
) -> None:
    """Each of the files that moved is found once, by its pieces, and serves the others."""
    a, b = Z[:PIECE], Z[: PIECE + 1]
    ends = {"0/first": SMALL[:700], "zz/last": SMALL[:900]}
    updates.sync_first({**ends, "c/d/e": a, "a/y": b, "c/f": X, "z": X, "a/x": X}, "v1")
    report = updates.update({**ends, "c/d/e": b, "a/y": a, "z": a, "a/x": X}, "packed")
    assert report["bytes_fetched"] == 0
    assert {"a/y", "z"} <= {*relocated(report)}


def test_a_file_that_moves_away_and_is_fetched_again_for_a_neighbours_sake_is_there(
    updates: Updates,
) -> None:
    """Its own piece has changed with what lies beside it, and it is needed in two places."""
    first, other, last = SMALL[:700], Y[:700], SMALL[:900]
    b, z = X[: PIECE - 1], Y[: 3 * PIECE]
    before = {"0/first": first, "b": b, "c/f": other, "z": z, "zz/last": last}
    updates.sync_first(before, "v1")
    report = updates.update({**before, "c/f": first, "b": z, "z": b}, "v1")
    assert "c/f" in relocated(report)
    updates.assert_at_rest()
