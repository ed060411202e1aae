"""Content that is not where it was looked for at first: shared, or told by its digest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from tests.support.releases import make_release
from tests.support.situations import Item, Situation, situations, with_folders
from torsync.model.assessment import Here
from torsync.model.errors import TreeError
from torsync.model.manifest import content_digest
from torsync.model.plan import FILLED, Action, Plan
from torsync.model.sharing import Sharing
from torsync.model.tree_index import Kind, ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.releases import Release
    from torsync.model.assessment import Assessment

A, B = b"AAAAaaaa", b"BBBBbbbbB"  # a piece, and a byte more
C = b"CCCCccccCCCCCCCCCccc"
SMALL, OTHER = b"abc", b"xyz"
STRAYS = {"w": OTHER + B[:5], "x": C[:8]}  # the first of them is looked into by its pieces
EDGES = {"0": b"first", "zz": b"last"}


def updated(
    old: Mapping[str, bytes],
    new: Mapping[str, bytes],
    *,
    layouts: tuple[str, str] = ("v1", "packed"),
    digests: tuple[str, str] = ("", "root"),
) -> Situation:
    """A tree that is as an old release left it; files of both in the order of their paths."""
    before, release = (
        make_release(dict(sorted(contents.items())), layout=layout, digests=digest, name=name)
        for contents, layout, digest, name in zip(
            (old, new), layouts, digests, ("before", "wanted"), strict=True
        )
    )
    disk = with_folders({path: Item(content=old[path], stamp=n) for n, path in enumerate(old, 1)})
    ledger = {
        path: ledger_row(disk[path].entry(), before.manifest.digest(before.manifest.by_path[path]))
        for path in old
    }
    return Situation(release, disk, ledger, before=before)


def found_in(
    new: Mapping[str, bytes], disk: Mapping[str, bytes], *, digests: str = "root", **changes: object
) -> Situation:
    """A tree of which nothing is known."""
    release = make_release(new, digests=digests)
    items = {path: Item(content=content, stamp=n) for n, (path, content) in enumerate(disk.items())}
    return Situation(release, with_folders(items), **changes)  # type: ignore[arg-type]


def actions(plan: Plan) -> dict[str, tuple[Action, str]]:
    return {
        file.path: (planned.action, planned.source)
        for file, planned in zip(plan.wanted.files, plan.files, strict=True)
    }


def sharing(situation: Situation) -> Sharing:
    found = situation.assess()
    hashed = situation.hash(found.doubtful_pieces(), found)
    return Sharing(found, hashed.good, hashed.unreadable)


def to_read(situation: Situation) -> list[str]:
    return sharing(situation).to_identify(situation.ledger)


def shared(situation: Situation) -> Assessment:
    found = situation.assess()
    return situation.share(found, situation.hash(found.doubtful_pieces(), found))


class TestSameContent:
    def test_a_file_that_is_right_in_its_place_gives_its_content_to_another(self) -> None:
        """The new file shares a piece with others, which would be fetched for it."""
        for path, content in EDGES.items():
            plan = updated({**EDGES, "a": C[:7]}, {**EDGES, "a": C[:7], "b": content}).plan()
            assert plan.needed == ()
            assert actions(plan)["b"] == (Action.COPY, path)

    def test_a_file_that_moves_gives_its_content_to_two(self) -> None:
        old = {"c/d": A, "a/y": B, "c/f": C, "z": C, "a/x": C}
        plan = updated({**EDGES, **old}, {**EDGES, "c/d": B, "a/y": A, "z": A, "a/x": C}).plan()
        assert plan.needed == ()
        assert actions(plan)["a/y"] == (Action.MOVE, "c/d")
        assert actions(plan)["z"] == (Action.COPY, "c/d")

    @pytest.mark.parametrize("digests", ["root", "sha1", ""])
    def test_a_file_found_under_another_path_serves_all_that_lack_it(self, digests: str) -> None:
        right, strays = {"0": C[:16]}, {"1": A, "2": A[::-1]}
        new = {**right, "p": A, "q": A, "r": A}
        plan = found_in(new, {**right, **strays}, digests=digests).plan()
        assert plan.needed == ()
        assert {source for _action, source in actions(plan).values()} == {"", "1"}

    def test_a_longer_file_that_begins_with_the_content_is_not_shared(self) -> None:
        plan = found_in({"a": A, "b": A}, {"a": A + b"more"}, digests="").plan()
        assert actions(plan) == {"a": (Action.PATCH, "a"), "b": (Action.FETCH, "")}

    def test_what_may_not_be_moved_is_copied(self) -> None:
        situation = found_in({"a": A, "b": A}, {"old": A}, keep=frozenset({"old"}))
        assert {action for action, _source in actions(situation.plan()).values()} == {Action.COPY}

    def test_a_file_that_can_not_be_opened_gives_nothing(self) -> None:
        situation = updated({**EDGES, "a": C[:7]}, {**EDGES, "a": C[:7], "b": b"first"})
        situation = replace(situation, unreadable=frozenset("0"))
        plan = situation.plan()
        assert actions(plan)["b"] == (Action.FETCH, "")
        assert not plan.index.complete

    def test_a_touched_file_that_is_wrong_is_replaced_by_its_copy(self) -> None:
        digests, layouts = ("root", "root"), ("packed", "packed")
        situation = updated({"a": A, "b": A}, {"a": A, "b": A}, digests=digests, layouts=layouts)
        situation = replace(situation, disk={**situation.disk, "a": Item(content=C[:8], stamp=99)})
        assert actions(situation.plan()) == {"a": (Action.COPY, "b"), "b": (Action.KEEP, "")}

    def test_a_touched_file_that_is_wrong_is_replaced_by_one_that_goes(self) -> None:
        digests, layouts = ("root", "root"), ("packed", "packed")
        situation = updated({"a": A, "old": A}, {"a": A}, digests=digests, layouts=layouts)
        situation = replace(situation, disk={**situation.disk, "a": Item(content=C[:8], stamp=99)})
        assert actions(situation.plan()) == {"a": (Action.MOVE, "old")}

    def test_an_empty_tree_has_nothing_to_share(self) -> None:
        situation = found_in({"a": A}, {})
        assert sharing(situation).lacking == []
        assert actions(situation.plan()) == {"a": (Action.FETCH, "")}


class TestByDigest:
    def test_of_many_files_of_a_size_the_right_one_is_found(self) -> None:
        strays = {f"{number}": b"%08d" % number for number in range(5)} | {"9": A}
        situation = found_in({"a": A}, strays)
        assert situation.assess().sources == {0: "0"}
        assert to_read(situation) == ["1", "2", "3", "4", "9"]
        assert actions(situation.plan()) == {"a": (Action.COPY, "9")}

    def test_each_of_several_is_found(self) -> None:
        new = {"1": A, "2": A[::-1], "3": C[:8]}
        plan = found_in(new, {"x": C[:8], "y": A, "z": A[::-1]}).plan()
        assert {path: source for path, (_action, source) in actions(plan).items()} == {
            "1": "y",
            "2": "z",
            "3": "x",
        }

    def test_a_file_that_is_right_beside_one_that_differs_is_kept(self) -> None:
        situation = found_in({"a": SMALL, "b": b"1234"}, {"a": SMALL, "b": b"wrong"})
        assert to_read(situation) == ["a"]
        assert actions(situation.plan()) == {"a": (Action.KEEP, ""), "b": (Action.FETCH, "")}

    def test_a_file_that_is_perhaps_right_is_read_though_another_has_its_content(self) -> None:
        new = {"a": SMALL, "b": b"12345", "c": SMALL}
        situation = found_in(new, {**new, "b": b"wrong"})
        assert to_read(situation) == ["a", "b"]
        assert actions(situation.plan()) == {
            "a": (Action.KEEP, ""),
            "b": (Action.FETCH, ""),
            "c": (Action.KEEP, ""),
        }

    def test_a_file_that_looked_somewhere_else_may_be_right_where_it_is(self) -> None:
        """What is at its path seemed to be of the old release, but was told wrongly."""
        situation = found_in({"a": A, "b": SMALL}, {"a": A, "b": OTHER})
        found = replace(situation.assess(), sources={0: "b"})
        again = Sharing(found, ()).share({"a": situation.identify("a")}, keep=lambda _path: False)
        assert (again.here[0], again.sources) == (Here.RIGHT, {})

    def test_a_file_with_a_wrong_piece_of_its_own_is_not_read_again(self) -> None:
        situation = found_in({"a": C, "b": SMALL}, {"a": b"X" + C[1:], "b": SMALL})
        assert to_read(situation) == []

    def test_a_file_that_was_looked_into_is_read_for_another_ones_sake(self) -> None:
        new = {"a": A, "b": A[::-1]}
        situation = found_in(new, {"a": C[:8]})
        assert situation.assess().sources == {1: "a"}
        assert to_read(situation) == []
        new["c"] = C[:8]
        situation = found_in(new, {"a": C[:8], "b": OTHER, "c": OTHER})
        assert to_read(situation) == ["a"]
        assert actions(situation.plan())["c"] == (Action.MOVE, "a")

    @pytest.mark.parametrize("content", [b"-" + SMALL, SMALL[:2]])
    def test_a_file_of_another_size_is_not_read_again(self, content: bytes) -> None:
        assert to_read(found_in({"a": SMALL, "b": OTHER}, {"a": content, "b": OTHER})) == ["b"]

    def test_a_neighbours_part_of_a_piece_is_hashed_again(self) -> None:
        """The large file differs in its first piece, and ends right in one with the moved one."""
        large = C[:12]
        disk = {"a": b"X" + large[1:], "stray 1": OTHER, "stray 2": SMALL}
        situation = found_in({"a": large, "b": SMALL}, disk)
        assert situation.assess().sources == {1: "stray 1"}
        assert list(shared(situation).doubtful_pieces()) == [1]
        plan = situation.plan()
        assert plan.needed == (0,)
        assert actions(plan) == {"a": (Action.PATCH, "a"), "b": (Action.COPY, "stray 2")}

    def test_a_piece_with_a_file_that_is_nowhere_is_not_hashed_again(self) -> None:
        situation = found_in({"a": SMALL, "b": SMALL, "c": b"12"}, {"a": SMALL})
        found = shared(situation)
        assert found.here == (Here.RIGHT, Here.ELSEWHERE, Here.ABSENT)
        assert list(found.doubtful_pieces()) == []

    def test_a_piece_that_was_right_stays_so(self) -> None:
        """The first piece of the file is right where it is; whole, it is elsewhere."""
        disk = {"a": A + b"wrong", "other": A + b"right"}
        situation = found_in({"a": A + b"right"}, disk, digests="root")
        plan = situation.plan()
        assert plan.good == b"\1\1"
        assert actions(plan) == {"a": (Action.COPY, "other")}

    @pytest.mark.parametrize("digests", ["root", "sha1"])
    def test_what_is_known_is_not_read(self, digests: str) -> None:
        situation = updated(
            {"a": A, "b": A[::-1]}, {"a": A, "c": C[:8]}, digests=(digests, digests)
        )
        assert to_read(situation) == []
        strays = {path: Item(content=C[:7] + b"-", stamp=99) for path in ("w", "x")}
        assert to_read(replace(situation, disk={**situation.disk, **strays})) == ["x"]

    def test_a_file_that_is_known_to_be_the_old_releases_is_not_read(self) -> None:
        layouts, digests = ("packed", "packed"), ("root", "root")
        old = {"a": SMALL, "b": b"1234"}
        situation = updated(old, {**old, "a": OTHER}, layouts=layouts, digests=digests)
        assert situation.plan().needed == (0,)
        assert to_read(situation) == []

    def test_without_digests_nothing_is_read_whole(self) -> None:
        assert to_read(found_in({"a": A}, {"x": C[:8], "y": A}, digests="")) == []

    def test_what_can_be_copied_piece_by_piece_is_not_looked_for(self) -> None:
        old = {"old": A + A[::-1] + C[:8]}
        situation = updated(old, {"new": A}, layouts=("padded", "padded"), digests=("root",) * 2)
        disk = {**situation.disk, "stray": Item(content=A[::-1], stamp=99)}
        situation = replace(situation, disk=disk)
        assert situation.plan().needed == ()
        assert to_read(situation) == []

    @pytest.mark.parametrize(
        ("item", "changes"),
        [
            (Item(content=A + b"1", stamp=9), {}),
            (Item(Kind.OTHER, A, stamp=9), {}),
            (Item(content=A, stamp=9), {"problems": {"y": "Permission denied"}}),
        ],
    )
    def test_what_can_not_be_it_is_not_read(self, item: Item, changes: dict[str, object]) -> None:
        situation = found_in({"a": A}, STRAYS, **changes)
        situation = replace(situation, disk={**situation.disk, "y": item})
        assert to_read(situation) == ["x"]

    def test_what_is_not_selected_is_not_read(self) -> None:
        situation = found_in({"a": A, "y": C}, STRAYS | {"y": A}, unselected=frozenset("y"))
        assert to_read(situation) == ["x"]

    def test_the_trash_is_not_read(self) -> None:
        situation = found_in({"a": A}, STRAYS | {".torsync/trash/1/y": A[::-1]})
        entry = situation.index.entries[".torsync/trash/1/y"]
        rows = {".torsync/trash/1/y": ledger_row(entry, f"root:{'00' * 32}:8")}
        # The ledger has no rows of the trash; what is known of it has been asked for before.
        assert sharing(replace(situation, ledger=rows)).to_identify({}) == ["x"]

    def test_no_more_is_read_than_it_is_worth(self) -> None:
        """16 files of a piece's size for one piece that would be fetched."""
        strays = {f"{number:02}": b"%08d" % number for number in range(20)}
        assert to_read(found_in({"a": A}, strays)) == sorted(strays)[1:17]

    def test_a_large_file_that_is_not_worth_it_is_skipped(self) -> None:
        large = b"large " * 30
        new = {"a": large, "b": SMALL}
        disk = {"a": large, "b": OTHER, "x": OTHER[::-1], "y": SMALL}
        situation = found_in(new, disk)
        assert to_read(situation) == ["b", "x", "y"]
        assert situation.plan().needed == ()


def test_a_digest_is_what_the_manifest_says() -> None:
    for digests in ("root", "sha1"):
        release: Release = make_release({"a": A}, digests=digests)
        (file,) = release.manifest.files
        value = file.pieces_root or file.sha1
        assert value is not None
        assert content_digest(digests, value, len(A)) == release.manifest.digest(0)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(situations(rot=False))
def test_no_file_is_fetched_that_the_disk_has(situation: Situation) -> None:
    wanted = situation.manifest
    assume(all(file.pieces_root or file.sha1 or not file.size for file in wanted.files))
    try:
        plan = situation.plan()
    except TreeError:
        event("refused")
        return
    there = {
        situation.read(path)
        for path in situation.disk.keys() - situation.problems.keys()
        if path not in situation.unselected & wanted.by_path.keys()
    }
    for index, planned in enumerate(plan.files):
        event(planned.action.value)
        if planned.action in FILLED and wanted.files[index].size:
            pieces = wanted.pieces_of(index)
            is_fetched = any(piece in plan.needed for piece in pieces)
            assert not is_fetched or situation.release.contents[index] not in there
