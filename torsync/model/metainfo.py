"""From the bytes of a ``.torrent`` to a ``Manifest``, or an error that names what is wrong."""

from __future__ import annotations

from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any, NoReturn

import bencode2

from torsync.model.errors import ManifestError
from torsync.model.manifest import FileEntry, Manifest
from torsync.model.merkle import BLOCK_SIZE, merkle_root, padding_root
from torsync.model.metainfo_notes import (
    hints,
    label,
    modification_times,
    nodes,
    optional_time,
    text,
    trackers,
    web_seeds,
)
from torsync.model.names import (
    BITCOMET_PAD,
    NameChecker,
    resolve_meeting_names,
    shown_path,
    shown_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PIECES = 4 * 1024 * 1024
MAX_PIECE_BYTES = 1 << 28  # libtorrent takes no longer ones
MAX_FILE_BYTES = 1 << 48
MAX_TOTAL_BYTES = 1 << 50

_V2 = 2
_V1_KEYS = frozenset([b"pieces", b"files", b"length"])
_Dict = dict[bytes, Any]


def parse_metainfo(data: bytes, *, windows: bool = False) -> Manifest:
    """Parse a ``.torrent``: v1 (BEP 3), v2 and hybrid (BEP 52), with BEP 47 attributes.

    Args:
        data: the whole file.
        windows: also refuse names that Windows reserves.

    Raises:
        ManifestError: the bytes are not a ``.torrent`` that can be applied safely; the
            message names the entry, what was expected and what was found.
    """
    outer = _decode(data)
    info = outer.get(b"info")
    if not isinstance(info, dict):
        _refuse("it has no info dictionary")
    raw_info = bencode2.bencode(info)
    hash_v1, hash_v2 = sha1(raw_info, usedforsecurity=False).digest(), sha256(raw_info).digest()
    del raw_info
    piece_length = _integer(info, b"piece length", "the info dictionary")
    if not 0 < piece_length <= MAX_PIECE_BYTES:
        _refuse(
            f"the piece length must be 1 to {MAX_PIECE_BYTES}, found {shown_value(piece_length)}"
        )
    has_v1, has_v2 = _formats(info)
    checker = NameChecker(windows=windows)
    files: list[FileEntry] = []
    size = 0
    if has_v1:
        files, size = _parse_v1(info, checker)
    if has_v2:
        _check_v2_piece_length(piece_length)
        v2_files, v2_size = _parse_v2(info, checker, piece_length)
        if has_v1:
            files = _merge_hybrid(files, v2_files, size)
        else:
            files, size = v2_files, v2_size
    if not files:
        _refuse("it lists no files")
    _check_total(size, piece_length)
    return Manifest(
        name=label(_in_utf8(info, b"name")),
        info_hash_v1=hash_v1 if has_v1 else None,
        info_hash_v2=hash_v2 if has_v2 else None,
        piece_length=piece_length,
        layout_size=size,
        files=_with_safe_names(_with_times(files, modification_times(outer, len(files)))),
        v1_hashes=_v1_hashes(info, size, piece_length) if has_v1 else b"",
        piece_layers=_piece_layers(outer, files, piece_length) if has_v2 else {},
        trackers=trackers(outer),
        web_seeds=web_seeds(outer),
        nodes=nodes(outer),
        private=info.get(b"private") == 1,
        comment=text(outer.get(b"comment")),
        created_by=text(outer.get(b"created by")),
        creation_date_s=optional_time(outer.get(b"creation date")),
        hints=hints(outer),
    )


def _decode(data: bytes) -> _Dict:
    try:
        outer = bencode2.bdecode(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"it is not valid bencode: {error}") from None
    except MemoryError:
        raise ManifestError("it takes more memory than there is") from None
    if not isinstance(outer, dict):
        _refuse(f"expected a dictionary, found a {type(outer).__name__}")
    return outer


def _formats(info: _Dict) -> tuple[bool, bool]:
    """Which hashes describe the content: v1, v2."""
    version = info.get(b"meta version", 1)
    if not isinstance(version, int) or version not in {1, _V2}:
        _refuse(f"its meta version is {shown_value(version)}; versions 1 and 2 are known")
    has_v2 = version == _V2
    has_v1 = not has_v2 or not _V1_KEYS.isdisjoint(info)
    return has_v1, has_v2


# --- v1 (BEP 3, BEP 47) -------------------------------------------------------------------


def _parse_v1(info: _Dict, checker: NameChecker) -> tuple[list[FileEntry], int]:
    if b"files" not in info:
        entry = _file_entry(info, checker.path([_in_utf8(info, b"name")]), 0, checker)
        return [entry], entry.size
    listed = info[b"files"]
    if not isinstance(listed, list):
        _refuse("its files must be a list")
    files: list[FileEntry] = []
    offset = 0
    for raw in listed:
        if not isinstance(raw, dict):
            _refuse(f"a file entry must be a dictionary, found a {type(raw).__name__}")
        if b"attr" in raw and b"p" in _attributes(raw):
            offset += _size(raw, "a pad file")
            continue
        path = _in_utf8(raw, b"path") if b"path.utf-8" in raw else raw.get(b"path")
        name = checker.path(path)
        if BITCOMET_PAD in name:
            offset += _size(raw, "a pad file")
            continue
        entry = _file_entry(raw, name, offset, checker)
        files.append(entry)
        offset += entry.size
    return files, offset


def _in_utf8(raw: _Dict, key: bytes) -> object:
    """A name or path; of one in another encoding, what old programs put beside it in UTF-8."""
    found = raw.get(key)
    try:
        for name in found if isinstance(found, list) else [found]:
            if isinstance(name, bytes):
                name.decode()
    except UnicodeDecodeError:
        return raw.get(key + b".utf-8", found)
    return found


def _v1_hashes(info: _Dict, size: int, piece_length: int) -> bytes:
    hashes = info.get(b"pieces")
    if not isinstance(hashes, bytes):
        _refuse("its pieces must be a string of SHA-1 hashes")
    pieces = -(-size // piece_length)
    if len(hashes) != 20 * pieces:
        _refuse(
            f"{size} bytes in pieces of {piece_length} need {20 * pieces} bytes of hashes, "
            f"found {len(hashes)}"
        )
    return hashes


# --- v2 (BEP 52) --------------------------------------------------------------------------


def _check_v2_piece_length(piece_length: int) -> None:
    if piece_length < BLOCK_SIZE or piece_length & (piece_length - 1):
        _refuse(
            f"the piece length of a v2 torrent must be a power of two of at least {BLOCK_SIZE}, "
            f"found {piece_length}"
        )


def _parse_v2(info: _Dict, checker: NameChecker, piece_length: int) -> tuple[list[FileEntry], int]:
    tree = info.get(b"file tree")
    if not isinstance(tree, dict):
        _refuse("a v2 torrent needs a file tree")
    files: list[FileEntry] = []
    end = 0
    for raw_path, raw in _walk(tree):
        path = checker.path(raw_path)
        offset = -(-end // piece_length) * piece_length
        entry = _file_entry(raw, path, offset, checker)
        if entry.size:
            if entry.pieces_root is None:
                _refuse(f"{shown_path(path)} has no pieces root")
            end = offset + entry.size
        files.append(entry)
    return files, end


def _walk(tree: _Dict) -> Iterator[tuple[list[bytes], _Dict]]:
    """Give the leaves of a file tree in order; iterative, as the depth is not ours to choose."""
    pending: list[tuple[list[bytes], bytes, Any]] = [([], b"", tree)]
    while pending:
        above, name, node = pending.pop()
        path = [*above, name] if node is not tree else above
        if not isinstance(node, dict) or not node:
            _refuse(f"the file tree is broken at {shown_path(path)}")
        if b"" in node:
            if len(node) > 1 or not isinstance(node[b""], dict) or not path:
                _refuse(f"{shown_path(path)} is both a file and a folder in the file tree")
            yield path, node[b""]
            continue
        pending.extend((path, inner, node[inner]) for inner in sorted(node, reverse=True))


def _piece_layers(outer: _Dict, files: list[FileEntry], piece_length: int) -> dict[bytes, bytes]:
    """Collect and check the layers of all files larger than a piece."""
    given = outer.get(b"piece layers", {})
    if not isinstance(given, dict):
        _refuse("its piece layers must be a dictionary")
    padding = padding_root(piece_length // BLOCK_SIZE)
    layers: dict[bytes, bytes] = {}
    for entry in files:
        root = entry.pieces_root
        if entry.size <= piece_length or root is None:
            continue
        layer = given.get(root)
        expected = 32 * -(-entry.size // piece_length)
        if not isinstance(layer, bytes) or len(layer) != expected:
            found = f"{len(layer)} bytes" if isinstance(layer, bytes) else "nothing"
            _refuse(
                f"{shown_path(entry.path)} needs a piece layer of {expected} bytes, found {found}"
            )
        if root not in layers and merkle_root(layer, padding=padding) != root:
            _refuse(f"the piece layer of {shown_path(entry.path)} does not lead to its pieces root")
        layers[root] = layer
    return layers


def _merge_hybrid(v1: list[FileEntry], v2: list[FileEntry], size: int) -> list[FileEntry]:
    """Check that both halves describe the same files; take the v2 digests over to v1's.

    What holds no bytes may lie before or after a pad file; it is placed as libtorrent does.
    """
    if len(v1) != len(v2):
        _refuse(f"its v1 half lists {len(v1)} files, its v2 half {len(v2)}")
    merged = []
    for one, two in zip(v1, v2, strict=True):
        same = (one.path, one.size, one.link_target) == (two.path, two.size, two.link_target)
        if not same or (one.size and one.offset != two.offset):
            _refuse(
                f"its v1 and v2 halves disagree: {shown_path(one.path)} of {one.size} bytes at "
                f"{one.offset} against {shown_path(two.path)} of {two.size} bytes at {two.offset}"
            )
        merged.append(one._replace(pieces_root=two.pieces_root, offset=min(two.offset, size)))
    return merged


# --- one file -----------------------------------------------------------------------------


def _file_entry(raw: _Dict, path: str, offset: int, checker: NameChecker) -> FileEntry:
    attributes = _attributes(raw) if b"attr" in raw else b""
    target = None
    if attributes and b"l" in attributes:
        of = f"the target of the link {shown_path(path)}: "
        target = checker.path(raw.get(b"symlink path"), of=of)
        if raw.get(b"length", 0) != 0:
            _refuse(f"the symbolic link {shown_path(path)} has a length")
        size = 0
    else:
        found: Any = raw.get(b"length")
        is_plain = type(found) is int and 0 <= found <= MAX_FILE_BYTES
        size = found if is_plain else _size(raw, shown_path(path))
    root = raw.get(b"pieces root")
    # What is decoded goes as a whole: one object of it that stayed would keep a block of memory.
    return FileEntry(
        path,
        offset + size - offset,
        offset,
        b"x" in attributes,
        b"h" in attributes,
        target,
        optional_time(raw[b"mtime"]) if b"mtime" in raw else None,
        _optional_digest(raw[b"sha1"], 20) if b"sha1" in raw else None,
        bytes(bytearray(root)) if size and type(root) is bytes and len(root) == 32 else None,
    )


def _attributes(raw: _Dict) -> bytes:
    attributes = raw.get(b"attr", b"")
    return attributes if isinstance(attributes, bytes) else b""


def _size(raw: _Dict, what: str) -> int:
    size = _integer(raw, b"length", what)
    if not 0 <= size <= MAX_FILE_BYTES:
        _refuse(f"the length of {what} must be 0 to {MAX_FILE_BYTES}, found {shown_value(size)}")
    return size


def _integer(raw: _Dict, key: bytes, what: str) -> int:
    value = raw.get(key)
    if not isinstance(value, int):
        _refuse(f"{what} has no number as its {key.decode()}")
    return value


def _optional_digest(value: object, length: int) -> bytes | None:
    return value if isinstance(value, bytes) and len(value) == length else None


def _check_total(size: int, piece_length: int) -> None:
    if size > MAX_TOTAL_BYTES:
        _refuse(f"it describes {size} bytes; at most {MAX_TOTAL_BYTES} are accepted")
    pieces = -(-size // piece_length)
    if pieces > MAX_PIECES:
        _refuse(f"it has {pieces} pieces; at most {MAX_PIECES} are accepted")


def _with_safe_names(files: list[FileEntry]) -> tuple[FileEntry, ...]:
    safe = resolve_meeting_names([entry.path for entry in files])
    return tuple(
        entry if entry.path is path or entry.path == path else entry._replace(path=path)
        for entry, path in zip(files, safe, strict=True)
    )


def _with_times(files: list[FileEntry], times: Sequence[int]) -> list[FileEntry]:
    """Give files the modification times that torsync's publisher recorded for them."""
    if not times:
        return files
    make = tuple.__new__  # a hundred thousand of them: ``_replace`` takes three times as long
    return [
        make(FileEntry, (*entry[:6], time, *entry[7:]))
        if entry.link_target is None and optional_time(time)
        else entry
        for entry, time in zip(files, times, strict=True)
    ]


def _refuse(problem: str) -> NoReturn:
    raise ManifestError(problem)
