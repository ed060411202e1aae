"""BEP 52 hash trees: SHA-256 over 16 KiB blocks, padded with zero hashes to a power of two."""

from __future__ import annotations

from hashlib import sha256

BLOCK_SIZE = 16 * 1024


def merkle_root(hashes: bytes, *, padding: bytes = bytes(32), leaves: int = 0) -> bytes:
    """Compute the root over 32-byte ``hashes``, given one after the other.

    Args:
        hashes: at least one hash.
        padding: what stands for a missing leaf: zeros for blocks, ``padding_root`` for pieces.
        leaves: widen to this many leaves (a power of two); 0 for the next power of two.
    """
    layer = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    width = leaves or 1 << (len(layer) - 1).bit_length()
    while width > 1:
        if len(layer) % 2:
            layer.append(padding)
        pairs = iter(layer)
        layer = [sha256(left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        padding = sha256(padding + padding).digest()
        width //= 2
    return layer[0]


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
    return b"".join(
        sha256(view[at : at + BLOCK_SIZE]).digest() for at in range(0, len(view), BLOCK_SIZE)
    )
