"""Which parts of a release are looked at before it goes public, and whether they are right; pure.

To read all of it once more would cost what the content holds. A mistake in how it is served, such
as another folder or the release before, shows in what has changed, and in any part of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.merkle import BLOCK_SIZE, block_hashes, merkle_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.manifest import Manifest

_MOST_CHANGED = 3
_MOST_BYTES = 16 * 1024**2

Choose = Callable[[int], int]
"""Gives a random number below another one: ``random.randrange``."""


class FileRange(NamedTuple):
    """Bytes of one file that have a hash of their own.

    Attributes:
        file_index: of the manifest.
        offset: of the first byte in the file.
        length: bytes.
        piece: of the manifest whose SHA-1 is that of the bytes and zeros behind them (BEP 3); -1
            where their BEP 52 hash is known.
    """

    file_index: int
    offset: int
    length: int
    piece: int


def choose_pieces(manifest: Manifest, changed: Sequence[int], choose: Choose) -> list[int]:
    """Choose some pieces: of changed files, the first, the last, and any other one.

    Args:
        manifest: of the release.
        changed: indexes of files that the release before does not have so.
        choose: gives a random number below another one.
    """
    if not manifest.num_pieces:
        return []
    found: list[int] = []
    for index in _some(changed, choose):
        pieces = manifest.pieces_of(index)
        if pieces:
            found += [pieces[0], pieces[-1]]
    found += [0, manifest.num_pieces - 1, choose(manifest.num_pieces)]
    chosen = [piece for piece in dict.fromkeys(found) if _has_content(manifest, piece)]
    return chosen[: max(1, _MOST_BYTES // manifest.piece_length)]


def piece_content_size(manifest: Manifest, piece: int) -> int:
    """How many bytes of a piece peers can be asked for: those of a file in v2 (BEP 52)."""
    if manifest.v1_hashes:
        return manifest.piece_size(piece)
    return sum(run.length for run in manifest.segments(piece) if run.file_index is not None)


def is_piece_right(manifest: Manifest, piece: int, content: bytes) -> bool:
    """Whether a piece, as a peer sends it, has its hash."""
    if manifest.v1_hashes:
        return sha1(content, usedforsecurity=False).digest() == manifest.v1_hash(piece)
    run = next(run for run in manifest.segments(piece) if run.file_index is not None)
    assert run.file_index is not None
    return _is_v2_right(manifest, run.file_index, run.file_offset, content)


def choose_ranges(manifest: Manifest, changed: Sequence[int], choose: Choose) -> list[FileRange]:
    """Choose ranges of files that can be checked alone: of changed files, and of any other one.

    Args:
        manifest: of the release.
        changed: indexes of files that the release before does not have so.
        choose: gives a random number below another one.
    """
    everything = range(len(manifest.files))
    found = [_range_in(manifest, index, choose) for index in _some(changed, choose)]
    # Not every file has a range of its own where files lie side by side.
    for _ in range(8 * bool(everything)):
        found.append(_range_in(manifest, everything[choose(len(everything))], choose))
        if found[-1] is not None:
            break
    return list(dict.fromkeys(one for one in found if one is not None))


def is_range_right(manifest: Manifest, part: FileRange, content: bytes) -> bool:
    """Whether the bytes of a range have its hash."""
    if len(content) != part.length:
        return False
    if part.piece < 0:
        return _is_v2_right(manifest, part.file_index, part.offset, content)
    padded = content + bytes(manifest.piece_size(part.piece) - part.length)
    return sha1(padded, usedforsecurity=False).digest() == manifest.v1_hash(part.piece)


def _some(indexes: Sequence[int], choose: Choose) -> list[int]:
    """The first, the last, and one in between."""
    if len(indexes) <= _MOST_CHANGED:
        return list(indexes)
    return [indexes[0], indexes[-1], indexes[1 + choose(len(indexes) - 2)]]


def _has_content(manifest: Manifest, piece: int) -> bool:
    return any(run.file_index is not None for run in manifest.segments(piece))


def _range_in(manifest: Manifest, index: int, choose: Choose) -> FileRange | None:
    file, length = manifest.files[index], manifest.piece_length
    if not file.size:
        return None
    if file.pieces_root is not None and (manifest.is_v2 or file.size <= length):
        number = choose(-(-file.size // length))
        return FileRange(index, number * length, min(length, file.size - number * length), -1)
    alone = [piece for piece in manifest.pieces_of(index) if _is_alone(manifest, piece)]
    if not alone:
        return None
    piece = alone[choose(len(alone))]
    run = next(manifest.segments(piece))
    return FileRange(index, run.file_offset, run.length, piece)


def _is_alone(manifest: Manifest, piece: int) -> bool:
    """Whether a piece is bytes of one file, from its beginning, and padding behind them."""
    runs = list(manifest.segments(piece))
    return runs[0].file_index is not None and all(run.file_index is None for run in runs[1:])


def _is_v2_right(manifest: Manifest, index: int, offset: int, content: bytes) -> bool:
    """Whether bytes that start a piece of a file have the hash that BEP 52 gives it."""
    if not content:
        return False
    length = manifest.piece_length
    is_small = manifest.files[index].size <= length
    leaves = 0 if is_small else length // BLOCK_SIZE
    expected = manifest.v2_hash(index, offset // length)
    return merkle_root(block_hashes(content), leaves=leaves) == expected
