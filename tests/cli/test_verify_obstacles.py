"""``verify`` reports what an update would refuse to touch, rather than refusing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Torsync
from tests.support.torrents import make_libtorrent
from tests.support.trees import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder


@pytest.mark.parametrize("asked", [(), ("--dry-run", "--clean")])
def test_a_users_folder_in_the_place_of_a_file_is_reported(
    tmp_path: Path, seeder: LibtorrentSeeder, asked: tuple[str, ...]
) -> None:
    folder = write_tree(tmp_path / "pack", {"a": 1000, "b": 1000})
    torrent = make_libtorrent(folder)
    seeder.add_folder(torrent, folder)
    (tmp_path / "pack.torrent").write_bytes(torrent)
    (tmp_path / "work").mkdir()
    torsync = Torsync(tmp_path / "work")
    torsync.subscribe(
        url=(tmp_path / "pack.torrent").as_uri(), peers=[f"{seeder.peer[0]}:{seeder.peer[1]}"]
    )
    torsync.run("check-now", "--timeout", "30s").assert_ok()
    (torsync.tree / "a").unlink()
    write_tree(torsync.tree, {"a/mine": 10})

    outcome = torsync.run("verify", *asked)
    assert outcome.exit_code == 4
    assert outcome.subscription["missing_paths"] == ["a"]
    assert outcome.subscription["unlisted_paths"] == ["a/mine"]
