"""What a full verify says of every file, and what a repair makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from tests.support.releases import LAYOUTS, Link, Release, make_release
from tests.support.situations import Hashed, Item, Situation, situations, with_folders
from torsync.model.assess import assess
from torsync.model.config import CleanMode
from torsync.model.errors import TreeError
from torsync.model.tree_index import Kind, LedgerRow, ledger_row
from torsync.model.verdict import judge, judge_quick
from torsync.subscribe.hashing import HashedPieces
from torsync.subscribe.look import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torsync.model.assessment import Assessment
    from torsync.model.reports import VerifyReport

patient = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
ALIGNED = ("padded", "v2", "hybrid")


def looked(situation: Situation) -> tuple[Assessment, Hashed]:
    """What ``verify`` looks at: everything, whatever ledger and ``keep`` say."""
    assessment = assess(
        situation.manifest,
        situation.index,
        situation.ledger,
        keep=lambda _path: False,
        select=situation.select,
        trust_ledger=False,
    )
    return assessment, situation.hash(assessment.doubtful_pieces(), assessment)


def quickly_judged(situation: Situation) -> VerifyReport:
    try:
        assessment = situation.assess()
    except TreeError:
        event("refused")
        assume(False)
        raise
    return judge_quick("pack", assessment, keep=situation.keep.__contains__)


def judged(situation: Situation) -> VerifyReport:
    try:
        assessment, hashed = looked(situation)
    except TreeError:
        event("refused")
        assume(False)
        raise
    return judge(
        "pack",
        assessment,
        hashed.good,
        hashed.unreadable,
        situation.ledger,
        keep=situation.keep.__contains__,
    )


def listed(report: VerifyReport) -> dict[str, list[str]]:
    """The lists that are not empty."""
    names = ("missing", "damaged", "wrong_size", "modified", "unreadable")
    names += ("kept_local", "unlisted")
    return {name: found for name in names if (found := getattr(report, name))}


def ledger_of(release: Release, disk: Mapping[str, Item]) -> dict[str, LedgerRow]:
    """Rows that vouch for what is on disk as the content of the release."""
    return {
        file.path: ledger_row(disk[file.path].entry(), release.manifest.digest(index))
        for index, file in enumerate(release.manifest.files)
        if file.path in disk
    }


class TestOneFile:
    RELEASE = make_release({"d/a": b"0123456789abcdefghij"})

    def found(self, item: Item | None, **changes: object) -> dict[str, list[str]]:
        disk = {} if item is None else with_folders({"d/a": item})
        return listed(judged(Situation(self.RELEASE, disk, **changes)))  # type: ignore[arg-type]

    def test_the_report_says_what_was_verified(self) -> None:
        item = Item(content=b"0123456789abcdefghij")
        report = judged(Situation(self.RELEASE, {"d/a": item}))
        assert (report.name, report.release, report.bytes_total) == ("pack", "release", 20)
        assert report.info_hash == self.RELEASE.manifest.info_hash
        assert (report.ok, listed(report)) == (1, {})

    def test_a_file_that_is_not_there_is_missing(self) -> None:
        assert self.found(None) == {"missing": ["d/a"]}
        assert self.found(None, keep=frozenset({"d/a"})) == {"missing": ["d/a"]}

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.FILE])
    def test_something_else_in_its_place_means_that_it_is_missing(self, kind: Kind) -> None:
        other = Item(kind, content=bytes(20), target="x" * 20)
        assert self.found(other) == {"missing": ["d/a"]}
        assert self.found(other, keep=frozenset({"d/a"})) == {"kept_local": ["d/a"]}

    @pytest.mark.parametrize("content", [b"", b"0", b"0123456789abcdefghi", bytes(21)])
    def test_a_wrong_size_is_told(self, content: bytes) -> None:
        item = Item(content=content)
        assert self.found(item) == {"wrong_size": ["d/a"]}
        assert self.found(item, keep=frozenset({"d/a"})) == {"kept_local": ["d/a"]}

    def test_an_extended_file_is_not_ok(self) -> None:
        assert self.found(Item(content=b"0123456789abcdefghij+")) == {"wrong_size": ["d/a"]}

    def test_the_pieces_of_damage_are_told(self) -> None:
        for keep, name in [(frozenset(), "damaged"), (frozenset({"d/a"}), "kept_local")]:
            item = Item(content=b"0123456789abcdefghiX")
            report = judged(Situation(self.RELEASE, {"d/a": item}, keep=keep))
            assert listed(report) == {name: ["d/a"]}
            assert report.damaged_pieces == ({"d/a": [2]} if name == "damaged" else {})
            assert report.ok == 0

    def test_damage_is_found_under_a_ledger_that_vouches(self) -> None:
        item = Item(content=b"X123456789abcdefghij")
        ledger = ledger_of(self.RELEASE, {"d/a": item})
        assert self.found(item, ledger=ledger) == {"damaged": ["d/a"]}

    def test_a_kept_file_that_is_right_is_ok(self) -> None:
        assert self.found(Item(content=b"0123456789abcdefghij"), keep=frozenset({"d/a"})) == {}

    def test_what_cannot_be_read_is_not_called_damaged(self) -> None:
        item = Item(content=b"0123456789abcdefghij")
        assert self.found(item, unreadable=frozenset({"d/a"})) == {"unreadable": ["d/a"]}
        assert self.found(None, problems={"d/a": "EIO"}) == {"unreadable": ["d/a"]}
        both = self.found(None, problems={"d/a": "EIO", "other": "EACCES"})
        assert both == {"unreadable": ["d/a", "other"]}

    @pytest.mark.parametrize("judge_it", [judged, quickly_judged])
    def test_a_missing_file_that_is_in_the_trash_is_missing_and_the_trash_not_unlisted(
        self, judge_it: Callable[[Situation], VerifyReport]
    ) -> None:
        gone = {".torsync/trash/then/d/a": Item(content=self.RELEASE.contents[0])}
        report = judge_it(Situation(self.RELEASE, with_folders(gone)))
        assert listed(report) == {"missing": ["d/a"]}

    def test_an_empty_file_is_right_or_has_the_wrong_size(self) -> None:
        release = make_release({"empty": b""})
        assert judged(Situation(release, {"empty": Item()})).ok == 1
        full = judged(Situation(release, {"empty": Item(content=b"x")}))
        assert listed(full) == {"wrong_size": ["empty"]}


class TestLinks:
    RELEASE = make_release({"link": Link("a")})

    @pytest.mark.parametrize(
        ("item", "name"),
        [
            (Item(Kind.LINK, target="b"), "damaged"),
            (Item(Kind.LINK, target=""), "damaged"),
            (Item(Kind.FILE), "missing"),
            (Item(Kind.FILE, content=b"a"), "missing"),
            (Item(Kind.FOLDER), "missing"),
            (None, "missing"),
        ],
    )
    def test_a_link_says_the_same_or_not(self, item: Item | None, name: str) -> None:
        disk = {} if item is None else {"link": item}
        report = judged(Situation(self.RELEASE, disk))
        assert listed(report) == {name: ["link"]}
        assert report.damaged_pieces == {}
        if item is not None:
            kept = judged(Situation(self.RELEASE, disk, keep=frozenset({"link"})))
            assert listed(kept) == {"kept_local": ["link"]}

    def test_the_right_link_is_ok(self) -> None:
        assert judged(Situation(self.RELEASE, {"link": Item(Kind.LINK, target="a")})).ok == 1


class TestNeighbours:
    """Files of 12, 3 and 9 bytes side by side, in pieces of 8: a a·b·c c."""

    RELEASE = make_release({"a": b"aaaaaaaaaaaa", "b": b"bbb", "c": b"ccccccccc"}, digests="root")
    RIGHT = with_folders(
        {
            "a": Item(content=b"aaaaaaaaaaaa"),
            "b": Item(content=b"bbb"),
            "c": Item(content=b"ccccccccc"),
        }
    )

    def report(self, changes: Mapping[str, Item | None], **more: object) -> VerifyReport:
        ledger = ledger_of(self.RELEASE, self.RIGHT)
        items = {**self.RIGHT, **changes}
        disk = {path: item for path, item in items.items() if item is not None}
        given = {"ledger": ledger, **more}
        return judged(Situation(self.RELEASE, disk, **given))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("item", "name"),
        [
            (Item(content=b"bbX", stamp=1), "damaged"),
            (Item(content=b"bb", stamp=1), "wrong_size"),
            (Item(Kind.LINK, target="bbb", stamp=1), "missing"),
            (None, "missing"),
        ],
    )
    def test_vouched_files_are_not_blamed_for_a_neighbour(
        self, item: Item | None, name: str
    ) -> None:
        report = self.report({"b": item})
        assert listed(report) == {name: ["b"]}
        assert report.ok == 2

    def test_vouched_files_are_not_blamed_for_a_neighbour_that_cannot_be_read(self) -> None:
        report = self.report({}, unreadable=frozenset("b"))
        assert listed(report) == {"unreadable": ["b"]}
        assert report.ok == 2

    def test_vouched_files_are_not_blamed_for_a_neighbour_that_cannot_be_looked_at(self) -> None:
        report = self.report({"b": None}, problems={"b": "EIO"})
        assert listed(report) == {"unreadable": ["b"]}
        assert report.ok == 2

    def test_a_file_is_blamed_for_the_pieces_that_it_has_alone(self) -> None:
        report = self.report({"a": Item(content=b"Xaaaaaaaaaaa"), "b": None})
        assert listed(report) == {"missing": ["b"], "damaged": ["a"]}
        assert report.damaged_pieces == {"a": [0]}

    def test_all_vouched_files_of_a_wrong_piece_are_blamed(self) -> None:
        report = self.report({"b": Item(content=b"bbX")})
        assert listed(report) == {"damaged": ["a", "b", "c"]}
        assert report.damaged_pieces == {"a": [1], "b": [1], "c": [1]}

    def test_without_a_ledger_all_files_of_a_wrong_piece_are_blamed(self) -> None:
        report = self.report({"b": Item(content=b"bbX")}, ledger={})
        assert listed(report) == {"damaged": ["a", "b", "c"]}

    def test_a_row_of_other_content_does_not_vouch(self) -> None:
        right = self.RIGHT["a"].entry()
        ledger = {**ledger_of(self.RELEASE, self.RIGHT), "a": ledger_row(right, "other")}
        report = self.report({"b": Item(content=b"bbX")}, ledger=ledger)
        assert listed(report) == {"damaged": ["a"]}
        assert report.ok == 2, "the wrong piece can be the fault of the one that is not vouched for"


class TestChangedWhileHashed:
    RELEASE = make_release({"a": b"0123456789abcdefghij"})

    def found(self, content: bytes, **changes: object) -> tuple[int, dict[str, list[str]]]:
        situation = Situation(self.RELEASE, {"a": Item(content=content)}, **changes)  # type: ignore[arg-type]
        assessment, hashed = looked(situation)
        keep = situation.keep.__contains__
        report = judge("pack", assessment, hashed.good, (), {}, keep=keep, changed={0})
        return report.ok, listed(report)

    def test_nobody_knows_what_it_holds_though_its_pieces_were_right(self) -> None:
        assert self.found(b"0123456789abcdefghij") == (0, {"modified": ["a"]})

    def test_it_is_damaged_if_a_piece_was_wrong(self) -> None:
        assert self.found(b"X123456789abcdefghij") == (0, {"damaged": ["a"]})

    @pytest.mark.parametrize("first", [b"0", b"X"])
    def test_it_is_left_as_edited_here_under_keep(self, first: bytes) -> None:
        content = first + b"123456789abcdefghij"
        assert self.found(content, keep=frozenset("a")) == (0, {"kept_local": ["a"]})


class TestQuick:
    RELEASE = make_release({"a": b"0123456789", "d/empty": b"", "link": Link("a")})
    RIGHT = with_folders(
        {
            "a": Item(content=b"0123456789", stamp=1),
            "d/empty": Item(stamp=2),
            "link": Item(Kind.LINK, target="a", stamp=3),
        }
    )

    def found(self, changes: Mapping[str, Item | None], **more: object) -> dict[str, list[str]]:
        disk = {path: item for path, item in {**self.RIGHT, **changes}.items() if item is not None}
        given = {"ledger": ledger_of(self.RELEASE, self.RIGHT), **more}
        return listed(quickly_judged(Situation(self.RELEASE, disk, **given)))  # type: ignore[arg-type]

    def test_what_the_ledger_vouches_for_is_ok(self) -> None:
        ledger = ledger_of(self.RELEASE, self.RIGHT)
        report = quickly_judged(Situation(self.RELEASE, self.RIGHT, ledger))
        assert (report.ok, listed(report)) == (3, {})
        assert (report.name, report.release, report.bytes_total) == ("pack", "release", 10)

    @pytest.mark.parametrize("content", [b"0123456789", b"abcdefghij"])
    def test_a_touched_file_of_the_right_size_is_not_known(self, content: bytes) -> None:
        touched = Item(content=content, stamp=9)
        assert self.found({"a": touched}) == {"modified": ["a"]}
        assert self.found({"a": touched}, keep=frozenset("a")) == {"kept_local": ["a"]}

    def test_without_a_row_for_its_content_a_file_is_not_known(self) -> None:
        assert self.found({}, ledger={}) == {"modified": ["a"]}
        row = ledger_row(self.RIGHT["a"].entry(), "other content")
        assert self.found({}, ledger={"a": row}) == {"modified": ["a"]}

    @pytest.mark.parametrize("content", [b"", b"0", b"0123456789+"])
    def test_a_wrong_size_is_told(self, content: bytes) -> None:
        wrong = Item(content=content, stamp=9)
        assert self.found({"a": wrong}) == {"wrong_size": ["a"]}
        assert self.found({"a": wrong}, keep=frozenset("a")) == {"kept_local": ["a"]}

    @pytest.mark.parametrize("item", [None, Item(Kind.LINK, target="d"), Item(Kind.FOLDER)])
    def test_what_is_not_there_as_a_file_is_missing(self, item: Item | None) -> None:
        assert self.found({"a": item}) == {"missing": ["a"]}

    def test_links_are_compared_by_their_text_and_empty_files_by_their_size(self) -> None:
        assert self.found({"link": Item(Kind.LINK, target="a", stamp=9)}) == {}
        assert self.found({"link": Item(Kind.LINK, target="d/a")}) == {"damaged": ["link"]}
        assert self.found({"d/empty": Item(stamp=9)}, ledger={}) == {"modified": ["a"]}
        assert self.found({"d/empty": Item(content=b"1")}) == {"wrong_size": ["d/empty"]}

    def test_what_could_not_be_looked_at_is_unreadable(self) -> None:
        found = self.found({"a": None}, problems={"a": "EIO", "x": "EIO"})
        assert found == {"unreadable": ["a", "x"]}

    def test_what_is_not_listed_is_told(self) -> None:
        stray = {"mine": Item(), "d/kept": Item(), "pipe": Item(Kind.OTHER)}
        found = self.found(stray, keep=frozenset({"d/kept"}))
        assert found == {"unlisted": ["mine", "pipe"]}

    @patient
    @given(situations())
    def test_it_agrees_with_the_full_verify_but_for_what_it_has_not_read(
        self, situation: Situation
    ) -> None:
        """The ledger is honest, so whatever is vouched for is right."""
        situation = replace(situation, before=None)  # it is verified against its own release
        quick, full = listed(quickly_judged(situation)), listed(judged(situation))
        unread = set(quick.pop("modified", [])) | set(quick.get("kept_local", []))
        unread |= situation.unreadable
        for name in quick.keys() | full.keys():
            told, expected = set(quick.get(name, [])), set(full.get(name, []))
            assert told - unread == expected - unread, name


class TestUnselected:
    RELEASE = make_release({"a": b"12345678", "d/b": b"12345", "d/c": b"123"}, layout="v1")

    @pytest.mark.parametrize("content", [None, b"54321", b"1", b""])
    @pytest.mark.parametrize("quick", [False, True])
    def test_a_file_that_is_not_selected_is_only_counted(
        self, content: bytes | None, quick: bool
    ) -> None:
        disk = {"a": Item(content=b"12345678")}
        if content is not None:
            disk["d/b"] = Item(content=content)
        situation = Situation(
            self.RELEASE,
            with_folders(disk),
            {"a": ledger_row(disk["a"].entry(), self.RELEASE.manifest.digest(0))},
            keep=frozenset({"d/c"}),
            unselected=frozenset({"d/b", "d/c"}),
        )
        report = quickly_judged(situation) if quick else judged(situation)
        assert listed(report) == {}
        assert (report.ok, report.unselected, report.bytes_total) == (1, 2, 8)

    def test_what_is_vouched_for_is_not_wrong_for_want_of_a_neighbour(self) -> None:
        disk = with_folders({"a": Item(content=b"12345678"), "d/b": Item(content=b"12345")})
        manifest = self.RELEASE.manifest
        rows = {
            path: ledger_row(disk[path].entry(), manifest.digest(manifest.by_path[path]))
            for path in ("a", "d/b")
        }
        situation = Situation(self.RELEASE, disk, rows, unselected=frozenset({"d/c"}))
        report = judged(situation)
        assert listed(report) == {}
        assert (report.ok, report.unselected) == (2, 1)

    def test_its_bytes_are_read_for_its_neighbours(self) -> None:
        whole = {"a": b"12345678", "d/b": b"12345", "d/c": b"123"}
        disk = with_folders({path: Item(content=content) for path, content in whole.items()})
        situation = Situation(self.RELEASE, disk, unselected=frozenset({"d/c"}))
        assert listed(judged(situation)) == {}
        alone = replace(situation, unselected=frozenset({"d/b", "d/c"}))
        assert list(looked(alone)[0].doubtful_pieces()) == [0]


class TestUnlisted:
    def test_files_links_and_special_files_that_are_not_listed_are_told(self) -> None:
        disk = with_folders(
            {
                "a": Item(),
                "d/file": Item(),
                "link": Item(Kind.LINK, target="a"),
                "pipe": Item(Kind.OTHER),
                "mount": Item(Kind.MOUNT),
                "empty": Item(Kind.FOLDER),
                "kept": Item(),
            }
        )
        release = make_release({"a": b""})
        report = judged(Situation(release, disk, keep=frozenset({"kept"})))
        assert sorted(report.unlisted) == ["d/file", "link", "pipe"]
        assert report.ok == 1


class TestAnySituation:
    @patient
    @given(situations(rot=True))
    def test_every_file_is_in_exactly_one_list(self, situation: Situation) -> None:
        report = judged(situation)
        found = listed(report)
        unlisted = found.pop("unlisted", [])
        wanted = situation.manifest.by_path
        paths = [path for lists in found.values() for path in lists if path in wanted]
        assert len(paths) == len(set(paths))
        assert report.ok == len(wanted) - len(paths) - report.unselected
        assert report.unselected == len(wanted.keys() & situation.unselected)
        assert situation.unselected.isdisjoint(path for path in paths)
        assert wanted.keys().isdisjoint(unlisted)
        assert {path for path in report.unreadable if path not in wanted} == (
            situation.problems.keys() - wanted.keys()
        )

    @patient
    @given(situations(rot=True))
    def test_each_list_tells_the_truth(self, situation: Situation) -> None:
        report = judged(situation)
        for name, paths in listed(report).items():
            event(name)
            for path in paths:
                assert belongs(situation, path, name), (name, path)
        in_lists = {path for paths in listed(report).values() for path in paths}
        for path in situation.manifest.by_path.keys() - in_lists - situation.unselected:
            if not is_right(situation, path):
                assert situation.ledger[path].vouches_for(situation.disk[path].entry())

    @patient
    @given(situations())
    def test_what_is_ok_is_right_where_the_ledger_is_honest(self, situation: Situation) -> None:
        report = judged(situation)
        in_lists = {path for paths in listed(report).values() for path in paths}
        for path in situation.manifest.by_path.keys() - in_lists - situation.unselected:
            assert is_right(situation, path)

    @patient
    @given(situations(rot=True, layouts=ALIGNED))
    def test_files_on_piece_boundaries_are_judged_by_their_content_alone(
        self, situation: Situation
    ) -> None:
        report = judged(situation)
        manifest = situation.manifest
        in_lists = {path for paths in listed(report).values() for path in paths}
        for index, file in enumerate(manifest.files):
            left_out = file.path in situation.unselected
            assert left_out or file.path in in_lists or is_right(situation, file.path)
            if file.path in report.damaged and file.size:
                wrong = [p for p in manifest.pieces_of(index) if not situation.has_piece(p)]
                assert report.damaged_pieces[file.path] == wrong

    @patient
    @given(situations(rot=True))
    def test_damaged_pieces_are_wrong_pieces_of_damaged_files(self, situation: Situation) -> None:
        report = judged(situation)
        manifest = situation.manifest
        sized = [path for path in report.damaged if manifest.files[manifest.by_path[path]].size]
        assert list(report.damaged_pieces) == sized
        for path, pieces in report.damaged_pieces.items():
            assert pieces == sorted(set(pieces))
            assert pieces
            assert set(pieces) <= set(manifest.pieces_of(manifest.by_path[path]))
            assert not any(situation.has_piece(piece) for piece in pieces)

    @patient
    @given(situations(rot=True))
    def test_the_unlisted_is_what_the_release_and_keep_do_not_name(
        self, situation: Situation
    ) -> None:
        expected = {
            path
            for path, item in situation.disk.items()
            if item.kind not in {Kind.FOLDER, Kind.MOUNT}
        }
        expected -= situation.keep | situation.manifest.by_path.keys()
        assert set(judged(situation).unlisted) == expected

    @patient
    @given(situations())
    def test_a_repair_makes_all_right_but_what_is_kept_or_cannot_be_read(
        self, situation: Situation
    ) -> None:
        report = judged(situation)
        assessment, hashed = looked(situation)
        unreadable = {index: OSError() for index in hashed.unreadable}
        look = Look(assessment, dict(situation.ledger), HashedPieces(hashed.good, unreadable))
        mirror = replace(situation, clean=CleanMode.MIRROR)
        try:
            plan = look.judged(report).plan(keep=situation.keep.__contains__, clean=mirror.clean)
        except TreeError:
            assume(False)
        again = judged(mirror.after(plan))
        found = listed(again)
        if report.unreadable or situation.problems:  # then nothing is removed
            found.pop("unlisted", None)
        assert found.keys() <= {"kept_local", "unreadable"}
        assert set(report.unreadable) <= set(again.unreadable)
        assert set(again.unreadable) - set(report.unreadable) <= situation.unreadable
        assert set(again.kept_local) <= set(report.kept_local)
        for path in set(report.kept_local) - set(again.kept_local):
            assert is_right(situation, path), "it was only suspected for its neighbour's sake"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_synced_tree_is_ok(layout: str) -> None:
    contents = {"a": b"0123456789", "d/b": b"", "d/c": b"xyz", "link": Link("a")}
    situation = Situation(make_release(contents, layout=layout))
    report = judged(situation.after(situation.plan()))
    assert (report.ok, listed(report)) == (4, {})


def is_right(situation: Situation, path: str) -> bool:
    """Whether a path of the release has the content that is wanted."""
    index = situation.manifest.by_path[path]
    target = situation.manifest.files[index].link_target
    item = situation.disk.get(path)
    if item is None:
        return False
    if target is None:
        return (item.kind, item.content) == (Kind.FILE, situation.release.contents[index])
    return item.kind is Kind.LINK and item.target == "../" * path.count("/") + target


def belongs(situation: Situation, path: str, name: str) -> bool:
    """Whether a path of a list may be in it."""
    item = situation.disk.get(path)
    wanted = situation.manifest.by_path
    if name == "unlisted":
        return path not in wanted and item is not None
    if name == "unreadable":
        return path in situation.problems or path in situation.unreadable
    file = situation.manifest.files[wanted[path]]
    kind = Kind.FILE if file.link_target is None else Kind.LINK
    if name == "missing":
        return item is None or item.kind is not kind
    assert item is not None
    if name == "kept_local":
        return path in situation.keep
    if name == "wrong_size":
        return kind is Kind.FILE and item.entry().size != file.size
    return path not in situation.keep and item.kind is kind
