"""What becomes of content that is elsewhere: pieces that are assembled, blocks that are claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tests.support.releases import make_release
from tests.support.situations import Situation, situations
from torsync.model import reuse
from torsync.model.assessment import Extent
from torsync.model.errors import TreeError
from torsync.model.manifest import Segment
from torsync.model.placement import matched_runs
from torsync.model.plan import FILLED, Action, Plan
from torsync.model.reports import Reused
from torsync.model.reuse import bytes_found, count_reused, plan_reuse
from torsync.model.shifts import NO_SHIFTS, Run, Shifts, lacking_ranges
from torsync.model.tree_index import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4  # bytes; pieces have two of them here

patient = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are as small as the pieces of these releases ask for."""
    monkeypatch.setattr(reuse, "BLOCK_SIZE", BLOCK)


def planned(situation: Situation) -> Plan:
    try:
        return situation.plan()
    except TreeError:
        event("refused")
        assume(False)
        raise


@st.composite
def shifts_of(draw: st.DrawFn, situation: Situation, plan: Plan) -> Shifts:
    """Honest runs for the files that are filled, from files of the tree that stay readable."""
    runs = {}
    disk = {
        path: item.content
        for path, item in sorted(situation.disk.items())
        if item.kind is Kind.FILE and item.content and path in plan.index.entries
    }
    for index, planned_file in enumerate(plan.files):
        if planned_file.action not in FILLED:
            continue
        content = situation.release.contents[index]
        found: list[Run] = []
        offset = 0
        while offset < len(content):
            length = draw(st.integers(1, 6))
            part = content[offset : offset + length]
            holders = [path for path, data in disk.items() if part in data]
            if holders and draw(st.booleans()):
                path = draw(st.sampled_from(holders))
                found.append(Run(offset, len(part), path, disk[path].index(part)))
            offset += length
        if found:
            runs[index] = tuple(found)
    return Shifts(runs)


@st.composite
def reused(draw: st.DrawFn) -> tuple[Situation, Plan, Plan, Shifts]:
    situation = draw(situations())
    plan = planned(situation)
    shifts = draw(shifts_of(situation, plan)) if draw(st.booleans()) else NO_SHIFTS
    return situation, plan, plan_reuse(plan, shifts), shifts


def content_pieces(situation: Situation, piece: int) -> bytes:
    """The right bytes of a piece, without the padding that nobody sends."""
    segments = reuse.content_segments(situation.manifest, piece)
    return situation.release.piece(piece)[: sum(segment.length for segment in segments)]


@patient
@given(reused())
def test_what_is_assembled_is_the_piece(found: tuple[Situation, Plan, Plan, Shifts]) -> None:
    situation, before, after, _shifts = found
    for piece in after.copies.keys() - before.copies.keys():
        assert all(extent.length > 0 for extent in after.copies[piece])
        assert situation.at(after.copies[piece]) == content_pieces(situation, piece)


@patient
@given(reused())
def test_what_is_claimed_are_blocks_of_content(
    found: tuple[Situation, Plan, Plan, Shifts],
) -> None:
    situation, _before, after, _shifts = found
    for piece, claim in after.claims.items():
        right = content_pieces(situation, piece)
        assert len(claim.blocks) == -(-len(right) // BLOCK)
        assert 0 < sum(claim.blocks) < len(claim.blocks)
        copied = dict(read(situation, claim.stretches))
        for block, is_claimed in enumerate(claim.blocks):
            at = range(block * BLOCK, min((block + 1) * BLOCK, len(right)))
            assert all((position in copied) == bool(is_claimed) for position in at)
            if is_claimed:
                assert bytes(copied[position] for position in at) == right[at.start : at.stop]
                assert not all(is_padding(situation, piece, position) for position in at)
        assert claim.length == len(copied)
        assert all(extent.length > 0 for extent in claim.extents)


def read(situation: Situation, stretches: tuple[reuse.Stretch, ...]) -> Iterator[tuple[int, int]]:
    for start, extents in stretches:
        yield from enumerate(situation.at(extents), start)


def is_padding(situation: Situation, piece: int, position: int) -> bool:
    start = 0
    for segment in situation.manifest.segments(piece):
        if start <= position < start + segment.length:
            return segment.file_index is None
        start += segment.length
    raise AssertionError(position)


@patient
@given(reused())
def test_every_block_that_could_be_is_claimed_or_assembled(
    found: tuple[Situation, Plan, Plan, Shifts],
) -> None:
    situation, before, after, shifts = found
    for piece in before.needed:
        if piece in after.copies:
            continue
        position = 0
        known = set()
        for index, offset, length in reuse.content_segments(situation.manifest, piece):
            for at in range(length):
                if index is None or is_known(before, shifts, index, offset + at):
                    known.add(position + at)
            position += length
        blocks = after.claims[piece].blocks if piece in after.claims else bytes(position)
        for block in range(-(-position // BLOCK)):
            at = range(block * BLOCK, min((block + 1) * BLOCK, position))
            is_content = not all(is_padding(situation, piece, each) for each in at)
            assert blocks[block] == (is_content and known.issuperset(at))


def is_known(plan: Plan, shifts: Shifts, index: int, offset: int) -> bool:
    if plan.files[index].action in {Action.KEEP, Action.MOVE, Action.COPY}:
        return True
    runs = shifts.runs.get(index, ()) if plan.files[index].action in FILLED else ()
    return any(run.offset <= offset < run.offset + run.length for run in runs)


@patient
@given(reused())
def test_every_byte_is_reused_or_fetched_or_not_ours(
    found: tuple[Situation, Plan, Plan, Shifts],
) -> None:
    situation, before, after, shifts = found
    counted = count_reused(after)
    fetched = ours = 0
    for index, file in enumerate(after.wanted.files):
        action = after.files[index].action
        if action in FILLED or action in {Action.KEEP, Action.MOVE, Action.COPY}:
            ours += file.size
    for piece in after.needed:
        position = 0
        claim = after.claims.get(piece)
        for index, _offset, length in after.wanted.segments(piece):
            for at in range(position, position + length):
                is_claimed = (
                    claim is not None and claim.blocks[at // BLOCK] if index is not None else 1
                )
                if index is not None and after.files[index].action in FILLED and not is_claimed:
                    fetched += 1
            position += length
    assert sum(counted) + fetched == ours
    assert after.bytes_to_fetch <= before.bytes_to_fetch
    assert count_reused(before).kept == counted.kept
    if not shifts.runs:
        assert after.files == before.files
    moved = [piece for piece in after.lacking if piece in after.copies or piece in after.claims]
    assert bytes_found(after, moved) == counted.shifted
    _ = situation


@patient
@given(reused())
def test_the_result_is_the_release(found: tuple[Situation, Plan, Plan, Shifts]) -> None:
    situation, _before, after, _shifts = found
    for index, contents in enumerate(situation.release.contents):
        if after.files[index].action in FILLED:
            assert situation.staged(after, index, pieces=after.needed) == contents


@patient
@given(reused())
def test_in_place_what_has_shifted_is_staged(
    found: tuple[Situation, Plan, Plan, Shifts],
) -> None:
    _situation, _before, after, _shifts = found
    in_place = after.patching_in_place()
    assert not in_place.in_place & after.shifted
    patched = {in_place.wanted.files[index].path for index in in_place.in_place}
    for claim in in_place.claims.values():
        assert not patched.intersection(extent.path for extent in claim.extents)


def test_a_first_sync_is_not_gone_through_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reuse, "content_segments")
    plan = Situation(make_release({"a": b"a" * 40, "b": b"b" * 12})).plan()
    assert len(plan.needed) > 3
    assert plan_reuse(plan) is plan


class _Counted(list[Run]):
    """Runs, and how many of them were taken out."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.taken += len(found) if isinstance(key, slice) else 1
        return found


def test_of_many_runs_each_piece_takes_its_own() -> None:
    size, count = 1600, 800
    release = make_release({"a": bytes(range(200)) * 8})
    old = Situation(release)
    old = old.after(old.plan())
    new = make_release({"a": bytes(range(1, 201)) * 8})
    plan = Situation(new, old.disk, old.ledger, before=release).plan()
    runs: Any = _Counted(Run(at, 2, "a", (at + 3) % size) for at in range(0, size - 3, 2))
    assert len(plan.needed) > 50
    plan_reuse(plan, Shifts({0: runs}))
    assert runs.taken <= 3 * count


class TestByHand:
    """Two pieces of two blocks: what is found, and what is made of it."""

    OLD = make_release({"a": b"abcdefghijklmnop", "z": b"z" * 8}, layout="padded")
    NEW = make_release({"a": b"-abcdefghijklmno", "z": b"z" * 8}, layout="padded")

    @pytest.fixture
    def situation(self) -> Situation:
        before = Situation(self.OLD)
        before = before.after(before.plan())
        return Situation(self.NEW, before.disk, before.ledger, before=self.OLD)

    def test_a_file_that_shifted_lacks_its_first_block_only(self, situation: Situation) -> None:
        plan = situation.plan()
        assert lacking_ranges(plan) == {0: [(0, 16)]}
        found = plan_reuse(plan, Shifts({0: (Run(1, 15, "a", 0),)}))
        assert list(found.copies) == [1]
        assert {piece: claim.blocks for piece, claim in found.claims.items()} == {0: b"\0\1"}
        assert found.bytes_to_fetch == BLOCK
        assert found.shifted == {0}
        assert count_reused(found) == Reused(kept=8, shifted=12)
        assert found.files[0].action is Action.PATCH
        assert found.files[0].reason == "12 B of it are elsewhere in the tree"
        claim = found.claims[0]
        segments = [Segment(0, 0, 8)]
        assert [run.offset for run in matched_runs(segments, claim.stretches)] == [4]

    def test_what_a_file_that_moves_has_of_a_piece_is_claimed_for_its_neighbours_sake(self) -> None:
        old, new = {"old": b"abcd", "z": b"z" * 8}, {"m": b"abcd", "n": b"new.", "z": b"z" * 8}
        before, release = (
            make_release(each, layout="packed", digests="root") for each in (old, new)
        )
        there = Situation(before)
        there = there.after(there.plan())
        plan = Situation(release, there.disk, there.ledger, before=before).plan()
        assert [file.action for file in plan.files] == [Action.MOVE, Action.FETCH, Action.KEEP]
        found = plan_reuse(plan)
        assert {piece: claim.blocks for piece, claim in found.claims.items()} == {0: b"\1\0"}
        assert list(found.claims[0].extents) == [Extent("old", 0, 4)]
        assert bytes_found(found, [0]) == 0, "none of them are of a file that is built"

    def test_in_place_nothing_is_claimed_from_what_is_being_patched(self) -> None:
        old = {"a": b"abcdefghABCDEFGH", "b": b"12345678!@#$%^&*", "z": b"z" * 8}
        new = {"a": b"abcdefgh--------", "b": b"12345678++++++++", "n": b"n" * 16, "z": b"z" * 8}
        before, release = (make_release(each, layout="padded") for each in (old, new))
        there = Situation(before)
        there = there.after(there.plan())
        plan = Situation(release, there.disk, there.ledger, before=before).plan()
        runs = (Run(0, 4, "a", 8), Run(8, 4, "z", 0))
        found = plan_reuse(plan, Shifts({plan.wanted.by_path["n"]: runs}))
        assert found.claims.keys() == {4, 5}
        in_place = found.patching_in_place()
        assert {plan.wanted.files[index].path for index in in_place.in_place} == {"a", "b"}
        assert in_place.claims == {5: found.claims[5]}

    def test_what_was_found_of_a_patched_file_is_said_too(self, situation: Situation) -> None:
        new = make_release({"a": b"abcdefgh-ijklmno", "z": b"z" * 8}, layout="padded")
        plan = Situation(new, situation.disk, situation.ledger, before=self.OLD).plan()
        assert plan.files[0].action is Action.PATCH
        found = plan_reuse(plan, Shifts({0: (Run(9, 7, "a", 8),)}))
        assert found.files[0].reason.endswith("; 4 B of it are elsewhere in the tree")
        assert count_reused(found) == Reused(kept=8, same_place=8, shifted=4)

    def test_runs_that_cover_no_block_change_nothing(self, situation: Situation) -> None:
        plan = situation.plan()
        assert plan_reuse(plan, Shifts({0: (Run(1, 3, "a", 0), Run(9, 3, "a", 8))})) is plan

    def test_each_piece_is_assembled_from_the_runs_that_it_has_bytes_of(
        self, situation: Situation
    ) -> None:
        runs = (Run(0, 8, "a", 1), Run(8, 5, "a", 8), Run(13, 3, "z", 5))
        found = plan_reuse(situation.plan(), Shifts({0: runs}))
        assert found.copies == {
            0: (Extent("a", 1, 8),),
            1: (Extent("a", 8, 5), Extent("z", 5, 3)),
        }

    def test_of_what_is_found_only_whole_blocks_are_claimed(self, situation: Situation) -> None:
        runs = (Run(0, 4, "a", 0), Run(4, 2, "z", 0))
        found = plan_reuse(situation.plan(), Shifts({0: runs}))
        assert found.claims[0].blocks == b"\1\0"
        assert list(found.claims[0].extents) == [Extent("a", 0, 4)]

    @pytest.mark.parametrize(("most", "made"), [(1, {1: b"\1\0"}), (2, {1: b"\1\0", 2: b"\1\0"})])
    def test_of_too_many_claims_those_are_made_that_save_the_most(
        self, monkeypatch: pytest.MonkeyPatch, most: int, made: dict[int, bytes]
    ) -> None:
        monkeypatch.setattr(reuse, "MOST_CLAIMED", most)
        new = make_release({"a": b"abcdef", "b": b"0123456789ABCDEF"}, layout="v2")
        plan = Situation(new).plan()
        runs = {0: (Run(4, 2, "x", 4),), 1: (Run(0, 4, "y", 0), Run(8, 4, "y", 8))}
        found = plan_reuse(plan, Shifts(runs))
        assert {piece: claim.blocks for piece, claim in found.claims.items()} == made
        assert found.bytes_to_fetch == 22 - 4 * most
        assert count_reused(found).shifted == 4 * most

    def test_lacking_pieces_that_adjoin_are_one_range(self, situation: Situation) -> None:
        new = make_release({"a": b"-bcdefghijklmno-", "z": b"z" * 7 + b"!"}, layout="v1")
        plan = Situation(new, situation.disk, situation.ledger, before=self.OLD).plan()
        assert lacking_ranges(plan) == {0: [(0, 16)], 1: [(0, 8)]}
