"""Which parts of a release are looked at before it goes public, and whether they are right."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.releases import LAYOUTS, Link, make_release
from tests.support.torrents import make_libtorrent, make_raw, pad_file
from tests.support.trees import random_bytes, write_tree
from torsync.model.metainfo import parse_metainfo
from torsync.model.samples import (
    FileRange,
    choose_pieces,
    choose_ranges,
    is_piece_right,
    is_range_right,
    piece_content_size,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.releases import Release

PIECE = 16 * 1024
NAMES = [f"{folder}{name}" for folder in ("", "a/", "b/") for name in "xyz"]
SIZES = [0, 1, 100, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5]


def release_of(sizes: dict[str, int], layout: str, digests: str = "root") -> Release:
    contents = {path: random_bytes(size, path) for path, size in sizes.items()}
    return make_release(contents, layout=layout, digests=digests, piece_length=PIECE)


sized = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SIZES), min_size=1)


@given(sized, st.sampled_from(LAYOUTS), st.sets(st.integers(0, 8)), st.integers(0, 99))
def test_chosen_pieces_are_right_as_peers_send_them_and_only_so(
    sizes: dict[str, int], layout: str, changed: set[int], seed: int
) -> None:
    release = release_of(sizes, layout)
    manifest = release.manifest
    indexes = sorted(index for index in changed if index < len(manifest.files))
    chosen = choose_pieces(manifest, indexes, Random(seed).randrange)
    assert bool(chosen) == bool(manifest.num_pieces)
    assert len(chosen) == len(set(chosen)) <= 9
    for piece in chosen:
        size = piece_content_size(manifest, piece)
        content = release.piece(piece)[:size]
        assert len(content) == size > 0
        assert is_piece_right(manifest, piece, content)
        wrong = bytes([content[0] ^ 1]) + content[1:]
        assert not is_piece_right(manifest, piece, wrong)
        assert not is_piece_right(manifest, piece, b"")
    first = next((index for index in indexes if manifest.files[index].size), None)
    if first is not None and len(indexes) <= 3:
        assert manifest.pieces_of(first)[0] in chosen


@given(sized, st.sampled_from(LAYOUTS), st.sampled_from(["", "root", "sha1"]), st.integers(0, 99))
def test_chosen_ranges_are_right_as_a_web_seed_sends_them_and_only_so(
    sizes: dict[str, int], layout: str, digests: str, seed: int
) -> None:
    release = release_of(sizes, layout, digests)
    manifest = release.manifest
    everything = range(len(manifest.files))
    for part in choose_ranges(manifest, everything, Random(seed).randrange):
        content = release.contents[part.file_index][part.offset : part.offset + part.length]
        assert len(content) == part.length > 0
        assert is_range_right(manifest, part, content)
        assert not is_range_right(manifest, part, content[:-1])
        assert not is_range_right(manifest, part, bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("layout", ["packed", "padded", "v2", "hybrid"])
def test_every_changed_file_of_a_publication_has_a_range(layout: str) -> None:
    sizes = {"a": 3 * PIECE + 5, "b": 100, "c": 200}
    manifest = release_of(sizes, layout).manifest
    for index in range(3):
        parts = choose_ranges(manifest, [index], lambda _count: 0)
        assert parts[0].file_index == index
    last, *_ = choose_ranges(manifest, [0], lambda count: count - 1)
    assert last[:3] == (0, 3 * PIECE, 5)


def test_of_many_changed_files_the_first_the_last_and_one_more_are_looked_at() -> None:
    sizes = {f"{number:02}": PIECE for number in range(20)}
    manifest = release_of(sizes, "padded").manifest
    chosen = choose_pieces(manifest, range(2, 18), lambda _count: 0)
    assert chosen == [2, 17, 3, 0, 19]
    assert choose_pieces(manifest, range(2, 6), lambda _count: 0) == [2, 5, 3, 0, 19]
    assert choose_pieces(manifest, range(2, 5), lambda _count: 0) == [2, 3, 4, 0, 19]
    parts = choose_ranges(manifest, range(2, 18), lambda _count: 0)
    assert [part.file_index for part in parts] == [2, 17, 3, 0]


def test_long_pieces_are_few() -> None:
    release = make_release({"a": bytes(100 * 1024**2)}, layout="v1", piece_length=16 * 1024**2)
    assert choose_pieces(release.manifest, [0], lambda _count: 0) == [0]


def test_there_is_nothing_to_look_at_in_files_without_bytes() -> None:
    manifest = make_release({"a": b"", "b": Link("a")}).manifest
    assert choose_pieces(manifest, [0, 1], lambda _count: 0) == []
    assert choose_ranges(manifest, [0, 1], lambda _count: 0) == []


def test_a_piece_of_padding_is_not_asked_for() -> None:
    files = {"a": bytes(PIECE), ".pad/1": pad_file(2 * PIECE)}
    manifest = parse_metainfo(make_raw(files, piece_size=PIECE), windows=False)
    assert manifest.num_pieces == 3
    assert choose_pieces(manifest, [], lambda _count: 1) == [0]


def test_any_file_is_tried_until_one_has_a_range_of_its_own() -> None:
    manifest = release_of({"a": 100, "b": 3 * PIECE}, "v1", "").manifest
    choices = iter([0, 0, 1, 0])  # files, and then a piece of the one that has some
    parts = choose_ranges(manifest, [], lambda _count: next(choices))
    assert parts == [FileRange(1, PIECE - 100, PIECE, 1)]
    assert choose_ranges(manifest, [], lambda _count: 0) == []


@pytest.mark.parametrize("format_", ["v2", "hybrid"])
def test_pieces_of_several_blocks_are_checked_as_bep_52_says(tmp_path: Path, format_: str) -> None:
    piece = 4 * PIECE
    folder = write_tree(tmp_path / "pack", {"a": 2 * piece + 5 * 1024, "b": 3 * PIECE, "c": 5})
    manifest = parse_metainfo(make_libtorrent(folder, format=format_, piece_size=piece))
    for index, file in enumerate(manifest.files):
        data = (folder / file.path).read_bytes()
        for number in range(-(-file.size // piece)):
            content = data[number * piece : (number + 1) * piece]
            part = FileRange(index, number * piece, len(content), -1)
            assert is_range_right(manifest, part, content)
            assert not is_range_right(manifest, part, content[::-1])
