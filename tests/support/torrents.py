"""Torrents of known content: by libtorrent, by other people's tools, and by hand."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import bencode2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

V1_HASH_SIZE = 20
BLOCK_SIZE = 16 * 1024

RawPath = Union[str, "tuple[str | bytes, ...]"]


def info_hashes(torrent: bytes) -> list[bytes]:
    """The 20-byte info-hashes a tracker sees: v1, v2 cut to 20 bytes, or both (BEP 52)."""
    info = bencode2.bdecode(torrent)[b"info"]
    raw = bencode2.bencode(info)
    found = []
    if b"pieces" in info:
        found.append(sha1(raw).digest())
    if info.get(b"meta version") == 2:
        found.append(sha256(raw).digest()[:V1_HASH_SIZE])
    return found


def info_hash(torrent: bytes) -> str:
    """The hex info-hash it is known by: 40 digits of v1 where there is one, else 64 of v2."""
    info = bencode2.bdecode(torrent)[b"info"]
    raw = bencode2.bencode(info)
    return sha1(raw).hexdigest() if b"pieces" in info else sha256(raw).hexdigest()


def root_name(torrent: bytes) -> str:
    """The info dictionary's name: of the folder, or of the file in a single-file torrent."""
    return bencode2.bdecode(torrent)[b"info"][b"name"].decode()


def is_single_file(torrent: bytes) -> bool:
    """Whether the torrent has no folder: its only file is called by the root name."""
    info = bencode2.bdecode(torrent)[b"info"]
    if b"file tree" in info:
        tree = info[b"file tree"]
        return list(tree) == [info[b"name"]] and b"" in tree[info[b"name"]]
    return b"files" not in info


def with_trackers(torrent: bytes, trackers: Sequence[str]) -> bytes:
    """The same torrent announced elsewhere: one tier per URL (BEP 12); no URL removes all."""
    outer = bencode2.bdecode(torrent)
    outer.pop(b"announce", None)
    outer.pop(b"announce-list", None)
    if trackers:
        outer[b"announce"] = trackers[0].encode()
        outer[b"announce-list"] = [[url.encode()] for url in trackers]
    return bencode2.bencode(outer)


def make_libtorrent(
    folder: Path,
    *,
    format: str = "v1",  # noqa: A002  the configuration's word
    piece_size: int = 64 * 1024,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    name: str | None = None,
    mtimes: bool = False,
) -> bytes:
    """A torrent by libtorrent; links and executable bits are recorded (BEP 47).

    Args:
        folder: what is published; its name is the root name. A file makes a single-file torrent.
        format: ``v1``, ``v2`` or ``hybrid``; ``v1`` is unpadded.
        piece_size: bytes, a power of two of at least 16 KiB.
        trackers: one tier each.
        web_seeds: BEP 19 URLs; they are the parent of the root name and end in ``/``.
        name: root name instead of the folder's; a seeder needs the folder to be called so.
        mtimes: record modification times.
    """
    import libtorrent as lt

    assert format in {"v1", "v2", "hybrid"}, format
    kind = lt.create_torrent
    flags = kind.symlinks | (kind.modification_time if mtimes else 0)
    # In a fixed order: the folder's own depends on the file system.
    entries = sorted(lt.list_files(str(folder), flags=flags), key=lambda entry: entry.filename)
    flags |= {"v1": kind.v1_only, "v2": kind.v2_only, "hybrid": 0}[format]
    creator = lt.create_torrent(entries, piece_size, flags=flags)
    creator.set_creation_date(0)
    for tier, url in enumerate(trackers):
        creator.add_tracker(url, tier)
    for url in web_seeds:
        creator.add_url_seed(url)
    lt.set_piece_hashes(creator, str(folder.parent))
    torrent = lt.bencode(creator.generate())
    if name is None:
        return torrent
    outer = bencode2.bdecode(torrent)
    outer[b"info"][b"name"] = name.encode()
    return bencode2.bencode(outer)


def make_mktorrent(
    folder: Path,
    *,
    piece_size: int = 64 * 1024,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
    name: str | None = None,
) -> bytes:
    """A v1 torrent by mktorrent; it follows links and records no executable bits.

    The piece size is at least 32 KiB.
    """
    arguments = ["-l", str(piece_size.bit_length() - 1), "-t", "1", "-d"]
    for url in trackers:
        arguments += ["-a", url]
    for url in web_seeds:
        arguments += ["-w", url]
    if name is not None:
        arguments += ["-n", name]
    return _made_by("mktorrent", arguments, folder)


def make_transmission(
    folder: Path, *, piece_size: int | None = 64 * 1024, trackers: Sequence[str] = ()
) -> bytes:
    """A v1 torrent by transmission-create.

    It follows links, leaves empty files out, and records no executable bits.
    """
    arguments = [] if piece_size is None else ["-s", str(piece_size // 1024)]
    for url in trackers:
        arguments += ["-t", url]
    return _made_by("transmission-create", arguments, folder)


def make_torf(
    folder: Path,
    *,
    piece_size: int = 64 * 1024,
    trackers: Sequence[str] = (),
    private: bool = False,
) -> bytes:
    """A v1 torrent by torf; it follows links and records no executable bits."""
    import torf

    made = torf.Torrent(path=folder, piece_size=piece_size, trackers=trackers, private=private)
    made.generate(threads=1)
    found: bytes = made.dump()
    return found


def _made_by(program: str, arguments: list[str], folder: Path) -> bytes:
    from tests.support.programs import require

    path = require(program)
    with tempfile.TemporaryDirectory() as scratch:
        output = os.path.join(scratch, "made.torrent")
        done = subprocess.run(
            [path, *arguments, "-o", output, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr}"
        return Path(output).read_bytes()


@dataclass(frozen=True)
class RawFile:
    """One entry of a hand-made torrent.

    Attributes:
        content: the bytes that are hashed, and whose length is given.
        keys: further raw keys of the entry, or other values for the usual ones (``b"path"``,
            ``b"length"``); None takes a key away.
    """

    content: bytes = b""
    keys: Mapping[bytes, Any] = field(default_factory=dict)


def pad_file(length: int, **keys: Any) -> RawFile:
    """A pad file (BEP 47): zeros that nobody stores."""
    return RawFile(bytes(length), {b"attr": b"p", **_raw(keys)})


def link(*target: str) -> RawFile:
    """A symbolic link (BEP 47) to a path relative to the torrent's root."""
    return RawFile(b"", {b"attr": b"l", b"symlink path": [part.encode() for part in target]})


def pieces_root(content: bytes) -> bytes:
    """BEP 52: the root of the SHA-256 tree over 16 KiB blocks, filled up with zero hashes."""
    assert content, "an empty file has no root"
    return root_of(block_hashes(content))


def block_hashes(content: bytes) -> list[bytes]:
    """BEP 52: the SHA-256 of each block of 16 KiB."""
    view = memoryview(content)
    starts = range(0, len(content), BLOCK_SIZE)
    return [sha256(view[start : start + BLOCK_SIZE]).digest() for start in starts]


def root_of(layer: list[bytes]) -> bytes:
    """BEP 52: the root of the tree over the hashes of a file's blocks."""
    layer = list(layer)
    layer += [bytes(32)] * ((1 << (len(layer) - 1).bit_length()) - len(layer))
    while len(layer) > 1:
        layer = [sha256(left + right).digest() for left, right in _pairs(layer)]
    return layer[0]


def _pairs(layer: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(layer[::2], layer[1::2], strict=True)


def make_raw(
    files: Mapping[RawPath, bytes | RawFile] | Sequence[tuple[RawPath, bytes | RawFile]],
    *,
    name: str | bytes = "raw",
    piece_size: int = BLOCK_SIZE,
    align: bool = False,
    roots: bool = False,
    sha1s: bool = False,
    single: bool = False,
    info: Mapping[bytes, Any] | None = None,
    outer: Mapping[bytes, Any] | None = None,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
) -> bytes:
    """A hand-made v1 torrent with the true piece hashes of what it lists.

    Args:
        files: path → content, in the torrent's order. A path is ``"a/b"`` or a tuple of raw
            components; a sequence of pairs can name a path twice.
        name: root name.
        piece_size: bytes; any positive number.
        align: a pad file before each file that would not start on a piece boundary.
        roots: each file that is no pad and no link and not empty gets its ``pieces root``.
        sha1s: each such file gets its BEP 47 ``sha1``.
        single: the single-file shape; ``files`` holds one file and only its content counts.
        info: raw keys to set in the info dictionary at the end; None takes a key away.
        outer: the same for the outer dictionary.
        trackers: one tier each.
        web_seeds: BEP 19 URLs.
    """
    pairs = list(files.items()) if hasattr(files, "items") else list(files)
    entries: list[dict[bytes, Any]] = []
    contents: list[bytes] = []
    position = 0
    for path, given in pairs:
        file = given if isinstance(given, RawFile) else RawFile(given)
        is_pad = b"p" in file.keys.get(b"attr", b"")
        gap = -position % piece_size
        if align and gap and file.content and not is_pad:
            entries.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})
            contents.append(bytes(gap))
            position += gap
        entry: dict[bytes, Any] = {b"length": len(file.content), b"path": _components(path)}
        if file.content and not is_pad:
            if roots:
                entry[b"pieces root"] = pieces_root(file.content)
            if sha1s:
                entry[b"sha1"] = sha1(file.content).digest()
        entries.append(_changed(entry, file.keys))
        contents.append(file.content)
        position += len(file.content)
    info_dict: dict[bytes, Any] = {
        b"name": name.encode() if isinstance(name, str) else name,
        b"piece length": piece_size,
        b"pieces": _piece_hashes(b"".join(contents), piece_size),
    }
    if single:
        assert len(entries) == 1, "the single-file shape has one file"
        info_dict |= {key: value for key, value in entries[0].items() if key != b"path"}
    else:
        info_dict[b"files"] = entries
    outer_dict: dict[bytes, Any] = {b"info": _changed(info_dict, info or {})}
    if trackers:
        outer_dict[b"announce"] = trackers[0].encode()
        outer_dict[b"announce-list"] = [[url.encode()] for url in trackers]
    if web_seeds:
        outer_dict[b"url-list"] = [url.encode() for url in web_seeds]
    return bencode2.bencode(_changed(outer_dict, outer or {}))


def edited(
    torrent: bytes,
    *,
    info: Mapping[bytes, Any] | None = None,
    outer: Mapping[bytes, Any] | None = None,
) -> bytes:
    """Any torrent with raw keys of its dictionaries set, or taken away by None."""
    parsed = bencode2.bdecode(torrent)
    parsed[b"info"] = _changed(parsed[b"info"], info or {})
    return bencode2.bencode(_changed(parsed, outer or {}))


def _components(path: RawPath) -> list[bytes]:
    parts = path.split("/") if isinstance(path, str) else path
    return [os.fsencode(part) if isinstance(part, str) else part for part in parts]


def _changed(given: Mapping[bytes, Any], changes: Mapping[bytes, Any]) -> dict[bytes, Any]:
    merged = {**given, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def _raw(keys: Mapping[str, Any]) -> dict[bytes, Any]:
    return {key.replace("_", " ").encode(): value for key, value in keys.items()}


def _piece_hashes(content: bytes, piece_size: int) -> bytes:
    return b"".join(
        sha1(content[start : start + piece_size]).digest()
        for start in range(0, len(content), piece_size)
    )
