"""What a trash gives up: the old first, then a release's files, the user's last."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torsync.model.retention import (
    Tally,
    Trashed,
    folder_name,
    freed_bytes,
    is_aged,
    parse_folder_name,
    plan_retention,
    plan_room,
    since_after_jump,
    versions_of,
)
from torsync.model.tree_index import Kind

STAMP = "2023-11-14T221320Z"
STAMP_S = 1_700_000_000.0
DAY_S = 86400.0
NO_LIMIT = 2**62

_inodes = iter(range(1, 10**9))


def trashed(
    path: str, at_s: float = STAMP_S, *, released: bool = False, size: int = 100, **besides: Any
) -> Trashed:
    values: dict[str, Any] = {
        "folder": folder_name(f"at {at_s:.0f}", released=released, number=1),
        "path": path,
        "at_s": at_s,
        "released": released,
        "kind": Kind.FILE,
        "size": size,
        "mtime_ns": 0,
        "inode": next(_inodes),
        "links": 1,
        "disk_bytes": size,
    }
    return Trashed(**{**values, **besides})


def old_release(path: str, at_s: float = STAMP_S, **besides: Any) -> Trashed:
    return trashed(path, at_s, released=True, **besides)


def given_up_early(files: list[Trashed], limit_bytes: int) -> list[str]:
    plan = plan_retention(files, now_s=STAMP_S, age_s=2**62, limit_bytes=limit_bytes)
    assert plan.aged == ()
    return [file.path for file in plan.early]


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "released", "number"),
    [
        (STAMP, False, 1),
        (f"{STAMP}-2", False, 2),
        (f"{STAMP}-release", True, 1),
        (f"{STAMP}-release-9999", True, 9999),
    ],
)
def test_the_name_of_a_folder_says_when_and_whose(name: str, released: bool, number: int) -> None:
    assert parse_folder_name(name) == (STAMP, STAMP_S, released, number)
    assert folder_name(STAMP, released=released, number=number) == name


@pytest.mark.parametrize(
    "name",
    [
        *("mine", "2023-11-14", f"{STAMP}-", f"{STAMP}-0", f"{STAMP}-x", f"{STAMP}-release-"),
        *(f"{STAMP}-releases", f"x{STAMP}", f"{STAMP}\n", "2023-13-14T221320Z"),
        *("0000-01-01T000000Z", "٢٠٢٣-11-14T221320Z", f"{STAMP}-2-release", ""),
    ],
)
def test_a_folder_with_another_name_is_the_users(name: str) -> None:
    assert parse_folder_name(name) == (name, None, False, 1)


def test_a_file_knows_where_it_is_and_which_update_put_it_there() -> None:
    file = trashed("a/b", folder=f"{STAMP}-release-3")
    assert file.disk_path == f".torsync/trash/{STAMP}-release-3/a/b"
    assert file.stamp == STAMP


# --- age --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "aged"), [(DAY_S - 1, False), (DAY_S, True), (DAY_S + 1, True), (-DAY_S, False)]
)
def test_what_is_as_old_as_the_age_goes(age_s: float, aged: bool) -> None:
    file = trashed("a", STAMP_S - age_s)
    plan = plan_retention([file], now_s=STAMP_S, age_s=DAY_S, limit_bytes=NO_LIMIT)
    assert plan[:2] == ((file,) if aged else (), ())


def test_an_age_of_nothing_keeps_nothing_not_even_from_the_future() -> None:
    assert is_aged(trashed("a", STAMP_S + DAY_S), now_s=STAMP_S, age_s=0)


def test_a_clock_that_was_set_back_empties_nothing() -> None:
    files = [trashed("a"), old_release("b")]
    plan = plan_retention(files, now_s=0, age_s=DAY_S, limit_bytes=NO_LIMIT)
    assert plan[:2] == ((), ())


# --- size -------------------------------------------------------------------------------------


def test_old_release_files_go_first_then_the_users_each_oldest_first() -> None:
    files = [
        trashed("user 1", 1),
        old_release("release 4", 4),
        trashed("user 3", 3),
        old_release("release 2", 2),
        trashed("user 5", 5),
    ]
    everything = ["release 2", "release 4", "user 1", "user 3"]
    assert given_up_early(files, 500) == []
    assert given_up_early(files, 499) == everything[:1]
    assert given_up_early(files, 400) == everything[:1]
    assert given_up_early(files, 300) == everything[:2]
    assert given_up_early(files, 200) == everything[:3]
    assert given_up_early(files, 0) == everything


def test_a_huge_file_of_an_old_release_goes_at_once() -> None:
    files = [old_release("huge", 9, size=10**12), trashed("user", 1)]
    assert given_up_early(files, 10**9) == ["huge"]


def test_what_the_user_lost_last_stays_whatever_its_size() -> None:
    files = [trashed("huge", 9, size=10**12), trashed("with it", 9), trashed("before", 8)]
    assert given_up_early(files, 10**9) == ["before"]
    assert given_up_early([trashed("last", 1), old_release("later", 5)], 0) == ["later"]


def test_what_has_a_name_outside_the_trash_is_neither_counted_nor_given_up() -> None:
    files = [old_release("linked", 1, links=2), old_release("alone", 2)]
    assert freed_bytes(files) == 100
    assert given_up_early(files, 100) == []
    assert given_up_early(files, 99) == ["alone"]


def test_all_names_of_a_file_go_together_when_the_newest_of_them_does() -> None:
    files = [
        old_release("name", 1, inode=0, links=2),
        old_release("between", 2),
        old_release("other name", 3, inode=0, links=2),
    ]
    assert freed_bytes(files) == 200
    assert given_up_early(files, 150) == ["between"]
    assert given_up_early(files, 50) == ["between", "name", "other name"]


def test_a_file_that_is_the_users_under_one_name_is_the_users() -> None:
    files = [
        old_release("a", 1, inode=0, links=2),
        trashed("b", 1, inode=0, links=2),
        old_release("c", 2),
    ]
    assert given_up_early(files, 100) == ["c"]
    assert plan_room(files, 200) == ()


def test_a_name_that_goes_for_its_age_leaves_the_other_to_be_counted() -> None:
    aged = old_release("a", 0, inode=0, links=2)
    young = old_release("b", STAMP_S, inode=0, links=2)
    plan = plan_retention([aged, young], now_s=STAMP_S, age_s=DAY_S, limit_bytes=0)
    assert plan == ((aged,), (young,), Tally(STAMP_S, STAMP_S, 0))


def test_what_takes_no_space_is_left_to_its_age() -> None:
    assert given_up_early([old_release("empty", size=0), old_release("full")], 0) == ["full"]


# --- what is remembered -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"now_s": STAMP_S - 1}, False),
        ({"now_s": STAMP_S + DAY_S - 1}, True),
        ({"now_s": STAMP_S + DAY_S}, False),
        ({"age_s": DAY_S}, False),
        ({"age_s": DAY_S + 1}, True),
        ({"limit_bytes": 100}, True),
        ({"limit_bytes": 99}, False),
    ],
)
def test_a_trash_that_was_looked_at_today_and_is_not_full_needs_no_look(
    changes: dict[str, Any], allowed: bool
) -> None:
    policy: dict[str, Any] = {"now_s": STAMP_S, "age_s": 9 * DAY_S, "limit_bytes": NO_LIMIT}
    tally = Tally(STAMP_S, STAMP_S - DAY_S, 60).with_more(40)
    assert tally.allows(**{**policy, **changes}) is allowed


def test_what_is_remembered_is_read_as_it_was_written_or_not_at_all() -> None:
    tally = Tally(STAMP_S, STAMP_S - DAY_S, 60)
    assert Tally.load(tally.dump()) == tally
    for text in ("", "[1]", "1", "{}x"):
        assert Tally.load(text) is None


# --- room -------------------------------------------------------------------------------------


def test_room_is_made_of_the_oldest_old_release_files_alone() -> None:
    files = [old_release("b", 2), trashed("user", 0), old_release("a", 1), old_release("c", 3)]
    assert [file.path for file in plan_room(files, 101)] == ["a", "b"]
    assert [file.path for file in plan_room(files, 300)] == ["a", "b", "c"]
    assert plan_room(files, 0) == ()


def test_nothing_is_given_up_for_room_that_it_does_not_make() -> None:
    assert plan_room([old_release("a"), trashed("user")], 101) == ()


# --- versions ---------------------------------------------------------------------------------


def version(path: str, folder: str, **besides: Any) -> Trashed:
    parsed = parse_folder_name(folder)
    at_s = besides.pop("at_s", parsed.at_s)
    return trashed(path, at_s, released=parsed.released, folder=folder, **besides)


OLDER = "2023-11-13T000000Z"


def test_the_newest_version_of_a_file_is_found() -> None:
    newest = version("a", STAMP)
    files = [version("a", OLDER), newest, version("a", f"{OLDER}-2"), version("ab", STAMP)]
    assert versions_of(files, "a") == {"a": newest}
    assert versions_of(files, "b") == {}


def test_a_folder_is_all_that_its_newest_update_left_of_it() -> None:
    files = [
        *(version("d/old", OLDER), version("d/both", OLDER), version("d", OLDER)),
        *(version("d/both", STAMP), version("d/e/release", f"{STAMP}-release")),
        version("other", "9999-01-01T000000Z"),
    ]
    assert versions_of(files, "d") == {"d/both": files[3], "d/e/release": files[4]}
    assert versions_of(files, "d/old") == {"d/old": files[0]}


def test_an_older_version_is_found_by_the_beginning_of_its_stamp() -> None:
    files = [version("a", OLDER), version("a", f"{OLDER}-release-2"), version("a", STAMP)]
    assert versions_of(files, "a", "2023-11-13") == {"a": files[0]}
    assert versions_of(files, "a", f"{OLDER}-release") == {"a": files[1]}
    assert versions_of(files, "a", "2022") == {}


def test_of_one_update_the_users_version_comes_first_then_the_last_one() -> None:
    files = [version("a", f"{STAMP}-2"), version("a", STAMP), version("a", f"{STAMP}-release-3")]
    assert versions_of(files, "a") == {"a": files[0]}


def test_a_folder_that_torsync_did_not_name_is_a_version_too() -> None:
    files = [version("a", "mine", at_s=STAMP_S + 1), version("a", STAMP)]
    assert versions_of(files, "a") == {"a": files[0]}


# --- properties -------------------------------------------------------------------------------

FILES = st.lists(
    st.builds(
        lambda at_s, released, size, inode, links: trashed(
            "path", at_s, released=released, size=size, inode=inode, links=links
        ),
        at_s=st.integers(-5, 25).map(float),
        released=st.booleans(),
        size=st.integers(0, 20),
        inode=st.integers(0, 30),
        links=st.just(0),
    ),
    max_size=25,
).flatmap(
    lambda files: st.lists(st.sampled_from([0, 0, 0, 1]), min_size=31, max_size=31).map(
        lambda outside: _consistent(files, outside)
    )
)


def _consistent(files: list[Trashed], outside: list[int]) -> list[Trashed]:
    """The files with the sizes and numbers of names that their inodes have."""
    sizes = {file.inode: file.size for file in files}
    inodes = [file.inode for file in files]
    return [
        file._replace(
            path=f"{number}",
            size=sizes[file.inode],
            disk_bytes=sizes[file.inode],
            links=inodes.count(file.inode) + outside[file.inode],
        )
        for number, file in enumerate(files)
    ]


def left(files: list[Trashed], gone: tuple[Trashed, ...]) -> list[Trashed]:
    """What is in the trash once some names are gone, as stat would find it."""
    names = [file.inode for file in gone]
    return [
        file._replace(links=file.links - names.count(file.inode))
        for file in files
        if file not in gone
    ]


def users(files: list[Trashed]) -> set[int]:
    """The files of which a name is the user's."""
    return {file.inode for file in files if not file.released}


@settings(deadline=None)
@given(FILES, st.integers(0, 60), st.integers(1, 30), st.integers(0, 20))
def test_retention_keeps_its_promises(
    files: list[Trashed], limit_bytes: int, age_s: int, now_s: int
) -> None:
    plan = plan_retention(files, now_s=now_s, age_s=age_s, limit_bytes=limit_bytes)
    assert set(plan.aged) == {file for file in files if now_s - file.at_s >= age_s}
    young = left(files, plan.aged)
    early = {file.path for file in plan.early}
    assert early <= {file.path for file in young}
    rest = left(files, plan.aged + plan.early)
    oldest_s = min((file.at_s for file in rest), default=now_s)
    assert plan.left == (now_s, oldest_s, freed_bytes(rest))
    again = plan_retention(rest, now_s=now_s, age_s=age_s, limit_bytes=limit_bytes)
    assert again[:2] == ((), ())
    if plan.left.allows(now_s=now_s, age_s=age_s, limit_bytes=limit_bytes):
        assert freed_bytes(rest) <= limit_bytes
    within = freed_bytes(rest) <= limit_bytes
    removable = {f.inode for f in young if f.disk_bytes and freed_bytes(of(young, f.inode))}
    gone = {file.inode for file in plan.early}
    assert gone <= removable
    if gone & users(young):
        assert removable - users(young) <= gone, "the user's went before a release's"
    last_s = max((file.at_s for file in young if not file.released), default=0)
    spared = {f.inode for f in young if f.inode in users(young) and newest(young, f) >= last_s}
    assert not gone & spared
    assert within or removable <= gone | spared, "more could have been given up"
    if plan.early:
        last = plan.early[-1].inode
        kept_too = [f for f in young if f.path not in early or f.inode == last]
        assert freed_bytes(kept_too) > limit_bytes, "more was given up than needed"


def of(files: list[Trashed], inode: int) -> list[Trashed]:
    return [file for file in files if file.inode == inode]


def newest(files: list[Trashed], file: Trashed) -> float:
    return max(other.at_s for other in of(files, file.inode))


@settings(deadline=None)
@given(FILES, st.integers(0, 300))
def test_room_is_made_of_no_more_than_is_needed(files: list[Trashed], bytes_needed: int) -> None:
    given_up = plan_room(files, bytes_needed)
    freed = freed_bytes(given_up)
    assert not {file.inode for file in given_up} & users(files)
    if given_up:
        others = [file for file in given_up if file.inode != given_up[-1].inode]
        assert freed_bytes(others) < bytes_needed <= freed
    else:
        could = sum(
            freed_bytes(of(files, inode)) for inode in {f.inode for f in files} - users(files)
        )
        assert bytes_needed == 0 or could < bytes_needed


# --- clocks that are set ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since_s", "jump_s", "expected_s"),
    [
        (5.0, 0.0, 5.0),
        (5.0, 3600.0, 5.0),
        (5.0, 3601.0, STAMP_S),
        (5.0, 365 * DAY_S, STAMP_S),
        (5.0, -365 * DAY_S, 5.0),
        (STAMP_S + DAY_S, -DAY_S, STAMP_S),
        (STAMP_S + DAY_S, 0.0, STAMP_S),
    ],
)
def test_a_clock_put_forward_makes_nothing_older_and_one_put_back_leaves_nothing_in_the_future(
    since_s: float, jump_s: float, expected_s: float
) -> None:
    assert since_after_jump(since_s, now_s=STAMP_S, jump_s=jump_s) == expected_s
