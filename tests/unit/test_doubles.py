"""Pieces with equal content: which are fetched, and which are copied from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.packed import make_packed
from tests.support.torrents import make_libtorrent
from tests.support.trees import random_bytes, write_tree
from torsync.model.doubles import find_doubles
from torsync.model.metainfo import parse_metainfo

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
LONG = random_bytes(3 * PIECE + 100, "long")
TAIL = random_bytes(100, "tail")


def manifest_of(folder: Path, contents: dict[str, bytes], format_: str) -> Manifest:
    write_tree(folder, contents)
    if format_ == "packed":
        return parse_metainfo(make_packed(folder, piece_size=PIECE), windows=False)
    torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
    return parse_metainfo(torrent, windows=False)


def content(manifest: Manifest, contents: dict[str, bytes], piece: int) -> bytes:
    return b"".join(
        bytes(length)
        if index is None
        else contents[manifest.files[index].path][offset : offset + length]
        for index, offset, length in manifest.segments(piece)
    )


@pytest.mark.parametrize("format_", ["v1", "packed", "v2", "hybrid"])
def test_each_content_is_fetched_once(tmp_path: Path, format_: str) -> None:
    contents = {
        "a": LONG,
        "a's end": LONG[3 * PIECE :],
        "b": LONG,
        "c": LONG[PIECE : 2 * PIECE] + TAIL,
        "d": bytes(4 * PIECE),
        "e": LONG[: 2 * PIECE],
    }
    manifest = manifest_of(tmp_path / "pack", contents, format_)
    doubles = find_doubles(manifest, range(manifest.num_pieces))
    assert all(origin < piece and origin not in doubles for piece, origin in doubles.items())
    # In v2 the padding after a file is no part of its last piece.
    there = [content(manifest, contents, piece) for piece in range(manifest.num_pieces)]
    for piece, origin in doubles.items():
        assert there[piece] == there[origin]
    fetched = [there[piece] for piece in range(manifest.num_pieces) if piece not in doubles]
    assert len(fetched) == len(set(fetched))
    assert doubles


@pytest.mark.parametrize("format_", ["v2", "hybrid"])
def test_only_the_pieces_that_are_asked_for_count(tmp_path: Path, format_: str) -> None:
    manifest = manifest_of(tmp_path / "pack", {"a": LONG, "b": LONG}, format_)
    assert find_doubles(manifest, [0, 5, 6]) == {}
    assert find_doubles(manifest, [1, 3, 5, 6, 7]) == {5: 1, 7: 3}


def test_files_that_differ_in_zeros_at_the_end_are_not_equal(tmp_path: Path) -> None:
    """A block (BEP 52) is hashed as long as it is."""
    contents = {"a": TAIL, "b": TAIL + bytes(5)}
    for format_ in ("v2", "packed", "hybrid"):
        manifest = manifest_of(tmp_path / format_, contents, format_)
        for piece, origin in find_doubles(manifest, range(manifest.num_pieces)).items():
            there = (content(manifest, contents, at) for at in (piece, origin))
            assert len(set(there)) == 1
