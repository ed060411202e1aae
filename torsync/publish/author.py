"""Author a v1 ``.torrent`` (BEP 3) from a folder, with libtorrent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import libtorrent as lt

from torsync.disk.stamps import stamp_of_entry
from torsync.model.config import TorrentFormat
from torsync.model.metainfo import parse_metainfo
from torsync.model.patterns import matcher
from torsync.publish.errors import EmptyFolderError, Problem, PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torsync.disk.stamps import FileStamp
    from torsync.disk.tree import Tree
    from torsync.model.manifest import Manifest
    from torsync.publish.hash_cache import HashCache

_FLAGS = lt.create_torrent.v1_only | lt.create_torrent.symlinks


def author_v1(folder: Path, *, name: str, piece_size: int, web_seeds: Iterable[str] = ()) -> bytes:
    """Hash a folder and give its ``.torrent``; files in the order of their paths.

    Args:
        folder: with at least two files (libtorrent takes a folder of one for that file).
        name: the torrent's root name.
        piece_size: bytes, a power of two.
        web_seeds: BEP 19 URLs.

    Raises:
        RuntimeError: a file could not be read.
    """
    files = lt.list_files(str(folder), flags=_FLAGS)
    files.sort(key=lambda entry: os.fsencode(entry.filename))
    maker = lt.create_torrent(files, piece_size, _FLAGS)
    for url in web_seeds:
        maker.add_url_seed(url)
    lt.set_piece_hashes(maker, str(folder.parent))
    torrent = cast("dict[bytes, Any]", maker.generate())
    torrent[b"info"][b"name"] = name.encode()
    return lt.bencode(torrent)


# --- stand-in, to be replaced ----------------------------------------------------------------


@dataclass(frozen=True)
class AuthorOptions:
    """Stand-in."""

    name: str
    format: TorrentFormat = TorrentFormat.V1
    piece_size: int = 0
    ignore: tuple[str, ...] = ()
    comment: str = ""
    private: bool = False
    skip_unreadable: bool = False


@dataclass(frozen=True)
class Sources:
    """Stand-in."""

    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Authored:
    """Stand-in."""

    metainfo: bytes
    manifest: Manifest
    stamps: Mapping[str, FileStamp]
    skipped: tuple[Problem, ...]
    bytes_hashed: int

    def says_the_same_as(self, previous: Manifest | None) -> bool:
        """Stand-in."""
        return self.manifest == previous


def events_of(name: str, sink: Callable[..., None]) -> Callable[..., None]:  # noqa: ARG001
    """Stand-in."""
    return lambda *_: None


def author(
    tree: Tree,
    options: AuthorOptions,
    cache: HashCache,  # noqa: ARG001
    *,
    previous: Manifest | None,  # noqa: ARG001
    sources: Callable[[str], Sources],
    progress: Callable[..., None],  # noqa: ARG001
    stopping: Callable[[], bool],  # noqa: ARG001
    now_s: Callable[[], float],  # noqa: ARG001
) -> Authored:
    """Stand-in."""
    ignored = matcher(options.ignore)
    before = tree.scan().entries
    files = [
        entry
        for entry in lt.list_files(str(tree.root), flags=lt.create_torrent.symlinks)
        if not ignored(os.path.relpath(entry.filename, tree.root.name))
        and not os.path.relpath(entry.filename, tree.root.name).startswith(".torsync")
    ]
    if not files:
        raise EmptyFolderError(f"there is nothing to publish in {str(tree.root)!r}")
    files.sort(key=lambda entry: os.fsencode(entry.filename))
    kind = {
        TorrentFormat.V1: lt.create_torrent.v1_only,
        TorrentFormat.V2: lt.create_torrent.v2_only,
    }
    flags = lt.create_torrent.symlinks | kind.get(options.format, 0)
    maker = lt.create_torrent(files, options.piece_size or 16384, flags)
    maker.set_creation_date(0)
    try:
        lt.set_piece_hashes(maker, str(tree.root.parent))
    except RuntimeError as error:
        raise PublishError([Problem(str(tree.root), str(error))]) from error
    torrent = cast("dict[bytes, Any]", maker.generate())
    info = torrent[b"info"]
    info[b"name"] = options.name.encode()
    if options.private:
        info[b"private"] = 1
    info_hash = parse_metainfo(lt.bencode(torrent)).info_hash
    found = sources(info_hash)
    if found.trackers:
        torrent[b"announce"] = found.trackers[0].encode()
        torrent[b"announce-list"] = [[url.encode()] for url in found.trackers]
    if found.web_seeds:
        torrent[b"url-list"] = [url.encode() for url in found.web_seeds]
    if found.nodes:
        torrent[b"nodes"] = [[host.encode(), port] for host, port in found.nodes]
    if options.comment:
        torrent[b"comment"] = options.comment.encode()
    metainfo = lt.bencode(torrent)
    manifest = parse_metainfo(metainfo)
    stamps = {
        file.path: stamp_of_entry(before[file.path])
        for file in manifest.files
        if file.link_target is None
    }
    return Authored(metainfo, manifest, stamps, (), manifest.total_size)
