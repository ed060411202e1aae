"""From a layout and its hashes to the bytes of a ``.torrent``.

The info dictionary holds nothing but the content: paths, sizes, BEP 47 attributes, hashes, and
the root name and the private flag that are configured. So the same content and piece length have
the same info-hash on any machine. Modification times differ between machines: they are outside,
under the key ``torsync``, as ``mtimes``: one integer per file and link, in their order (pad files
don't count), 0 where there is none.

A folder is always written in the shape of many files, also if it holds a single one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

import bencode2

from torsync.model.config import TorrentFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.authoring.content import FileHashes, PublishedFile
    from torsync.model.authoring.layout import Layout

MAX_TIME_S = 253_402_300_799  # the last second of the year 9999; later ones count as unknown

_Dict = dict[bytes, Any]


@dataclass(frozen=True)
class Info:
    """An info dictionary.

    Attributes:
        raw: bencoded.
        name: the root name.
        private: BEP 27.
        hash_v1: 20 bytes; None for v2.
        hash_v2: 32 bytes; None for v1.
        v1_hashes: the value of ``pieces``; empty for v2.
    """

    raw: bytes
    name: str
    private: bool
    hash_v1: bytes | None
    hash_v2: bytes | None
    v1_hashes: bytes

    @property
    def info_hash(self) -> str:
        """The hex info-hash that people know it by, as ``Manifest.info_hash``."""
        digest = self.hash_v1 or self.hash_v2
        assert digest is not None
        return digest.hex()


@dataclass(frozen=True)
class Notes:
    """What a ``.torrent`` says outside its info dictionary.

    Attributes:
        trackers: announce URLs, each a tier of its own (BEP 12).
        web_seeds: BEP 19 URLs.
        nodes: DHT nodes (BEP 5), host and port.
        comment: for people.
        created_by: the program's name.
        creation_date_s: Unix seconds; None to leave it out.
    """

    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()
    comment: str = ""
    created_by: str = ""
    creation_date_s: int | None = None


def write_info(
    layout: Layout,
    hashes: Sequence[FileHashes],
    packed: Sequence[bytes] = (),
    *,
    name: str,
    private: bool = False,
) -> Info:
    """Write the info dictionary (BEP 3, 27, 47, 52).

    Args:
        layout: where the files lie.
        hashes: of each of its files, in its order; ``NO_HASHES`` where there are no bytes.
        packed: the SHA-1 of each of its ``packed_pieces``.
        name: the root name.
        private: only the torrent's trackers tell of peers (BEP 27).

    Raises:
        ValueError: the hashes are not those that the layout needs.
    """
    v1_hashes = layout.v1_hashes(hashes, packed)
    has_v1, has_v2 = layout.format is not TorrentFormat.V2, layout.format is not TorrentFormat.V1
    if has_v1 and len(v1_hashes) != 20 * layout.num_pieces:
        raise ValueError(f"{layout.num_pieces} pieces, but {len(v1_hashes)} bytes of SHA-1")
    info: _Dict = {b"name": name.encode(), b"piece length": layout.piece_length}
    if private:
        info[b"private"] = 1
    if has_v1:
        info[b"files"] = _v1_files(layout, hashes, roots=not has_v2)
        info[b"pieces"] = v1_hashes
    if has_v2:
        info[b"file tree"] = _file_tree(layout, hashes)
        info[b"meta version"] = 2
    raw = bencode2.bencode(info)
    return Info(
        raw=raw,
        name=name,
        private=private,
        hash_v1=sha1(raw, usedforsecurity=False).digest() if has_v1 else None,
        hash_v2=sha256(raw).digest() if has_v2 else None,
        v1_hashes=v1_hashes,
    )


def _v1_files(layout: Layout, hashes: Sequence[FileHashes], *, roots: bool) -> list[_Dict]:
    entries: list[_Dict] = []
    pads = layout.pads
    for index, file in enumerate(layout.files):
        if index in pads:
            entries.append(_pad_file(pads[index]))
        entry: _Dict = {b"length": file.size, b"path": file.path.encode().split(b"/")}
        if file.executable or file.hidden or file.link_target is not None:
            entry |= _attributes(file)
        if roots and file.size:
            entry[b"pieces root"] = hashes[index].root
        entries.append(entry)
    if len(layout.files) in pads:
        entries.append(_pad_file(pads[len(layout.files)]))
    return entries


def _pad_file(size: int) -> _Dict:
    return {b"attr": b"p", b"length": size, b"path": [b".pad", b"%d" % size]}


def _file_tree(layout: Layout, hashes: Sequence[FileHashes]) -> _Dict:
    tree: _Dict = {}
    folders: dict[bytes, _Dict] = {b"": tree}
    for file, found in zip(layout.files, hashes, strict=True):
        parent, _slash, name = file.path.encode().rpartition(b"/")
        leaf: _Dict = {} if file.link_target is not None else {b"length": file.size}
        if file.size:
            leaf[b"pieces root"] = found.root
        if file.executable or file.hidden or file.link_target is not None:
            leaf |= _attributes(file)
        _folder(folders, parent)[name] = {b"": leaf}
    return tree


def _folder(folders: dict[bytes, _Dict], path: bytes) -> _Dict:
    """The node of a folder, made with those above it."""
    if path not in folders:
        parent, _slash, name = path.rpartition(b"/")
        folders[path] = _folder(folders, parent)[name] = {}
    return folders[path]


def _attributes(file: PublishedFile) -> _Dict:
    """The BEP 47 keys of a file that has any; letters in the order that libtorrent has."""
    letters = b"h" * file.hidden + b"x" * file.executable
    if file.link_target is None:
        return {b"attr": letters}
    return {b"attr": letters + b"l", b"symlink path": file.link_target.encode().split(b"/")}


def _mtime_s(file: PublishedFile) -> int:
    return file.mtime_s if file.link_target is None and 0 < file.mtime_s <= MAX_TIME_S else 0


def write_metainfo(
    info: Info, layout: Layout, hashes: Sequence[FileHashes], notes: Notes = Notes()
) -> bytes:
    """Write a whole ``.torrent`` around an info dictionary.

    Args:
        info: made of ``layout`` and ``hashes``.
        layout: where the files lie.
        hashes: of each of its files.
        notes: what else to say.
    """
    before: _Dict = {}
    if notes.trackers:
        before[b"announce"] = notes.trackers[0].encode()
        before[b"announce-list"] = [[url.encode()] for url in notes.trackers]
    if notes.comment:
        before[b"comment"] = notes.comment.encode()
    if notes.created_by:
        before[b"created by"] = notes.created_by.encode()
    if notes.creation_date_s is not None:
        before[b"creation date"] = notes.creation_date_s
    after: _Dict = {}
    if notes.nodes:
        after[b"nodes"] = [[host.encode(), port] for host, port in notes.nodes]
    if layout.format is not TorrentFormat.V1:
        after[b"piece layers"] = {found.root: found.layer for found in hashes if found.layer}
    after[b"torsync"] = {b"mtimes": [_mtime_s(file) for file in layout.files]}
    if notes.web_seeds:
        after[b"url-list"] = [url.encode() for url in notes.web_seeds]
    # The keys of a dictionary are sorted, and the info dictionary goes in as it was hashed.
    head, tail = bencode2.bencode(before), bencode2.bencode(after)
    return b"".join([head[:-1], b"4:info", info.raw, tail[1:]])
