"""Peers that send garbage for pieces in which live files have a part: no live file changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import snapshot, trash_contents
from tests.support.torrents import BLOCK_SIZE
from tests.support.trees import OWN_FOLDER, random_bytes, tree_bytes
from tests.support.updates import overwritten, pieces_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder
    from tests.support.updates import Updates

MIB = 1024 * 1024
PIECE = 4 * BLOCK_SIZE
LARGE = random_bytes(3 * PIECE + 7000, "large")
PATCHED = random_bytes(6 * PIECE + 5000, "patched")
KEPT = {
    "a/large.bin": LARGE,
    "a/small 1.txt": random_bytes(3000, "small 1"),
    "c/small 3.txt": random_bytes(2500, "small 3"),
    "e/large too.bin": LARGE[::-1],
    "e/small 5.txt": random_bytes(900, "small 5"),
}
OLD = {
    **KEPT,
    "b/small 2.txt": random_bytes(4000, "small 2"),
    "d/patched.bin": PATCHED,
    "f/old name": random_bytes(2 * PIECE + 11, "moved"),
}
NEW = {
    **KEPT,
    "b/small 2.txt": random_bytes(4000, "small 2, changed"),
    "d/patched.bin": overwritten(PATCHED, 2 * PIECE + 100, b"patched"),
    "e/small 4.txt": random_bytes(2000, "added"),
    "f/new name": OLD["f/old name"],
}


def live(tree: Path) -> dict[str, tuple[int, ...]]:
    """What tells of each file of the tree that it was touched."""
    found = snapshot(tree).items()
    return {path: seen for path, seen in found if path != "." and not path.startswith(OWN_FOLDER)}


@pytest.mark.parametrize("format_", ["v1", "packed", "v2"])
def test_garbage_for_a_shared_piece_changes_no_live_file_alone_or_beside_an_honest_peer(
    updates: Updates, new_seeder: Callable[..., LibtorrentSeeder], format_: str
) -> None:
    updates.publish(OLD, format_, piece_size=PIECE)
    updates.check()
    before, contents = live(updates.tree), tree_bytes(updates.tree)
    torrent = updates.publish(NEW, format_, piece_size=PIECE)
    honest = updates.publisher.seeder
    honest.remove(torrent)
    changed = pieces_with(torrent, [path for path in NEW if NEW[path] != OLD.get(path)])
    assert (changed & pieces_with(torrent, KEPT) != set()) == (format_ != "v2")
    liar = new_seeder(host="127.0.0.2")
    liar.add_folder(torrent, updates.folder, bad_pieces="all")
    of_the_liar = f"127.0.0.2:{liar.port}"

    updates.torsync.subscribe(peers=[of_the_liar])
    outcome = updates.torsync.run("check-now", "--timeout", "1s")
    assert outcome.exit_code == 3
    assert outcome.error["code"] == "no_peers"
    assert "wrong content" in outcome.error["message"]
    assert liar.uploaded(torrent) > 0, "it was asked"
    assert live(updates.tree) == before
    assert tree_bytes(updates.tree) == contents
    assert trash_contents(updates.tree) == {}

    sent = liar.uploaded(torrent)
    # Slow, so that the other one is asked as well.
    honest.add_folder(torrent, updates.folder, upload_limit=MIB // 4)
    updates.torsync.subscribe(peers=[of_the_liar, *updates.publisher.peers])
    report = updates.torsync.run("check-now", "--timeout", "20s").assert_ok().subscription
    assert report["bytes_fetched"] > report["bytes_to_fetch"], "what was thrown away counts"
    assert liar.uploaded(torrent) > sent, "it was asked again"
    assert tree_bytes(updates.tree) == NEW
    after = live(updates.tree)
    assert {path: after[path] for path in KEPT} == {path: before[path] for path in KEPT}
    trash = trash_contents(updates.tree)
    for path in ("b/small 2.txt", "d/patched.bin"):
        assert trash[path] == [OLD[path]], "the old content is as it was"
