"""Trackers, web seeds, DHT nodes and where the hints are, around a good info dictionary.

And what a tracker answers to ``torsync doctor``.
"""

from __future__ import annotations

from contextlib import suppress

import bencode2

from tests.hostile.fuzz.oracle import judged
from tests.hostile.manifests import check_libtorrent_reads_the_same, check_manifest
from torsync.model.metainfo import parse_metainfo
from torsync.model.secrets import mask_tracker, secrets_of_tracker
from torsync.service.doctor.trackers import read_answer
from torsync.subscribe.remote.references import hints_url
from torsync.subscribe.remote.rules import mask_url
from torsync.swarm.held_web_seeds import host_of
from torsync.swarm.udp_tracker import TrackerError

MAX_BYTES = 4096
_INFO = b"d6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae"
_KEYS = (b"announce", b"url-list", b"torsync", b"announce-list")
_BASES = ("https://user:pass@host.example/a/b.torrent?q=1", "file:///srv/a/b.torrent")


def try_one(data: bytes) -> None:
    """Put them around the info dictionary: as bencode, or as one string under each key."""
    with suppress(TrackerError):
        read_answer(data)
    if data[:1] == b"d":
        metainfo = b"d4:info" + _INFO + data[1:]
    else:
        text = data[1:]
        values = (text, text, {b"hints": text}, [[part] for part in text.split(b"\n")])
        nodes = [[part, port] for port, part in enumerate(text.split(b"\n"))]
        outer = dict(zip(_KEYS, values, strict=True)) | {b"nodes": nodes}
        metainfo = bencode2.bencode({**outer, b"info": bencode2.bdecode(_INFO)})
    with judged():
        manifest = parse_metainfo(metainfo)
        check_manifest(manifest)
        for url in (*manifest.web_seeds, *(url for tier in manifest.trackers for url in tier)):
            mask_tracker(url).encode()
            mask_url(url).encode()
            secrets_of_tracker(url)
            host_of(url)
        for base in _BASES:
            found = hints_url(base, manifest.hints)
            assert found is None or found.startswith(
                "file:///srv/a/" if base.startswith("file") else "https://"
            )
        check_libtorrent_reads_the_same(manifest, metainfo)
