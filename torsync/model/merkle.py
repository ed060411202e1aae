"""BEP 52 hash trees: SHA-256 over 16 KiB blocks, padded with zero hashes to a power of two."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_SIZE = 16 * 1024


def merkle_root(hashes: bytes, *, padding: bytes = bytes(32), leaves: int = 0) -> bytes:
    """Compute the root over 32-byte ``hashes``, given one after the other.

    Args:
        hashes: at least one hash.
        padding: what stands for a missing leaf: zeros for blocks, ``padding_root`` for pieces.
        leaves: widen to this many leaves (a power of two); 0 for the next power of two.
    """
    layer = hashes
    width = leaves or 1 << (len(hashes) // 32 - 1).bit_length()
    while width > 1:
        if len(layer) % 64:
            layer += padding
        layer = _hash_each([layer[at : at + 64] for at in range(0, len(layer), 64)])
        width //= 2
        if width * 32 > len(layer):  # else nothing is missing any more, all the way up
            padding = sha256(padding + padding).digest()
    return layer


def padding_root(leaves: int) -> bytes:
    """Compute the root over ``leaves`` (a power of two) zero hashes."""
    root = bytes(32)
    while leaves > 1:
        root = sha256(root + root).digest()
        leaves //= 2
    return root


def block_hashes(data: bytes | memoryview) -> bytes:
    """Hash each 16 KiB block of ``data``, the last one as short as it is."""
    view = memoryview(data)
    return _hash_each([view[at : at + BLOCK_SIZE] for at in range(0, len(view), BLOCK_SIZE)])


def _hash_each(blocks: Iterable[bytes | memoryview]) -> bytes:
    """Hash each of ``blocks``; give the hashes one after the other.

    Several threads do this at once: between two blocks, when only one of them can go on, there
    is as little to do as can be.
    """
    hashed = list(map(sha256, blocks))
    return b"".join([block.digest() for block in hashed])
