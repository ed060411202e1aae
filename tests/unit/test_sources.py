"""Where the content of files that are not at their place is looked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.releases import LAYOUTS, PIECE_LENGTH, Link, make_release
from tests.support.situations import Item, Situation, with_folders
from torsync.model.assessment import Extent, Here, Told
from torsync.model.sources import find_similar
from torsync.model.tree_index import Kind, ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.releases import Content
    from torsync.model.assessment import Assessment

A = b"AAAAaaaaBBBBbbbbCCCCccccDDDDdddd"  # four pieces
OTHER = b"11112222333344445555666677778888"
DIGESTS = ["root", "sha1", ""]
PLAIN = ("", "")


def scene(
    old: Mapping[str, bytes],
    wanted: Mapping[str, Content],
    *,
    layouts: tuple[str, str] = ("padded", "padded"),
    digests: tuple[str, str] = ("root", "root"),
    piece_lengths: tuple[int, int] = (PIECE_LENGTH, PIECE_LENGTH),
    changes: Mapping[str, Item | None] | None = None,
    keep: frozenset[str] = frozenset(),
    problems: Mapping[str, str] | None = None,
    unselected: frozenset[str] = frozenset(),
) -> Situation:
    """A tree that was synced with ``old`` and then changed; None removes a file."""
    before, release = (
        make_release(contents, layout=layout, digests=digest, piece_length=length, name=name)
        for contents, layout, digest, length, name in zip(
            (old, wanted), layouts, digests, piece_lengths, ("before", "wanted"), strict=True
        )
    )
    items = {
        path: Item(content=content, stamp=number)
        for number, (path, content) in enumerate(old.items(), 1)
    }
    ledger = {
        path: ledger_row(item.entry(), before.manifest.digest(before.manifest.by_path[path]))
        for path, item in items.items()
    }
    found = {path: item for path, item in {**items, **(changes or {})}.items() if item is not None}
    return Situation(
        release,
        with_folders(found),
        ledger,
        keep,
        problems=problems or {},
        before=before,
        unselected=unselected,
    )


def stray(content: bytes) -> Item:
    """A file that nobody vouches for."""
    return Item(content=content, stamp=1000)


def by_path(found: Assessment, numbered: Mapping[int, str]) -> dict[str, str]:
    return {found.wanted.files[index].path: path for index, path in numbered.items()}


def sources(situation: Situation) -> dict[str, str]:
    found = situation.assess()
    return by_path(found, found.sources)


def here(situation: Situation) -> dict[str, Here]:
    return dict(zip(situation.manifest.by_path, situation.assess().here, strict=True))


class TestSameContent:
    def test_a_file_of_the_same_name_is_taken_first(self) -> None:
        situation = scene({"x/a": A, "y/b": A}, {"new/b": A, "new/a": A})
        assert sources(situation) == {"new/b": "y/b", "new/a": "x/a"}
        assert set(here(situation).values()) == {Here.ELSEWHERE}

    def test_a_name_is_not_given_away_to_another_that_asks_first(self) -> None:
        situation = scene({"x/a": A, "x/b": A}, {"1": A, "z/a": A})
        assert sources(situation) == {"1": "x/b", "z/a": "x/a"}

    def test_each_file_is_given_once_before_one_is_shared(self) -> None:
        situation = scene({"two": A, "one": A}, {"p": A, "q": A, "r": A, "s": A})
        assert sources(situation) == {"p": "one", "q": "two", "r": "one", "s": "one"}

    def test_what_stays_is_only_shared(self) -> None:
        situation = scene({"a": A, "b": A}, {"a": A, "c": A, "d": A})
        assert sources(situation) == {"c": "b", "d": "a"}
        assert here(situation)["a"] is Here.RIGHT

    def test_a_file_of_the_name_that_stays_is_not_given_either(self) -> None:
        situation = scene({"x/n": A, "y/m": A}, {"x/n": A, "z/n": A})
        assert sources(situation) == {"z/n": "y/m"}

    def test_what_is_kept_for_the_user_is_only_shared(self) -> None:
        situation = scene({"a": A, "b": A}, {"c": A, "d": A}, keep=frozenset("a"))
        assert sources(situation) == {"c": "b", "d": "a"}

    def test_what_is_not_selected_is_only_shared_whatever_the_release_has_there(self) -> None:
        for content in (A, OTHER):
            wanted = {"a": content, "c": A, "d": A}
            situation = scene({"a": A, "b": A}, wanted, unselected=frozenset("a"))
            assert sources(situation) == {"c": "b", "d": "a"}
            kinds = {A: Here.RIGHT, OTHER: Here.UNSELECTED}
            assert here(situation)["a"] is kinds[content]

    @pytest.mark.parametrize("digests", DIGESTS)
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_renamed_file_is_found_whatever_the_layout(self, layout: str, digests: str) -> None:
        situation = scene(
            {"old": A, "z": OTHER},
            {"new": A, "z": OTHER},
            layouts=(layout,) * 2,
            digests=(digests,) * 2,
        )
        assert sources(situation) == {"new": "old"}
        assert here(situation) == {"new": Here.ELSEWHERE, "z": Here.RIGHT}

    def test_a_touched_file_is_nobodys_source_by_digest(self) -> None:
        situation = scene({"old": A}, {"new": A[:-1]}, changes={"old": stray(A)})
        assert sources(situation) == {}

    def test_what_cannot_be_looked_at_is_nobodys_source(self) -> None:
        situation = scene({"old": A}, {"new": A}, problems={"old": "Permission denied"})
        assert sources(situation) == {}

    @pytest.mark.parametrize(
        ("layouts", "digests"),
        [
            (("hybrid", "padded"), ("", "")),
            (("padded", "hybrid"), ("", "")),
            (("padded", "hybrid"), ("sha1", "")),
            (("hybrid", "padded"), ("", "sha1")),
        ],
    )
    def test_after_a_change_of_format_a_file_is_right_by_what_both_have(
        self, layouts: tuple[str, str], digests: tuple[str, str]
    ) -> None:
        """The strongest digests differ in kind; the pieces are hashed alike."""
        situation = scene({"a": A, "b": OTHER}, {"a": A, "c": OTHER}, layouts=layouts)
        assert here(situation) == {"a": Here.RIGHT, "c": Here.ELSEWHERE}
        assert sources(situation) == {"c": "b"}
        situation = scene(
            {"a": A, "b": OTHER}, {"a": A, "c": OTHER}, layouts=layouts, digests=digests
        )
        assert here(situation) == {"a": Here.RIGHT, "c": Here.ELSEWHERE}

    def test_after_a_change_of_format_without_the_synced_release_files_have_to_be_hashed(
        self,
    ) -> None:
        situation = scene({"a": A}, {"a": A}, layouts=("padded", "hybrid"), digests=("sha1", ""))
        assert here(situation) == {"a": Here.RIGHT}
        for before in (None, make_release({"b": A}, layout="padded", digests="sha1")):
            assert here(replace(situation, before=before)) == {"a": Here.DOUBTFUL}

    def test_formats_with_nothing_in_common_have_to_be_hashed(self) -> None:
        situation = scene({"a": A}, {"a": A}, layouts=("v2", "padded"), digests=("", ""))
        assert here(situation) == {"a": Here.DOUBTFUL}

    def test_a_touched_file_is_hashed_before_its_spare_is_used(self) -> None:
        situation = scene({"a": A, "b": A}, {"a": A, "b": A}, changes={"a": stray(OTHER)})
        found = situation.assess()
        assert by_path(found, found.spares) == {"a": "b"}
        assert (found.here[0], found.sources) == (Here.DOUBTFUL, {})
        assert list(found.doubtful_pieces()) == [0, 1, 2, 3]

    @pytest.mark.parametrize("change", [None, stray(A + b"more"), Item(Kind.LINK, target="b")])
    def test_a_file_that_cannot_be_right_is_taken_from_elsewhere_at_once(
        self, change: Item | None
    ) -> None:
        found = scene({"a": A, "b": A}, {"a": A, "b": A}, changes={"a": change}).assess()
        assert (by_path(found, found.sources), found.spares) == ({"a": "b"}, {})
        assert list(found.doubtful_pieces()) == []

    def test_files_that_changed_places_are_not_hashed(self) -> None:
        """What is at their own paths is known to be something else, though of the same size."""
        found = scene({"a": A, "b": OTHER}, {"a": OTHER, "b": A}).assess()
        assert (by_path(found, found.sources), found.spares) == ({"a": "b", "b": "a"}, {})
        assert list(found.doubtful_pieces()) == []

    @pytest.mark.parametrize("digests", ["root", "sha1"])
    def test_a_file_of_a_piece_that_has_another_digest_is_not_hashed(self, digests: str) -> None:
        """Also where the pieces of the two releases cannot be compared."""
        situation = scene(
            {"a": b"1234"}, {"a": b"4321"}, digests=(digests,) * 2, piece_lengths=(8, 16)
        )
        assert here(situation) == {"a": Here.DOUBTFUL}
        assert list(situation.assess().doubtful_pieces()) == []
        touched = replace(situation, disk={"a": stray(b"1234")})
        assert list(touched.assess().doubtful_pieces()) == [0]

    def test_a_file_of_a_piece_that_has_a_digest_of_another_kind_is_hashed(self) -> None:
        situation = scene(
            {"a": b"1234"}, {"a": b"1234"}, digests=("sha1", "root"), piece_lengths=(8, 16)
        )
        assert list(situation.assess().doubtful_pieces()) == [0]

    def test_a_file_that_lies_elsewhere_in_its_piece_is_hashed(self) -> None:
        old, new = {"0": b"12", "a": b"1234"}, {"0": b"1", "a": b"1234"}
        situation = scene(old, new, digests=PLAIN, layouts=("v1", "v1"))
        assert list(situation.assess().doubtful_pieces()) == [0]

    def test_links_and_empty_files_ask_for_nothing(self) -> None:
        assert sources(scene({"a": A}, {"a": A, "l": Link("a"), "e": b""})) == {}


V2 = ("v2", "v2")


class TestSimilar:
    def similar(self, kept: int, **changes: object) -> Situation:
        """A file is renamed, and only its first pieces are the same."""
        new = A[: kept * PIECE_LENGTH] + OTHER[kept * PIECE_LENGTH :]
        return scene({"old": A}, {"new": new + b"more"}, layouts=V2, **changes)  # type: ignore[arg-type]

    def test_a_renamed_and_changed_file_is_the_base(self) -> None:
        found = self.similar(3).assess()
        assert by_path(found, found.sources) == {"new": "old"}
        assert found.here == (Here.DOUBTFUL,)
        right, wrong = Told.RIGHT.value, Told.WRONG.value
        assert list(found.told) == [right, right, right, wrong, wrong]
        assert list(found.doubtful_pieces()) == []

    def test_fewer_than_half_of_the_pieces_are_no_base_but_copied(self) -> None:
        found = self.similar(2).assess()
        assert found.sources == {}
        assert found.here == (Here.ABSENT,)
        places = {piece: (Extent("old", 8 * piece, 8),) for piece in range(2)}
        assert found.elsewhere == places

    def test_half_of_the_pieces_are_a_base(self) -> None:
        assert sources(scene({"old": A}, {"new": A[:16] + OTHER[16:]}, layouts=V2)) == {
            "new": "old"
        }

    def test_pieces_at_another_offset_make_no_base(self) -> None:
        found = scene({"old": A}, {"new": A[8:] + OTHER[:16]}, layouts=V2).assess()
        assert found.sources == {}
        assert found.elsewhere == {piece: (Extent("old", 8 * piece + 8, 8),) for piece in range(3)}

    def test_the_file_with_most_pieces_wins(self) -> None:
        old = {"half": A[:16] + OTHER[:16] + b"1", "most": A[:24] + OTHER[:8] + b"2"}
        assert sources(scene(old, {"new": A}, layouts=V2)) == {"new": "most"}

    def test_of_two_that_are_as_good_the_first_by_path_wins(self) -> None:
        old = {"b": A[:24] + b"1", "a": A[:24] + b"2"}
        assert sources(scene(old, {"new": A}, layouts=V2)) == {"new": "a"}

    def test_a_file_that_is_no_longer_what_it_was_is_no_base(self) -> None:
        assert sources(self.similar(3, changes={"old": stray(A)})) == {}

    def test_in_v1_a_file_that_begins_inside_a_piece_is_found_too(self) -> None:
        lead, v1 = b"lead", ("v1", "v1")
        old = {"lead": lead, "old": A}
        situation = scene(old, {"lead": lead, "new": A[:20] + b"0123456789"}, layouts=v1)
        found = situation.assess()
        assert by_path(found, found.sources) == {"new": "old"}
        right, wrong, nothing = Told.RIGHT.value, Told.WRONG.value, Told.NOTHING.value
        assert list(found.told) == [right, right, right, wrong, nothing]

    def test_in_v1_the_same_bytes_split_into_other_files_are_no_base(self) -> None:
        """The pieces of the new file are in the old one, at other offsets in it."""
        situation = scene({"all": b"lead" + A}, {"lead": b"lead", "new": A}, layouts=("v1", "v1"))
        found = situation.assess()
        assert by_path(found, found.sources) == {"lead": "all"}
        assert found.here[1] is Here.ABSENT
        assert found.elsewhere.keys() == {0, 1, 2, 3, 4}

    def test_in_v1_a_file_that_began_earlier_is_no_base(self) -> None:
        """Its part of the piece is there, but in the middle of the old file's run."""
        old, wanted = {"le": b"le", "adnew": b"ad" + A}, {"lead": b"lead", "new": A}
        found = scene(old, wanted, layouts=("v1", "v1")).assess()
        assert found.sources == {}
        assert set(found.elsewhere) == {0, 1, 2, 3, 4}

    def test_a_place_that_ends_before_the_file_begins_tells_nothing(self) -> None:
        manifest = make_release({"lead": b"lead", "new": A}).manifest
        places = {0: [(Extent("x", 0, 4),)], 1: [(Extent("y", 4, 8),)]}
        assert find_similar(manifest, [1], {0: places[0]}) == {}
        right = {**places, 2: [(Extent("y", 12, 8),)], 3: [(Extent("y", 20, 7),)]}
        assert find_similar(manifest, [1], right) == {}
        assert find_similar(manifest, [1], {**right, 3: [(Extent("y", 20, 8),)]}) == {1: "y"}


class TestSameSize:
    def test_a_file_that_nobody_knows_is_looked_into(self) -> None:
        situation = scene({}, {"new": A}, changes={"stray": stray(A)})
        found = situation.assess()
        assert by_path(found, found.sources) == {"new": "stray"}
        assert found.here == (Here.DOUBTFUL,)
        assert list(found.doubtful_pieces()) == [0, 1, 2, 3]

    def test_of_several_the_one_of_the_same_name_is_looked_into(self) -> None:
        strays = {"a": stray(OTHER), "z/name": stray(A)}
        assert sources(scene({}, {"name": A}, changes=strays)) == {"name": "z/name"}

    def test_they_are_given_in_the_order_of_their_paths_then_shared(self) -> None:
        strays = {"y": stray(A), "x": stray(OTHER)}
        situation = scene({}, {"1": A, "2": OTHER, "3": A[::-1]}, changes=strays)
        assert sources(situation) == {"1": "x", "2": "y", "3": "x"}

    @pytest.mark.parametrize(
        "item", [stray(A + b"1"), Item(Kind.LINK, target="x" * len(A)), Item(Kind.OTHER, A)]
    )
    def test_other_sizes_and_what_is_no_file_are_not_looked_into(self, item: Item) -> None:
        assert sources(scene({}, {"new": A}, changes={"stray": item})) == {}

    def test_what_is_not_selected_is_not_looked_into(self) -> None:
        wanted = {"new": A, "left": OTHER}
        situation = scene({}, wanted, changes={"left": stray(A)}, unselected=frozenset({"left"}))
        found = situation.assess()
        assert found.sources == {}
        assert list(found.doubtful_pieces()) == []
        changes = {"left": stray(A), "stray": stray(A)}
        situation = scene({}, wanted, changes=changes, unselected=frozenset({"left"}))
        assert sources(situation) == {"new": "stray"}

    def test_what_cannot_be_looked_at_is_left_out(self) -> None:
        problems = {"stray": "Permission denied"}
        situation = scene({}, {"new": A}, changes={"stray": stray(A)}, problems=problems)
        assert sources(situation) == {}

    @pytest.mark.parametrize("digests", DIGESTS)
    def test_a_file_whose_digest_differs_is_no_candidate(self, digests: str) -> None:
        situation = scene({"old": OTHER}, {"new": A}, digests=(digests, digests))
        assert sources(situation) == ({} if digests else {"new": "old"})

    def test_displaced_files_are_found_where_the_others_were(self) -> None:
        """The manifests have no digests in common, but each has the other's old size."""
        old, wanted = {"a": A, "b": A + OTHER}, {"a": OTHER + A, "b": OTHER}
        situation = scene(old, wanted, digests=PLAIN, piece_lengths=(8, 16))
        assert sources(situation) == {"a": "b", "b": "a"}

    def test_displaced_files_of_one_size_are_found_if_all_their_pieces_differ(self) -> None:
        old = {"0": b"1234", "a": A, "b": OTHER}
        wanted = {"0": b"12345678", "a": OTHER[:-1] + b"-", "b": A[:-1] + b"-"}
        situation = scene(old, wanted, digests=PLAIN)
        assert sources(situation) == {"a": "b", "b": "a"}

    def test_a_displaced_file_never_is_its_own_source(self) -> None:
        situation = scene({"a": A}, {"a": OTHER}, digests=PLAIN)
        assert sources(situation) == {}

    def test_a_displaced_file_takes_nothing_that_another_has_taken(self) -> None:
        """It has something at its own path; only for an absent one is a file read twice."""
        old = {"moved": A}
        strays = {"stray": stray(A + A)}
        wanted = {"a": OTHER + OTHER, "moved": OTHER + A, "z": OTHER[::-1] * 2}
        situation = scene(old, wanted, digests=PLAIN, changes=strays)
        assert here(situation)["moved"] is Here.DOUBTFUL
        assert sources(situation) == {"a": "stray", "z": "stray"}
        del wanted["a"]
        situation = scene(old, wanted, digests=PLAIN, changes=strays)
        assert sources(situation) == {"moved": "stray", "z": "stray"}

    def test_the_users_edited_file_stays_the_base(self) -> None:
        edited = stray(A[:-1] + b"-")
        situation = scene({"a": A}, {"a": A}, changes={"a": edited, "stray": stray(A)})
        found = situation.assess()
        assert (found.here, found.sources) == ((Here.DOUBTFUL,), {})

    @pytest.mark.parametrize(("size", "found"), [(7, {}), (8, {"new": "a"})])
    def test_a_file_in_its_place_is_looked_into_only_for_a_piece_or_more(
        self, size: int, found: dict[str, str]
    ) -> None:
        old = {"a": A[:size], "z": b"+"}
        situation = scene(old, {**old, "new": OTHER[:size]}, digests=PLAIN)
        assert here(situation)["a"] is Here.RIGHT
        assert sources(situation) == found
        more = {"stray": stray(A[:size])}
        situation = scene(old, {**old, "new": OTHER[:size]}, digests=PLAIN, changes=more)
        assert sources(situation) == {"new": "stray"}


class Counted(str):
    """A path that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__ne__(self, other)

    __hash__ = str.__hash__


class TestManyFilesAreNoProblem:
    @staticmethod
    def comparisons(count: int, *, known: bool, one_name: bool) -> int:
        """How often paths are compared if a folder of files of the same size is renamed."""
        names = [f"{n}/name" if one_name else f"{n}" for n in range(count)]
        old = {Counted(f"old/{name}"): A for name in names}
        wanted = {Counted(f"new/{name}"): A for name in reversed(names)}
        situation = scene(old, wanted)
        if not known:
            situation = Situation(situation.release, situation.disk)
        Counted.compared = 0
        found = situation.assess()
        assert len(set(found.sources.values())) == count
        assert set(found.here) == {Here.ELSEWHERE if known else Here.DOUBTFUL}
        return Counted.compared

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("one_name", [True, False])
    def test_the_effort_grows_with_their_number_not_with_its_square(
        self, known: bool, one_name: bool
    ) -> None:
        few = self.comparisons(200, known=known, one_name=one_name)
        many = self.comparisons(2000, known=known, one_name=one_name)
        assert many < 20 * (few + 200)
