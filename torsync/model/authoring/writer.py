"""From a layout and its hashes to the bytes of a ``.torrent``.

The info dictionary holds nothing but the content: paths, sizes, BEP 47 attributes, hashes, and
the root name and the private flag that are configured. So the same content and piece length have
the same info-hash on any machine. Modification times differ between machines: they are outside,
under the key ``torsync``, as ``mtimes``: one integer per file and link, in their order (pad files
don't count), 0 where there is none. So is where the hints file is, as ``hints`` under that key.

A folder is always written in the shape of many files, also if it holds a single one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

import bencode2

from torsync.model.authoring.file_lists import encode_file_list, encode_file_tree
from torsync.model.config import TorrentFormat
from torsync.model.manifest import FileEntry, Manifest
from torsync.model.metainfo_notes import (
    hints,
    label,
    nodes,
    optional_time,
    text,
    trackers,
    web_seeds,
)
from torsync.model.names import resolve_meeting_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torsync.model.authoring.content import FileHashes, PublishedFile
    from torsync.model.authoring.layout import Layout

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

    raw: bytes = field(repr=False)
    name: str
    private: bool
    hash_v1: bytes | None
    hash_v2: bytes | None
    v1_hashes: bytes = field(repr=False)

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
        hints: where the hints file is, as a reference relative to the ``.torrent``'s URL (RFC
            3986); empty: there is none.
    """

    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()
    comment: str = ""
    created_by: str = ""
    creation_date_s: int | None = None
    hints: str = ""


NO_NOTES = Notes()


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
    _check_hashes(layout, hashes)
    v1_hashes = layout.v1_hashes(hashes, packed)
    has_v1, has_v2 = layout.format is not TorrentFormat.V2, layout.format is not TorrentFormat.V1
    if has_v1 and len(v1_hashes) != 20 * layout.num_pieces:
        raise ValueError(f"{layout.num_pieces} pieces, but {len(v1_hashes)} bytes of SHA-1")
    parts: list[bytes] = [b"d"]
    if has_v2:
        parts += [b"9:file tree", encode_file_tree(layout, hashes)]
    if has_v1:
        parts += [b"5:files", encode_file_list(layout, hashes, roots=not has_v2)]
    if has_v2:
        parts.append(b"12:meta versioni2e")
    rest: _Dict = {b"name": name.encode(), b"piece length": layout.piece_length}
    if has_v1:
        rest[b"pieces"] = v1_hashes
    if private:
        rest[b"private"] = 1
    parts.append(bencode2.bencode(rest)[1:])
    raw = b"".join(parts)
    return Info(
        raw=raw,
        name=name,
        private=private,
        hash_v1=sha1(raw, usedforsecurity=False).digest() if has_v1 else None,
        hash_v2=sha256(raw).digest() if has_v2 else None,
        v1_hashes=v1_hashes,
    )


def _check_hashes(layout: Layout, hashes: Sequence[FileHashes]) -> None:
    piece_length = layout.piece_length
    has_layers = layout.format is not TorrentFormat.V1
    for file, (root, layer, _v1) in zip(layout.files, hashes, strict=True):
        size = file.size
        if len(root) != (32 if size else 0):
            raise ValueError(f"{file.path!r} of {size} bytes has a root of {len(root)} bytes")
        needed = 32 * -(-size // piece_length) if size > piece_length else 0
        if has_layers and len(layer) != needed:
            raise ValueError(f"{file.path!r} needs {needed} bytes of layer, found {len(layer)}")


def write_metainfo(
    info: Info, layout: Layout, hashes: Sequence[FileHashes], notes: Notes = NO_NOTES
) -> bytes:
    """Write a whole ``.torrent`` around an info dictionary.

    Args:
        info: made of ``layout`` and ``hashes``.
        layout: where the files lie.
        hashes: of each of its files.
        notes: what else to say.
    """
    before: _Dict = {}
    after: _Dict = {}
    for key, value in {**_outer(notes), **_outer_of_files(layout, hashes, notes)}.items():
        (before if key < b"info" else after)[key] = value
    # The keys of a dictionary are sorted, and the info dictionary goes in as it was hashed.
    head, tail = bencode2.bencode(before), bencode2.bencode(after)
    return b"".join([head[:-1], b"4:info", info.raw, tail[1:]])


def _outer(notes: Notes) -> _Dict:
    outer: _Dict = {}
    if notes.trackers:
        outer[b"announce"] = notes.trackers[0].encode()
        outer[b"announce-list"] = [[url.encode()] for url in notes.trackers]
    if notes.comment:
        outer[b"comment"] = notes.comment.encode()
    if notes.created_by:
        outer[b"created by"] = notes.created_by.encode()
    if notes.creation_date_s is not None:
        outer[b"creation date"] = notes.creation_date_s
    if notes.nodes:
        outer[b"nodes"] = [[host.encode(), port] for host, port in notes.nodes]
    if notes.web_seeds:
        outer[b"url-list"] = [url.encode() for url in notes.web_seeds]
    return outer


def _outer_of_files(layout: Layout, hashes: Sequence[FileHashes], notes: Notes) -> _Dict:
    extra: _Dict = {b"mtimes": list(map(_mtime_s, layout.files))}
    if notes.hints:
        extra[b"hints"] = notes.hints.encode()
    outer: _Dict = {b"torsync": extra}
    if layout.format is not TorrentFormat.V1:
        outer[b"piece layers"] = _piece_layers(layout, hashes)
    return outer


def _piece_layers(layout: Layout, hashes: Sequence[FileHashes]) -> dict[bytes, bytes]:
    """The layers of the files of more than one piece; of no file in v1, where nobody reads them."""
    if layout.format is TorrentFormat.V1:
        return {}
    return {
        found.root: found.layer
        for file, found in zip(layout.files, hashes, strict=True)
        if file.size > layout.piece_length
    }


def _mtime_s(file: PublishedFile) -> int:
    return (file.link_target is None and optional_time(file.mtime_s)) or 0


def manifest_of(
    info: Info, layout: Layout, hashes: Sequence[FileHashes], notes: Notes = NO_NOTES
) -> Manifest:
    """Give what ``parse_metainfo`` makes of ``write_metainfo``, several times as fast.

    Args:
        info: made of ``layout`` and ``hashes``.
        layout: where the files lie.
        hashes: of each of its files.
        notes: what else the ``.torrent`` says.

    Raises:
        ManifestError: two files have names that meet, with no room for a suffix.
    """
    outer = _outer(notes)
    paths = resolve_meeting_names([file.path for file in layout.files])
    return Manifest(
        name=label(info.name.encode()),
        info_hash_v1=info.hash_v1,
        info_hash_v2=info.hash_v2,
        piece_length=layout.piece_length,
        layout_size=layout.size,
        files=tuple(
            FileEntry(
                path,
                file.size,
                offset,
                file.executable,
                file.hidden,
                file.link_target,
                _mtime_s(file) or None,
                None,
                found.root or None,
            )
            for path, file, offset, found in zip(
                paths, layout.files, layout.offsets, hashes, strict=True
            )
        ),
        v1_hashes=info.v1_hashes,
        piece_layers=_piece_layers(layout, hashes),
        trackers=trackers(outer),
        web_seeds=web_seeds(outer),
        nodes=nodes(outer),
        private=info.private,
        comment=text(outer.get(b"comment")),
        created_by=text(outer.get(b"created by")),
        creation_date_s=optional_time(outer.get(b"creation date")),
        hints=hints({b"torsync": {b"hints": notes.hints.encode()}}),
    )
