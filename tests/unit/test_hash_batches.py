"""Batches of pieces: which files they touch, and when a file is done."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.releases import LAYOUTS, PIECE_LENGTH, make_release
from tests.support.torrents import make_raw, pad_file
from torsync.model.hash_batches import FilesDone, Walk
from torsync.model.metainfo import parse_metainfo
from torsync.model.plan import content_bytes_of

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    sizes = draw(st.lists(st.integers(0, 4 * PIECE_LENGTH + 1), min_size=1, max_size=12))
    contents = {f"{number:02}": bytes(size) for number, size in enumerate(sizes)}
    return make_release(contents, layout=draw(st.sampled_from(LAYOUTS))).manifest


def some(manifest: Manifest, seed: int) -> list[int]:
    dice = random.Random(seed)
    return [piece for piece in range(manifest.num_pieces) if dice.random() < 0.7]


def files_in(manifest: Manifest, pieces: list[int]) -> set[int]:
    return {index for piece in pieces for index in manifest.files_in(piece)}


@given(manifests(), st.integers(0, 99))
def test_the_walk_meets_the_files_of_each_piece(manifest: Manifest, seed: int) -> None:
    walk = Walk(manifest)
    asked = some(manifest, seed)
    found = list(walk.pieces(asked))
    assert [piece for piece, _, _ in found] == asked
    for piece, first, stop in found:
        met = [walk.file_index(place) for place in range(first, stop)]
        assert met == list(manifest.files_in(piece))


@given(manifests(), st.integers(0, 99), st.integers(1, 5 * PIECE_LENGTH))
def test_batches_hold_every_piece_once_and_count_content_and_files(
    manifest: Manifest, seed: int, batch_bytes: int
) -> None:
    walk = Walk(manifest)
    asked = some(manifest, seed)
    batches = walk.batches(asked, batch_bytes)
    assert [piece for batch in batches for piece in batch.pieces] == asked
    for batch in batches:
        met = sorted(files_in(manifest, list(batch.pieces)))
        assert batch.files == len(met)
        assert batch.content_bytes == content_bytes_of(manifest, batch.pieces)
        ends = [walk.file_index(place) for place in (batch.first, batch.last) if met]
        assert ends == [*met[:1], *met[-1:]]
    assert all(batch.content_bytes >= batch_bytes for batch in batches[:-1])
    assert walk.content_bytes(asked) == content_bytes_of(manifest, asked)


@given(manifests(), st.integers(0, 99), st.integers(1, 5 * PIECE_LENGTH))
def test_a_file_is_done_with_the_last_of_its_batches_whatever_their_order(
    manifest: Manifest, seed: int, batch_bytes: int
) -> None:
    batches = Walk(manifest).batches(some(manifest, seed), batch_bytes)
    files = FilesDone(batches)
    random.Random(seed).shuffle(batches)
    left = list(batches)
    all_files = {index for batch in batches for index in files_in(manifest, list(batch.pieces))}
    assert (files.done, files.total) == (0, len(all_files))
    while left:
        files.add(left.pop())
        open_files = {index for batch in left for index in files_in(manifest, list(batch.pieces))}
        assert files.done == len(all_files - open_files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_to_hash_gives_no_batch(layout: str) -> None:
    walk = Walk(make_release({"empty": b"", "full": b"1"}, layout=layout).manifest)
    assert walk.batches([], 1) == []
    assert walk.content_bytes([]) == 0
    assert FilesDone([]).total == 0


def test_pieces_that_are_all_padding_hold_no_file() -> None:
    files = {"a": b"1" * 10, ".pad/70": pad_file(70), "b": b"2" * 10}
    manifest = parse_metainfo(make_raw(files, piece_size=20), windows=False)
    walk = Walk(manifest)
    assert list(walk.pieces(range(5))) == [(0, 0, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 2)]
    batches = walk.batches(range(5), 1)
    assert [list(batch.pieces) for batch in batches] == [[0], [1, 2, 3, 4]]
    (padding,) = walk.batches([1, 2], 1)
    assert padding == ([1, 2], 0, 0, 0, -1)
    assert walk.batches([0, 1, 2], 1)[1] == padding
    files_done = FilesDone([padding])
    files_done.add(padding)
    assert (files_done.done, files_done.total) == (0, 0)


def test_pieces_of_padding_behind_all_files_hold_no_file() -> None:
    files = {"a": b"1" * 10, ".pad/70": pad_file(70)}
    manifest = parse_metainfo(make_raw(files, piece_size=20), windows=False)
    found = list(Walk(manifest).pieces(range(4)))
    assert found == [(0, 0, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1)]
