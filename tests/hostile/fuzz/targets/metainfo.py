"""A ``.torrent``: a manifest that keeps its promises, or an error; libtorrent reads the same."""

from __future__ import annotations

from tests.hostile.fuzz.oracle import judged
from tests.hostile.inputs.bencoded import mutated
from tests.hostile.manifests import check_libtorrent_reads_the_same, check_manifest
from torsync.model.metainfo import parse_metainfo

MAX_BYTES = 8192


def try_one(data: bytes) -> None:
    """Parse, for Windows too."""
    with judged():
        manifest = parse_metainfo(data)
        check_manifest(manifest)
        check_libtorrent_reads_the_same(manifest, data)
    with judged():
        check_manifest(parse_metainfo(data, windows=True))


mutate = mutated
"""Beside the fuzzer's own changes, which seldom leave it bencoded."""
