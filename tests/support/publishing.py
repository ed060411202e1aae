"""Publish a folder, and check every hash of what came of it."""

from __future__ import annotations

from contextlib import closing
from hashlib import sha1
from typing import TYPE_CHECKING

from tests.support.torrents import block_hashes, root_of
from tests.support.trees import tree_bytes
from torsync.disk.tree import Tree
from torsync.model.metainfo import parse_metainfo
from torsync.publish.author import Authored, AuthorOptions, Sources, author
from torsync.publish.hash_cache import HashCache

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from torsync.model.manifest import Manifest
    from torsync.publish.hashing.progress import HashProgress

PIECE = 32 * 1024
LATER_NS = 2**62
"""What a file system's clock says long after all files were written: none is racily clean."""


def fail(message: str, hint: str) -> None:
    """Be told that a cache was begun anew where none should be."""
    raise AssertionError((message, hint))


def publish(
    folder: Path,
    cache_file: Path,
    options: AuthorOptions | None = None,
    *,
    previous: Manifest | None = None,
    sources: Callable[[str], Sources] = lambda _info_hash: Sources(),
    progress: Callable[[HashProgress], None] = lambda _progress: None,
    stopping: Callable[[], bool] = lambda: False,
    clock_ns: int | None = LATER_NS,
    workers: int = 0,
) -> Authored:
    """Author a folder with the cache in a file, and see that what it says parses to the same."""
    clock = None if clock_ns is None else lambda: clock_ns
    with (
        closing(Tree(folder, clock_ns=clock)) as tree,
        closing(HashCache(cache_file, on_new=fail)) as cache,
    ):
        authored = author(
            tree,
            options or AuthorOptions("release", piece_size=PIECE),
            cache,
            previous=previous,
            sources=sources,
            progress=progress,
            stopping=stopping,
            now_s=lambda: 1_700_000_000.0,
            workers=workers,
        )
    assert parse_metainfo(authored.metainfo) == authored.manifest
    return authored


def assert_right(authored: Authored, folder: Path, *, without: Collection[str] = ()) -> None:
    """Compare every hash with the content of the folder, which has to be listed whole.

    Args:
        authored: what is judged.
        folder: what was published.
        without: paths that are left out.
    """
    manifest = authored.manifest
    content = {path: data for path, data in tree_bytes(folder).items() if path not in without}
    assert {file.path for file in manifest.files} == content.keys()
    assert authored.stamps.keys() == {p for p, data in content.items() if isinstance(data, bytes)}
    for index, file in enumerate(manifest.files):
        data = content[file.path]
        if not isinstance(data, bytes):
            assert file.link_target is not None
            continue
        assert file.size == len(data) == authored.stamps[file.path].size
        assert file.pieces_root == (root_of(block_hashes(data)) if data else None), file.path
        if manifest.is_v2:
            for number in range(-(-len(data) // manifest.piece_length)):
                manifest.v2_hash(index, number)
    if not manifest.v1_hashes:
        return
    assert len(manifest.v1_hashes) == 20 * manifest.num_pieces
    for piece in range(manifest.num_pieces):
        found = sha1(usedforsecurity=False)
        for at, offset, length in manifest.segments(piece):
            data = bytes(length) if at is None else content[manifest.files[at].path]
            assert isinstance(data, bytes)
            found.update(data if at is None else data[offset : offset + length])
        assert found.digest() == manifest.v1_hash(piece), piece
