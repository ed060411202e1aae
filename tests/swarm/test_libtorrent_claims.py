"""What the code relies on in libtorrent where blocks of unfinished pieces are claimed.

Like ``test_libtorrent_facts``: one that fails after an upgrade tells what to look at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libtorrent as lt
import pytest

from tests.support.nginx import nginx
from tests.support.packed import make_packed
from tests.support.processes import wait_until
from tests.support.torrents import make_libtorrent
from tests.support.trees import tree_bytes, write_tree
from tests.swarm.test_libtorrent_facts import DEADLINE_S, Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.seeders import LibtorrentSeeder

BLOCK = 16 * 1024
PIECE = 4 * BLOCK
FORMATS = ["v1", "packed", "v2", "hybrid"]
TAIL = 100
SIZES = {"a": 2 * PIECE + TAIL, "b": 7 * BLOCK, "c": PIECE + 5 * BLOCK // 2}
CONTENT_SIZE = sum(SIZES.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pack", dict(SIZES))


def make(folder: Path, format_: str) -> bytes:
    if format_ == "packed":
        return make_packed(folder, piece_size=PIECE)
    return make_libtorrent(folder, format=format_, piece_size=PIECE)


def blocks_of(torrent: bytes) -> list[int]:
    """How many blocks each piece has, those of pad files included."""
    layout = lt.load_torrent_buffer(torrent).ti.layout()
    return [-(-layout.piece_size(piece) // BLOCK) for piece in range(layout.num_pieces())]


def add(
    session: Session,
    torrent: bytes,
    content: Path,
    claims: Mapping[int, list[bool]],
    **parameters: object,
) -> lt.torrent_handle:
    """Claim blocks of what is in the folder ``content``, which is to be called like the torrent."""
    nothing = [0] * len(blocks_of(torrent))
    given = {"have": nothing, "unfinished_pieces": dict(claims), **parameters}
    handle: lt.torrent_handle = session.add(torrent, content.parent, **given)
    return handle


def all_but_first(torrent: bytes) -> dict[int, list[bool]]:
    return {piece: [False] + [True] * (count - 1) for piece, count in enumerate(blocks_of(torrent))}


def zeros(folder: Path) -> Path:
    """Files of the right size in a folder of its own, all wrong."""
    wrong = folder.parent / "wrong" / folder.name
    write_tree(wrong, {path: bytes(len(data)) for path, data in tree_bytes(folder).items()})
    return wrong


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.mark.parametrize("format_", FORMATS)
def test_padding_need_not_be_claimed_nor_is_it_fetched_unless_it_shares_a_block(
    session: Session, seeder: LibtorrentSeeder, folder: Path, format_: str
) -> None:
    torrent = make(folder, format_)
    seeder.add_folder(torrent, folder)
    claims = {piece: [True] + [False] * 3 for piece in range(len(blocks_of(torrent)) - 1)}
    handle = add(session, torrent, folder, claims, peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    fetched = {
        "v1": CONTENT_SIZE - len(claims) * BLOCK,
        "packed": 16 * BLOCK + BLOCK // 2,
        "v2": 16 * BLOCK + BLOCK // 2,
        "hybrid": 17 * BLOCK,
    }
    assert handle.status().total_payload_download == fetched[format_]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_block_that_ends_with_its_file_is_fetched_with_its_padding_but_in_v2(
    session: Session, seeder: LibtorrentSeeder, folder: Path, format_: str
) -> None:
    torrent = make(folder, format_)
    seeder.add_folder(torrent, folder)
    handle = add(session, torrent, folder, all_but_first(torrent), peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    pieces = len(blocks_of(torrent))
    fetched = {
        "v1": pieces * BLOCK,
        "packed": pieces * BLOCK,
        "v2": (pieces - 1) * BLOCK + TAIL,
        "hybrid": pieces * BLOCK,
    }
    assert handle.status().total_payload_download == fetched[format_]
    assert session.drain(lt.hash_failed_alert) == []


@pytest.mark.parametrize(("format_", "padding"), [("v1", 0), ("packed", 4), ("v2", 5)])
def test_claimed_blocks_count_as_whole_blocks_in_accurate_figures_and_not_in_others(
    session: Session, folder: Path, format_: str, padding: int
) -> None:
    """So that what is left has to be counted by those who made the claims."""
    torrent = make(folder, format_)
    claims = all_but_first(torrent)
    handle = add(session, torrent, folder, claims)
    session.wait_checked(handle)
    counted = sum(map(sum, claims.values())) - padding
    rough, accurate = handle.status(0), handle.status()
    assert (rough.total_wanted_done, rough.total_wanted) == (0, CONTENT_SIZE)
    assert (accurate.total_wanted_done, accurate.total_wanted) == (counted * BLOCK, CONTENT_SIZE)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_piece_with_all_blocks_claimed_is_hashed_at_once_without_any_peer(
    session: Session, folder: Path, format_: str
) -> None:
    torrent = make(folder, format_)
    claims = {piece: [True] * count for piece, count in enumerate(blocks_of(torrent))}
    handle = add(session, torrent, folder, claims)
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    other = Session()
    handle = add(other, torrent, zeros(folder), {0: [True] * 4})
    other.until(lt.hash_failed_alert)
    status = other.wait_checked(handle)
    assert not any(status.pieces)
    # Nobody sent any of it, so this does not tell of it.
    assert status.total_failed_bytes == 0


def test_flags_of_blocks_that_a_piece_does_not_have_stand_for_others(
    session: Session, folder: Path
) -> None:
    torrent = make(folder, "v1")
    last = len(blocks_of(torrent)) - 1
    assert blocks_of(torrent)[last] == 2
    handle = add(session, torrent, folder, {last: [False, True, True, True]})
    wait_until(lambda: handle.have_piece(last), "it has the piece", deadline_s=DEADLINE_S)


def test_a_piece_of_priority_0_is_hashed_as_well_once_it_is_claimed_whole(
    session: Session, folder: Path
) -> None:
    torrent = make(folder, "v1")
    claims = {0: [True] * 4, 1: [True] * 3}
    unwanted = [0] * len(blocks_of(torrent))
    handle = add(session, torrent, folder, claims, piece_priorities=unwanted)
    wait_until(lambda: handle.have_piece(0), "it has the piece", deadline_s=DEADLINE_S)
    status = session.wait_checked(handle)
    assert sum(status.pieces) == 1
    assert status.total_wanted_done == 0


def test_what_comes_of_a_wrong_claim_counts_as_failed(
    session: Session, seeder: LibtorrentSeeder, folder: Path
) -> None:
    """So that it is known of also where the alert was dropped."""
    torrent = make(folder, "v1")
    seeder.add_folder(torrent, folder)
    handle = add(session, torrent, zeros(folder), {0: [False] + [True] * 3}, peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    assert len(session.drain(lt.hash_failed_alert)) == 1
    assert handle.status().total_failed_bytes == PIECE


@pytest.mark.parametrize("format_", FORMATS)
def test_wrong_claims_get_the_only_seeder_banned_until_the_torrent_is_added_again(
    seeder: LibtorrentSeeder, folder: Path, format_: str
) -> None:
    torrent = make(folder, format_)
    seeder.add_folder(torrent, folder)
    session = Session(alert_mask=lt.alert_category.all)
    wrong = zeros(folder)
    handle = add(session, torrent, wrong, all_but_first(torrent), peers=[seeder.peer])
    session.until(lt.peer_ban_alert)
    assert not handle.status().is_finished
    session.remove(handle)
    session.seen.clear()
    handle = add(session, torrent, wrong, {}, peers=[seeder.peer])
    session.until(lt.torrent_finished_alert)
    session.remove(handle)
    assert tree_bytes(wrong) == tree_bytes(folder)


@pytest.mark.programs
@pytest.mark.parametrize("format_", FORMATS)
def test_a_web_seed_is_asked_for_no_claimed_block(
    tmp_path: Path, session: Session, folder: Path, format_: str
) -> None:
    torrent = make(folder, format_)
    claims = {
        piece: [block % 2 == 1 for block in range(count)]
        for piece, count in enumerate(blocks_of(torrent))
    }
    with nginx(tmp_path) as server:
        handle = add(session, torrent, folder, claims, url_seeds=[f"{server.url}/"])
        session.until(lt.torrent_finished_alert)
        asked = sum(access.body_bytes for access in server.access_log(at_least=1))
    assert asked == handle.status().total_payload_download <= CONTENT_SIZE // 2 + 3 * BLOCK
    assert session.drain(lt.hash_failed_alert) == []
