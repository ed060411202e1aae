"""What the rest of torsync relies on, of every manifest that came out of a ``.torrent``."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import libtorrent as lt

from torsync.swarm.session import _parameters
from torsync.swarm.torrent import AddRequest

if TYPE_CHECKING:
    from torsync.model.manifest import Manifest


def fold(path: str) -> str:
    """What two paths have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", path).casefold()


def is_inside(path: str) -> bool:
    """Whether a path stays in its tree, and a file system can hold it."""
    parts = path.split("/")
    return (
        all(part not in {"", ".", ".."} and "\0" not in part for part in parts)
        and all(len(part.encode()) <= 255 for part in parts)
        and len(path.encode()) <= 4000
        and len(parts) <= 100
    )


def check_manifest(manifest: Manifest) -> None:
    """Assert what the rest of torsync relies on."""
    taken = {fold(entry.path) for entry in manifest.files}
    assert manifest.files
    assert len(taken) == len(manifest.files)
    assert not taken & {fold(folder) for folder in manifest.folders}
    for entry in manifest.files:
        assert is_inside(entry.path), entry
        own = unicodedata.normalize("NFKC", entry.path.partition("/")[0]).casefold()
        assert own != ".torsync"
        if entry.link_target is not None:
            assert is_inside(entry.link_target), entry
            assert entry.size == 0
        assert 0 <= entry.size <= 1 << 48
        assert entry.offset >= 0
        assert not entry.size or entry.offset + entry.size <= manifest.layout_size
        for digest, length in ((entry.sha1, 20), (entry.pieces_root, 32)):
            assert digest is None or len(digest) == length
    sized = sorted((entry.offset, entry.size) for entry in manifest.files if entry.size)
    end = 0
    for offset, size in sized:
        assert offset >= end
        end = offset + size
    assert manifest.piece_length > 0
    assert manifest.num_pieces <= 4 * 1024 * 1024
    if manifest.info_hash_v1 is not None:
        assert len(manifest.v1_hashes) == 20 * manifest.num_pieces
    if manifest.is_v2:
        for index, entry in enumerate(manifest.files):
            if entry.size:
                last = len(manifest.pieces_of(index)) - 1
                assert len(manifest.v2_hash(index, last)) == 32
    for url in (*manifest.web_seeds, *(url for tier in manifest.trackers for url in tier)):
        assert url.lower().startswith(("http://", "https://", "udp://"))
        assert url.isprintable()
        assert urlsplit(url).port != -1
    for host, port in manifest.nodes:
        assert host.isascii()
        assert host.isprintable()
        assert 0 < port < 65536
    assert manifest.info_hash
    manifest.name.encode()


def check_libtorrent_reads_the_same(manifest: Manifest, metainfo: bytes) -> None:
    """Assert that what libtorrent would be told to fetch is what the manifest says.

    Raises:
        ManifestError: libtorrent does not take it; that is an answer, too.
    """
    request = AddRequest(
        metainfo=lambda: metainfo,
        save_path="/nowhere",
        paths=tuple(entry.path for entry in manifest.files),
        sizes=tuple(entry.size for entry in manifest.files),
        have=bytes(manifest.num_pieces),
        wanted=b"\1" * manifest.num_pieces,
    )
    parameters, _held = _parameters(request)
    assert parameters.ti is not None
    hashes = parameters.ti.info_hashes()
    if manifest.info_hash_v1 is not None:
        assert hashes.v1 == lt.sha1_hash(manifest.info_hash_v1)
    if manifest.info_hash_v2 is not None:
        assert hashes.v2 == lt.sha256_hash(manifest.info_hash_v2)
