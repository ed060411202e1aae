"""Which earlier release a person means."""

from __future__ import annotations

import pytest

from torsync.model.errors import UsageError
from torsync.model.past import PastRelease, find_release, name_of

ONE = PastRelease("digest 1", "aaaa1111", "pack-1", 1.0)
TWO = PastRelease("digest 2", "bbbb2222", "pack-2", 2.0)
TWO_WITH_OTHER_TRACKERS = PastRelease("digest 2b", "bbbb2222", "pack-2", 2.5)
THREE = PastRelease("digest 3", "bbbb3333", "pack-3", 3.0)
AT_THE_SAME_TIME = PastRelease("digest 5", "eeee5555", "pack-5", 3.0)
SAME_NAME = PastRelease("digest 4", "cccc4444", "pack-1", 0.5)
ALL = [THREE, TWO_WITH_OTHER_TRACKERS, TWO, ONE]


@pytest.mark.parametrize(
    ("wanted", "current", "found"),
    [
        ("", THREE, TWO_WITH_OTHER_TRACKERS),
        ("", TWO_WITH_OTHER_TRACKERS, ONE),
        ("", TWO, ONE),
        ("pack-1", THREE, ONE),
        ("pack-3", ONE, THREE),
        ("pack-2", THREE, TWO_WITH_OTHER_TRACKERS),
        ("aaaa", THREE, ONE),
        ("AAAA1111", THREE, ONE),
        ("bbbb2", THREE, TWO_WITH_OTHER_TRACKERS),
    ],
)
def test_it_is_found_by_what_people_know_of_it(
    wanted: str, current: PastRelease, found: PastRelease
) -> None:
    assert find_release(ALL, wanted, current=current.digest) == found


def test_one_of_the_same_time_may_be_the_one_before() -> None:
    known = [THREE, AT_THE_SAME_TIME, ONE]
    assert find_release(known, "", current=THREE.digest) == AT_THE_SAME_TIME


def test_of_many_releases_five_are_named() -> None:
    many = [PastRelease(f"digest {n}", f"{n}" * 8, f"pack-{n}", float(n)) for n in range(9)]
    with pytest.raises(UsageError) as caught:
        find_release(many, "other", current="")
    assert caught.value.hint.endswith("pack-3 (33333333), pack-4 (44444444)")


def test_a_release_that_is_known_has_a_name() -> None:
    assert name_of(ALL, TWO.digest) == "pack-2"
    assert name_of(ALL, "another") == ""


def test_without_a_current_one_the_newest_is_the_one_before() -> None:
    assert find_release(ALL, "", current="") == THREE


@pytest.mark.parametrize(
    ("known", "wanted", "current", "said", "hint"),
    [
        ([ONE], "", ONE, "no release before", "has brought the folder to"),
        (ALL, "", ONE, "no release before", "has brought the folder to"),
        (
            ALL,
            "pack-9",
            ONE,
            "'pack-9' is kept",
            "pack-3 (bbbb3333), pack-2 (bbbb2222), pack-1 (aaaa1111)",
        ),
        ([], "pack-9", ONE, "'pack-9' is kept", "none is kept yet"),
        (ALL, "aaa", ONE, "'aaa' is kept", "there are"),
        (ALL, "bbbb", ONE, "may mean 2", "bbbb2222, bbbb3333"),
        ([*ALL, SAME_NAME], "pack-1", THREE, "may mean 2", "aaaa1111, cccc4444"),
    ],
)
def test_what_cannot_be_told_is_asked_back(
    known: list[PastRelease], wanted: str, current: PastRelease, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_release(known, wanted, current=current.digest)
    assert said in caught.value.message
    assert hint in caught.value.hint
