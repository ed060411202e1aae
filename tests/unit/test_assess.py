"""What stat and ledger tell of a wanted release, before anything is hashed."""

from __future__ import annotations

import posixpath
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.releases import LAYOUTS, Link, make_release, read_piece
from tests.support.situations import Item, Situation, situations, with_folders
from torsync.model.assess import assess, link_text
from torsync.model.assessment import CERTAIN, Here
from torsync.model.errors import TreeError
from torsync.model.plan import Action
from torsync.model.tree_index import DiskEntry, DiskIndex, Kind, LedgerRow, ledger_row

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest

patient = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def nothing(_path: str) -> bool:
    return False


def everything(_path: str) -> bool:
    return True


def here_of(situation: Situation) -> dict[str, Here]:
    found = situation.assess()
    return dict(zip(situation.manifest.by_path, found.here, strict=True))


def vouching(release_path: str, item: Item, manifest: Manifest) -> dict[str, LedgerRow]:
    digest = manifest.digest(manifest.by_path[release_path])
    return {release_path: ledger_row(item.entry(), digest)}


class TestVouching:
    ENTRY = DiskEntry(Kind.FILE, 5, 1, 2, 3, 0o644)

    def test_a_row_vouches_for_the_file_it_was_made_of(self) -> None:
        row = ledger_row(self.ENTRY, "digest")
        assert row == LedgerRow(5, 1, 2, 3, "digest")
        assert row.vouches_for(self.ENTRY)
        assert row.vouches_for(self.ENTRY._replace(mode=0o755))

    @pytest.mark.parametrize("changed", ["size", "mtime_ns", "ctime_ns", "inode"])
    def test_a_row_does_not_vouch_once_anything_in_stat_differs(self, changed: str) -> None:
        touched = self.ENTRY._replace(**{changed: 99})
        assert not ledger_row(self.ENTRY, "digest").vouches_for(touched)

    def test_an_index_with_any_problem_is_incomplete(self) -> None:
        assert DiskIndex({}).complete
        assert not DiskIndex({}, {"a": "Permission denied"}).complete

    @pytest.mark.parametrize(
        ("mode", "executable"), [(0o644, False), (0o744, True), (0o011, False)]
    )
    def test_executable_is_what_the_owner_may_do(self, mode: int, executable: bool) -> None:
        assert self.ENTRY._replace(mode=mode).executable is executable


class TestFiles:
    RELEASE = make_release({"a": b"0123456789", "d/b": b"abc"}, digests="root")

    def here(self, item: Item | None, **changes: object) -> Here:
        disk = {} if item is None else {"a": item}
        return here_of(Situation(self.RELEASE, disk, **changes))["a"]  # type: ignore[arg-type]

    def test_a_file_that_the_ledger_vouches_for_is_right(self) -> None:
        item = Item(content=b"0123456789", stamp=7)
        ledger = vouching("a", item, self.RELEASE.manifest)
        assert self.here(item, ledger=ledger) is Here.RIGHT
        assert self.here(item, ledger=ledger, keep=frozenset("a")) is Here.RIGHT

    def test_verify_does_not_trust_the_ledger(self) -> None:
        item = Item(content=b"0123456789", stamp=7)
        ledger = vouching("a", item, self.RELEASE.manifest)
        index = DiskIndex({"a": item.entry()})
        found = assess(self.RELEASE.manifest, index, ledger, keep=nothing, trust_ledger=False)
        assert found.here[0] is Here.DOUBTFUL

    def test_a_row_of_other_content_vouches_for_nothing(self) -> None:
        item = Item(content=b"9876543210", stamp=7)
        assert self.here(item, ledger={"a": ledger_row(item.entry(), "other")}) is Here.DOUBTFUL

    def test_a_touched_file_is_doubtful(self) -> None:
        item = Item(content=b"0123456789", stamp=7)
        ledger = vouching("a", item, self.RELEASE.manifest)
        assert self.here(item._replace(stamp=8), ledger=ledger) is Here.DOUBTFUL

    @pytest.mark.parametrize("content", [b"0", b"0123456789", b"0123456789 and more"])
    def test_a_file_of_any_size_is_doubtful_without_a_ledger(self, content: bytes) -> None:
        assert self.here(Item(content=content)) is Here.DOUBTFUL

    def test_an_emptied_file_has_nothing_to_hash(self) -> None:
        assert self.here(Item(content=b"")) is Here.ABSENT

    def test_a_file_that_is_not_there_is_absent_even_if_it_is_to_be_kept(self) -> None:
        assert self.here(None) is Here.ABSENT
        assert self.here(None, keep=frozenset("a")) is Here.ABSENT

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.FILE])
    def test_anything_else_in_its_place_is_no_file(self, kind: Kind) -> None:
        assert self.here(Item(kind, target="x")) is Here.ABSENT

    @pytest.mark.parametrize("content", [b"", b"mine", b"9876543210"])
    def test_a_kept_file_stays_as_it_is_locally(self, content: bytes) -> None:
        assert self.here(Item(content=content), keep=frozenset("a")) is Here.LOCAL

    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_kept_path_stays_whatever_is_there(self, kind: Kind) -> None:
        assert self.here(Item(kind, target="~/mine"), keep=frozenset("a")) is Here.LOCAL

    @pytest.mark.parametrize("item", [None, Item(Kind.FOLDER)])
    def test_what_cannot_be_looked_at_is_not_absent(self, item: Item | None) -> None:
        assert self.here(item, problems={"a": "Permission denied"}) is Here.UNREADABLE

    def test_an_empty_file_that_is_empty_is_right_without_a_ledger(self) -> None:
        release = make_release({"empty": b""})
        assert here_of(Situation(release, {"empty": Item()})) == {"empty": Here.RIGHT}
        full = Situation(release, {"empty": Item(content=b"x")})
        assert here_of(full) == {"empty": Here.ABSENT}

    def test_entries_are_found_by_the_number_of_the_file(self) -> None:
        item = Item(content=b"abc")
        found = Situation(self.RELEASE, with_folders({"d/b": item})).assess()
        assert found.entry(0) is None
        assert found.entry(1) == item.entry()


class TestLinks:
    RELEASE = make_release({"d/link": Link("lib/x")})

    @pytest.mark.parametrize(
        ("item", "here"),
        [
            (None, Here.ABSENT),
            (Item(Kind.LINK, target="../lib/x"), Here.RIGHT),
            (Item(Kind.LINK, target="lib/x"), Here.ABSENT),
            (Item(Kind.FILE, content=b"../lib/x"), Here.ABSENT),
            (Item(Kind.FILE), Here.ABSENT),
            (Item(Kind.FOLDER, target="../lib/x"), Here.ABSENT),
        ],
    )
    def test_a_link_is_right_if_it_says_the_same(self, item: Item | None, here: Here) -> None:
        disk = {} if item is None else {"d/link": item}
        assert here_of(Situation(self.RELEASE, disk)) == {"d/link": here}

    def test_a_kept_link_stays(self) -> None:
        disk = {"d/link": Item(Kind.LINK, target="mine")}
        kept = Situation(self.RELEASE, disk, keep=frozenset({"d/link"}))
        assert here_of(kept) == {"d/link": Here.LOCAL}

    @pytest.mark.parametrize(
        ("path", "target", "text"),
        [
            ("link", "file", "file"),
            ("link", "lib/file", "lib/file"),
            ("d/link", "file", "../file"),
            ("d/link", "d/file", "file"),
            ("d/link", "d", "../d"),
            ("d/e/link", "d/f/file", "../f/file"),
            ("d/e/link", "d/e", "../e"),
            ("d/e/link", "de/file", "../../de/file"),
        ],
    )
    def test_the_text_of_a_link_counts_from_its_folder(
        self, path: str, target: str, text: str
    ) -> None:
        assert link_text(path, target) == text

    @given(paths, paths)
    def test_the_text_of_a_link_leads_to_its_target(self, path: str, target: str) -> None:
        text = link_text(path, target)
        assert posixpath.normpath(f"{posixpath.dirname(path)}/{text}".lstrip("/")) == target
        ups = text.split("/").count("..")
        assert text.split("/")[:ups] == [".."] * ups, "it only goes up at its start"
        assert ups <= path.count("/"), "it never leaves the tree"


class TestFolders:
    RELEASE = make_release({"d/e/a": b"0123456789"})

    @pytest.mark.parametrize("kind", [Kind.FILE, Kind.OTHER, Kind.FOLDER])
    def test_something_else_at_a_folder_is_left_to_the_plan(self, kind: Kind) -> None:
        assert here_of(Situation(self.RELEASE, {"d": Item(kind)})) == {"d/e/a": Here.ABSENT}

    @pytest.mark.parametrize("folder", ["d", "d/e"])
    @pytest.mark.parametrize("kind", [Kind.LINK, Kind.MOUNT])
    def test_a_link_or_mount_point_as_a_folder_is_refused(self, folder: str, kind: Kind) -> None:
        disk = with_folders({folder: Item(kind, target="/elsewhere")})
        with pytest.raises(TreeError, match=kind.value) as caught:
            here_of(Situation(self.RELEASE, disk))
        assert caught.value.path == folder
        assert repr(folder) in caught.value.message
        assert caught.value.hint

    def test_a_link_that_torsync_made_may_become_a_folder(self) -> None:
        item = Item(Kind.LINK, target="e")
        ledger = {"d": ledger_row(item.entry(), "link:e")}
        assert here_of(Situation(self.RELEASE, {"d": item}, ledger)) == {"d/e/a": Here.ABSENT}

    def test_a_mount_point_is_refused_even_if_the_ledger_lists_its_path(self) -> None:
        item = Item(Kind.MOUNT)
        ledger = {"d": ledger_row(item.entry(), "x")}
        with pytest.raises(TreeError):
            here_of(Situation(self.RELEASE, {"d": item}, ledger))

    @pytest.mark.parametrize("folder", ["", "d", "d/e"])
    def test_a_folder_that_could_not_be_read_is_refused(self, folder: str) -> None:
        disk = with_folders({folder: Item(Kind.FOLDER)}) if folder else {}
        problems = {folder: "Permission denied"}
        with pytest.raises(TreeError, match="Permission denied") as caught:
            here_of(Situation(self.RELEASE, disk, problems=problems))
        assert caught.value.path == folder
        assert repr(folder or ".") in caught.value.message

    def test_problems_elsewhere_do_not_matter(self) -> None:
        problems = {"other": "Permission denied", "d/other": "Input/output error"}
        situation = Situation(self.RELEASE, problems=problems)
        assert here_of(situation) == {"d/e/a": Here.ABSENT}


class TestPieces:
    """Files of 12, 3 and 9 bytes side by side, in pieces of 8: a a·b·c c."""

    CONTENTS: ClassVar = {"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}
    RELEASE = make_release(CONTENTS, digests="root")

    def situation(self, **sizes: int | None) -> Situation:
        """Files that are cut or extended to a size, or missing (None)."""
        disk = {}
        for path, content in self.CONTENTS.items():
            size = sizes.get(path, len(content))
            if size is not None:
                disk[path] = Item(content=(content + bytes(9))[:size])
        return Situation(self.RELEASE, disk)

    @pytest.mark.parametrize(
        ("sizes", "pieces"),
        [
            ({}, [0, 1, 2]),
            ({"a": 20, "b": 5, "c": 10}, [0, 1, 2]),
            ({"a": 8}, [0, 2]),
            ({"a": 7}, [2]),
            ({"a": 11}, [0, 2]),
            ({"b": None}, [0, 2]),
            ({"b": 2}, [0, 2]),
            ({"c": 1}, [0, 1]),
            ({"c": 8}, [0, 1]),
            ({"a": None, "b": None, "c": None}, []),
        ],
    )
    def test_a_piece_is_hashed_if_all_its_bytes_are_there(
        self, sizes: dict[str, int | None], pieces: list[int]
    ) -> None:
        assert list(self.situation(**sizes).assess().doubtful_pieces()) == pieces

    @pytest.mark.parametrize("vouched", list(product([False, True], repeat=3)))
    def test_only_pieces_of_doubtful_files_are_hashed(self, vouched: tuple[bool, ...]) -> None:
        situation = self.situation()
        ledger: dict[str, LedgerRow] = {}
        for path, is_vouched in zip("abc", vouched, strict=True):
            if is_vouched:
                ledger |= vouching(path, situation.disk[path], self.RELEASE.manifest)
        found = Situation(self.RELEASE, situation.disk, ledger).assess()
        a, b, c = vouched
        assert list(found.good_pieces(())) == [a, a and b and c, c]
        doubtful = [piece for piece in range(3) if not found.good_pieces(())[piece]]
        assert list(found.doubtful_pieces()) == doubtful

    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_kept_file_is_read_for_its_neighbours_sake(self, kind: Kind) -> None:
        disk = {**self.situation().disk, "b": Item(kind, b"bbb", target="bbb")}
        found = Situation(self.RELEASE, disk, keep=frozenset("b")).assess()
        assert found.here[1] is Here.LOCAL
        expected = [0, 1, 2] if kind is Kind.FILE else [0, 2]
        assert list(found.doubtful_pieces()) == expected
        assert not any(found.good_pieces(()))

    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_file_that_is_not_selected_is_read_for_its_neighbours_sake(self, kind: Kind) -> None:
        disk = {**self.situation().disk, "b": Item(kind, b"bbb", target="bbb")}
        found = Situation(self.RELEASE, disk, unselected=frozenset("b")).assess()
        assert found.here[1] is Here.UNSELECTED
        expected = [0, 1, 2] if kind is Kind.FILE else [0, 2]
        assert list(found.doubtful_pieces()) == expected
        alone = Situation(self.RELEASE, disk, unselected=frozenset("abc")).assess()
        assert list(alone.doubtful_pieces()) == []

    def test_a_file_that_is_not_selected_vouches_for_its_neighbours_if_the_ledger_does(
        self,
    ) -> None:
        disk = self.situation().disk
        ledger: dict[str, LedgerRow] = {}
        for path in "abc":
            ledger |= vouching(path, disk[path], self.RELEASE.manifest)
        found = Situation(self.RELEASE, disk, ledger, unselected=frozenset("b")).assess()
        assert list(found.good_pieces(())) == [1, 1, 1]
        assert (found.here[1], found.unselected) == (Here.RIGHT, {1})

    @pytest.mark.parametrize("kind", [Kind.LINK, Kind.MOUNT, Kind.FILE])
    def test_folders_that_only_files_need_that_are_not_selected_may_be_anything(
        self, kind: Kind
    ) -> None:
        release = make_release({"d/a": b"1", "e/b": b"2"})
        disk = {"d": Item(kind, target="elsewhere")}
        left = Situation(release, disk, unselected=frozenset({"d/a"})).plan()
        assert [planned.action for planned in left.files] == [Action.UNSELECTED, Action.FETCH]
        assert left.in_the_way == ()
        with pytest.raises(TreeError):
            Situation(release, disk, unselected=frozenset({"e/b"})).plan()

    def test_a_file_that_could_not_be_looked_at_vouches_for_nothing(self) -> None:
        situation = self.situation(b=None)
        found = Situation(self.RELEASE, situation.disk, problems={"b": "EACCES"}).assess()
        assert list(found.good_pieces(())) == [0, 0, 0]
        assert list(found.doubtful_pieces()) == [0, 2]

    def test_a_piece_of_a_file_that_cannot_be_opened_is_not_hashed(self) -> None:
        found = Situation(self.RELEASE, self.situation().disk, problems={"b": "EACCES"}).assess()
        assert found.here[1] is Here.UNREADABLE
        assert list(found.doubtful_pieces()) == [0, 2]


class TestAnySituation:
    @patient
    @given(situations())
    def test_nothing_is_trusted_or_left_out_wrongly(self, situation: Situation) -> None:
        try:
            found = situation.assess()
        except TreeError:
            assume(False)

        def content(index: int) -> bytes | None:
            path = found.source(index)
            item = situation.disk.get(path)
            readable = item and item.kind is Kind.FILE and path not in found.index.problems
            return item.content if item and readable else None

        vouched = found.good_pieces(())
        doubtful = list(found.doubtful_pieces())
        assert doubtful == sorted(set(doubtful))
        for index, (file, here) in enumerate(
            zip(situation.manifest.files, found.here, strict=True)
        ):
            item = situation.disk.get(file.path)
            if here is Here.RIGHT:
                assert item is not None
                assert file.link_target or item.content == situation.release.contents[index]
            elif file.path in situation.unselected:
                assert here is Here.UNSELECTED
            elif here is Here.ELSEWHERE:
                assert found.source(index) != file.path
                assert content(index) == situation.release.contents[index]
            elif here is Here.DOUBTFUL:
                assert content(index) is not None
            elif file.path in situation.keep and item and here is not Here.UNREADABLE:
                assert here is Here.LOCAL
            elif here is Here.ABSENT:
                assert (
                    item is None or item.kind is not Kind.FILE or not (item.content and file.size)
                )
        for piece, is_vouched in enumerate(vouched):
            files = list(situation.manifest.files_in(piece))
            can_be_read = read_piece(situation.manifest, piece, content)
            asked = any(found.here[index] is Here.DOUBTFUL for index in files)
            certain = all(found.here[index] in CERTAIN for index in files)
            assert certain <= is_vouched <= (can_be_read == situation.release.piece(piece))
            assert certain or asked or not is_vouched
            if piece in doubtful:
                assert asked
                assert can_be_read is not None
                assert not is_vouched
            elif asked and not is_vouched:  # known to be wrong
                assert can_be_read != situation.release.piece(piece)
            if piece in found.elsewhere:
                assert not is_vouched
                right = situation.release.piece(piece)  # with padding, in v2 too
                assert situation.at(found.elsewhere[piece]).ljust(len(right), b"\0") == right


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("keep", [nothing, everything])
def test_an_empty_tree_has_nothing(layout: str, keep: object) -> None:
    release = make_release({"a": b"0123456789", "b": b"", "c": Link("a")}, layout=layout)
    found = assess(release.manifest, DiskIndex({}), {}, keep=keep)  # type: ignore[arg-type]
    assert set(found.here) == {Here.ABSENT}
    assert not list(found.doubtful_pieces())
    assert not any(found.good_pieces(()))
