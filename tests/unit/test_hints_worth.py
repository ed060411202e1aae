"""For which files hints are asked, and in which files their content is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.authored import author, of_contents
from tests.support.torrents import make_raw
from tests.support.trees import random_bytes
from torsync.model.assess import assess
from torsync.model.config import CleanMode
from torsync.model.hints import worth
from torsync.model.hints.chunks import CELL_BYTES
from torsync.model.hints.format import key_of
from torsync.model.hints.relatives import MOST_RELATIVES, Relatives
from torsync.model.hints.worth import Span, files_to_search, worth_asking
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import Plan, plan_update
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torsync.model.manifest import Manifest

KIB = 1024
NEW = random_bytes(300 * KIB, "new")


def plan(
    tree: dict[str, int],
    wanted: dict[str, bytes],
    *,
    good: tuple[int, ...] = (),
    problems: dict[str, str] | None = None,
    kinds: dict[str, Kind] | None = None,
) -> Plan:
    """An update of a tree of which the sizes are known, and the pieces that are right."""
    manifest = author(of_contents(wanted), wanted, piece_length=64 * KIB).manifest
    return plan_of(tree, manifest, good=good, problems=problems, kinds=kinds)


def plan_of(
    tree: dict[str, int],
    manifest: Manifest,
    *,
    good: Iterable[int],
    problems: dict[str, str] | None = None,
    kinds: dict[str, Kind] | None = None,
) -> Plan:
    entries = {
        path: DiskEntry((kinds or {}).get(path, Kind.FILE), size, 1, 1, number, 0o644)
        for number, (path, size) in enumerate(tree.items())
    }
    found = assess(
        manifest,
        DiskIndex(entries, problems or {}),
        {},
        keep=lambda _path: False,
        trust_ledger=True,
    )
    return plan_update(found, set(good), {}, keep=lambda _path: False, clean=CleanMode.MIRROR)


def sources(made: Plan, path: str = "a/f.bin") -> tuple[str, ...]:
    return Relatives(made).of(made.wanted.by_path[path])


def test_what_is_lacking_is_sought_by_whole_cells() -> None:
    made = plan({"a": len(NEW)}, {"a": NEW}, good=(0, 2))
    (sought,) = files_to_search(made)
    root = made.wanted.files[0].pieces_root
    assert root is not None
    assert sought.key == key_of(root)
    assert sought.size == len(NEW)
    assert sought.sources == ("a",)
    assert sought.lacking == (Span(64 * KIB, 128 * KIB), Span(192 * KIB, 300 * KIB))
    assert sought.lacking_bytes == 172 * KIB
    assert worth_asking(made)


def test_cells_that_meet_when_they_are_whole_are_one() -> None:
    raw = make_raw({"lead": b"x" * 5000, "a": NEW}, roots=True)
    manifest = parse_metainfo(raw, windows=False)
    right = {piece for piece in range(4, 20) if piece % 2 or piece > 10}
    made = plan_of({"lead": 5000, "a": len(NEW)}, manifest, good=right)
    (sought,) = files_to_search(made)
    assert sought.lacking == (Span(0, 11 * CELL_BYTES),)


@pytest.mark.parametrize(
    ("tree", "wanted", "good"),
    [
        ({"a": 300 * KIB}, {"a": NEW}, (0, 1, 2, 3)),
        ({"a": 16 * KIB}, {"a": NEW[: 16 * KIB]}, ()),
        ({}, {"a": NEW}, ()),
        ({"b": 500}, {"a": NEW}, ()),
    ],
    ids=["little is lacking", "a block", "an empty tree", "nothing of any size"],
)
def test_what_gains_nothing_is_not_sought(
    tree: dict[str, int], wanted: dict[str, bytes], good: tuple[int, ...]
) -> None:
    made = plan(tree, wanted, good=good)
    assert not worth_asking(made)


def test_a_first_sync_is_not_gone_through_for_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(worth, "lacking_ranges")
    assert list(files_to_search(plan({"note.txt": 500}, {"a": NEW}))) == []


def test_files_without_a_pieces_root_have_no_hints() -> None:
    made = plan({"a": 300 * KIB, "b": 300 * KIB}, {"a": NEW, "b": NEW[::-1]})
    bare, other = made.wanted.files
    object.__setattr__(made.wanted, "files", (bare._replace(pieces_root=None), other))
    assert [sought.file_index for sought in files_to_search(made)] == [1]


def test_the_file_at_the_path_comes_first_and_then_the_same_name() -> None:
    tree = {"x/f.bin": 300 * KIB, "a/f.bin": 90 * KIB, "b/other.bin": 300 * KIB}
    assert sources(plan(tree, {"a/f.bin": NEW})) == ("a/f.bin", "x/f.bin", "b/other.bin")


def test_a_name_that_differs_in_its_version_is_closer_than_an_extension() -> None:
    tree = {
        "a/g.bin": 300 * KIB,
        "z/f-1.2.bin": 200 * KIB,
        "a/f.txt": 300 * KIB,
        "a/f.9e107d9d37.bin": 1,
    }
    assert sources(plan(tree, {"a/f-1.3.bin": NEW}), "a/f-1.3.bin") == (
        "z/f-1.2.bin",
        "a/g.bin",
        "a/f.txt",
    )


def test_of_the_same_name_the_one_in_the_most_similar_folder_is_first() -> None:
    tree = {"q/f.bin": 300 * KIB, "v1/lib/f.bin": 300 * KIB, "v1/f.bin": 300 * KIB}
    found = sources(plan(tree, {"v2/lib/f.bin": NEW}), "v2/lib/f.bin")
    assert found == ("v1/lib/f.bin", "q/f.bin", "v1/f.bin")


def test_a_file_that_stays_is_looked_into_only_if_it_has_the_name() -> None:
    kept = random_bytes(100 * KIB, "kept")
    wanted = {"a/f.bin": NEW, "k/f.bin": kept, "k/other.bin": kept}
    tree = {"k/f.bin": 100 * KIB, "k/other.bin": 100 * KIB}
    made = plan(tree, wanted, good=tuple(range(5, 20)))
    assert {path for path in tree if made.files[made.wanted.by_path[path]].action.value == "keep"}
    assert sources(made) == ("k/f.bin",)


def test_what_is_no_readable_file_is_no_source() -> None:
    tree = {"a/f.bin": 300 * KIB, "b/f.bin": 300 * KIB, ".torsync/trash/f.bin": 300 * KIB}
    made = plan(
        tree,
        {"a/f.bin": NEW},
        problems={"a/f.bin": "permission denied"},
        kinds={"b/f.bin": Kind.LINK},
    )
    assert Relatives(made).of(0) == ()


def test_of_many_relatives_the_most_similar_in_size_are_taken() -> None:
    tree = {f"old/{number}.bin": number * KIB for number in range(1, 600)}
    relatives = Relatives(plan(tree, {"a/f.bin": NEW}))
    found = relatives.of(0)
    assert relatives.of(0) == found
    assert len(found) == MOST_RELATIVES
    assert {int(path[4:-4]) for path in found} <= set(range(290, 312))


def test_what_is_read_for_a_file_is_bounded() -> None:
    huge = 10 * KIB**3
    made = plan({"a": huge, "b": 60 * KIB**2, "c": 60 * KIB**2}, {"a": NEW})
    (sought,) = files_to_search(made)
    assert sought.sources == ("b",)
    most = 64 * KIB**2 + 4 * len(NEW)
    for size, expected in ((most, [("b",)]), (most + 1, [])):
        found = files_to_search(plan({"b": size}, {"a": NEW}))
        assert [sought.sources for sought in found] == expected


@pytest.mark.parametrize(("count", "is_worth"), [(3, False), (4, True)])
def test_a_cell_of_each_of_four_files_is_worth_asking(count: int, is_worth: bool) -> None:
    wanted = {f"{number}.bin": NEW[number : number + 80 * KIB] for number in range(count)}
    tree = dict.fromkeys(wanted, 80 * KIB)
    made = plan(tree, wanted, good=tuple(range(0, 2 * count, 2)))
    assert worth_asking(made) is is_worth


def test_a_file_that_nothing_leaves_the_tree_for_is_not_looked_for() -> None:
    wanted = {"a.bin": NEW, "zz.dat": random_bytes(300 * KIB, "other")}
    is_stale = plan({"a.bin": len(NEW)}, wanted)
    assert [sought.sources for sought in files_to_search(is_stale)] == [("a.bin",)] * 2
    is_kept = plan({"a.bin": len(NEW)}, wanted, good=(0, 1, 2, 3, 4))
    assert not list(files_to_search(is_kept))


def test_files_of_one_name_are_found_for_each_that_asks() -> None:
    wanted = {f"{folder}/f.bin": NEW for folder in ("x", "y")}
    made = plan({"a/f.bin": len(NEW), "b/f.bin": len(NEW)}, wanted)
    relatives = Relatives(made)
    found = [set(relatives.of(made.wanted.by_path[path])) for path in wanted]
    assert found == [{"a/f.bin", "b/f.bin"}] * 2


def test_of_one_name_the_most_similar_folder_is_first_counted_from_both_ends() -> None:
    tree = {
        "f.bin": 290 * KIB,
        "x/d/f.bin": 290 * KIB,
        "a/f.bin": 300 * KIB,
        "a/b/f.bin": 300 * KIB,
        "a/b/x/d/f.bin": 300 * KIB,
    }
    found = sources(plan(tree, {"a/b/c/d/f.bin": NEW}), "a/b/c/d/f.bin")
    assert found == ("a/b/x/d/f.bin", "a/b/f.bin", "a/f.bin", "x/d/f.bin", "f.bin")


@pytest.mark.parametrize(
    ("wanted", "tree"),
    [
        ("a/a/f.bin", {"b/a/f.bin": 300 * KIB, "a/f.bin": 290 * KIB}),
        ("q/c/d/f.bin", {"z/c/d/f.bin": 290 * KIB, "q/f.bin": 300 * KIB}),
    ],
)
def test_each_folder_counts_once(wanted: str, tree: dict[str, int]) -> None:
    assert sources(plan(tree, {wanted: NEW}), wanted) == tuple(tree)


def test_a_name_counts_more_than_folders_and_all_folders_more_than_some() -> None:
    tree = {"x/f-1.bin": 300 * KIB, "a/b/f-2.bin": 300 * KIB, "a/a/f-3.bin": 300 * KIB}
    found = sources(plan(tree, {"a/b/f-1.bin": NEW}), "a/b/f-1.bin")
    assert found == ("x/f-1.bin", "a/b/f-2.bin", "a/a/f-3.bin")


def test_of_similar_files_the_nearest_in_size_is_first_and_a_quarter_is_far() -> None:
    tree = {
        "a/fifth.bin": 60 * KIB,
        "z/quarter.bin": 75 * KIB,
        "z/second.bin": 250 * KIB,
        "z/first.bin": 330 * KIB,
        "z/third.bin": 600 * KIB,
    }
    found = sources(plan(tree, {"a/f.bin": NEW}))
    assert found == ("z/first.bin", "z/second.bin", "z/third.bin", "z/quarter.bin", "a/fifth.bin")


def test_no_more_relatives_are_taken_than_the_most() -> None:
    tree = {f"old/{number}.bin": number * KIB for number in range(290, 310)}
    tree |= {f"old/{number}.txt": number * KIB + 1 for number in range(290, 310)}
    found = sources(plan(tree, {"a/f.bin": NEW}))
    assert len(found) == MOST_RELATIVES
    assert all(path.endswith(".bin") for path in found)


@pytest.mark.parametrize(("size", "is_enough"), [(256 * KIB - 1, True), (256 * KIB, False)])
def test_beside_an_old_version_of_a_small_file_only_names_count(size: int, is_enough: bool) -> None:
    tree = {"a/f-1.bin": size, "b/f-2.bin": size, "b/other.bin": size}
    found = sources(plan(tree, {"a/f-1.bin": NEW[:size]}), "a/f-1.bin")
    assert found == ("a/f-1.bin", "b/f-2.bin", *(() if is_enough else ("b/other.bin",)))


@pytest.mark.parametrize(("size", "found"), [(4095, ()), (4096, ("b.bin",))])
def test_a_source_has_a_quarter_of_a_block(size: int, found: tuple[str, ...]) -> None:
    made = plan({"b.bin": size}, {"a/f.bin": NEW})
    assert sources(made) == found
    assert worth_asking(made) == bool(found)
