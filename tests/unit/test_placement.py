"""Where files are during a fetch, and which pieces libtorrent is told that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from tests.support.releases import LAYOUTS, Link, make_release, read_piece
from tests.support.situations import Item, Situation, situations
from torsync.model.assessment import Extent, Here
from torsync.model.errors import TreeError
from torsync.model.manifest import Segment
from torsync.model.placement import (
    Place,
    Placement,
    Run,
    claims_for_seeding,
    matched_runs,
    place_for_fetch,
    runs_to_copy,
    without_files,
)
from torsync.model.plan import Action, Plan
from torsync.model.shifts import Stretch
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

patient = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def planned(situation: Situation) -> Plan:
    try:
        return situation.plan()
    except TreeError:
        event("refused")
        assume(False)
        raise


def placed_content(situation: Situation, plan: Plan, placement: Placement, index: int) -> bytes:
    """What libtorrent finds at a file's place before anything is fetched."""
    place = placement.places[index]
    if place is Place.TREE:
        return situation.disk[placement.path(index)].content
    if place is Place.STAGE:
        return situation.staged(plan, index, pieces=())
    return b""


class TestCloning:
    """Files of 12, 3 and 9 bytes side by side, in pieces of 8: a a·b·c c."""

    RELEASE = make_release(
        {"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}, digests="root"
    ).manifest

    @pytest.mark.parametrize(
        ("number", "lacking", "expected"),
        [
            (0, set(), [(0, 12)]),
            (0, {0}, [(8, 4)]),
            (0, {1}, [(0, 8)]),
            (0, {0, 1}, []),
            (1, {0, 2}, [(0, 3)]),
            (1, {1}, []),
            (2, {1}, [(1, 8)]),
            (2, {2}, [(0, 1)]),
        ],
    )
    def test_what_is_fetched_is_not_copied(
        self, number: int, lacking: set[int], expected: list[tuple[int, int]]
    ) -> None:
        assert list(runs_to_copy(self.RELEASE, number, lacking)) == expected

    def test_what_is_on_both_sides_of_what_is_fetched_is_copied(self) -> None:
        release = make_release({"a": bytes(40)}, digests="root").manifest
        assert list(runs_to_copy(release, 0, {1, 3})) == [(0, 8), (16, 8), (32, 8)]
        assert list(runs_to_copy(release, 0, {1, 2})) == [(0, 8), (24, 16)]

    def test_pieces_of_files_that_are_being_copied_are_not_claimed_but_still_fetched(self) -> None:
        places = (Place.STAGE, Place.TREE, Place.TREE)
        placement = Placement(self.RELEASE, places, b"\1\0\1", b"\1\1\1")
        claimed = without_files(placement, placement.have, [0], {1})
        assert claimed == (b"\0\0\1", b"\0\1\1")
        assert without_files(placement, placement.have, [], {1}) == (b"\1\0\1", b"\1\1\1")


class TestFetching:
    """Files of 12, 3 and 9 bytes side by side, in pieces of 8: a a·b·c c."""

    RELEASE = make_release({"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}, digests="root")

    def placement(self, disk: Mapping[str, Item], **changes: object) -> Placement:
        situation = Situation(self.RELEASE, disk, **changes)  # type: ignore[arg-type]
        return place_for_fetch(situation.plan())

    def full(self, **contents: bytes) -> dict[str, Item]:
        right = {"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}
        return {path: Item(content=data) for path, data in {**right, **contents}.items()}

    def vouched(self, disk: Mapping[str, Item]) -> Mapping[str, object]:
        right = Situation(self.RELEASE, self.full())
        return {path: row for path, row in right.after(right.plan()).ledger.items() if path in disk}

    def test_an_empty_folder_has_everything_in_the_stage(self) -> None:
        placement = self.placement({})
        assert placement.places == (Place.STAGE,) * 3
        assert (placement.have, placement.wanted) == (b"\0\0\0", b"\1\1\1")

    def test_a_tree_that_is_right_is_mapped_as_it_is(self) -> None:
        placement = self.placement(self.full())
        assert placement.places == (Place.TREE,) * 3
        assert placement.have == placement.wanted == b"\1\1\1"

    def test_a_kept_file_beside_a_fetched_one_has_its_shared_piece_in_a_scratch_file(self) -> None:
        disk = self.full()
        del disk["b"]
        placement = self.placement(disk, ledger=self.vouched(disk))
        assert placement.places == (Place.SCRATCH, Place.STAGE, Place.SCRATCH)
        assert (placement.have, placement.wanted) == (b"\0\0\0", b"\0\1\0")

    def test_a_patched_file_claims_what_its_clone_holds(self) -> None:
        placement = self.placement(self.full(a=b"Xaaaaaaaaaaa"))
        assert placement.places == (Place.STAGE, Place.TREE, Place.TREE)
        assert (placement.have, placement.wanted) == (b"\0\1\1", b"\1\1\1")

    def test_a_local_file_is_not_in_the_torrent(self) -> None:
        placement = self.placement(self.full(a=b"Xaaaaaaaaaaa"), keep=frozenset("a"))
        assert placement.places == (Place.SCRATCH, Place.TREE, Place.TREE)
        assert (placement.have, placement.wanted) == (b"\0\0\1", b"\0\0\1")

    def test_a_file_that_cannot_be_read_is_not_in_the_torrent(self) -> None:
        disk = self.full()
        placement = self.placement(
            disk, ledger=self.vouched({"a": 0, "b": 0}), unreadable=frozenset("c")
        )
        assert placement.places == (Place.TREE, Place.TREE, Place.SCRATCH)
        assert (placement.have, placement.wanted) == (b"\1\0\0", b"\1\0\0")

    def test_links_and_empty_files_have_no_pieces(self) -> None:
        release = make_release({"empty": b"", "link": Link("empty")})
        placement = place_for_fetch(Situation(release, {"empty": Item(content=b"x")}).plan())
        assert placement.places == (Place.STAGE, Place.TREE)
        assert placement.have == placement.wanted == b""

    @patient
    @given(situations())
    def test_what_is_claimed_is_right_where_it_is_mapped(self, situation: Situation) -> None:
        plan = planned(situation)
        placement = place_for_fetch(plan)
        assert len(placement.have) == len(placement.wanted) == plan.wanted.num_pieces
        for piece, have in enumerate(placement.have):
            if have:
                mapped = read_piece(
                    plan.wanted,
                    piece,
                    lambda index: placed_content(situation, plan, placement, index),
                )
                assert mapped == situation.release.piece(piece)

    @patient
    @given(situations())
    def test_what_may_be_written_is_in_the_stage(self, situation: Situation) -> None:
        plan = planned(situation)
        placement = place_for_fetch(plan)
        written = [
            piece
            for piece, (have, wanted) in enumerate(
                zip(placement.have, placement.wanted, strict=True)
            )
            if wanted and not have
        ]
        assert written == [piece for piece in plan.needed if piece not in plan.doubles]
        for piece in plan.needed:
            places = {placement.places[index] for index in plan.wanted.files_in(piece)}
            assert Place.STAGE in places
            assert Place.TREE not in places

    @patient
    @given(situations())
    def test_a_piece_that_is_here_is_not_unwanted(self, situation: Situation) -> None:
        placement = place_for_fetch(planned(situation))
        assert all(placement.wanted[piece] for piece, have in enumerate(placement.have) if have)

    @patient
    @given(situations())
    def test_each_action_has_its_place(self, situation: Situation) -> None:
        plan = planned(situation)
        placement = place_for_fetch(plan)
        assert set(placement.paths.values()) == plan.moved
        for file_plan, place in zip(plan.files, placement.places, strict=True):
            event(f"{file_plan.action.value}: {place.name}")
            staged = file_plan.action in {Action.PATCH, Action.FETCH, Action.COPY}
            assert (place is Place.STAGE) == staged
            if file_plan.action in {Action.LOCAL, Action.UNREADABLE}:
                assert place is Place.SCRATCH

    @patient
    @given(situations())
    def test_what_is_not_selected_is_taken_from_the_tree_only_if_it_is_right(
        self, situation: Situation
    ) -> None:
        plan = planned(situation)
        for index, place in enumerate(place_for_fetch(plan).places):
            file = plan.wanted.files[index]
            if file.path in situation.unselected and file.size and place is Place.TREE:
                assert situation.disk[file.path].content == situation.release.contents[index]

    @patient
    @given(situations())
    def test_a_file_is_taken_from_the_tree_only_if_it_is_whole_and_untouched(
        self, situation: Situation
    ) -> None:
        plan = planned(situation)
        placement = place_for_fetch(plan)
        for index, place in enumerate(placement.places):
            item = situation.disk.get(placement.path(index))
            if place is Place.TREE and plan.wanted.files[index].link_target is None:
                assert item is not None
                assert (item.kind, item.content) == (Kind.FILE, situation.release.contents[index])


class TestSeeding:
    @pytest.mark.parametrize(
        ("right", "have"),
        [
            ((1, 1, 1), [1, 1, 1]),
            ((0, 1, 1), [0, 1, 1]),
            ((1, 0, 1), [1, 1, 1]),
            ((1, 1, 0), [1, 1, 0]),
            ((0, 0, 0), [0, 0, 0]),
        ],
    )
    def test_a_piece_is_claimed_if_one_of_its_files_is_right(
        self, right: tuple[int, ...], have: list[int]
    ) -> None:
        manifest = TestFetching.RELEASE.manifest
        assert list(claims_for_seeding(manifest, bytes(right))) == have

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_files_without_bytes_do_not_matter(self, layout: str) -> None:
        release = make_release({"a": b"0123456789", "b": b"", "c": Link("a")}, layout=layout)
        assert claims_for_seeding(release.manifest, b"\1\0\0") == b"\1\1"

    @patient
    @given(situations())
    def test_what_is_seeded_after_an_update_is_right(self, situation: Situation) -> None:
        after = situation.after(planned(situation))
        right = bytes(here is Here.RIGHT for here in after.assess().here)
        claims = claims_for_seeding(after.manifest, right)
        for piece, claimed in enumerate(claims):
            owners = {right[index] for index in after.manifest.files_in(piece)}
            assert claimed == (1 in owners)
            have = owners == {1}
            in_tree = (
                read_piece(
                    after.manifest,
                    piece,
                    lambda index: after.disk[after.manifest.files[index].path].content,
                )
                if have
                else None
            )
            assert not have or in_tree == after.release.piece(piece)


class TestMatchedRuns:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_short_last_piece_that_is_elsewhere_is_laid_out(self, layout: str) -> None:
        kept = {"k": b"12345678"}
        old = make_release({"a": b"abcdefghxyz", **kept}, layout=layout, digests="root")
        new = make_release({"a": b"ABCDEFGHIJKLMNOPxyz", **kept}, layout=layout, digests="root")
        before = Situation(old)
        before = before.after(before.plan())
        plan = Situation(new, before.disk, before.ledger, before=old).plan()
        assert list(plan.copies) == [2]
        runs = matched_runs(plan.wanted.segments(2), [Stretch(0, plan.copies[2])])
        assert next(runs) == Run(0, 16, "a", 8, 3)
        assert all(run.file_index != 0 for run in runs)

    def test_a_claim_that_a_piece_is_one_that_was_shorter_gives_what_there_is(self) -> None:
        runs = matched_runs(
            [Segment(0, 0, 5), Segment(1, 0, 3)], [Stretch(0, (Extent("a", 8, 2),))]
        )
        assert list(runs) == [Run(0, 0, "a", 8, 2)]
