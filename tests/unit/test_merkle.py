"""BEP 52 hash trees, against a plain definition and against what libtorrent makes."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.torrents import make_libtorrent
from tests.support.trees import random_bytes
from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root, padding_root

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 4 * BLOCK_SIZE
hashes = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=9)


def plain_root(leaves: list[bytes]) -> bytes:
    """The definition, for a number of leaves that is a power of two."""
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return sha256(plain_root(leaves[:half]) + plain_root(leaves[half:])).digest()


def test_a_single_hash_is_its_own_root() -> None:
    assert merkle_root(b"x" * 32) == b"x" * 32


@given(hashes)
def test_missing_leaves_are_zeros_up_to_a_power_of_two(layer: list[bytes]) -> None:
    width = next(width for width in (1, 2, 4, 8, 16) if width >= len(layer))
    padded = layer + [bytes(32)] * (width - len(layer))
    assert merkle_root(b"".join(layer)) == plain_root(padded)


@given(hashes, st.binary(min_size=32, max_size=32))
def test_a_tree_can_be_widened_with_any_padding(layer: list[bytes], padding: bytes) -> None:
    padded = layer + [padding] * (32 - len(layer))
    assert merkle_root(b"".join(layer), padding=padding, leaves=32) == plain_root(padded)


@pytest.mark.parametrize("leaves", [1, 2, 4, 8, 64])
def test_padding_root_is_the_root_over_zeros(leaves: int) -> None:
    assert padding_root(leaves) == plain_root([bytes(32)] * leaves)


@given(st.integers(1, 40))
def test_piece_layers_and_blocks_give_the_same_root(blocks: int) -> None:
    leaves = [sha256(b"%d" % number).digest() for number in range(blocks)]
    pieces = [
        merkle_root(b"".join(leaves[start : start + 4]), leaves=4) for start in range(0, blocks, 4)
    ]
    if blocks > 4:
        whole = merkle_root(b"".join(leaves))
        assert merkle_root(b"".join(pieces), padding=padding_root(4)) == whole


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE])
def test_blocks_are_hashed_as_short_as_they_are(size: int) -> None:
    data = random_bytes(size)
    starts = range(0, size, BLOCK_SIZE)
    expected = [sha256(data[start : start + BLOCK_SIZE]).digest() for start in starts]
    assert block_hashes(data) == block_hashes(memoryview(data)) == b"".join(expected)


def test_roots_and_layers_are_those_of_libtorrent(tmp_path: Path) -> None:
    import bencode2

    sizes = [1, BLOCK_SIZE, BLOCK_SIZE + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7]
    folder = tmp_path / "release"
    folder.mkdir()
    for size in sizes:
        (folder / f"{size}").write_bytes(random_bytes(size))
    torrent = bencode2.bdecode(make_libtorrent(folder, format="v2", piece_size=PIECE))
    for size in sizes:
        data = random_bytes(size)
        root = torrent[b"info"][b"file tree"][b"%d" % size][b""][b"pieces root"]
        assert merkle_root(block_hashes(data)) == root
        if size > PIECE:
            starts = range(0, size, PIECE)
            layer = b"".join(
                merkle_root(block_hashes(data[start : start + PIECE]), leaves=4) for start in starts
            )
            assert torrent[b"piece layers"][root] == layer
            assert merkle_root(layer, padding=padding_root(4)) == root
