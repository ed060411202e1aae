"""Torrents made key by key, so that tests can make each key wrong; independent of torsync.

No content is hashed: what identifies a file is derived from its path. ``libtorrent_view``
says what libtorrent makes of the same bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import bencode2
import libtorrent as lt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KIB = 1024
BLOCK = 16 * KIB
PIECE = 2 * BLOCK

OUTER_KEYS = {"announce_list": "announce-list", "url_list": "url-list"}

Bencoded = dict[bytes, Any]


class Item(NamedTuple):
    """One file to be put into a torrent; ``path`` uses ``/`` and may be raw bytes."""

    path: str | bytes
    size: int = 0
    attr: bytes = b""
    target: str | None = None
    extra: tuple[tuple[bytes, Any], ...] = ()

    @property
    def raw_path(self) -> list[bytes]:
        path = self.path.encode() if isinstance(self.path, str) else self.path
        return path.split(b"/")

    @property
    def properties(self) -> Bencoded:
        found: Bencoded = dict(self.extra)
        attr = self.attr if self.target is None else self.attr + b"l"
        if attr:
            found[b"attr"] = attr
        if self.target is not None:
            found[b"symlink path"] = self.target.encode().split(b"/")
        return found


class TreeHashes(NamedTuple):
    """The BEP 52 hashes of one file."""

    root: bytes
    layer: bytes


def merkle_root(leaves: Sequence[bytes], padding: bytes) -> bytes:
    """The root over leaves that are filled up to a power of two with ``padding``."""
    level = list(leaves)
    while len(level) > 1:
        if len(level) % 2:
            level.append(padding)
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
        padding = sha256(padding + padding).digest()
    return level[0]


def piece_padding(piece_length: int) -> bytes:
    """The root over a piece of which every block lies past the end of the file (BEP 52)."""
    digest = bytes(32)
    while piece_length > BLOCK:
        digest = sha256(digest + digest).digest()
        piece_length //= 2
    return digest


def tree_hashes(path: str | bytes, size: int, piece_length: int) -> TreeHashes:
    """A root, and a layer that belongs to it where the file has more than one piece."""
    seed = path.encode() if isinstance(path, str) else path
    if size <= piece_length:
        return TreeHashes(sha256(seed).digest(), b"")
    count = -(-size // piece_length)
    layer = [sha256(seed + b"/%d" % index).digest() for index in range(count)]
    return TreeHashes(merkle_root(layer, piece_padding(piece_length)), b"".join(layer))


def pad(size: int) -> Item:
    """A pad file (BEP 47)."""
    return Item(f".pad/{size}", size, b"p")


def with_pads(items: Iterable[Item], piece_length: int, *, tail: bool = True) -> list[Item]:
    """Put a pad file after each file that does not end on a piece boundary."""
    padded: list[Item] = []
    for item in items:
        padded.append(item)
        if item.target is None and item.size % piece_length:
            padded.append(pad(-item.size % piece_length))
    if not tail and padded and padded[-1].attr == b"p":
        padded.pop()
    return padded


def v1_info(
    items: Iterable[Item], piece_length: int = PIECE, *, name: bytes = b"root", **changes: Any
) -> Bencoded:
    """The info dictionary of a multi-file v1 torrent; ``changes`` replace keys, None removes."""
    items = list(items)
    size = sum(item.size for item in items)
    info = {
        b"name": name,
        b"piece length": piece_length,
        b"pieces": b"h" * (20 * -(-size // piece_length)) if piece_length > 0 else b"",
        b"files": [
            {b"length": item.size, b"path": item.raw_path, **item.properties} for item in items
        ],
    }
    return changed(info, changes)


def v1_single(
    name: bytes = b"file.bin", size: int = 100, piece_length: int = PIECE, **changes: Any
) -> Bencoded:
    """The info dictionary of a single-file v1 torrent."""
    return changed(
        {
            b"name": name,
            b"piece length": piece_length,
            b"pieces": b"h" * (20 * -(-size // piece_length)),
            b"length": size,
        },
        changes,
    )


def file_tree(items: Iterable[Item], piece_length: int) -> tuple[Bencoded, dict[bytes, bytes]]:
    """The ``file tree`` of some files and the ``piece layers`` that it needs (BEP 52)."""
    tree: Bencoded = {}
    layers: dict[bytes, bytes] = {}
    for item in items:
        node = tree
        for component in item.raw_path:
            node = node.setdefault(component, {})
        leaf = {b"length": item.size} if item.target is None else {}
        if item.size:
            hashes = tree_hashes(item.path, item.size, piece_length)
            leaf[b"pieces root"] = hashes.root
            if hashes.layer:
                layers[hashes.root] = hashes.layer
        node[b""] = leaf | item.properties
    return tree, layers


def v2_info(
    items: Iterable[Item], piece_length: int = PIECE, *, name: bytes = b"root", **changes: Any
) -> Bencoded:
    """The info dictionary of a v2 torrent."""
    info = {
        b"name": name,
        b"piece length": piece_length,
        b"meta version": 2,
        b"file tree": file_tree(items, piece_length)[0],
    }
    return changed(info, changes)


def hybrid_info(
    items: Sequence[Item], piece_length: int = PIECE, *, name: bytes = b"root", **changes: Any
) -> Bencoded:
    """The info dictionary of a hybrid torrent, pad files included."""
    info = v1_info(with_pads(items, piece_length), piece_length, name=name)
    return changed(info | v2_info(items, piece_length, name=name), changes)


def torrent(info: Any, layers: dict[bytes, bytes] | None = None, **outer: Any) -> bytes:
    """A ``.torrent``; outer keys are written as in ``OUTER_KEYS``, or with ``_`` for a space."""
    whole: Bencoded = {} if layers is None else {b"piece layers": layers}
    for key, value in outer.items():
        whole[OUTER_KEYS.get(key, key.replace("_", " ")).encode()] = value
    return bencode2.bencode(whole | {b"info": info})


def v1(items: Iterable[Item], piece_length: int = PIECE, **changes: Any) -> bytes:
    """A v1 torrent."""
    return torrent(v1_info(items, piece_length, **changes))


def v2(items: Sequence[Item], piece_length: int = PIECE, **changes: Any) -> bytes:
    """A v2 torrent."""
    layers = file_tree(items, piece_length)[1]
    return torrent(v2_info(items, piece_length, **changes), layers)


def hybrid(items: Sequence[Item], piece_length: int = PIECE, **changes: Any) -> bytes:
    """A hybrid torrent."""
    layers = file_tree(items, piece_length)[1]
    return torrent(hybrid_info(items, piece_length, **changes), layers)


def changed(info: Bencoded, changes: dict[str, Any]) -> Bencoded:
    """Replace keys, written with ``_`` for a space; None removes one."""
    for key, value in changes.items():
        raw = key.replace("_", " ").encode()
        if value is None:
            info.pop(raw, None)
        else:
            info[raw] = value
    return info


class Placed(NamedTuple):
    """A file as libtorrent sees it."""

    path: str
    offset: int
    size: int


class View(NamedTuple):
    """What libtorrent makes of a torrent, pad files left out."""

    files: list[Placed]
    num_pieces: int
    layout_size: int
    info_hash_v1: bytes | None
    info_hash_v2: bytes | None


def libtorrent_view(data: bytes) -> View:
    """Load a torrent with libtorrent; paths are without the root name, renamings applied."""
    params = lt.load_torrent_buffer(data, {})
    layout = params.ti.layout()
    hashes = params.ti.info_hashes()
    renamed = params.renamed_files
    single = layout.num_files() == 1 or "/" not in layout.file_path(0)
    files = []
    for index in range(layout.num_files()):
        if int(layout.file_flags(index)) & 1:
            continue
        path = renamed.get(index, layout.file_path(index))
        files.append(
            Placed(
                path if single and "/" not in path else path.partition("/")[2],
                layout.file_offset(index),
                layout.file_size(index),
            )
        )
    return View(
        files,
        layout.num_pieces(),
        layout.total_size(),
        hashes.v1.to_bytes() if hashes.has_v1() else None,
        hashes.v2.to_bytes() if hashes.has_v2() else None,
    )
