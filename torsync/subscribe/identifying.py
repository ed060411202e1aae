"""Read whole files to know them by the digest that a release has of each of its files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from torsync.model.errors import InterruptedByUserError
from torsync.model.manifest import content_digest
from torsync.model.merkle import block_hashes, merkle_root
from torsync.subscribe.hashing import is_as_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from torsync.disk.tree import Tree
    from torsync.model.tree_index import DiskEntry

_PART_BYTES = 256 * 1024  # a multiple of the block size of BEP 52


class Identified(NamedTuple):
    """What reading files gave.

    Attributes:
        digests: path → ``Manifest.digest`` of its content. Those that could not be read, or
            changed meanwhile, are left out.
        bytes_hashed: how much was read.
    """

    digests: dict[str, str]
    bytes_hashed: int


def identify_files(
    tree: Tree,
    entries: Mapping[str, DiskEntry],
    paths: Sequence[str],
    kind: str,
    *,
    stopping: Callable[[], bool],
) -> Identified:
    """Read files of the tree, each whole.

    Args:
        tree: that they are in.
        entries: how they were when they were looked at.
        paths: of the files.
        kind: of digest: ``root`` or ``sha1``.
        stopping: asked several times a file, from several threads.

    Raises:
        InterruptedByUserError: ``stopping`` said so.
    """
    if not paths:
        return Identified({}, 0)

    def identify(path: str) -> tuple[str, int]:
        try:
            with os.fdopen(tree.open(path), "rb") as file:
                digest, size = _digest(kind, file, stopping)
                is_unchanged = is_as_seen(os.fstat(file.fileno()), entries[path])
        except OSError:  # it is nobody's source then; what it is wanted for is told elsewhere
            return "", 0
        return digest if is_unchanged else "", size

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="identify") as pool:
        found = list(pool.map(identify, paths))
    if stopping():
        raise InterruptedByUserError("stopped while hashing")
    digests = {path: digest for path, (digest, _size) in zip(paths, found, strict=True) if digest}
    return Identified(digests, sum(size for _digest, size in found))


def _digest(kind: str, file: BinaryIO, stopping: Callable[[], bool]) -> tuple[str, int]:
    """The digest of a file that is not empty, and its size."""
    size = 0

    def parts() -> Iterator[bytes]:
        nonlocal size
        while not stopping() and (part := file.read(_PART_BYTES)):
            size += len(part)
            yield part

    if kind == "root":
        leaves = b"".join(map(block_hashes, parts()))
        return content_digest(kind, merkle_root(leaves) if leaves else b"", size), size
    found = sha1(usedforsecurity=False)
    for part in parts():
        found.update(part)
    return content_digest(kind, found.digest(), size), size
