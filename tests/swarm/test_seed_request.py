"""What is seeded is not written to, whatever peers send: libtorrent takes more than it asks for."""

from __future__ import annotations

import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.hostile_peer import ClosedError, HostilePeer
from tests.support.leecher import SETTINGS
from tests.support.processes import wait_until
from tests.support.services import Service
from tests.support.torrents import make_libtorrent
from tests.support.trees import edit_in_place, tree_bytes, write_tree
from torsync.model.config import SessionConfig
from torsync.model.events import Stage
from torsync.model.metainfo import parse_metainfo
from torsync.swarm import seed_request as module
from torsync.swarm.seed_request import has_nowhere, seed_request
from torsync.swarm.session import Swarm

if TYPE_CHECKING:
    from pathlib import Path

    from torsync.model.manifest import Manifest

PIECE = 16 * 1024
HAVE_NONE, HAVE, UNCHOKE, INTERESTED, PIECE_MESSAGE = 15, 4, 1, 2, 7


def be_hostile(manifest: Manifest, port: int, path: str) -> None:
    """Offer the pieces of a file, send a block of every one, and hear what comes of it."""
    with closing(HostilePeer(manifest, port)) as peer:
        peer.send(HAVE_NONE)
        for piece in manifest.pieces_of(manifest.by_path[path]):  # all: it would be a seed, and go
            peer.send(HAVE, struct.pack(">I", piece))
        peer.send(UNCHOKE)
        with suppress(ConnectionError, ClosedError, TimeoutError):  # most often it is thrown out
            peer.force(PIECE_MESSAGE, manifest)


@pytest.mark.parametrize("format_", ["v1", "v2", "hybrid"])
def test_files_that_are_not_right_are_not_written_to_and_neither_are_their_neighbours(
    tmp_path: Path, format_: str
) -> None:
    """In unpadded v1 each file shares its first and last piece with another."""
    if not has_nowhere():
        pytest.skip("nothing is seeded in part here")
    folder = write_tree(
        tmp_path / "pack", {"a": 3 * PIECE + 5, "b": 4 * PIECE + 7, "c": 3 * PIECE, "d": 100}
    )
    torrent = make_libtorrent(folder, format=format_, piece_size=PIECE)
    manifest = parse_metainfo(torrent)
    edit_in_place(folder / "b")
    (folder / "d").unlink()
    before = tree_bytes(folder)
    right = bytes(file.path in {"a", "c"} for file in manifest.files)
    request = seed_request(lambda: torrent, manifest, str(folder), right)
    assert request is not None
    swarm = Swarm(SessionConfig(listen=("127.0.0.1:0",), dht=False, lsd=False))
    try:
        seeded = swarm.add(request)
        wait_until(lambda: bool(swarm.endpoints()), "it listens")
        be_hostile(manifest, swarm.endpoints()[0][1], "b")
        seeded.raise_failure()
        seeded.remove()
    finally:
        swarm.close()
    assert tree_bytes(folder) == before


def test_a_subscribers_own_edits_are_safe_while_the_rest_is_seeded(tmp_path: Path) -> None:
    if not has_nowhere():
        pytest.skip("nothing is seeded in part here")
    folder = write_tree(tmp_path / "pack", {"a": 3 * PIECE + 5, "b.ini": 4 * PIECE, "c": 3 * PIECE})
    torrent, tree = tmp_path / "pack.torrent", tmp_path / "tree"
    publisher = Service(tmp_path / "publisher")
    publisher.publish(folder, torrent=torrent)
    subscriber = Service(tmp_path / "subscriber")
    subscriber.subscribe("tree", torrent.as_uri(), tree, keep=("*.ini",))
    with publisher:
        publisher.wait_for_release(1)
        with subscriber:
            subscriber.wait(lambda: bool(subscriber.checks), "it has synced")
    edit_in_place(tree / "b.ini")
    before = (tree / "b.ini").read_bytes()
    subscriber.events.clear()
    with subscriber:
        subscriber.wait_for_stage("tree", Stage.SEEDING)
        port = subscriber.pool.endpoints()[0][1]
        be_hostile(parse_metainfo(torrent.read_bytes()), port, "b.ini")
    assert (tree / "b.ini").read_bytes() == before
    assert (tree / "a").read_bytes() == (folder / "a").read_bytes()
    assert (tree / "c").read_bytes() == (folder / "c").read_bytes()


def test_where_there_is_no_such_place_nothing_is_seeded_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": 3 * PIECE, "b": 2 * PIECE})
    torrent = make_libtorrent(folder, piece_size=PIECE)
    manifest = parse_metainfo(torrent)
    monkeypatch.setattr(module, "has_nowhere", lambda: False)
    assert seed_request(lambda: torrent, manifest, str(folder), b"\1\0") is None
    assert seed_request(lambda: torrent, manifest, str(folder), b"\1\1") is not None


def test_libtorrent_writes_blocks_that_it_did_not_ask_for(tmp_path: Path) -> None:
    """The fact that all this is for: in upload mode, and at priority 0."""
    folder = write_tree(tmp_path / "pack", {"a": 3 * PIECE, "b": 4 * PIECE})
    torrent = make_libtorrent(folder, piece_size=PIECE)
    manifest = parse_metainfo(torrent)
    session = lt.session(SETTINGS)
    params = lt.load_torrent_buffer(torrent)
    params.save_path = str(tmp_path)
    params.have_pieces = [True] * 3 + [False] * 4
    params.piece_priorities = [0] * 7
    params.flags = lt.torrent_flags.no_verify_files | lt.torrent_flags.upload_mode
    before = tree_bytes(folder)
    handle = session.add_torrent(params)
    wait_until(lambda: session.listen_port() != 0, "it listens")
    be_hostile(manifest, session.listen_port(), "b")
    session.remove_torrent(handle)
    wait_until(lambda: tree_bytes(folder) != before, "the files were written to")
