"""What an update does: a pure function, checked by carrying it out on trees in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from tests.support.releases import LAYOUTS, Link, Release, make_release
from tests.support.situations import Item, Situation, is_under, parents, situations, with_folders
from torsync.model.assessment import Here
from torsync.model.config import CleanMode
from torsync.model.errors import TreeError
from torsync.model.plan import NOT_OURS, Action, FilePlan, Plan, content_bytes_of, plan_update
from torsync.model.removals import plan_removals
from torsync.model.tree_index import Kind, LedgerRow, ledger_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

patient = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

UNTOUCHED = {Action.KEEP, *NOT_OURS}


def planned(situation: Situation) -> Plan:
    """The plan; situations that are refused say nothing here."""
    try:
        return situation.plan()
    except TreeError:
        event("refused")
        assume(False)
        raise


def actions(plan: Plan) -> dict[str, Action]:
    return {
        file.path: file_plan.action
        for file, file_plan in zip(plan.wanted.files, plan.files, strict=True)
    }


def rows(release: Release, disk: Mapping[str, Item], *paths: str) -> dict[str, LedgerRow]:
    """A ledger that vouches for ``paths`` as what the release wants."""
    manifest = release.manifest
    return {
        path: ledger_row(disk[path].entry(), manifest.digest(manifest.by_path[path]))
        for path in paths
    }


def managing(disk: Mapping[str, Item], *paths: str) -> dict[str, LedgerRow]:
    """A ledger that lists ``paths`` as content of an older release."""
    return {path: ledger_row(disk[path].entry(), f"old {path}") for path in paths}


class TestFiles:
    """Files of 12, 3 and 9 bytes side by side, in pieces of 8."""

    RELEASE = make_release({"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}, digests="root")

    def plan(self, disk: Mapping[str, Item], **changes: object) -> Plan:
        return Situation(self.RELEASE, disk, **changes).plan()  # type: ignore[arg-type]

    def full(self, **contents: bytes | None) -> dict[str, Item]:
        right = {"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}
        return {
            path: Item(content=content)
            for path, content in {**right, **contents}.items()
            if content is not None
        }

    def test_an_empty_folder_needs_everything(self) -> None:
        plan = self.plan({})
        assert set(plan.files) == {FilePlan(Action.FETCH, "not there")}
        assert plan.needed == (0, 1, 2)
        assert plan.bytes_to_fetch == 24
        assert not plan.is_empty

    def test_right_content_stays_without_a_ledger(self) -> None:
        plan = self.plan(self.full())
        assert set(plan.files) == {FilePlan(Action.KEEP, "its content is right")}
        assert plan.is_empty
        assert plan.needed == ()
        assert plan.bytes_to_fetch == 0

    def test_what_the_ledger_vouches_for_is_unchanged(self) -> None:
        disk = self.full()
        plan = self.plan(disk, ledger=rows(self.RELEASE, disk, "a", "b", "c"))
        assert set(plan.files) == {FilePlan(Action.KEEP, "unchanged")}
        assert plan.good == b"\1\1\1"

    def test_the_ledger_has_to_learn_of_what_it_did_not_vouch_for_or_what_changes(self) -> None:
        assert self.plan(self.full()).settled == b"\0\0\0"
        disk = self.full(b=None)
        plan = self.plan(disk, ledger=rows(self.RELEASE, disk, "a"))
        assert (plan.settled, plan.right) == (b"\1\0\0", b"\1\1\1")

    def test_what_is_not_selected_is_right_only_if_the_ledger_vouches_for_it(self) -> None:
        disk = self.full()
        for vouched, right in [("abc", b"\1\1\1"), ("ac", b"\1\0\1")]:
            ledger = rows(self.RELEASE, disk, *vouched)
            plan = self.plan(disk, ledger=ledger, unselected=frozenset("b"))
            assert (plan.settled, plan.right) == (b"\1\0\1", right)

    @pytest.mark.parametrize(
        ("contents", "expected", "needed"),
        [
            ({"a": b"Xaaaaaaaaaaa"}, "PKK", (0,)),
            ({"a": b"aaaaaaaaaaaX"}, "PKK", (1,)),
            ({"a": b"Xaaaaaaaaaax"}, "FKK", (0, 1)),
            ({"a": b"aaaaaaaaaaaa and more"}, "PKK", ()),
            ({"a": b"aaaaaaaaaaa"}, "PKK", (1,)),
            ({"a": b"aaaaaaaa"}, "PKK", (1,)),
            ({"a": b"aaaaaaa"}, "FKK", (0, 1)),
            ({"a": b""}, "FKK", (0, 1)),
            ({"b": None}, "KFK", (1,)),
            ({"b": b"BBB"}, "KFK", (1,)),
            ({"b": b"bbbb"}, "KPK", ()),
            ({"c": b"cccccccc"}, "KKP", (2,)),
            ({"c": b"c"}, "KKP", (2,)),
            ({"c": b"ccccccccX"}, "KKP", (2,)),
            ({"c": None}, "KKF", (1, 2)),
        ],
    )
    def test_only_wrong_pieces_are_fetched(
        self, contents: dict[str, bytes | None], expected: str, needed: tuple[int, ...]
    ) -> None:
        plan = self.plan(self.full(**contents))
        letters = {"P": Action.PATCH, "F": Action.FETCH, "K": Action.KEEP}
        assert list(actions(plan).values()) == [letters[letter] for letter in expected]
        assert plan.needed == needed

    def test_without_digests_the_neighbours_of_what_differs_are_patched(self) -> None:
        """Nothing tells whether they are right: the piece has the hash of all of them."""
        release = make_release({"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"})
        plan = Situation(release, self.full(b=b"BBB")).plan()
        assert list(actions(plan).values()) == [Action.PATCH, Action.FETCH, Action.PATCH]
        assert plan.needed == (1,)

    def test_a_vouched_neighbour_of_a_wrong_piece_stays(self) -> None:
        disk = self.full(b=None)
        plan = self.plan(disk, ledger=rows(self.RELEASE, disk, "a", "c"))
        assert actions(plan) == {"a": Action.KEEP, "b": Action.FETCH, "c": Action.KEEP}
        assert plan.needed == (1,)
        assert plan.bytes_to_fetch == 8

    def test_reasons_tell_what_was_found(self) -> None:
        disk = self.full(a=b"aaaaaaaaaaaX", b=b"BBB")
        reasons = [file_plan.reason for file_plan in self.plan(disk).files]
        assert reasons == ["1 of 2 pieces are right", "its content differs", "unchanged"]

    def test_pieces_that_are_elsewhere_are_told_and_copied(self) -> None:
        content = b"AAAAaaaaBBBBbbbbCCCCccccDDDDdddd"
        before = make_release({"old": content}, layout="v2")
        release = make_release({"new": content[:16] + b"-" * 20, "old": b"-"}, layout="v2")
        disk = {"old": Item(content=content)}
        plan = Situation(release, disk, rows(before, disk, "old"), before=before).plan()
        told = "2 of 5 pieces are in other places of the tree"
        assert plan.files[0] == FilePlan(Action.PATCH, told)
        assert plan.copies.keys() == {0, 1}

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_content_that_several_files_have_is_fetched_once(self, layout: str) -> None:
        release = make_release({"a": b"12345678", "b": b"12345678"}, layout=layout)
        plan = Situation(release).plan()
        assert (plan.needed, plan.doubles) == ((0, 1), {1: 0})
        assert plan.bytes_to_fetch == 8

    @pytest.mark.parametrize("kind", [Kind.FOLDER, Kind.LINK, Kind.OTHER])
    def test_something_else_in_its_place_is_replaced(self, kind: Kind) -> None:
        plan = self.plan({**self.full(), "b": Item(kind, target="x")})
        assert plan.files[1] == FilePlan(Action.FETCH, f"a {kind.value} is in its place")
        assert plan.needed == (1,)

    def test_a_kept_file_stays_and_its_right_pieces_serve_its_neighbours(self) -> None:
        plan = self.plan(self.full(a=b"Xaaaaaaaaaaa"), keep=frozenset("a"))
        assert actions(plan) == {"a": Action.LOCAL, "b": Action.KEEP, "c": Action.KEEP}
        assert plan.files[0].reason == "matches a keep pattern"
        assert plan.needed == ()
        assert plan.is_empty

    def test_a_kept_file_that_cannot_be_read_is_still_only_kept(self) -> None:
        plan = self.plan(self.full(), keep=frozenset("b"), unreadable=frozenset("b"))
        assert actions(plan) == {"a": Action.KEEP, "b": Action.LOCAL, "c": Action.KEEP}
        assert plan.needed == ()

    def test_a_kept_file_that_is_missing_is_fetched(self) -> None:
        plan = self.plan(self.full(b=None), keep=frozenset("b"))
        assert actions(plan)["b"] is Action.FETCH

    def test_what_cannot_be_read_is_left_alone(self) -> None:
        plan = self.plan(self.full(), unreadable=frozenset("c"))
        assert plan.files[2] == FilePlan(Action.UNREADABLE, "it could not be read")
        assert actions(plan) == {"a": Action.KEEP, "b": Action.KEEP, "c": Action.UNREADABLE}
        assert plan.needed == ()

    def test_what_cannot_be_looked_at_is_left_alone(self) -> None:
        plan = self.plan(self.full(c=None), problems={"c": "Input/output error"})
        assert plan.files[2] == FilePlan(Action.UNREADABLE, "it could not be looked at")
        assert plan.needed == ()

    def test_pieces_that_nobody_asked_to_hash_count_for_nothing(self) -> None:
        situation = Situation(self.RELEASE, self.full(b=None))
        plan = plan_update(
            situation.assess(),
            {0, 1, 2, 99},
            {},
            keep=lambda _path: False,
            clean=CleanMode.MANAGED,
        )
        assert list(plan.good) == [1, 0, 1]

    def test_an_empty_file_needs_no_piece(self) -> None:
        release = make_release({"empty": b""})
        for disk, reason in [
            ({}, "not there"),
            ({"empty": Item(content=b"x")}, "it must be empty"),
        ]:
            plan = Situation(release, disk).plan()
            assert plan.files == (FilePlan(Action.FETCH, reason),)
            assert plan.needed == ()
        assert Situation(release, {"empty": Item()}).plan().is_empty

    def test_a_link_is_made_or_left(self) -> None:
        release = make_release({"d/link": Link("a")})
        assert Situation(release).plan().files == (FilePlan(Action.LINK, "a link to a"),)
        disk = with_folders({"d/link": Item(Kind.LINK, target="../a")})
        assert Situation(release, disk).plan().is_empty

    @pytest.mark.parametrize(("layout", "sent"), [("padded", 17), ("v2", 14)])
    def test_padding_is_sent_in_v1_where_it_fills_a_block(self, layout: str, sent: int) -> None:
        release = make_release({"a": b"12345", "b": b"123456789"}, layout=layout)
        plan = Situation(release).plan()
        assert plan.needed == (0, 1, 2)
        assert plan.bytes_to_fetch == sent
        assert content_bytes_of(plan.wanted, plan.needed) == 14


class TestRemovals:
    RELEASE = make_release({"d/a": b"a"})
    DISK = with_folders(
        {
            "d/a": Item(content=b"a"),
            "d/old": Item(content=b"old"),
            "user": Item(content=b"mine"),
            "old link": Item(Kind.LINK, target="x"),
            "socket": Item(Kind.OTHER),
            "mount": Item(Kind.MOUNT),
            "empty": Item(Kind.FOLDER),
        }
    )
    LEDGER = managing(DISK, "d/a", "d/old", "old link", "mount", "empty")

    def removed(self, clean: CleanMode, **changes: object) -> dict[str, str]:
        found = Situation(
            self.RELEASE,
            self.DISK,
            self.LEDGER,
            clean=clean,
            **changes,  # type: ignore[arg-type]
        ).plan()
        return dict(found.removals)

    def test_managed_removes_what_torsync_installed(self) -> None:
        assert self.removed(CleanMode.MANAGED) == {
            "d/old": "no longer in the release",
            "old link": "no longer in the release",
        }

    def test_mirror_removes_all_files_that_are_not_listed(self) -> None:
        assert self.removed(CleanMode.MIRROR) == {
            "d/old": "no longer in the release",
            "old link": "no longer in the release",
            "user": "not in the release",
            "socket": "not in the release",
        }

    def test_off_removes_nothing(self) -> None:
        assert self.removed(CleanMode.OFF) == {}

    @pytest.mark.parametrize("clean", list(CleanMode))
    def test_an_incomplete_index_removes_nothing(self, clean: CleanMode) -> None:
        assert self.removed(clean, problems={"elsewhere": "Permission denied"}) == {}

    @pytest.mark.parametrize("clean", list(CleanMode))
    def test_kept_files_are_never_removed(self, clean: CleanMode) -> None:
        keep = frozenset({"d/old", "user"})
        assert keep.isdisjoint(self.removed(clean, keep=keep))

    def test_what_is_gone_already_is_not_removed(self) -> None:
        ledger = {**self.LEDGER, "gone": ledger_row(Item().entry(), "x")}
        found = plan_removals(
            self.RELEASE.manifest,
            Situation(self.RELEASE, {}).index,
            ledger,
            keep=lambda _path: False,
            clean=CleanMode.MIRROR,
        )
        assert found == ()

    @pytest.mark.parametrize("clean", list(CleanMode))
    def test_what_is_in_the_trash_is_not_removed_again(self, clean: CleanMode) -> None:
        disk = with_folders({**self.DISK, ".torsync/trash/then/gone": Item(content=b"gone")})
        situation = Situation(self.RELEASE, disk, self.LEDGER, clean=clean)
        assert dict(situation.plan().removals) == self.removed(clean)

    def test_a_plan_that_only_removes_is_not_empty(self) -> None:
        disk = {**self.DISK}
        plan = Situation(self.RELEASE, disk, managing(disk, "d/old")).plan()
        assert set(actions(plan).values()) <= UNTOUCHED
        assert not plan.is_empty


class TestInTheWay:
    TO_FOLDER = make_release({"x/new": b"12345678"})
    TO_FILE = make_release({"x": b"12345678"})
    TO_LINK = make_release({"x": Link("y")})

    def test_a_file_of_an_older_release_gives_way_to_a_folder(self) -> None:
        disk = {"x": Item(content=b"old")}
        for clean in CleanMode:
            plan = Situation(self.TO_FOLDER, disk, managing(disk, "x"), clean=clean).plan()
            assert plan.in_the_way == (("x", "the release has a folder there"),)
            assert actions(plan) == {"x/new": Action.FETCH}

    def test_folders_that_are_there_do_not_hide_what_is_in_the_way_of_others(self) -> None:
        release = make_release({"a/new": b"1", "missing/new": b"2", "x/new": b"3"})
        disk = with_folders({"a/old": Item(), "x": Item(content=b"old")})
        plan = Situation(release, disk, managing(disk, "x")).plan()
        assert plan.in_the_way == (("x", "the release has a folder there"),)

    def test_a_link_of_an_older_release_gives_way_to_a_folder(self) -> None:
        disk = {"x": Item(Kind.LINK, target="y")}
        plan = Situation(self.TO_FOLDER, disk, managing(disk, "x")).plan()
        assert plan.in_the_way == (("x", "the release has a folder there"),)

    @pytest.mark.parametrize("release", [TO_FILE, TO_LINK])
    def test_a_folder_of_an_older_release_gives_way_to_a_file(self, release: Release) -> None:
        disk = with_folders({"x/a": Item(content=b"a"), "x/deep/b": Item(content=b"b")})
        ledger = managing(disk, "x/a", "x/deep/b")
        plan = Situation(release, disk, ledger, clean=CleanMode.OFF).plan()
        reason = "the release has a file there"
        assert sorted(plan.in_the_way) == [("x/a", reason), ("x/deep/b", reason)]

    def test_an_empty_folder_gives_way_to_a_file(self) -> None:
        disk = with_folders({"x/empty": Item(Kind.FOLDER)})
        plan = Situation(self.TO_FILE, disk).plan()
        assert plan.in_the_way == ()
        assert actions(plan) == {"x": Action.FETCH}

    @pytest.mark.parametrize("release", [TO_FILE, TO_LINK])
    def test_a_users_file_does_not_give_way(self, release: Release) -> None:
        disk = with_folders({"x/old": Item(content=b"old"), "x/user": Item(content=b"mine")})
        with pytest.raises(TreeError, match="at 'x', where the file 'x/user'") as caught:
            Situation(release, disk, managing(disk, "x/old")).plan()
        assert caught.value.path == "x/user"
        assert "verify --clean" in caught.value.hint

    @pytest.mark.parametrize("kind", [Kind.FILE, Kind.OTHER])
    def test_a_users_file_where_a_folder_goes_does_not_give_way(self, kind: Kind) -> None:
        with pytest.raises(TreeError, match=f"a {kind.value} that torsync did not put") as caught:
            Situation(self.TO_FOLDER, {"x": Item(kind)}).plan()
        assert caught.value.path == "x"

    def test_mirror_lets_a_users_file_give_way(self) -> None:
        disk = with_folders({"x/user": Item(content=b"mine")})
        plan = Situation(self.TO_FILE, disk, clean=CleanMode.MIRROR).plan()
        assert [removal.path for removal in plan.in_the_way] == ["x/user"]
        plan = Situation(self.TO_FOLDER, {"x": Item()}, clean=CleanMode.MIRROR).plan()
        assert [removal.path for removal in plan.in_the_way] == ["x"]

    def test_a_users_file_does_not_give_way_to_a_mirror_that_could_not_read_everything(
        self,
    ) -> None:
        release = make_release({"b": b"12345678", "d": b"87654321"})
        disk = with_folders({"b": Item(content=b"unread.."), "d/user": Item(content=b"mine")})
        situation = Situation(release, disk, clean=CleanMode.MIRROR)
        assert [removal.path for removal in situation.plan().in_the_way] == ["d/user"]
        situation = replace(situation, unreadable=frozenset("b"))
        assert must_be_refused(situation)
        with pytest.raises(TreeError, match="the file 'd/user'"):
            situation.plan()

    @pytest.mark.parametrize("clean", list(CleanMode))
    def test_a_kept_file_never_gives_way(self, clean: CleanMode) -> None:
        disk = with_folders({"x/old": Item(content=b"mine now")})
        ledger = managing(disk, "x/old")
        with pytest.raises(TreeError):
            Situation(self.TO_FILE, disk, ledger, frozenset({"x/old"}), clean).plan()
        disk = {"x": Item(content=b"mine now")}
        with pytest.raises(TreeError):
            Situation(self.TO_FOLDER, disk, managing(disk, "x"), frozenset("x"), clean).plan()

    @pytest.mark.parametrize("release", [TO_FILE, TO_LINK])
    @pytest.mark.parametrize("clean", list(CleanMode))
    def test_a_mount_point_never_gives_way(self, release: Release, clean: CleanMode) -> None:
        with pytest.raises(TreeError, match="mount point") as caught:
            Situation(release, {"x": Item(Kind.MOUNT)}, clean=clean).plan()
        assert "unmount" in caught.value.hint
        disk = with_folders({"x/deep": Item(Kind.MOUNT)})
        with pytest.raises(TreeError):
            Situation(release, disk, managing(disk, "x/deep"), keep=frozenset(), clean=clean).plan()

    def test_a_folder_with_parts_that_could_not_be_read_does_not_give_way(self) -> None:
        disk = with_folders({"x/old": Item(), "x/closed": Item(Kind.FOLDER)})
        with pytest.raises(TreeError, match="Permission denied") as caught:
            Situation(
                self.TO_FILE,
                disk,
                managing(disk, "x/old"),
                problems={"x/closed": "Permission denied"},
            ).plan()
        assert caught.value.path == "x/closed"

    def test_what_could_not_be_read_elsewhere_is_no_obstacle(self) -> None:
        disk = with_folders({"x/old": Item(), "x-files/closed": Item(Kind.FOLDER)})
        problems = {"x-files/closed": "Permission denied"}
        situation = Situation(self.TO_FILE, disk, managing(disk, "x/old"), problems=problems)
        assert [removal.path for removal in situation.plan().in_the_way] == ["x/old"]

    def test_of_several_obstacles_the_first_by_name_is_told(self) -> None:
        names = [f"{number}" for number in range(9)]
        release = make_release({f"{name}/new": name.encode() for name in names})
        disk = {name: Item(content=b"mine") for name in reversed(names)}
        with pytest.raises(TreeError) as caught:
            Situation(release, disk).plan()
        assert caught.value.path == "0"

    def test_a_folder_that_could_not_be_read_is_left_alone(self) -> None:
        disk = {"x": Item(Kind.FOLDER)}
        plan = Situation(self.TO_FILE, disk, problems={"x": "Permission denied"}).plan()
        assert actions(plan) == {"x": Action.UNREADABLE}

    def test_a_kept_folder_stays_where_a_file_would_go(self) -> None:
        disk = with_folders({"x/user": Item(content=b"mine")})
        plan = Situation(self.TO_FILE, disk, keep=frozenset("x")).plan()
        assert actions(plan) == {"x": Action.LOCAL}
        assert plan.in_the_way == ()


class TestWithoutMending:
    def test_files_stay_as_they_are_and_the_unlisted_goes(self) -> None:
        release = make_release({"a": b"12345678", "b": b"12345678", "link": Link("a")})
        disk = {"a": Item(content=b"12345678"), "user": Item(content=b"mine")}
        plan = Situation(release, disk, clean=CleanMode.MIRROR).plan().without_mending()
        assert actions(plan) == {"a": Action.KEEP, "b": Action.LOCAL, "link": Action.LOCAL}
        assert plan.files[1].reason == "not to be mended now"
        assert plan.needed == ()
        assert [removal.path for removal in plan.removals] == ["user"]

    def test_what_would_have_been_moved_to_a_missing_file_is_unlisted(self) -> None:
        release = make_release({"a": b"12345678"})
        disk = {"renamed": Item(content=b"12345678")}
        plan = Situation(release, disk, clean=CleanMode.MIRROR).plan()
        assert actions(plan) == {"a": Action.MOVE}
        less = plan.without_mending()
        assert actions(less) == {"a": Action.LOCAL}
        assert [removal.path for removal in less.removals] == ["renamed"]

    def test_what_would_have_been_moved_from_a_file_of_the_release_stays(self) -> None:
        old, new = {"a": b"12345678", "b": b"87654321"}, {"a": b"87654321", "b": b"12345678"}
        before, release = (make_release(contents, digests="root") for contents in (old, new))
        disk = {path: Item(content=content) for path, content in old.items()}
        situation = Situation(release, disk, rows(before, disk, *disk), before=before)
        plan = situation.plan()
        assert set(actions(plan).values()) == {Action.MOVE}
        assert plan.without_mending().removals == ()

    def test_what_would_have_been_taken_out_of_the_trash_stays_there(self) -> None:
        release = make_release({"a": b"12345678"}, digests="root")
        disk = with_folders({".torsync/trash/then/a": Item(content=b"12345678")})
        (path,) = (path for path, item in disk.items() if item.kind is Kind.FILE)
        ledger = {path: ledger_row(disk[path].entry(), release.manifest.digest(0))}
        plan = Situation(release, disk, ledger, clean=CleanMode.MIRROR).plan()
        assert plan.files[0][::2] == (Action.MOVE, path)
        assert plan.without_mending().removals == ()

    def test_nothing_is_in_the_way_of_what_is_not_placed(self) -> None:
        release = make_release({"x/new": b"1"}, digests="root")
        for content, action in [(b"old", Action.FETCH), (b"1", Action.MOVE)]:
            disk = {"x": Item(content=content)}
            plan = Situation(release, disk, managing(disk, "x"), clean=CleanMode.OFF).plan()
            assert actions(plan) == {"x/new": action}
            less = plan.without_mending()
            assert (less.in_the_way, less.removals) == ((), ())
            assert actions(less) == {"x/new": Action.LOCAL}

    @patient
    @given(situations())
    def test_it_is_the_same_plan_otherwise(self, situation: Situation) -> None:
        plan = planned(situation)
        less = plan.without_mending()
        unmoved = {*less.removals} - {*plan.removals}
        assert less.removals[: len(plan.removals)] == plan.removals
        assert {removal.path for removal in unmoved} <= plan.moved - plan.wanted.by_path.keys()
        assert (less.needed, less.in_the_way) == ((), ())
        for before, after in zip(plan.files, less.files, strict=True):
            assert after == before if before.action in UNTOUCHED else after.action is Action.LOCAL


def test_what_is_right_stays() -> None:
    release = make_release({"a": b"12345678", "b": b"x", "c": b"", "l": Link("a")}, layout="padded")
    disk = {
        "a": Item(content=b"12345678", stamp=5),
        "b": Item(content=b"y"),
        "c": Item(stamp=6),
        "l": Item(Kind.LINK, target="a", stamp=7),
    }
    plan = Situation(release, disk).plan()
    assert plan.paths(Action.KEEP) == ["a", "c", "l"]
    assert plan.paths(Action.FETCH) == ["b"]


class TestAnySituation:
    """What DESIGN promises, whatever is on disk."""

    @patient
    @given(situations())
    def test_carrying_it_out_gives_the_wanted_content(self, situation: Situation) -> None:
        plan = planned(situation)
        after = situation.after(plan)
        for index, (file, action) in enumerate(
            zip(plan.wanted.files, actions(plan).values(), strict=True)
        ):
            event(action.value)
            item = after.disk.get(file.path)
            if action in NOT_OURS:
                assert item == situation.disk.get(file.path)
            elif file.link_target is not None:
                assert item is not None
                assert item.kind is Kind.LINK
            else:
                assert item is not None
                assert (item.kind, item.content) == (Kind.FILE, situation.release.contents[index])
            if action in UNTOUCHED:
                assert item == situation.disk.get(file.path)

    @patient
    @given(situations())
    def test_other_paths_stay_unless_they_are_removed(self, situation: Situation) -> None:
        plan = planned(situation)
        after = situation.after(plan).disk
        gone = {removal.path for removal in (*plan.removals, *plan.in_the_way)}
        for path, item in situation.disk.items():
            if path not in plan.wanted.by_path and item.kind is not Kind.FOLDER:
                leaves = path in gone | plan.moved
                assert leaves == (path not in after) or path in plan.wanted.folders
                assert leaves or after[path] == item

    @patient
    @given(situations())
    def test_no_piece_is_fetched_in_vain(self, situation: Situation) -> None:
        plan = planned(situation)
        changed = {
            index
            for index, file_plan in enumerate(plan.files)
            if file_plan.action in {Action.PATCH, Action.FETCH}
        }
        assert list(plan.needed) == sorted(set(plan.needed))
        for piece in plan.needed:
            assert changed & set(plan.wanted.files_in(piece))
            assert not situation.has_piece(piece, situation.assess().sources)
            assert not plan.good[piece]
            assert piece not in plan.copies

    @patient
    @given(situations())
    def test_every_changed_file_gets_all_its_pieces(self, situation: Situation) -> None:
        plan = planned(situation)
        for index, (action, _reason, _source) in enumerate(plan.files):
            pieces = plan.wanted.pieces_of(index)
            if action in {Action.PATCH, Action.FETCH}:
                there = {*plan.needed, *plan.copies}
                assert all(plan.good[piece] or piece in there for piece in pieces)
            if action is Action.FETCH:
                assert not any(plan.good[piece] or piece in plan.copies for piece in pieces)

    @patient
    @given(situations())
    def test_good_pieces_are_good(self, situation: Situation) -> None:
        plan = planned(situation)
        readable = replace(situation, unreadable=frozenset())
        sources = {index: found.source for index, found in enumerate(plan.files) if found.source}
        for piece, good in enumerate(plan.good):
            assert not good or readable.has_piece(piece, sources)

    @patient
    @given(situations())
    def test_what_keep_matches_is_never_touched(self, situation: Situation) -> None:
        plan = planned(situation)
        found = actions(plan)
        assert situation.keep.isdisjoint(path for path, _reason in plan.removals)
        assert situation.keep.isdisjoint(path for path, _reason in plan.in_the_way)
        for path in situation.keep & situation.disk.keys() & found.keys():
            assert found[path] in UNTOUCHED
            assert situation.after(plan).disk[path] == situation.disk[path]

    @patient
    @given(situations())
    def test_removals_follow_the_mode(self, situation: Situation) -> None:
        plan = planned(situation)
        paths = {removal.path for removal in plan.removals}
        assert len(paths) == len(plan.removals)
        assert paths.isdisjoint(plan.wanted.by_path)
        assert paths.isdisjoint(plan.moved)
        complete = plan.index.complete and not plan.paths(Action.UNREADABLE)
        if not complete or situation.clean is CleanMode.OFF:
            assert not paths
        elif situation.clean is CleanMode.MANAGED:
            assert paths <= situation.ledger.keys()
        unlisted = {
            path
            for path, item in situation.disk.items()
            if item.kind not in {Kind.FOLDER, Kind.MOUNT} and path not in plan.wanted.by_path
        }
        if situation.clean is CleanMode.MIRROR and complete:
            assert paths == unlisted - situation.keep - plan.moved

    @patient
    @given(situations())
    def test_what_gives_way_is_torsyncs_or_goes_anyway(self, situation: Situation) -> None:
        plan = planned(situation)
        going = {removal.path for removal in plan.removals} | plan.moved
        placed = {path for path, action in actions(plan).items() if action not in UNTOUCHED}
        for path, _reason in plan.in_the_way:
            assert path in going or path in situation.ledger
            assert path in plan.wanted.folders or any(is_under(path, above) for above in placed)

    @patient
    @given(situations())
    def test_only_what_must_be_refused_is_refused(self, situation: Situation) -> None:
        if must_be_refused(situation):
            with pytest.raises(TreeError) as caught:
                situation.plan()
            assert caught.value.hint
        else:
            situation.plan()

    @patient
    @given(situations())
    def test_the_same_inputs_give_the_same_plan(self, situation: Situation) -> None:
        assert planned(situation) == planned(replace(situation))

    @patient
    @given(situations())
    def test_an_update_is_done_once(self, situation: Situation) -> None:
        plan = planned(situation)
        assume(plan.index.problems == situation.problems)  # else it may be read the next time
        unread = {planned.reason for planned in plan.files} & {"it could not be read"}
        assume(not unread)  # nor need the next look read it, which then may remove
        after = situation.after(plan)
        again = after.plan()
        assert again.is_empty
        assert (again.needed, again.in_the_way, again.removals) == ((), (), ())
        if not situation.unreadable:
            assert list(after.assess().doubtful_pieces()) == []
            assert Here.DOUBTFUL not in after.assess().here

    @patient
    @given(situations(obstacles=False))
    def test_the_ledger_after_it_vouches_for_all_that_is_torsyncs(
        self, situation: Situation
    ) -> None:
        plan = planned(situation)
        after = situation.after(plan)
        left_alone = {Action.LOCAL, Action.UNSELECTED}
        torsyncs = {path for path, action in actions(plan).items() if action not in left_alone}
        selected = {
            path: row for path, row in after.ledger.items() if path not in situation.unselected
        }
        right = after.assess().rows_of_right()
        assert selected.keys() == torsyncs
        assert {path: right[path] for path in torsyncs} == selected

    @patient
    @given(situations())
    def test_what_is_not_selected_is_never_touched_nor_missed(self, situation: Situation) -> None:
        plan = planned(situation)
        after = situation.after(plan)
        assert not situation.unselected & plan.moved & plan.wanted.by_path.keys()
        for path in situation.unselected & plan.wanted.by_path.keys():
            assert actions(plan)[path] is Action.UNSELECTED
            assert after.disk.get(path) == situation.disk.get(path)
            is_torsyncs = path in situation.ledger and path in situation.disk
            kind = situation.disk[path].kind if is_torsyncs else Kind.FOLDER
            assert (path in after.ledger) == (kind in {Kind.FILE, Kind.LINK})

    @patient
    @given(situations())
    def test_the_ledger_goes_on_to_vouch_for_what_is_not_selected(
        self, situation: Situation
    ) -> None:
        plan = planned(situation)
        after = situation.after(plan)
        for path in situation.unselected & plan.wanted.by_path.keys() & after.ledger.keys():
            row, entry = situation.ledger[path], situation.disk[path].entry()
            assert after.ledger[path].vouches_for(entry)
            assert after.ledger[path].digest == (row.digest if row.vouches_for(entry) else "")

    @patient
    @given(situations(rot=False))
    def test_what_is_right_is_right_once_it_is_carried_out(self, situation: Situation) -> None:
        plan = planned(situation)
        after = replace(situation.after(plan), unreadable=frozenset())
        for index, right in enumerate(plan.right):
            file = plan.wanted.files[index]
            if right and file.size:
                assert after.content(index) == situation.release.contents[index]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_changed_piece_is_fetched(layout: str) -> None:
    old = {name: name.encode() * 20 for name in "abc"}
    before = make_release(old, layout=layout, digests="root")
    situation = Situation(before, {path: Item(content=data) for path, data in old.items()})
    after = situation.after(situation.plan())
    release = make_release({**old, "b": b"B" + b"b" * 19}, layout=layout, digests="root")
    plan = replace(after, release=release).plan()
    assert actions(plan) == {"a": Action.KEEP, "b": Action.PATCH, "c": Action.KEEP}
    assert len(plan.needed) == 1


def must_be_refused(situation: Situation) -> bool:
    """Whether something that is not torsync's to remove is where the release goes."""
    wanted, disk = situation.manifest, situation.disk
    if "" in situation.problems:
        return True

    def may_go(path: str) -> bool:
        mirror = situation.clean is CleanMode.MIRROR and not situation.problems
        unlisted = mirror and all_can_be_read(situation)
        return path not in situation.keep and (path in situation.ledger or unlisted)

    selected = wanted.by_path.keys() - situation.unselected
    for folder in needed_folders(selected):
        item = disk.get(folder, Item(Kind.FOLDER))
        if folder in situation.problems or item.kind is Kind.MOUNT:
            return True
        if item.kind is Kind.LINK and folder not in situation.ledger:
            return True
        if item.kind is not Kind.FOLDER and not may_go(folder):
            return True
    for path in selected - situation.problems.keys() - situation.keep:
        if path in disk and disk[path].kind is Kind.MOUNT:
            return True
        inside = [found for found in disk if is_under(found, path)]
        if any(is_under(problem, path) for problem in situation.problems):
            return True
        for found in inside:
            if disk[found].kind is Kind.MOUNT:
                return True
            if disk[found].kind is not Kind.FOLDER and not may_go(found):
                return True
    return False


def all_can_be_read(situation: Situation) -> bool:
    """Whether all files that are hashed or that content is taken from can be read.

    If not, a mirror removes nothing: what is missed may be in what could not be read.
    """
    try:
        assessment, hashed = situation.look()
    except TreeError:
        return False
    left_alone = {*situation.unselected, *situation.keep}
    unread = {assessment.wanted.files[index].path for index in hashed.unreadable}
    return assessment.index.complete and unread <= left_alone


def needed_folders(paths: Iterable[str]) -> set[str]:
    return {folder for path in paths for folder in parents(path)}
