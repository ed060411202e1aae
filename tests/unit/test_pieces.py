"""What two manifests tell of single pieces, and where the synced release has their content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.releases import PIECE_LENGTH, make_release
from tests.support.situations import Item
from torsync.model.assessment import Extent
from torsync.model.known import Known, Synced
from torsync.model.manifest import FileEntry
from torsync.model.pieces import PieceFinder
from torsync.model.tree_index import DiskIndex, ledger_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torsync.model.manifest import Manifest

A = b"AAAAaaaaBBBBbbbbCCC"  # two pieces and a short one


def release(contents: Mapping[str, bytes], layout: str, piece_length: int = 8) -> Manifest:
    return make_release(contents, layout=layout, piece_length=piece_length).manifest


class Counted:
    """A synced release that counts how often it is parsed."""

    def __init__(self, manifest: Manifest | None, body: bytes = b"") -> None:
        self.loads = 0
        self._manifest = manifest
        self.synced = Synced(self._load, lambda: body)

    def _load(self) -> Manifest | None:
        self.loads += 1
        return self._manifest


def known(old: Manifest, synced: Synced, touched: frozenset[str] = frozenset()) -> Known:
    """What is known if all files of ``old`` are there, of which some were touched since."""
    items = {file.path: Item(content=bytes(file.size), stamp=1) for file in old.files}
    ledger = {
        file.path: ledger_row(items[file.path].entry(), old.digest(index))
        for index, file in enumerate(old.files)
    }
    entries = {
        path: item._replace(stamp=2 if path in touched else 1).entry()
        for path, item in items.items()
    }
    return Known(DiskIndex(entries), ledger, synced)


def finder(old: Manifest, wanted: Manifest, touched: str = "") -> PieceFinder:
    return PieceFinder(wanted, known(old, Counted(old).synced, frozenset(touched)))


def same(
    old: Manifest,
    wanted: Manifest,
    *,
    sources: Mapping[str, str] | None = None,
    touched: str = "",
) -> list[bool | None]:
    """What is told of each piece if files are taken from their own paths, or ``sources``."""
    found = finder(old, wanted, touched)
    told = []
    for piece in range(wanted.num_pieces):
        segments = list(wanted.segments(piece))
        own = (
            "" if segment.file_index is None else wanted.files[segment.file_index].path
            for segment in segments
        )
        paths = [(sources or {}).get(path, path) for path in own]
        told.append(found.is_same(piece, segments, paths))
    return told


class TestSameInV2:
    @pytest.mark.parametrize("layouts", [("v2", "v2"), ("hybrid", "v2"), ("v2", "hybrid")])
    def test_each_piece_is_compared_with_the_one_at_its_place(
        self, layouts: tuple[str, str]
    ) -> None:
        old = release({"0": b"other", "a": A}, layouts[0])
        wanted = release({"a": A[:8] + b"12345678" + A[16:]}, layouts[1])
        assert same(old, wanted) == [True, False, True]

    def test_a_renamed_file_is_compared_with_its_source(self) -> None:
        old, wanted = release({"a": A}, "v2"), release({"b": A}, "v2")
        assert same(old, wanted, sources={"b": "a"}) == [True] * 3
        assert same(old, wanted) == [None] * 3

    def test_a_piece_of_another_length_cannot_be_told(self) -> None:
        """The right bytes may lie in front of what was cut off or added."""
        old = release({"a": A}, "v2")
        assert same(old, release({"a": A[:-1]}, "v2")) == [True, True, None]
        assert same(old, release({"a": A + b"c"}, "v2")) == [True, True, None]
        assert same(old, release({"a": A + bytes(9)}, "v2")) == [True, True, None, None]

    def test_a_touched_file_cannot_be_told(self) -> None:
        old = release({"a": A, "b": A}, "v2")
        assert same(old, old, touched="a") == [None] * 3 + [True] * 3

    def test_other_piece_sizes_cannot_be_told(self) -> None:
        assert same(release({"a": A}, "v2", 16), release({"a": A}, "v2")) == [None] * 3

    def test_formats_with_no_hashes_in_common_cannot_be_told(self) -> None:
        assert same(release({"a": A}, "v2"), release({"a": A}, "v1")) == [None] * 3
        assert same(release({"a": A}, "v1"), release({"a": A}, "v2")) == [None] * 3


class TestSameInV1:
    FILES = {"a": A, "b": b"bbbb", "c": b"ccccccc"}  # noqa: RUF012  pieces: a a abc c

    def test_pieces_of_the_same_runs_of_the_same_files_are_compared(self) -> None:
        old = release(self.FILES, "v1")
        assert old.num_pieces == 4
        assert same(old, old) == [True] * 4
        changed = release({**self.FILES, "b": b"bb!b"}, "v1")
        assert same(old, changed) == [True, True, False, True]

    def test_the_last_short_piece_is_compared_too(self) -> None:
        old = release(self.FILES, "v1")
        assert old.piece_size(3) == 6
        assert same(old, release({**self.FILES, "c": b"cccccc!"}, "v1")) == [True] * 3 + [False]

    def test_a_last_piece_that_became_longer_or_shorter_cannot_be_told(self) -> None:
        old = release(self.FILES, "v1")
        for changed in (b"cccccc", b"cccccccc"):
            assert same(old, release({**self.FILES, "c": changed}, "v1"))[2:] == [True, None]

    def test_a_shifted_file_cannot_be_told(self) -> None:
        old = release(self.FILES, "v1")
        assert same(old, release({"0": b"0", **self.FILES}, "v1"))[1:] == [None] * 3

    def test_a_file_that_is_shifted_by_whole_pieces_is_compared(self) -> None:
        old = release(self.FILES, "v1")
        assert same(old, release({"0": bytes(8), **self.FILES}, "v1")) == [None] + [True] * 4
        assert same(release({"0": bytes(8), **self.FILES}, "v1"), old) == [True] * 4

    def test_a_piece_that_would_begin_before_the_release_cannot_be_told(self) -> None:
        old, wanted = release({"a": A}, "v1"), release({"0": b"0" * 4, "a": A}, "v1")
        assert same(old, wanted, sources={"0": "a"}) == [None] * 3

    def test_other_neighbours_cannot_be_told(self) -> None:
        """The piece has another hash, but the bytes of the file that stays may be right."""
        old = release(self.FILES, "v1")
        assert same(old, release({**self.FILES, "b": b"b", "bb": b"bbb"}, "v1"))[2] is None
        assert same(old, release({**self.FILES, "c": b""}, "v1"))[2] is None

    def test_one_touched_neighbour_is_enough_to_tell_nothing(self) -> None:
        old = release(self.FILES, "v1")
        assert same(old, old, touched="b") == [True, True, None, True]
        assert same(old, old, touched="a") == [None, None, None, True]

    def test_all_renamed_files_of_a_piece_are_compared_with_their_sources(self) -> None:
        old = release(self.FILES, "v1")
        wanted = release({f"new/{path}": data for path, data in self.FILES.items()}, "v1")
        sources = {f"new/{path}": path for path in self.FILES}
        assert same(old, wanted, sources=sources) == [True] * 4
        del sources["new/b"]
        assert same(old, wanted, sources=sources) == [True, True, None, True]

    def test_other_piece_sizes_cannot_be_told(self) -> None:
        assert same(release(self.FILES, "v1", 16), release(self.FILES, "v1")) == [None] * 4

    @pytest.mark.parametrize("layout", ["padded", "packed"])
    def test_padding_has_to_be_the_same_too(self, layout: str) -> None:
        files = {"a": A, "b": A}
        old = release(files, layout)
        assert same(old, old) == [True] * 6
        assert same(old, release({"a": A, "b": A[::-1]}, layout)) == [True] * 3 + [False] * 3
        assert same(release(files, "v1"), old)[:3] == [True, True, None]

    def test_a_piece_may_begin_with_padding_or_have_nothing_else(self) -> None:
        """Nobody makes such layouts, but they can be written down."""
        plain = release({"a": bytes(8) + b"1234"}, "v1")
        odd = replace(plain, files=(FileEntry("a", 4, 12),), layout_size=16)
        assert [len(list(odd.segments(piece))) for piece in range(2)] == [1, 2]
        assert same(odd, odd) == [None, True]


class TestPlaces:
    @staticmethod
    def places(old: Manifest, wanted: Manifest, touched: str = "") -> dict[int, list[object]]:
        return finder(old, wanted, touched).places(range(wanted.num_pieces))  # type: ignore[return-value]

    def test_v2_pieces_are_found_wherever_they_are(self) -> None:
        old, wanted = release({"a": A}, "v2"), release({"b": A[8:16] + b"--------" + A[:8]}, "v2")
        assert self.places(old, wanted) == {0: [(Extent("a", 8, 8),)], 2: [(Extent("a", 0, 8),)]}

    def test_a_short_v2_piece_is_found_with_its_length(self) -> None:
        old, wanted = release({"a": A}, "v2"), release({"b": b"12345678" + A[16:]}, "v2")
        assert self.places(old, wanted) == {1: [(Extent("a", 16, 3),)]}

    def test_v1_pieces_of_several_files_are_found_with_all_of_them(self) -> None:
        old = release({"a": b"aaa", "b": b"bb", "c": b"cccc"}, "v1")
        wanted = release({"0": b"00000000", "x": b"aaabbccc"}, "v1")
        there = (Extent("a", 0, 3), Extent("b", 0, 2), Extent("c", 0, 3))
        assert self.places(old, wanted) == {1: [there]}

    def test_padding_is_a_run_of_zeros_without_a_path(self) -> None:
        old = release({"a": b"aaaaa", "b": b"b"}, "padded")
        wanted = release({"0": b"00000000", "x": b"aaaaa\0\0\0"}, "v1")
        assert self.places(old, wanted) == {1: [(Extent("a", 0, 5), Extent("", 0, 3))]}

    @pytest.mark.parametrize("layout", ["v1", "v2", "hybrid"])
    def test_nothing_is_found_in_a_file_that_is_not_vouched_for(self, layout: str) -> None:
        old = release({"a": A[:8], "b": A[8:16]}, layout)
        wanted = release({"c": A[:16]}, layout)
        assert self.places(old, wanted).keys() == {0, 1}
        assert self.places(old, wanted, touched="a").keys() == {1}
        assert self.places(old, wanted, touched="ab") == {}

    @pytest.mark.parametrize("layout", ["v1", "v2"])
    def test_content_that_is_everywhere_has_a_few_places(self, layout: str) -> None:
        old, wanted = release({"a": bytes(800)}, layout), release({"b": bytes(80)}, layout)
        found = self.places(old, wanted)
        assert found.keys() == set(range(10))
        assert all(places == found[0] for places in found.values())
        assert found[0] == [(Extent("a", 8 * piece, 8),) for piece in range(4)]

    def test_files_that_are_gone_do_not_count_among_the_few(self) -> None:
        old = release({**{f"{number}": bytes(8) for number in range(9)}, "z": bytes(8)}, "v2")
        found = self.places(old, release({"b": bytes(8)}, "v2"), touched="012345678")
        assert found == {0: [(Extent("z", 0, 8),)]}

    @pytest.mark.parametrize("layout", ["v1", "v2"])
    @pytest.mark.parametrize("synced", [{"b": A}, {"a": A[8:16] + A[:8] + A[16:]}])
    def test_a_file_of_which_the_ledger_says_otherwise_is_not_what_the_synced_release_says(
        self, synced: Mapping[str, bytes], layout: str
    ) -> None:
        wanted = release({"a": A}, layout)
        told = Counted(release(synced, layout)).synced
        found = PieceFinder(wanted, known(wanted, told))
        assert found.places(range(3)) == {}
        assert found.is_same(0, list(wanted.segments(0)), ["a"]) is None

    def test_other_piece_sizes_have_nothing_in_common(self) -> None:
        assert self.places(release({"a": A}, "v2", 16), release({"a": A}, "v2")) == {}


class TestTheSyncedReleaseIsParsedOnlyIfItCanTellSomething:
    OLD = release({"a": A}, "hybrid")
    BODY = b"d4:info" + OLD.v1_hashes + b"".join(OLD.piece_layers.values())

    @staticmethod
    def places(counted: Counted, old: Manifest, wanted: Manifest, pieces: range) -> bool:
        return bool(PieceFinder(wanted, known(old, counted.synced)).places(pieces))

    @pytest.mark.parametrize("layout", ["v1", "v2", "hybrid"])
    def test_none_of_a_few_hashes_is_mentioned(self, layout: str) -> None:
        counted = Counted(self.OLD, self.BODY)
        wanted = release({"b": A[::-1]}, layout)
        assert not self.places(counted, self.OLD, wanted, range(3))
        assert counted.loads == 0

    @pytest.mark.parametrize("layout", ["v1", "v2", "hybrid"])
    def test_one_of_them_is_mentioned(self, layout: str) -> None:
        counted = Counted(self.OLD, self.BODY)
        wanted = release({"b": A[::-1][:16] + A[:8]}, layout)
        assert self.places(counted, self.OLD, wanted, range(3))
        assert counted.loads == 1

    @pytest.mark.parametrize(("size", "told"), [(1023, None), (1024, False)])
    def test_pieces_that_are_sooner_hashed_are_not_compared(
        self, size: int, told: bool | None
    ) -> None:
        """Parsing is taken to cost as much as to hash 1 KiB for each file of the release."""
        old, wanted = (release({"a": byte * size}, "v2", size) for byte in (b"o", b"n"))
        counted = Counted(old, b"none of its hashes")
        found = PieceFinder(wanted, known(old, counted.synced))
        assert found.places(range(1)) == {}
        assert found.is_same(0, list(wanted.segments(0)), ["a"]) is told
        assert counted.loads == (told is not None)

    def test_nothing_is_asked(self) -> None:
        counted = Counted(self.OLD)
        assert not self.places(counted, self.OLD, self.OLD, range(0))
        assert counted.loads == 0

    def test_without_its_bytes_it_has_to_be_parsed_once(self) -> None:
        counted = Counted(self.OLD)
        found = PieceFinder(self.OLD, known(self.OLD, counted.synced))
        for _ in range(2):
            assert found.places(range(3)).keys() == {0, 1, 2}
            assert found.is_same(0, list(self.OLD.segments(0)), ["a"])
        assert counted.loads == 1

    def test_many_hashes_are_not_looked_for_one_by_one(self) -> None:
        counted = Counted(self.OLD, self.BODY)
        wanted = release({"b": bytes(range(1, 251)) * 20}, "v2")
        assert wanted.num_pieces > 256
        assert not self.places(counted, self.OLD, wanted, range(256))
        assert counted.loads == 0
        assert not self.places(counted, self.OLD, wanted, range(257))
        assert counted.loads == 1

    def test_without_a_ledger_it_can_tell_nothing(self) -> None:
        counted = Counted(self.OLD)
        found = PieceFinder(self.OLD, Known(DiskIndex({}), {}, counted.synced))
        assert found.places(range(3)) == {}
        assert found.is_same(0, list(self.OLD.segments(0)), ["a"]) is None
        assert counted.loads == 0

    def test_there_may_be_none(self) -> None:
        counted = Counted(None)
        assert not self.places(counted, self.OLD, self.OLD, range(3))
        assert counted.loads == 1


def test_a_piece_is_as_long_as_these_tests_say() -> None:
    assert PIECE_LENGTH == 8
