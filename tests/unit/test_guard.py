"""The guards: what is refused, at which boundary, and what the refusal says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.releases import Link, make_release
from tests.support.situations import Item, Situation, with_folders
from torsync.model.config import CleanMode, MaxDelete
from torsync.model.guard import (
    ALLOWABLE,
    Allowance,
    Standing,
    judge_marker,
    marker_id_in,
    marker_text,
    override_command,
    refuse_deletes,
    refuse_empty,
    refuse_marker,
    refuse_space,
    refuse_unrelated,
)
from torsync.model.plan import Action
from torsync.model.tree_index import Kind, LedgerRow, ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.guard import Refusal

HALF = MaxDelete(50, is_percentage=True)
ID, OTHER_ID = "0123456789abcdef" * 2, "fedcba9876543210" * 2


# --- max_delete -----------------------------------------------------------------------------


def ledger_of(*paths: str) -> dict[str, LedgerRow]:
    return {path: LedgerRow(1, 0, 0, 0, "") for path in paths}


def files(*paths: str) -> dict[str, Item]:
    return with_folders({path: Item(content=path.encode()) for path in paths})


def removing(
    count: int,
    total: int,
    *,
    limit: MaxDelete = HALF,
    unmanaged: int = 0,
    clean: CleanMode = CleanMode.MANAGED,
) -> Refusal | None:
    """What is said to an update that removes ``count`` of ``total`` managed files.

    Args:
        count, total: of files.
        limit: ``max_delete``.
        unmanaged: how many files there are besides.
        clean: with which everything that is unmanaged goes, or nothing.
    """
    paths = [f"f{number:04}" for number in range(total)]
    others = [f"mine{number}" for number in range(unmanaged)]
    release = make_release({path: path.encode() for path in paths[count:]}, layout="padded")
    ledger = ledger_of(*paths)
    plan = Situation(release, files(*paths, *others), ledger, clean=clean).plan()
    return refuse_deletes(plan, ledger, limit, mirror=clean is CleanMode.MIRROR)


@pytest.mark.parametrize(
    ("count", "total", "is_refused"),
    [(0, 3, False), (1, 2, False), (5, 10, False), (6, 11, True), (2, 3, True), (1, 1, False)],
)
def test_half_of_the_files_may_go_and_no_more(count: int, total: int, is_refused: bool) -> None:
    assert (removing(count, total) is not None) == is_refused


@pytest.mark.parametrize(("count", "is_refused"), [(4, False), (5, False), (6, True)])
def test_a_number_is_a_number_of_files(count: int, is_refused: bool) -> None:
    limit = MaxDelete(5, is_percentage=False)
    assert (removing(count, 1000, limit=limit) is not None) == is_refused


def test_with_zero_nothing_may_go_and_with_100_percent_everything() -> None:
    for nothing in (MaxDelete(0, is_percentage=True), MaxDelete(0, is_percentage=False)):
        assert removing(0, 9, limit=nothing) is None
        assert removing(1, 9, limit=nothing) is not None
    assert removing(9, 9, limit=MaxDelete(100, is_percentage=True)) is None


def test_a_refusal_says_how_much_of_what_and_names_three() -> None:
    found = removing(501, 1000)
    assert found is not None
    assert found.allowance is Allowance.DELETES
    assert found.message == (
        "it would remove 501 of 1,000 files that torsync put there (51 %), more than "
        "max_delete = '50%': 'f0000', 'f0001', 'f0002' and 498 more"
    )
    found = removing(1, 1, limit=MaxDelete(0, is_percentage=False))
    assert found is not None
    assert found.message.endswith(
        "1 of 1 file that torsync put there (100 %), more than max_delete = '0': 'f0000'"
    )


def test_a_mirror_counts_all_files_in_the_folder() -> None:
    assert removing(3, 10, unmanaged=4, clean=CleanMode.MIRROR) is None, "7 of 14"
    found = removing(3, 10, unmanaged=5, clean=CleanMode.MIRROR)
    assert found is not None
    assert "8 of 15 files in the folder (54 %)" in found.message
    assert removing(3, 10, unmanaged=50) is None, "which stay"


def test_files_that_are_gone_already_are_no_part_of_the_whole() -> None:
    release = make_release({"kept": b"kept", "kept too": b"kept too"}, layout="padded")
    ledger = ledger_of("kept", "gone", "gone too", "kept too", "deleted by hand", "this too")
    plan = Situation(release, files("kept", "kept too", "gone", "gone too"), ledger).plan()
    assert refuse_deletes(plan, ledger, HALF, mirror=False) is None
    plan = Situation(release, files("kept", "gone", "gone too"), ledger).plan()
    assert refuse_deletes(plan, ledger, HALF, mirror=False) is not None


def test_what_is_replaced_or_moved_does_not_count_and_what_is_in_the_way_does() -> None:
    nothing = MaxDelete(0, is_percentage=False)
    release = make_release({"a": b"another", "b": b"others"}, layout="padded")
    ledger = ledger_of("a", "b")
    plan = Situation(release, files("a", "b"), ledger).plan()
    assert refuse_deletes(plan, ledger, nothing, mirror=False) is None

    before = make_release({"old": b"old content"}, layout="v2")
    item = Item(content=b"old content", stamp=1)
    rows = {"old": ledger_row(item.entry(), before.manifest.digest(0))}
    moved = make_release({"new": b"old content"}, layout="v2")
    plan = Situation(moved, {"old": item}, rows, before=before).plan()
    assert plan.moved == {"old"}
    assert refuse_deletes(plan, rows, nothing, mirror=False) is None

    blocked = make_release({"folder/file": b"content"}, layout="padded")
    ledger = ledger_of("folder")
    plan = Situation(blocked, files("folder"), ledger, clean=CleanMode.OFF).plan()
    assert [removal.path for removal in plan.in_the_way] == ["folder"]
    assert refuse_deletes(plan, ledger, nothing, mirror=False) is not None


def test_what_is_patched_under_another_name_is_not_removed() -> None:
    """A release whose archive carries its version in its name: nothing of the tree is given up."""
    content = bytes(range(64))
    before = make_release({"pack-1": content}, layout="padded")
    item = Item(content=content, stamp=1)
    rows = {"pack-1": ledger_row(item.entry(), before.manifest.digest(0))}
    release = make_release({"pack-2": content[:-1] + b"!"}, layout="padded")
    plan = Situation(release, {"pack-1": item}, rows, before=before).plan()
    assert plan.files[0].source == "pack-1"
    assert plan.files[0].action is Action.PATCH
    assert [removal.path for removal in plan.removals] == ["pack-1"]
    assert refuse_deletes(plan, rows, MaxDelete(0, is_percentage=False), mirror=False) is None


def test_a_mirror_does_not_count_what_is_in_the_trash() -> None:
    trash = [f".torsync/trash/then/{number}" for number in range(99)]
    release = make_release({"kept": b"kept"}, layout="padded")
    disk = files("kept", "one", "two", *trash)
    plan = Situation(release, disk, clean=CleanMode.MIRROR).plan()
    found = refuse_deletes(plan, {}, HALF, mirror=True)
    assert found is not None
    assert "2 of 3 files" in found.message


def test_links_are_files_and_folders_are_not() -> None:
    release = make_release({"kept": b"kept"}, layout="padded")
    disk = {**files("kept", "folder/gone"), "link": Item(Kind.LINK, target="kept")}
    ledger = ledger_of("kept", "folder/gone", "link")
    plan = Situation(release, disk, ledger).plan()
    found = refuse_deletes(plan, ledger, HALF, mirror=True)
    assert found is not None
    assert "2 of 3 files" in found.message


# --- an empty release -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({}, "no files, no bytes"),
        ({"a": b""}, "1 file, no bytes"),
        ({"a": b"", "b": Link("a")}, "2 files, no bytes"),
    ],
)
def test_a_release_that_shrinks_to_nothing_is_refused(
    contents: Mapping[str, bytes | Link], said: str
) -> None:
    found = refuse_empty(make_release(contents).manifest, 12_000)
    assert found is not None
    assert found.allowance is Allowance.EMPTY
    assert said in found.message
    assert "12 kB" in found.message


def test_a_release_with_a_byte_is_not_empty_nor_is_one_that_follows_an_empty_one_refused() -> None:
    assert refuse_empty(make_release({"a": b"1"}).manifest, 12_000) is None
    assert refuse_empty(make_release({"a": b""}).manifest, 0) is None


# --- unrelated files ------------------------------------------------------------------------


def unrelated(disk: Mapping[str, Item], clean: CleanMode = CleanMode.MANAGED) -> Refusal | None:
    release = make_release({"a": b"content", "folder/b": b"more"}, layout="padded")
    plan = Situation(release, disk, clean=clean).plan()
    return refuse_unrelated(plan, "/tree", keep=lambda path: path.endswith(".ini"), clean=clean)


def test_older_versions_of_listed_files_are_no_unrelated_files() -> None:
    assert unrelated({}) is None
    assert unrelated(files("a", "folder/b")) is None


def test_empty_folders_and_what_keep_matches_do_not_matter() -> None:
    disk = {**files("my.ini", "folder/your.ini"), "empty": Item(Kind.FOLDER)}
    assert unrelated(disk) is None


def test_one_unrelated_file_or_link_is_enough() -> None:
    for disk in (files("mine"), {"link": Item(Kind.LINK, target="a")}):
        found = unrelated(disk)
        assert found is not None
        assert found.allowance is Allowance.ADOPT
        assert "holds 1 file that is not in the release" in found.message
        assert "it would" in found.message


def test_unrelated_files_are_counted_and_three_are_named() -> None:
    found = unrelated(files("z", "y", "x", "w", "folder/v"))
    assert found is not None
    assert "'/tree'" in found.message
    assert "5 files that are not in the release: 'folder/v', 'w', 'x' and 2 more" in found.message
    assert 'they would stay, unless clean = "mirror" is set' in found.message
    found = unrelated(files("z", "y", "x"))
    assert found is not None
    assert "not in the release: 'x', 'y', 'z'; they" in found.message
    found = unrelated(files("z"), CleanMode.MIRROR)
    assert found is not None
    assert "it would go to the trash" in found.message


# --- space ----------------------------------------------------------------------------------


def test_what_fits_to_the_byte_fits() -> None:
    assert refuse_space("/tree", 4096, 4096, 0) is None
    found = refuse_space("/tree", 4097, 4096, 4097)
    assert found is not None
    assert found.allowance is Allowance.SPACE
    assert found.message == "it needs 4.1 kB in '/tree', where 4.1 kB are free"


def test_a_refusal_says_if_it_would_fit_in_place() -> None:
    found = refuse_space("/tree", 9_000_000, 1_000_000, 1_000_000)
    assert found is not None
    assert 'with apply = "in-place" it would fit, as it needs 1 MB' in found.message
    found = refuse_space("/tree", 9_000_000, 1_000_000, 1_000_001)
    assert found is not None
    assert "in-place" not in found.message


# --- the marker -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "found", "synced", "standing"),
    [
        (ID, ID, True, Standing.OURS),
        (ID, None, True, Standing.MISSING),
        (ID, None, False, Standing.MISSING),
        (ID, OTHER_ID, True, Standing.FOREIGN),
        (ID, "", True, Standing.FOREIGN),
        ("", ID, False, Standing.FOUND),
        ("", ID, True, Standing.FOUND),
        ("", None, True, Standing.OLDER),
        ("", "", True, Standing.OLDER),
        ("", None, False, Standing.NEW),
        ("", "", False, Standing.NEW),
    ],
)
def test_whose_a_folder_is(known: str, found: str | None, synced: bool, standing: Standing) -> None:
    assert judge_marker(known, found, synced=synced) is standing


def test_only_a_folder_that_the_state_misses_is_refused() -> None:
    assert {each for each in Standing if each.is_refused} == {Standing.MISSING, Standing.FOREIGN}
    first = {Standing.MISSING, Standing.FOREIGN, Standing.NEW}
    assert {each for each in Standing if each.is_first} == first


def test_a_refusal_says_what_is_the_matter_with_the_marker() -> None:
    missing = refuse_marker(Standing.MISSING, "/tree")
    assert missing.allowance is Allowance.MARKER
    assert "'/tree'" in missing.message
    assert "is its disk not mounted?" in missing.message
    assert "another folder" in refuse_marker(Standing.FOREIGN, "/tree").message


def test_a_marker_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    assert marker_id_in(marker_text(ID)) == ID
    assert "torsync" in marker_text(ID)
    for text in ("", "\n", "hello\n", f"{ID}0\n", ID.upper(), f"\n{ID}\n"):
        assert marker_id_in(text) == ""


# --- overriding -----------------------------------------------------------------------------


def test_the_command_that_overrides_is_the_same_with_all_that_it_takes() -> None:
    assert override_command(("apply",), "pack", [Allowance.DELETES]) == (
        "torsync apply pack --allow deletes"
    )
    twice = [Allowance.ADOPT, Allowance.MARKER, Allowance.ADOPT]
    assert override_command(("verify", "--repair", "--clean"), "pack", twice) == (
        "torsync verify pack --repair --clean --allow marker --adopt"
    )


def test_every_allowance_has_a_name() -> None:
    assert set(ALLOWABLE.values()) == set(Allowance)
    assert ALLOWABLE["deletes"] is Allowance.DELETES
