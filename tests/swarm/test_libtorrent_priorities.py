"""Why torsync gives no file priorities: what libtorrent does to files that are not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.processes import wait_until
from tests.support.torrents import make_libtorrent
from tests.support.trees import random_bytes, write_tree
from tests.swarm.test_libtorrent_facts import DEADLINE_S, PIECE, Session, listing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

VERIFIED = lt.torrent_flags.duplicate_is_error  # with no_verify_files priorities crash it
CONTENT = {"a": PIECE // 2, "b": 2 * PIECE, "c": 3 * PIECE}


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", CONTENT)


@pytest.fixture
def torrent(folder: Path) -> bytes:
    return make_libtorrent(folder, piece_size=PIECE)


def test_a_piece_that_an_unwanted_file_shares_leaves_a_parts_file(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    target = tmp_path / "target"
    handle = session.add(
        torrent, target, flags=VERIFIED, file_priorities=[0, 4, 0], peers=[seeder.peer]
    )
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    assert [name for name in listing(target) if name.endswith(".parts")]


def test_an_unwanted_file_that_is_there_is_written_to_where_it_shares_a_piece(
    tmp_path: Path, session: Session, seeder: LibtorrentSeeder, folder: Path, torrent: bytes
) -> None:
    seeder.add_folder(torrent, folder)
    target = tmp_path / "target"
    mine = random_bytes(PIECE // 2, "mine")
    write_tree(target / "pack", {"a": mine})
    handle = session.add(
        torrent, target, flags=VERIFIED, file_priorities=[0, 4, 4], peers=[seeder.peer]
    )
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    assert (target / "pack" / "a").read_bytes() == (folder / "a").read_bytes() != mine


def test_wanting_a_file_later_cuts_what_is_there_to_its_length(
    tmp_path: Path, session: Session, folder: Path, torrent: bytes
) -> None:
    target = tmp_path / "target"
    content = (folder / "c").read_bytes()
    write_tree(target / "pack", {"c": content + b"more"})
    handle = session.add(torrent, target, flags=VERIFIED, file_priorities=[4, 4, 0])
    session.wait_checked(handle)
    handle.prioritize_files([4, 4, 4])
    path = target / "pack" / "c"
    wait_until(
        lambda: path.stat().st_size == len(content), "the file is cut", deadline_s=DEADLINE_S
    )
    session.remove(handle)
