"""Where files lie: what a change moves, and what it leaves where it is."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torsync.model.authoring.content import PublishedFile
from torsync.model.authoring.layout import (
    MEAN_PACK_PIECES,
    Layout,
    PackedPiece,
    Part,
    is_aligned,
    lay_out,
)
from torsync.model.config import TorrentFormat

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 16 * 1024
PIECE = 2 * BLOCK
V1, V2, HYBRID = TorrentFormat.V1, TorrentFormat.V2, TorrentFormat.HYBRID


def small_files(count: int, *, seed: int = 1) -> list[PublishedFile]:
    sizes = random.Random(seed)
    return [
        PublishedFile(f"folder {number // 100:03}/file {number:06}", sizes.randrange(1, 9000))
        for number in range(count)
    ]


def roots_of(layout: Layout) -> list[bytes]:
    """Made-up ones: a file's content is told by its path and size."""
    return [f"{file.path}:{file.size}".encode().rjust(200)[-200:] for file in layout.files]


def keys_of(layout: Layout) -> list[bytes]:
    roots = roots_of(layout)
    return [piece.key(roots) for piece in layout.packed_pieces]


def packs_of(layout: Layout) -> list[list[str]]:
    """The paths of each pack, in order; every file has bytes."""
    packs: list[list[str]] = []
    for index, file in enumerate(layout.files):
        if index == 0 or index in layout.pads:
            packs.append([])
        packs[-1].append(file.path)
    return packs


def changed_pieces(before: Layout, after: Layout) -> int:
    """How many pieces have to be hashed that were not there before."""
    return len(set(keys_of(after)) - set(keys_of(before)))


BASE = small_files(6000)
BASE_LAYOUT = lay_out(BASE, PIECE, V1)


def test_packs_have_16_pieces_in_the_mean_whatever_the_sizes() -> None:
    for scale in (1, 3):
        files = [file._replace(size=file.size * scale) for file in small_files(20_000)]
        layout = lay_out(files, PIECE, V1)
        mean = layout.num_pieces / len(packs_of(layout))
        assert 0.7 * MEAN_PACK_PIECES < mean < 1.4 * MEAN_PACK_PIECES
        assert 0.02 < sum(layout.pads.values()) / layout.size < 0.05


def neighbourhood(layout: Layout, path: str) -> set[str]:
    """The files of the pack of ``path``, and of those beside it."""
    packs = packs_of(layout)
    at = next(number for number, pack in enumerate(packs) if path in pack)
    return {path for pack in packs[max(at - 1, 0) : at + 2] for path in pack}


@settings(max_examples=20, deadline=None)
@given(number=st.integers(0, len(BASE) - 1), size=st.integers(0, 2 * PIECE))
def test_a_small_file_that_changes_its_size_moves_only_those_near_it(
    number: int, size: int
) -> None:
    files = list(BASE)
    files[number] = files[number]._replace(size=size)
    check_moved_only_near(files, BASE[number].path)


@settings(max_examples=20, deadline=None)
@given(number=st.integers(0, len(BASE) - 1), size=st.integers(1, 2 * PIECE))
def test_a_small_file_that_appears_moves_only_those_near_it(number: int, size: int) -> None:
    near = BASE[number].path
    check_moved_only_near([*BASE, PublishedFile(f"{near} too", size)], near)


@settings(max_examples=20, deadline=None)
@given(number=st.integers(0, len(BASE) - 1))
def test_a_small_file_that_goes_moves_only_those_near_it(number: int) -> None:
    check_moved_only_near([*BASE[:number], *BASE[number + 1 :]], BASE[number].path)


def check_moved_only_near(files: Iterable[PublishedFile], path: str) -> None:
    after = lay_out(files, PIECE, V1)
    near = neighbourhood(BASE_LAYOUT, path)
    offsets = dict(zip([file.path for file in after.files], after.offsets, strict=True))
    for file, offset in zip(BASE_LAYOUT.files, BASE_LAYOUT.offsets, strict=True):
        if file.path not in near:
            assert offset % PIECE == offsets[file.path] % PIECE, file.path
    # Their pieces are known; so what is hashed again is the neighbourhood at most.
    pieces = sum(
        1
        for piece in BASE_LAYOUT.packed_pieces
        if any(BASE_LAYOUT.files[part.file_index].path in near for part in piece.parts)
    )
    assert changed_pieces(BASE_LAYOUT, after) <= pieces + 3


def test_changes_hash_few_pieces_of_many() -> None:
    changed = []
    for number in range(0, len(BASE), 599):
        files = list(BASE)
        files[number] = files[number]._replace(size=files[number].size + 100)
        changed.append(changed_pieces(BASE_LAYOUT, lay_out(files, PIECE, V1)))
    assert BASE_LAYOUT.num_pieces > 800
    assert sum(changed) / len(changed) < 2 * MEAN_PACK_PIECES


@pytest.mark.parametrize(
    ("size", "in_v1"),
    [(0, False), (1, False), (PIECE - 1, False), (PIECE, True), (PIECE + 1, True)],
)
def test_which_files_have_v1_pieces_to_themselves(size: int, in_v1: bool) -> None:
    assert is_aligned(size, PIECE, V1) is in_v1
    assert is_aligned(size, PIECE, HYBRID) is (size > 0)
    assert not is_aligned(size, PIECE, V2)


def test_files_of_a_piece_or_more_have_their_pieces_to_themselves() -> None:
    sizes = {"a": 100, "b": PIECE - 1, "c": PIECE, "d": 5, "e": PIECE + 1, "f": 0, "g": 7}
    layout = lay_out([PublishedFile(path, size) for path, size in sizes.items()], PIECE, V1)
    assert layout.offsets == (0, 100, 2 * PIECE, 3 * PIECE, 4 * PIECE, 6 * PIECE, 6 * PIECE)
    assert layout.pads == {2: PIECE - 99, 4: PIECE - 5, 5: PIECE - 1}
    assert layout.size == 6 * PIECE + 7
    assert [(piece.piece, piece.zeros) for piece in layout.packed_pieces] == [
        (0, 0),
        (1, PIECE - 99),
        (3, PIECE - 5),
        (6, 0),  # nothing follows the last small file
    ]
    assert layout.packed_pieces[0].parts == ((0, 0, 100), (1, 0, PIECE - 100))
    assert layout.packed_pieces[1].parts == ((1, PIECE - 100, 99),)


def test_the_end_of_a_large_last_file_is_padded() -> None:
    layout = lay_out([PublishedFile("a", PIECE + 1)], PIECE, V1)
    assert (layout.size, layout.pads, layout.packed_pieces) == (2 * PIECE, {1: PIECE - 1}, ())


def test_v2_has_every_file_on_a_boundary_and_no_padding_at_the_end() -> None:
    files = [PublishedFile("a", 1), PublishedFile("b", 0), PublishedFile("c", PIECE + 1)]
    layout = lay_out(files, PIECE, V2)
    assert (layout.offsets, layout.pads) == ((0, PIECE, PIECE), {})
    assert layout.size == 2 * PIECE + 1
    assert layout.packed_pieces == ()


@pytest.mark.parametrize("format_", TorrentFormat)
def test_the_order_is_that_of_a_file_tree(format_: TorrentFormat) -> None:
    paths = ["a/b", "a/é", "a/ж", "a/\U0001f600", "a.txt", "a0", "b"]
    layout = lay_out([PublishedFile(path, 1) for path in reversed(paths)], PIECE, format_)
    assert [file.path for file in layout.files] == paths
    assert sorted(paths, key=lambda path: path.encode().split(b"/")) == paths


class TestKeysOfPackedPieces:
    """Equal keys mean equal bytes: nothing that the bytes depend on is left out."""

    def layout(self, *sizes: int) -> Layout:
        return lay_out(
            [PublishedFile(f"{number}", size) for number, size in enumerate(sizes)], PIECE, V1
        )

    def test_it_stays_where_other_files_come_before(self) -> None:
        before = self.layout(100, 200, PIECE)
        files = [PublishedFile("!", 2 * PIECE), *before.files]
        after = lay_out(files, PIECE, V1)
        assert keys_of(after) == keys_of(before)
        assert after.packed_pieces[0].piece == 2

    def test_other_content_has_another(self) -> None:
        piece = self.layout(100, 200).packed_pieces[0]
        assert piece.key([b"a" * 32, b"b" * 32]) != piece.key([b"a" * 32, b"c" * 32])

    def test_another_order_has_another(self) -> None:
        piece = self.layout(100, 100).packed_pieces[0]
        assert piece.key([b"a" * 32, b"b" * 32]) != piece.key([b"b" * 32, b"a" * 32])

    def test_more_padding_has_another(self) -> None:
        alone = self.layout(100).packed_pieces[0]
        padded = self.layout(100, PIECE).packed_pieces[0]
        assert (alone.zeros, padded.zeros) == (0, PIECE - 100)
        assert alone.key([b"a" * 32]) != padded.key([b"a" * 32])

    def test_another_part_of_a_file_has_another(self) -> None:
        first, second = self.layout(PIECE - 1, PIECE - 1).packed_pieces
        roots = [b"a" * 32, b"a" * 32]
        assert first.key(roots) != second.key(roots)
        halves = [PackedPiece(0, (Part(0, offset, 5),), 0) for offset in (0, 5)]
        assert halves[0].key(roots) != halves[1].key(roots)
